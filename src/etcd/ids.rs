//! Who is who in a new cluster: `--initial-cluster` and token in, members with their ids and the cluster's id out.
//!
//! ```text
//! member id  = first 8 bytes, big endian, of SHA-1(peer URLs in byte order, joined by nothing || token)
//! cluster id = first 8 bytes, big endian, of SHA-1(each member id as 8 bytes big endian, ids ascending)
//! ```
//!
//! [etcd v3.7.1 server/etcdserver/api/membership/member.go, cluster.go, client/pkg/types/urlsmap.go]. Names
//! are not hashed. The same URLs with the same token give the same ids.

use aws_lc_rs::digest;

use crate::bytes;
use crate::error::{Error, Result};
use crate::etcd::facts::Member;
use crate::etcd::{members, urls};
use crate::report::printable;

/// The flag that most messages here are about.
const FLAG: &str = "--initial-cluster";

/// The id of a member with these peer URLs (sorted) in a cluster made with this token.
pub fn member_id(sorted_peer_urls: &[String], token: &str) -> u64 {
    let mut hashed = sorted_peer_urls.concat();
    hashed.push_str(token);
    sha1_head(hashed.as_bytes())
}

/// The id of the cluster that these members (ascending) make.
pub fn cluster_id(ascending_member_ids: impl IntoIterator<Item = u64>) -> u64 {
    let hashed: Vec<u8> = ascending_member_ids
        .into_iter()
        .flat_map(u64::to_be_bytes)
        .collect();
    sha1_head(&hashed)
}

/// The first 8 bytes of a SHA-1; never fails, for a SHA-1 has 20.
fn sha1_head(hashed: &[u8]) -> u64 {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, hashed);
    bytes::u64_be(digest.as_ref(), 0).unwrap_or_default()
}

/// The names in `--initial-cluster` with the URLs of each, sorted: names in the order in which they first appear.
///
/// A name that comes several times has several URLs; blanks around names and URLs do not count, nor do
/// empty pieces. `Error::usage` names the piece that is wrong, and what to type.
pub fn parse_initial_cluster(text: &str) -> Result<Vec<(String, Vec<String>)>> {
    let mut named: Vec<(String, Vec<String>)> = Vec::new();
    for piece in text
        .split(',')
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
    {
        let (name, url) = parse_piece(piece)?;
        if let Some((owner, _)) = named.iter().find(|(_, urls)| urls.contains(&url)) {
            return Err(Error::usage(format!(
                "{FLAG}: {url} is given twice, for {owner} and for {name}"
            ))
            .hint("give every member its own URL"));
        }
        match named.iter_mut().find(|(known, _)| known == name) {
            Some((_, urls)) => urls.push(url),
            None => named.push((name.to_owned(), vec![url])),
        }
    }
    if named.is_empty() {
        return Err(Error::usage(format!("{FLAG} names no member")).hint(EXAMPLE));
    }
    for (_, urls) in &mut named {
        urls.sort_unstable();
    }
    Ok(named)
}

const EXAMPLE: &str =
    "type it like --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380";

fn parse_piece(piece: &str) -> Result<(&str, String)> {
    let wrong = |what| {
        let piece = printable(piece.as_bytes());
        Error::usage(format!("{FLAG}: '{piece}' {what}")).hint(EXAMPLE)
    };
    let (name, url) = piece
        .split_once('=')
        .ok_or_else(|| wrong("is not NAME=URL"))?;
    let name = name.trim_end();
    if name.is_empty() {
        return Err(wrong("has no name before the '='"));
    }
    Ok((name, urls::parse(FLAG, url)?))
}

/// A cluster about to begin: all its members, which are voters, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCluster {
    /// Members in ascending order of their ids, with names and sorted peer URLs, without client URLs.
    pub members: Vec<Member>,
    /// Cluster id.
    pub id: u64,
}

impl NewCluster {
    /// The cluster of these names and URLs (as [`parse_initial_cluster`] gives them) with this token.
    ///
    /// `Error::usage` when two members get the same id, or one gets the id 0, which raft keeps for nobody.
    pub fn new(named: Vec<(String, Vec<String>)>, token: &str) -> Result<NewCluster> {
        let mut members: Vec<Member> = named
            .into_iter()
            .map(|(name, peer_urls)| Member {
                id: member_id(&peer_urls, token),
                name,
                peer_urls,
                ..Member::default()
            })
            .collect();
        members.sort_by_key(|member| member.id);
        check_ids(&members)?;
        Ok(NewCluster {
            id: cluster_id(members.iter().map(|member| member.id)),
            members,
        })
    }

    /// The member of this name. `Error::usage` lists the names that there are.
    pub fn member(&self, name: &str) -> Result<&Member> {
        let found = self.members.iter().find(|member| member.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.members.iter().map(|m| m.name.as_str()).collect();
            Error::usage(format!(
                "--name {} is not in {FLAG}, which has: {}",
                printable(name.as_bytes()),
                names.join(", ")
            ))
            .hint(format!(
                "give --name one of these, or add {name}=URL to {FLAG}"
            ))
        })
    }

    /// Checks that `--initial-advertise-peer-urls` (sorted) are the URLs this member has in `--initial-cluster`.
    ///
    /// Compared as text, in their one form: names are not resolved, where etcdutl would ask DNS.
    pub fn check_advertised(&self, name: &str, advertised: &[String]) -> Result<()> {
        let listed = &self.member(name)?.peer_urls;
        if listed == advertised {
            return Ok(());
        }
        Err(Error::usage(format!(
            "--initial-advertise-peer-urls is {}, but {FLAG} has {} for {name}",
            advertised.join(","),
            listed.join(",")
        ))
        .hint(format!(
            "leave --initial-advertise-peer-urls out, or give it {}",
            listed.join(",")
        )))
    }

    /// `--initial-cluster` in full, sorted, as every member's restore and first start must be given it.
    pub fn initial_cluster(&self) -> String {
        let mut pairs: Vec<String> = self
            .members
            .iter()
            .flat_map(|member| {
                member
                    .peer_urls
                    .iter()
                    .map(|url| format!("{}={url}", member.name))
            })
            .collect();
        pairs.sort_unstable();
        pairs.join(",")
    }
}

fn check_ids(ascending: &[Member]) -> Result<()> {
    const OTHER_TOKEN: &str = "give another --initial-cluster-token or other URLs";
    if let Some([a, b]) = ascending.array_windows().find(|[a, b]| a.id == b.id) {
        return Err(Error::usage(format!(
            "{FLAG}: {} and {} get the same member id {}",
            a.name,
            b.name,
            members::format_id(a.id)
        ))
        .hint(OTHER_TOKEN));
    }
    match ascending.first() {
        Some(first) if first.id == 0 => Err(Error::usage(format!(
            "{FLAG}: {} gets the member id 0, which means nobody",
            first.name
        ))
        .hint(OTHER_TOKEN)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(initial: &str, token: &str) -> Result<NewCluster> {
        NewCluster::new(parse_initial_cluster(initial)?, token)
    }

    /// The vectors of `formats.md` section 8, seen in real restores of 3.4 to 3.8.
    #[test]
    fn ids_are_upstreams() {
        let default = cluster("default=http://localhost:2380", "etcd-cluster").unwrap();
        assert_eq!(default.members[0].id, 10_276_657_743_932_975_437);
        assert_eq!(default.members[0].id, 0x8e9e_05c5_2164_694d);
        assert_eq!(default.id, 0xcdf8_1819_4e3a_8c32);

        let initial = "m1=http://127.0.0.1:23791,m2=http://127.0.0.1:23793";
        let two = cluster(initial, "tok-1").unwrap();
        assert_eq!(two.member("m1").unwrap().id, 0xf450_48bd_b03f_32e8);
        assert_eq!(two.member("m2").unwrap().id, 0x084b_af45_ab3b_ad8f);
        assert_eq!(two.members[0].name, "m2", "ascending by id");
        assert_eq!(two.id, 0x6197_f8ba_89ba_66e8);
        assert_eq!(two.initial_cluster(), initial);
        assert_ne!(cluster(initial, "tok-2").unwrap().id, two.id);
    }

    #[test]
    fn the_order_typed_does_not_matter() {
        let one = cluster("b=http://b:2, a=HTTP://a:1,b=http://b:1,", "t").unwrap();
        let other = cluster("a=http://a:1,b=http://b:1,b=http://b:2", "t").unwrap();
        assert_eq!(one, other);
        assert_eq!(
            one.member("b").unwrap().peer_urls,
            ["http://b:1", "http://b:2"]
        );
        assert_eq!(
            one.initial_cluster(),
            "a=http://a:1,b=http://b:1,b=http://b:2"
        );
        let names: Vec<_> = parse_initial_cluster("b=http://b:2,a=http://a:1")
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (initial, what) in [
            ("", "names no member"),
            (" , ", "names no member"),
            ("http://a:1", "'http://a:1' is not NAME=URL"),
            ("a=http://a:1,b", "'b' is not NAME=URL"),
            (" =http://a:1", "'=http://a:1' has no name"),
            ("a=", "'' is not a peer URL: it is empty"),
            (
                "a=http://a:1/",
                "'http://a:1/' is not a peer URL: it has a path",
            ),
            (
                "a=http://a:1,b=http://a:1",
                "http://a:1 is given twice, for a and for b",
            ),
            (
                "a=http://a:1,a=http://a:1",
                "http://a:1 is given twice, for a and for a",
            ),
        ] {
            let error = cluster(initial, "t").unwrap_err();
            assert!(error.to_string().contains(what), "{initial}: {error}");
            assert!(error.hint_text().is_some(), "{initial}");
            assert_eq!(error.kind(), crate::error::Kind::Usage);
        }
        let one = cluster("a=http://a:1", "t").unwrap();
        let error = one.member("b").unwrap_err().to_string();
        assert_eq!(error, "--name b is not in --initial-cluster, which has: a");
    }

    /// URLs are hashed joined by nothing, so two that differ can collide: paths of unix sockets can do it.
    #[test]
    fn two_members_with_one_id_are_refused() {
        let error = cluster("a=unix:///a,a=unix:///b,b=unix:///aunix:///b", "t").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("get the same member id"), "{text}");
        let nobody = Member {
            name: "a".into(),
            ..Member::default()
        };
        let error = check_ids(&[nobody]).unwrap_err().to_string();
        assert!(error.contains("a gets the member id 0"), "{error}");
    }

    #[test]
    fn advertised_urls_must_be_those_of_the_cluster() {
        let initial = cluster("a=http://a:1,a=http://a:2", "t").unwrap();
        let advertised = |list| urls::parse_list("--initial-advertise-peer-urls", list).unwrap();
        initial
            .check_advertised("a", &advertised("HTTP://a:2,http://a:1"))
            .unwrap();
        for other in [
            "http://a:1",
            "http://a:1,http://a:3",
            "http://a:1,http://a:2,http://a:3",
        ] {
            let error = initial
                .check_advertised("a", &advertised(other))
                .unwrap_err();
            assert!(error.to_string().contains(other), "{error}");
            assert!(
                error
                    .hint_text()
                    .unwrap()
                    .ends_with("http://a:1,http://a:2")
            );
        }
        assert!(
            initial
                .check_advertised("b", &advertised("http://a:1"))
                .is_err()
        );
    }
}
