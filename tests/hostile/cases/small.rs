//! Damage to what the small buckets mean: members, marks, versions, auth, alarms.

use super::Expect::{Meaning, Nothing, Remark};
use super::{Case, content, entries, meta_entry};
use crate::hostile::house::revision;

pub const SMALL: &[Case] = &[
    // --- members
    content(
        "member-with-another-id-inside",
        |c| entries(c, "members")[0].0 = b"1".to_vec(),
        Meaning("member has id 8e9e05c52164694d inside"),
    ),
    content(
        "member-id-with-leading-zero",
        |c| entries(c, "members")[0].0 = b"08e9e05c52164694d".to_vec(),
        Meaning("not a member id"),
    ),
    content(
        "member-id-in-capitals",
        |c| entries(c, "members")[0].0 = b"8E9E05C52164694D".to_vec(),
        Meaning("not a member id"),
    ),
    content(
        "member-that-is-not-json",
        |c| entries(c, "members")[0].1 = b"{".to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-that-is-an-array",
        |c| entries(c, "members")[0].1 = b"[1]".to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-of-deep-json",
        |c| entries(c, "members")[0].1 = [br#"{"x":"#.to_vec(), b"[".repeat(5000)].concat(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-with-an-id-of-65-bits",
        |c| entries(c, "members")[0].1 = br#"{"id":18446744073709551616}"#.to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-with-a-negative-id",
        |c| entries(c, "members")[0].1 = br#"{"id":-1}"#.to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-with-an-id-of-64-bits",
        |c| {
            entries(c, "members").push((
                b"ffffffffffffffff".to_vec(),
                br#"{"id":18446744073709551615,"peerURLs":["http://h:1"]}"#.to_vec(),
            ))
        },
        Nothing,
    ),
    content(
        "member-whose-name-is-a-number",
        |c| entries(c, "members")[0].1 = br#"{"id":10276657743932975437,"name":7}"#.to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-whose-id-is-a-long-text",
        |c| {
            entries(c, "members")[0].1 = [
                br#"{"id":""#.to_vec(),
                b"x".repeat(100_000),
                br#""}"#.to_vec(),
            ]
            .concat()
        },
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-with-a-name-in-control-characters",
        |c| {
            entries(c, "members")[0].1 =
                br#"{"id":10276657743932975437,"name":"\u001b[2J\u0007\u202e","peerURLs":["http://\u001b[31mh:1"],"clientURLs":["\n\r"]}"#.to_vec()
        },
        Nothing,
    ),
    content(
        "member-that-is-a-learner",
        |c| {
            entries(c, "members")[0].1 = br#"{"id":10276657743932975437,"isLearner":true}"#.to_vec()
        },
        Remark("is a learner"),
    ),
    content(
        "removed-member-with-another-value",
        |c| entries(c, "members_removed")[0].1 = b"gone".to_vec(),
        Meaning("value is gone, expected removed"),
    ),
    content(
        "removed-member-that-is-no-id",
        |c| entries(c, "members_removed")[0].0 = b"zz".to_vec(),
        Meaning("not a member id"),
    ),
    // --- meta
    content(
        "no-consistent-index",
        |c| entries(c, "meta").retain(|(key, _)| key != b"consistent_index"),
        Remark("no consistent_index"),
    ),
    content(
        "consistent-index-of-7-bytes",
        |c| meta_entry(c, "consistent_index", &[0; 7]),
        Meaning("number of 7 bytes, expected 8"),
    ),
    content(
        "consistent-index-of-0-bytes",
        |c| meta_entry(c, "consistent_index", &[]),
        Meaning("number of 0 bytes, expected 8"),
    ),
    content(
        "term-of-9-bytes",
        |c| meta_entry(c, "term", &[0; 9]),
        Meaning("number of 9 bytes, expected 8"),
    ),
    content(
        "conf-state-that-is-not-json",
        |c| meta_entry(c, "confState", b"voters"),
        Meaning("confState is not a JSON object"),
    ),
    content(
        "conf-state-that-is-a-list",
        |c| meta_entry(c, "confState", b"[]"),
        Meaning("confState is not a JSON object"),
    ),
    content(
        "compaction-mark-of-16-bytes",
        |c| meta_entry(c, "finishedCompactRev", &[0; 16]),
        Meaning("revision key"),
    ),
    content(
        "compaction-mark-that-is-a-tombstone",
        |c| {
            meta_entry(
                c,
                "finishedCompactRev",
                &[&revision(1, 0)[..], b"t"].concat(),
            )
        },
        Meaning("tombstone's ending"),
    ),
    content(
        "compaction-pending",
        |c| meta_entry(c, "scheduledCompactRev", &revision(5, 0)),
        Remark("a compaction at revision 5 is not finished"),
    ),
    content(
        "compaction-finished-before-scheduled",
        |c| meta_entry(c, "finishedCompactRev", &revision(5, 0)),
        Remark("finished at 5 but scheduled at 1"),
    ),
    content(
        "storage-version-of-garbage",
        |c| meta_entry(c, "storageVersion", b"newest"),
        Meaning("version is newest, expected one like 3.5.0"),
    ),
    content(
        "storage-version-with-escapes",
        |c| meta_entry(c, "storageVersion", b"3.6.0\x1b[31m"),
        Meaning("expected one like 3.5.0"),
    ),
    content(
        "storage-version-of-an-alpha",
        |c| meta_entry(c, "storageVersion", b"3.8.0-alpha.0"),
        Nothing,
    ),
    content(
        "meta-with-an-unknown-key",
        |c| meta_entry(c, "zzz", b"1"),
        Remark("not a key that etcd 3.4 to 3.8 writes here"),
    ),
    // --- the others
    content(
        "cluster-version-of-garbage",
        |c| entries(c, "cluster")[0].1 = b"\xff".to_vec(),
        Meaning("expected one like 3.5.0"),
    ),
    content(
        "downgrade-that-is-not-json",
        |c| entries(c, "cluster").push((b"downgrade".to_vec(), b"x".to_vec())),
        Meaning("downgrade is not JSON"),
    ),
    content(
        "downgrade-under-way",
        |c| {
            entries(c, "cluster").push((
                b"downgrade".to_vec(),
                br#"{"target-version":"3.5.0","enabled":true}"#.to_vec(),
            ))
        },
        Remark("a downgrade is under way"),
    ),
    content(
        "auth-on",
        |c| entries(c, "auth")[0].1 = vec![1],
        Remark("auth is on: users (1) and roles (1)"),
    ),
    content(
        "auth-maybe",
        |c| entries(c, "auth")[0].1 = vec![2],
        Meaning("expected one byte, 0 or 1"),
    ),
    content(
        "auth-of-no-bytes",
        |c| entries(c, "auth")[0].1 = vec![],
        Meaning("expected one byte, 0 or 1"),
    ),
    content(
        "auth-revision-of-3-bytes",
        |c| entries(c, "auth")[1].1.truncate(3),
        Meaning("number of 3 bytes"),
    ),
    content(
        "role-with-another-name-inside",
        |c| entries(c, "authRoles")[0].1 = b"\x0a\x01x".to_vec(),
        Meaning("role is called x inside"),
    ),
    content(
        "role-of-garbage",
        |c| entries(c, "authRoles")[0].1 = b"\x0a\x05x".to_vec(),
        Meaning("authpb.Role"),
    ),
    content(
        "user-with-another-name-inside",
        |c| entries(c, "authUsers")[0].1 = b"\x0a\x01x".to_vec(),
        Meaning("user is called x inside"),
    ),
    content(
        "user-of-garbage",
        |c| entries(c, "authUsers")[0].1 = b"\xff\xff".to_vec(),
        Meaning("authpb.User"),
    ),
    content(
        "alarm-of-no-space",
        |c| entries(c, "alarm").push((b"\x08\x07\x10\x01".to_vec(), vec![])),
        Remark("alarm NOSPACE of member 7 is set"),
    ),
    content(
        "alarm-of-garbage",
        |c| entries(c, "alarm").push((b"\xff".to_vec(), vec![])),
        Meaning("etcdserverpb.AlarmMember"),
    ),
    content(
        "alarm-with-a-value",
        |c| entries(c, "alarm").push((b"\x08\x07\x10\x02".to_vec(), b"x".to_vec())),
        Remark("alarm with a value of 1 bytes"),
    ),
];
