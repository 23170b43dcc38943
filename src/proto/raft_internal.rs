//! `etcdserverpb.InternalRaftRequest`: what a log entry asks of a member, as far as what it changes.
//!
//! Sources: [etcd v3.7.1 api/etcdserverpb/raft_internal.proto; v3.4.45 etcdserver/etcdserverpb/etcdserver.proto]

use super::wire::{self, Malformed};

/// What applying an entry may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing that a client put there: a read, a compaction, an alarm, the version of the cluster, a member's name.
    Nothing,
    /// Leases, users and roles.
    Grants,
    /// Keys; also what is not known here.
    Keys,
}

/// What the data of a normal entry may change. It is empty in a new leader's first entry.
pub fn change(data: &[u8]) -> Change {
    if data.is_empty() || is_v2(data) {
        return Change::Nothing;
    }
    requests(data).unwrap_or(Change::Keys)
}

fn requests(data: &[u8]) -> Result<Change, Malformed> {
    let mut change = None;
    for field in wire::fields("etcdserverpb.InternalRaftRequest", data) {
        let one = match field?.number {
            // ID, header
            1 | 100 => continue,
            // range, compaction, alarm, lease_checkpoint
            3 | 7 | 10 | 11 => Change::Nothing,
            // authenticate, auth_status; reads of users and roles
            1012 | 1013 | 1102 | 1106 | 1107 | 1202 => Change::Nothing,
            // cluster_version_set, member_attr_set, downgrade_info_set, downgrade_version_test
            1300..=1302 | 9900 => Change::Nothing,
            // lease_grant, auth_enable, auth_disable
            8 | 1000 | 1011 => Change::Grants,
            // users and roles: add, delete, change password, grant, revoke
            1100 | 1101 | 1103..=1105 | 1200 | 1201 | 1203 | 1204 => Change::Grants,
            // put, delete_range, txn, lease_revoke, which deletes the keys of its lease; or anything newer
            _ => Change::Keys,
        };
        change = change.max(Some(one));
    }
    Ok(change.unwrap_or(Change::Keys))
}

/// A `Request` of the v2 API, which 3.4 and 3.5 log as it is for a member's name and the cluster's version. It never
/// touches the db. Its field 2 is the method and its field 3 the path, where the other message has messages.
fn is_v2(data: &[u8]) -> bool {
    const METHODS: [&[u8]; 7] = [
        b"GET", b"HEAD", b"QGET", b"PUT", b"POST", b"DELETE", b"SYNC",
    ];
    let (mut method, mut path) = (false, true);
    for field in wire::fields("etcdserverpb.Request", data) {
        let Ok(field) = field else {
            return false;
        };
        match (field.number, field.bytes()) {
            (2, Ok(bytes)) => method = METHODS.contains(&bytes),
            (3, Ok(bytes)) => path = bytes.is_empty() || bytes.starts_with(b"/"),
            (2 | 3, Err(_)) => return false,
            _ => {}
        }
    }
    method && path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u32) -> Vec<u8> {
        let mut data = Vec::new();
        wire::put_u64(&mut data, 1, 77);
        wire::put_bytes(&mut data, number, b"\x0a\x01k");
        data
    }

    #[test]
    fn each_request_changes_what_it_does() {
        for number in [4, 5, 6, 9, 12, 99, 1205, 1303, 10_000] {
            assert_eq!(change(&request(number)), Change::Keys, "{number}");
        }
        for number in [8, 1000, 1011, 1100, 1103, 1204] {
            assert_eq!(change(&request(number)), Change::Grants, "{number}");
        }
        for number in [3, 7, 10, 11, 1012, 1013, 1102, 1300, 1301, 1302, 9900] {
            assert_eq!(change(&request(number)), Change::Nothing, "{number}");
        }
        assert_eq!(change(b""), Change::Nothing);
    }

    #[test]
    fn what_cannot_be_told_may_be_a_key() {
        for data in [&b"\x08\x01"[..], b"\xff", b"\x22\x05k", b"hello"] {
            assert_eq!(change(data), Change::Keys, "{data:?}");
        }
    }

    /// As 3.4 logs it: all fields are written, empty or not.
    #[test]
    fn a_request_of_the_v2_api_is_none_of_a_key() {
        let v2 = |method: &[u8], path: &[u8]| {
            let mut data = Vec::new();
            wire::put_u64(&mut data, 1, 77);
            for (number, value) in [(2, method), (3, path), (4, b"{\"name\":\"default\"}")] {
                wire::put_bytes(&mut data, number, value);
            }
            wire::put_u64(&mut data, 5, 0);
            change(&data)
        };
        assert_eq!(v2(b"PUT", b"/0/members/1/attributes"), Change::Nothing);
        assert_eq!(v2(b"SYNC", b""), Change::Nothing);
        assert_eq!(v2(b"PUT", b"\x0a\x01k"), Change::Keys);
        assert_eq!(v2(b"", b"/0/version"), Change::Keys);
    }
}
