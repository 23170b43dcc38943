//! What a restored member starts from besides its db: a WAL and a .snap file in which its new cluster has
//! just been founded, and nothing else has happened.
//!
//! ```text
//! initial cluster, token --> NewCluster --boot--> wal/0000000000000000-0000000000000000.wal, zeros to 64,000,000 bytes
//!                                            +--> snap/0000000000000001-000000000000000N.snap
//!                                            +--> meta/consistent_index = N, meta/term = 1, members, in the db
//! ```
//!
//! The three must agree, so they are made from one value; a db whose `consistent_index` is less than N is
//! refused by every server, and one that is more makes all writes hang.

use super::{SnapName, WalName};
use crate::error::Result;
use crate::etcd::ids::NewCluster;
use crate::etcd::members;
use crate::proto::walpb::Metadata;
use crate::{snap, wal};

/// The contents and names of the files, and what the db must say with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Name of the first segment.
    pub wal_name: WalName,
    /// What is in it, up to the zeros that fill it to [`wal::SEGMENT_SIZE`]. Servers take it without them too.
    pub wal: Vec<u8>,
    /// Name of the .snap file.
    pub snap_name: SnapName,
    /// What is in it.
    pub snap: Vec<u8>,
    /// `meta/consistent_index`: the number of members.
    pub consistent_index: u64,
    /// `meta/term`.
    pub term: u64,
    /// The `members` bucket: keys and values, in the byte order of the keys.
    pub members: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What the member of this name starts from. `Error::usage` when the cluster has no such member.
pub fn boot(cluster: &NewCluster, name: &str) -> Result<Boot> {
    let metadata = Metadata {
        node_id: cluster.member(name)?.id,
        cluster_id: cluster.id,
    };
    let mut founders = Vec::new();
    let mut snap_members = Vec::new();
    let mut records = Vec::new();
    for member in &cluster.members {
        let json = members::encode(member)?;
        records.push((members::format_id(member.id).into_bytes(), json.clone()));
        founders.push((member.id, json));
        snap_members.push(snap::Member {
            id: member.id,
            peer_urls: member.peer_urls.clone(),
            ..snap::Member::default()
        });
    }
    records.sort_unstable();
    let founders: Vec<_> = founders
        .iter()
        .map(|(id, context)| wal::Founder { id: *id, context })
        .collect();
    let snap_name = SnapName {
        term: 1,
        index: founders.len() as u64,
    };
    Ok(Boot {
        wal_name: WalName::default(),
        wal: wal::fresh(&metadata, &founders),
        snap_name,
        snap: snap::fresh(&snap_members)?,
        consistent_index: snap_name.index,
        term: snap_name.term,
        members: records,
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;
    use crate::etcd::ids::parse_initial_cluster;

    fn sha256(bytes: &[u8]) -> String {
        let hex = |byte: &u8| format!("{byte:02x}");
        digest(&SHA256, bytes).as_ref().iter().map(hex).collect()
    }

    fn cluster(initial: &str, token: &str) -> NewCluster {
        NewCluster::new(parse_initial_cluster(initial).unwrap(), token).unwrap()
    }

    /// `formats.md` 6.5 and 7: what etcdutl 3.5 writes with all its defaults.
    #[test]
    fn the_default_member_is_upstreams_byte_for_byte() {
        let boot = boot(
            &cluster("default=http://localhost:2380", "etcd-cluster"),
            "default",
        )
        .unwrap();
        assert_eq!(
            sha256(&boot.wal),
            "5d6ef1158b8cf9062b717f2d86ae1cf6ef98f09cb5a0af0f259a839ff2050928"
        );
        assert_eq!(
            sha256(&boot.snap),
            "391e233526d2ed237b95d33b9d3c7975cf3db23b1913a478baacdeee4177b533"
        );
        assert_eq!((boot.consistent_index, boot.term), (1, 1));
        assert_eq!(boot.members[0].0, b"8e9e05c52164694d");
    }

    /// Four members with odd names and URLs, for member b, as etcdutl 3.5.33 wrote them.
    #[test]
    fn four_members_are_upstreams_byte_for_byte() {
        let initial = "a<&>é=http://10.0.0.1:2380,b=http://10.0.0.2:2380,b=http://10.0.0.2:2390,\
             c=unix://localhost:7,d=http://127.0.0.1:1";
        let boot = boot(&cluster(initial, "tok<&>"), "b").unwrap();
        assert_eq!(
            sha256(&boot.wal),
            "a2c1e8f7e3b7928aa43e854de88f6bd873ea1b0efd5483f8d285889b3e9d6825"
        );
        assert_eq!(
            sha256(&boot.snap),
            "d3324f5496bc4e22b75020c0e8f2b674b83fcb1e47c67ceab57eb65c3231eaa3"
        );
        assert_eq!(
            boot.snap_name.to_string(),
            "0000000000000001-0000000000000004.snap"
        );
        assert_eq!(
            boot.wal_name.to_string(),
            "0000000000000000-0000000000000000.wal"
        );
        assert_eq!(boot.consistent_index, 4);
    }

    /// The db wants byte order of the hex, which is not the order of the ids when one has fewer digits.
    #[test]
    fn member_records_are_in_byte_order() {
        let initial = "m1=http://127.0.0.1:23791,m2=http://127.0.0.1:23793";
        let boot = boot(&cluster(initial, "tok-1"), "m1").unwrap();
        let keys: Vec<_> = boot.members.iter().map(|(key, _)| &key[..]).collect();
        assert_eq!(keys, [&b"84baf45ab3bad8f"[..], b"f45048bdb03f32e8"]);
    }
}
