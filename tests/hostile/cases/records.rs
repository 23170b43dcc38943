//! Damage to what buckets and records mean: revisions, KeyValues, histories, leases.

use super::Expect::{Meaning, Nothing, Remark, Unrestorable};
use super::{Case, append, content, entries, file, meta_entry};
use crate::hostile::house::{Content, key_value, lease, put, revision, tombstone};

pub const RECORDS: &[Case] = &[
    // --- buckets
    content(
        "no-key-bucket",
        |c| c.retain(|(name, _)| name != b"key"),
        Meaning("bucket key is missing"),
    ),
    content(
        "no-meta-bucket",
        |c| c.retain(|(name, _)| name != b"meta"),
        Meaning("bucket meta is missing"),
    ),
    content(
        "no-bucket-at-all",
        |c| c.clear(),
        Meaning("bucket key is missing"),
    ),
    content("only-key-members-and-meta", only_needed, Nothing),
    content(
        "a-bucket-that-etcd-does-not-make",
        |c| c.insert(0, (b"aaa".to_vec(), vec![])),
        Remark("not a bucket that etcd 3.4 to 3.8 makes"),
    ),
    content(
        "a-bucket-name-in-control-characters",
        |c| c.insert(0, (b"\x1b[2J\n".to_vec(), vec![])),
        Remark("not a bucket"),
    ),
    content(
        "key-bucket-empty",
        |c| entries(c, "key").clear(),
        Remark("no live key"),
    ),
    file(
        "bucket-with-a-sequence",
        |h| {
            let (at, root) = (h.value_of("lease"), h.root);
            h.file.set_u64(root, at + 8, 1);
        },
        Meaning("sequence 1"),
    ),
    // --- revision keys
    content(
        "revision-of-16-bytes",
        |c| rekey(c, |key| key.truncate(16)),
        Meaning("revision key of 16 bytes"),
    ),
    content(
        "revision-of-1-byte",
        |c| rekey(c, |key| *key = vec![1]),
        Meaning("revision key of 1 bytes"),
    ),
    content(
        "revision-of-19-bytes",
        |c| rekey(c, |key| key.extend(b"tt")),
        Meaning("revision key of 19 bytes"),
    ),
    content(
        "revision-ending-in-x",
        |c| rekey(c, |key| key.push(b'x')),
        Meaning("ending in 0x78"),
    ),
    content(
        "revision-without-separator",
        |c| rekey(c, |key| key[8] = b'-'),
        Meaning("without '_'"),
    ),
    content(
        "revision-negative",
        |c| entries(c, "key").push((revision(-1, 0), key_value(b"n", 1, -1, 1, b"", 0))),
        Meaning("negative main revision"),
    ),
    content(
        "revision-with-negative-sub",
        |c| rekey(c, |key| key[9] = 0xff),
        Meaning("negative sub revision"),
    ),
    content(
        "revision-at-the-end-of-numbers",
        |c| entries(c, "key").push(put(i64::MAX, 0, b"z", i64::MAX, 1, b"", 0)),
        Unrestorable("cannot be bumped by 1000000000"),
    ),
    // --- KeyValue
    content(
        "record-of-garbage",
        |c| revalue(c, |value| value.fill(0xff)),
        Meaning("number of more than 64 bits"),
    ),
    content(
        "record-cut",
        |c| revalue(c, |value| value.truncate(value.len() - 1)),
        Meaning("KeyValue ends 1 bytes before"),
    ),
    content(
        "record-cut-in-a-number",
        |c| revalue(c, |value| value.extend([0x30, 0x80])),
        Meaning("KeyValue ends within a number"),
    ),
    content(
        "record-with-field-7",
        |c| revalue(c, |value| value.extend([0x38, 1])),
        Meaning("KeyValue with a field 7"),
    ),
    content(
        "record-with-field-0",
        |c| revalue(c, |value| value.extend([0, 1])),
        Meaning("KeyValue with a field 0"),
    ),
    content(
        "record-with-a-field-twice",
        |c| revalue(c, |value| value.extend([0x2a, 1, 1])),
        Meaning("field 5 behind field 5"),
    ),
    content(
        "record-with-a-wrong-type",
        |c| revalue(c, |value| value[0] = 0x08),
        Meaning("wire type 0, expected 2"),
    ),
    content(
        "record-with-a-key-of-all-ones-bytes",
        |c| {
            revalue(c, |value| {
                value.splice(
                    1..2,
                    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                );
            });
        },
        Meaning("before the end of its field 1"),
    ),
    content(
        "record-of-another-revision",
        |c| remake(c, |_| key_value(b"x", 2, 3, 2, b"", 0)),
        Meaning("mod revision 3"),
    ),
    content(
        "record-created-later",
        |c| remake(c, |main| key_value(b"x", main + 1, main, 1, b"", 0)),
        Meaning("create revision"),
    ),
    content(
        "record-created-at-0",
        |c| remake(c, |main| key_value(b"x", 0, main, 1, b"", 0)),
        Meaning("create revision 0"),
    ),
    content(
        "record-created-at-a-negative",
        |c| remake(c, |main| key_value(b"x", -1, main, 2, b"", 0)),
        Meaning("create revision -1"),
    ),
    content(
        "record-of-version-0",
        |c| remake(c, |main| key_value(b"x", main, main, 0, b"", 0)),
        Meaning("version 0"),
    ),
    content(
        "record-of-version-minus-1",
        |c| remake(c, |main| key_value(b"x", main, main, -1, b"", 0)),
        Meaning("version -1"),
    ),
    content(
        "record-of-version-1-that-does-not-create",
        |c| remake(c, |main| key_value(b"x", 1, main, 1, b"", 0)),
        Meaning("version 1 is the one that creates"),
    ),
    content(
        "record-of-version-2-that-creates",
        |c| remake(c, |main| key_value(b"x", main, main, 2, b"", 0)),
        Meaning("version 1 is the one that creates"),
    ),
    content(
        "record-without-a-key",
        |c| remake(c, |main| key_value(b"", main, main, 1, b"v", 0)),
        Meaning("without a key"),
    ),
    content(
        "version-skipped",
        |c| append(c, put(11, 0, b"a", 2, 5, b"", 0)),
        Meaning("expected version 4"),
    ),
    content(
        "version-repeated",
        |c| append(c, put(11, 0, b"a", 2, 3, b"", 0)),
        Meaning("expected version 4"),
    ),
    content(
        "version-of-another-generation",
        |c| append(c, put(11, 0, b"a", 7, 4, b"", 0)),
        Meaning("created at 2"),
    ),
    content(
        "version-goes-on-after-a-delete",
        |c| {
            append(c, tombstone(11, 0, b"a"));
            append(c, put(12, 0, b"a", 2, 4, b"", 0));
        },
        Meaning("expected version 1 created at 12"),
    ),
    content(
        "version-starts-again-without-a-delete",
        |c| append(c, put(11, 0, b"a", 11, 1, b"", 0)),
        Meaning("expected version 4"),
    ),
    content(
        "version-at-the-end-of-numbers",
        |c| {
            append(c, put(11, 0, b"v", 2, i64::MAX, b"", 0));
            append(c, put(12, 0, b"v", 2, i64::MAX, b"", 0));
        },
        // Nobody gets there; what matters is that nothing overflows.
        Meaning("is missing or wrong"),
    ),
    content(
        "tombstone-with-a-value",
        |c| {
            append(
                c,
                (tombstone(11, 0, b"a").0, key_value(b"a", 0, 0, 0, b"v", 0)),
            )
        },
        Meaning("tombstone with more than a key"),
    ),
    content(
        "tombstone-with-a-revision",
        |c| {
            append(
                c,
                (tombstone(11, 0, b"a").0, key_value(b"a", 0, 11, 0, b"", 0)),
            )
        },
        Meaning("tombstone with more than a key"),
    ),
    content(
        "tombstone-without-a-key",
        |c| append(c, (tombstone(11, 0, b"a").0, vec![0x0a, 0])),
        Meaning("without a key"),
    ),
    content(
        "tombstone-of-nothing",
        |c| append(c, (tombstone(11, 0, b"a").0, vec![])),
        Meaning("without a key"),
    ),
    content(
        "tombstone-twice",
        |c| {
            append(c, tombstone(11, 0, b"a"));
            append(c, tombstone(12, 0, b"a"));
        },
        Remark("deleted already"),
    ),
    content(
        "bump-marker",
        |c| {
            append(c, (revision(1_000_000, 0), vec![]));
            meta_entry(c, "scheduledCompactRev", &revision(1_000_000, 0));
        },
        Remark("1 revision-bump markers"),
    ),
    content(
        "bump-marker-without-a-compaction-mark",
        |c| append(c, (revision(1_000_000, 0), vec![])),
        Meaning("record without a value"),
    ),
    content(
        "bump-marker-with-a-sub-revision",
        |c| append(c, (revision(1_000_000, 3), vec![])),
        Meaning("without a key"),
    ),
    // --- leases
    content(
        "lease-that-does-not-exist",
        |c| append(c, put(11, 0, b"l", 11, 1, b"", 99)),
        Remark("attached to lease 0000000000000063, which does not exist"),
    ),
    content(
        "no-lease-bucket",
        |c| c.retain(|(name, _)| name != b"lease"),
        Remark("which does not exist"),
    ),
    content(
        "lease-with-another-id-inside",
        |c| entries(c, "lease")[0].1 = lease(5, 60).1,
        Meaning("lease has id 0000000000000005 inside"),
    ),
    content(
        "lease-id-of-7-bytes",
        |c| entries(c, "lease")[0].0.truncate(7),
        Meaning("number of 7 bytes, expected 8"),
    ),
    content(
        "lease-of-garbage",
        |c| entries(c, "lease")[0].1.fill(0xff),
        Meaning("leasepb.Lease"),
    ),
    content(
        "lease-with-negative-ttl",
        |c| {
            let id = crate::hostile::house::LEASE;
            entries(c, "lease")[0] = lease(id, -1);
        },
        Remark("TTL of -1 seconds"),
    ),
];

fn only_needed(content: &mut Content) {
    content.retain(|(name, _)| {
        ["key", "members", "meta"]
            .iter()
            .any(|kept| kept.as_bytes() == name)
    });
    // The lease is gone, and what was attached to it.
    entries(content, "key").retain(|(key, _)| *key != revision(5, 0));
}

/// Changes the key of the last record, 10/0.
fn rekey(content: &mut Content, edit: fn(&mut Vec<u8>)) {
    edit(&mut entries(content, "key").last_mut().unwrap().0);
}

/// Changes the KeyValue of the record at 8/0, which is the only one of its key and has a value.
fn revalue(content: &mut Content, edit: impl Fn(&mut Vec<u8>)) {
    let record = entries(content, "key")
        .iter_mut()
        .find(|(key, _)| *key == revision(8, 0));
    edit(&mut record.unwrap().1);
}

/// Gives that record another KeyValue, for its main revision.
fn remake(content: &mut Content, make: fn(i64) -> Vec<u8>) {
    revalue(content, |value| *value = make(8));
}
