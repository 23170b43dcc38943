//! The .snap file: a raft snapshot of the membership, which servers up to 3.6 start from.
//!
//! ```text
//! snappb.snapshot
//! +-- crc    CRC-32C of data; 0 means "empty" to a reader
//! +-- data   raftpb.Snapshot
//!            +-- data       the v2 store as JSON: members, and in a running cluster its version
//!            +-- metadata   ConfState {voters, learners}, index, term
//! ```
//!
//! Sources: [etcd v3.5.33 and v3.7.1 server/etcdserver/api/snap/snapshotter.go]; the JSON is in `v2store`.
//! 3.7 and later only write it.

mod v2store;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::proto::raft::{ConfState, Snapshot, SnapshotMetadata};
use crate::proto::snappb;

/// A member as the v2 store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Member id.
    pub id: u64,
    /// Peer URLs.
    pub peer_urls: Vec<String>,
    /// Whether it is a learner.
    pub is_learner: bool,
    /// Name; empty until the member has started.
    pub name: String,
    /// Client URLs; empty until the member has started.
    pub client_urls: Vec<String>,
}

/// What a .snap file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snap {
    /// Where in the log it stands, and who votes there.
    pub metadata: SnapshotMetadata,
    /// Members, in the byte order of their hex ids.
    pub members: Vec<Member>,
    /// How many members were removed in the cluster's life.
    pub removed: u64,
    /// The cluster version, such as `3.5.0`; none right after a restore.
    pub cluster_version: Option<String>,
    /// Children of `/1`: keys and directories that API v2 wrote. A v3 restore does not carry them over.
    pub v2_keys: u64,
}

/// The .snap file of a cluster that a restore founds, at index N and term 1 for N members, in the full form
/// that etcdutl 3.5 writes. Members may come in any order; names and client URLs are not written.
///
/// `Error::usage` without any member, or with more than the 1000 that the form has room for.
pub fn fresh(members: &[Member]) -> Result<Vec<u8>> {
    let mut members = members.to_vec();
    members.sort_by_key(|member| member.id);
    if members.is_empty() || members.len() > v2store::EVENTS {
        return Err(Error::usage(format!(
            "a cluster of {} members, expected 1 to {}",
            members.len(),
            v2store::EVENTS
        )));
    }
    let ids = |learners| {
        let some = members
            .iter()
            .filter(move |member| member.is_learner == learners);
        some.map(|member| member.id).collect()
    };
    let metadata = SnapshotMetadata {
        conf_state: ConfState {
            voters: ids(false),
            learners: ids(true),
            ..ConfState::default()
        },
        index: members.len() as u64,
        term: 1,
    };
    seal(crc32c::crc32c, |attempt| {
        let json = v2store::encode(&members, attempt)?;
        Ok(Snapshot {
            data: Some(json.as_bytes()),
            metadata: metadata.clone(),
        }
        .encode())
    })
}

/// Puts a checksum around the first content whose checksum is not 0, which a reader would take for an empty file.
fn seal(
    checksum: impl Fn(&[u8]) -> u32,
    content: impl Fn(u64) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut attempt = 0;
    loop {
        let data = content(attempt)?;
        let crc = checksum(&data);
        if crc != 0 {
            let data = Some(&data[..]);
            return Ok(snappb::Snapshot { crc, data }.encode());
        }
        attempt += 1;
    }
}

/// Decodes a .snap file of any version; only the tree of members and the metadata must be there.
///
/// `Error::damaged` says what is wrong; a caller adds the file.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Snap> {
    if bytes.len() > limits.snap_file {
        return Err(Error::damaged(format!(
            "{} bytes, expected at most {}",
            bytes.len(),
            limits.snap_file
        )));
    }
    let outer = snappb::Snapshot::decode(bytes)?;
    let data = outer.data.unwrap_or_default();
    if data.is_empty() || outer.crc == 0 {
        return Err(Error::damaged(format!(
            "empty: {} bytes of data, CRC {:08x}",
            data.len(),
            outer.crc
        )));
    }
    let crc = crc32c::crc32c(data);
    if crc != outer.crc {
        return Err(Error::damaged(format!(
            "data has CRC {crc:08x}, expected {:08x}",
            outer.crc
        )));
    }
    let raft = Snapshot::decode(data)?;
    let mut snap = v2store::decode(raft.data.unwrap_or_default(), limits)?;
    snap.metadata = raft.metadata;
    Ok(snap)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use proptest::prelude::*;

    use super::*;

    fn member(id: u64, urls: &[&str]) -> Member {
        Member {
            id,
            peer_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..Member::default()
        }
    }

    fn default_member() -> Member {
        member(0x8e9e_05c5_2164_694d, &["http://localhost:2380"])
    }

    fn sha256(bytes: &[u8]) -> String {
        let hex = |byte: &u8| format!("{byte:02x}");
        digest(&SHA256, bytes).as_ref().iter().map(hex).collect()
    }

    fn read(bytes: &[u8]) -> Result<Snap> {
        decode(bytes, &Limits::default())
    }

    /// `formats.md` section 7: the file that etcdutl 3.4 and 3.5 write for the default member.
    #[test]
    fn the_default_member_is_upstreams_byte_for_byte() {
        let bytes = fresh(&[default_member()]).unwrap();
        assert_eq!(bytes.len(), 6490);
        assert_eq!(
            sha256(&bytes),
            "391e233526d2ed237b95d33b9d3c7975cf3db23b1913a478baacdeee4177b533"
        );
        let snap = read(&bytes).unwrap();
        assert_eq!(snap.members, [default_member()]);
        assert_eq!((snap.metadata.index, snap.metadata.term), (1, 1));
        assert_eq!(snap.metadata.conf_state.voters, [0x8e9e_05c5_2164_694d]);
        assert_eq!((snap.removed, snap.v2_keys), (0, 0));
    }

    /// The file that etcdutl 3.5.33 wrote for four members, one with two URLs, one with a unix socket,
    /// token `tok<&>`.
    #[test]
    fn four_members_are_upstreams_byte_for_byte() {
        let members = [
            member(0xf9ef_5478_adb8_bcbd, &["http://127.0.0.1:1"]),
            member(0x7e6c_5daa_158a_c68d, &["unix://localhost:7"]),
            member(0xf325_bd66_aa4e_719e, &["http://10.0.0.1:2380"]),
            member(
                0x2d63_34cb_91c3_31d0,
                &["http://10.0.0.2:2380", "http://10.0.0.2:2390"],
            ),
        ];
        assert_eq!(
            sha256(&fresh(&members).unwrap()),
            "d3324f5496bc4e22b75020c0e8f2b674b83fcb1e47c67ceab57eb65c3231eaa3"
        );
    }

    /// An id that prints with fewer digits sorts elsewhere as text than as a number.
    #[test]
    fn short_ids_and_escapes_come_back() {
        let short = member(0x084b_af45_ab3b_ad8f, &["unix:///a&b<c>"]);
        let long = Member {
            is_learner: true,
            ..member(0x1000_0000_0000_0000, &[])
        };
        let bytes = fresh(&[long.clone(), short.clone()]).unwrap();
        let json = String::from_utf8_lossy(&bytes);
        assert!(json.contains(r#""{\"peerURLs\":[\"unix:///a\\u0026b\\u003cc\\u003e\"]}""#));
        assert!(json.contains(r#""{\"peerURLs\":[],\"isLearner\":true}""#));
        let snap = read(&bytes).unwrap();
        assert_eq!(snap.members, [long.clone(), short.clone()]);
        assert_eq!(snap.metadata.conf_state.voters, [short.id]);
        assert_eq!(snap.metadata.conf_state.learners, [long.id]);
        assert_eq!(snap.metadata.index, 2);
    }

    #[test]
    fn a_checksum_of_zero_is_avoided() {
        let checksum = |data: &[u8]| u32::from(data[0]);
        let sealed = seal(checksum, |attempt| Ok(vec![attempt as u8])).unwrap();
        assert_eq!(sealed, b"\x08\x01\x12\x01\x01");
        let json = v2store::encode(&[default_member()], 3).unwrap();
        assert!(json.contains(r#""getsFail":3,"#));
    }

    #[test]
    fn too_many_members_or_none_are_refused() {
        assert!(fresh(&[]).is_err());
        let many: Vec<_> = (1..=1001).map(|id| member(id, &[])).collect();
        assert!(fresh(&many).is_err());
        let limits = Limits {
            members: 999,
            ..Limits::default()
        };
        let thousand = fresh(&many[..1000]).unwrap();
        assert_eq!(read(&thousand).unwrap().members.len(), 1000);
        assert!(decode(&thousand, &limits).is_err());
        let limits = Limits {
            snap_file: thousand.len() - 1,
            ..Limits::default()
        };
        assert!(decode(&thousand, &limits).is_err());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (bytes, what) in [
            (&b""[..], "empty: 0 bytes of data, CRC 00000000"),
            (b"\x08\x01", "empty: 0 bytes"),
            (b"\x08\0\x12\x01x", "empty: 1 bytes of data, CRC 00000000"),
            (b"\x08\x01\x12\x01x", "data has CRC"),
            (b"\x12\x05", "snappb.snapshot at its byte 0"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    /// One byte wrong anywhere in the file: told, unless it is of no consequence to any reader.
    #[test]
    fn no_flipped_byte_makes_other_members() {
        let bytes = fresh(&[default_member()]).unwrap();
        let whole = read(&bytes).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            if let Ok(snap) = read(&damaged) {
                assert_eq!(snap, whole, "byte {at}");
            }
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_members_come_back(urls in proptest::collection::vec(any::<Vec<String>>(), 1..4), first: u64) {
            let members: Vec<Member> = urls
                .into_iter()
                .zip(0u64..)
                .map(|(peer_urls, i)| Member {
                    id: first.wrapping_add(i),
                    peer_urls,
                    ..Member::default()
                })
                .collect();
            let mut found = read(&fresh(&members).unwrap()).unwrap().members;
            found.sort_by_key(|member| member.id.wrapping_sub(first));
            prop_assert_eq!(found, members);
        }
    }
}
