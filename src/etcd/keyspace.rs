//! The `key` bucket: every record of every user key, checked against the one before it.
//!
//! Byte order is revision order, so the pass is a replay of history: per user key, versions count up by
//! one within a generation and start again at 1 after a tombstone. What was compacted away is not
//! missed: the first record seen of a key may have any version.
//!
//! Source: etcd-io/etcd, `server/storage/mvcc/{kvstore_txn,key_index}.go`, v3.7.1.

use std::collections::{BTreeMap, HashMap};

use super::keytable::{KeyHash, KeyTable, Last};
use super::revision::RecordKey;
use crate::bolt::walk::Spot;
use crate::error::Result;
use crate::proto::kv::{KeyValue, Part, Scan};
use crate::report::{Place, Report, printable};

/// Name of the bucket.
pub const BUCKET: &[u8] = b"key";

/// Keys without their lease that are remembered, 40 bytes each. One is a wonder, more are a hostile file.
const MOST_DANGLING: usize = 100_000;

/// What Kubernetes puts before all of its keys.
const KUBERNETES: &[u8] = b"/registry/";

/// What an API server puts before a value that it encrypts [kubernetes v1.31
/// staging/src/k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go].
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// The pass over the bucket.
pub struct Keyspace {
    table: KeyTable,
    /// Whether each key's versions are followed; otherwise live keys are not counted.
    follow: bool,
    /// Ids of the leases that exist, ascending.
    leases: Vec<i64>,
    /// Keys whose last record names a lease that does not exist.
    dangling: HashMap<u128, i64>,
    /// There were more than are remembered.
    more_dangling: bool,
    item: Option<Item>,
    /// Counts so far.
    pub counts: Counts,
}

/// What is counted on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Main revision of the last record.
    pub revision: i64,
    /// Records of all kinds.
    pub records: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Live keys.
    pub live_keys: u64,
    /// Records without a value at all, which `--bump-revision` leaves, and the main revision of the last.
    pub markers: u64,
    /// See `markers`.
    pub last_marker: i64,
    /// A key under `/registry/` was seen.
    pub kubernetes: bool,
    /// Records whose value an API server has encrypted.
    pub encrypted: u64,
}

/// The record that is streaming by.
struct Item {
    key: Option<RecordKey>,
    value_len: u64,
    at: Spot,
    scan: Scan,
    hash: KeyHash,
    prefix: Prefix,
    value: Prefix,
}

/// The first bytes of a user key or a value.
#[derive(Default)]
struct Prefix {
    bytes: [u8; KUBERNETES.len()],
    len: usize,
}

impl Keyspace {
    /// Starts the pass. `leases` are the ids in the `lease` bucket, ascending; `limit` bounds the user keys.
    pub fn new(leases: Vec<i64>, limit: usize) -> Keyspace {
        Keyspace {
            table: KeyTable::new(limit),
            follow: limit > 0,
            leases,
            dangling: HashMap::new(),
            more_dangling: false,
            item: None,
            counts: Counts::default(),
        }
    }

    /// A record begins.
    pub fn item(&mut self, key: &[u8], value_len: u64, at: Spot, report: &mut Report) {
        self.counts.records += 1;
        let decoded = RecordKey::decode(key);
        if let Err(what) = &decoded {
            report.error(Place::from(at).in_bucket(BUCKET), what);
        }
        let key = decoded.ok();
        if let Some(key) = key {
            self.counts.revision = key.revision.main;
            self.counts.tombstones += u64::from(key.tombstone);
        }
        self.item = Some(Item {
            key,
            value_len,
            at,
            scan: Scan::default(),
            hash: self.table.hash(),
            prefix: Prefix::default(),
            value: Prefix::default(),
        });
    }

    /// The next bytes of its KeyValue.
    pub fn value(&mut self, chunk: &[u8]) {
        if let Some(Item {
            scan,
            hash,
            prefix,
            value,
            ..
        }) = &mut self.item
        {
            scan.feed(chunk, |part, piece| match part {
                Part::Key => {
                    hash.feed(piece);
                    prefix.feed(piece);
                }
                Part::Value => value.feed(piece),
            });
        }
    }

    /// The record is complete.
    pub fn item_end(&mut self, report: &mut Report) -> Result<()> {
        let Some(item) = self.item.take() else {
            return Ok(());
        };
        let Some(key) = item.key else {
            return Ok(());
        };
        let place = || {
            Place::from(item.at)
                .in_bucket(BUCKET)
                .at_key(key.revision.to_string())
        };
        if item.value_len == 0 && !key.tombstone && key.revision.sub == 0 {
            self.counts.markers += 1;
            self.counts.last_marker = key.revision.main;
            return Ok(());
        }
        let found = match item.scan.finish() {
            Ok(found) => found,
            Err(what) => {
                report.error(place(), what);
                return Ok(());
            }
        };
        self.counts.kubernetes |= item.prefix.is(KUBERNETES);
        self.counts.encrypted += u64::from(item.value.is(ENCRYPTED));
        let last = match key.tombstone {
            true => Last::DELETED,
            false => Last::put(found.create_revision, found.version),
        };
        let before = match self.follow {
            true => self.follow(&item.hash, last, found.lease)?,
            false => None,
        };
        let fault = match key.tombstone {
            _ if found.key_len == 0 => Some("record without a key".into()),
            true => tombstone_fault(&found),
            false => put_fault(&key, &found, before),
        };
        if let Some(what) = fault {
            report.error(place(), what);
        } else if key.tombstone && before == Some(Last::DELETED) {
            report.warning(place(), "tombstone of a key that was deleted already");
        }
        Ok(())
    }

    /// Remembers the key's last record; gives the one before.
    fn follow(&mut self, hash: &KeyHash, last: Last, lease: i64) -> Result<Option<Last>> {
        let before = self.table.replace(hash, last)?;
        let was_live = before.is_some_and(|before| before.is_live());
        self.counts.live_keys += u64::from(last.is_live());
        self.counts.live_keys -= u64::from(was_live);
        self.follow_lease(hash, lease);
        Ok(before)
    }

    /// Only a key's last record counts: older ones may name leases that expired since.
    fn follow_lease(&mut self, hash: &KeyHash, lease: i64) {
        if !self.dangling.is_empty() {
            self.dangling.remove(&hash.finish());
        }
        if lease != 0 && self.leases.binary_search(&lease).is_err() {
            if self.dangling.len() < MOST_DANGLING {
                self.dangling.insert(hash.finish(), lease);
            } else {
                self.more_dangling = true;
            }
        }
    }

    /// All is read: what can be said only now.
    pub fn finish(&mut self, report: &mut Report) {
        let mut keys_of = BTreeMap::<i64, u64>::new();
        for lease in self.dangling.values() {
            *keys_of.entry(*lease).or_default() += 1;
        }
        for (lease, keys) in keys_of {
            report.warning(
                Place::bucket(BUCKET),
                format!("{keys} live keys are attached to lease {lease:016x}, which does not exist: they will never expire"),
            );
        }
        if self.more_dangling {
            report.warning(
                Place::bucket(BUCKET),
                format!("more than {MOST_DANGLING} keys are attached to leases that do not exist: the others are not counted"),
            );
        }
        if self.counts.encrypted > 0 {
            report.note(
                Place::bucket(BUCKET),
                format!(
                    "{} records have values that Kubernetes encrypted ({}...): they can only be read with the EncryptionConfiguration of the \
                     API servers and its keys, which are not in here",
                    self.counts.encrypted,
                    printable(ENCRYPTED)
                ),
            );
        }
        if self.counts.markers > 0 {
            report.note(
                Place::bucket(BUCKET),
                format!("{} revision-bump markers: this snapshot is of a cluster that was itself restored", self.counts.markers),
            );
        }
    }
}

impl Prefix {
    fn feed(&mut self, piece: &[u8]) {
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in free.iter_mut().zip(piece) {
            *to = *from;
            self.len += 1;
        }
    }

    fn is(&self, prefix: &[u8]) -> bool {
        let bytes = self.bytes.get(..self.len);
        bytes.is_some_and(|bytes| bytes.starts_with(prefix))
    }
}

fn tombstone_fault(found: &KeyValue) -> Option<String> {
    let bare = KeyValue {
        key_len: found.key_len,
        ..KeyValue::default()
    };
    (*found != bare).then(|| "tombstone with more than a key".into())
}

fn put_fault(key: &RecordKey, found: &KeyValue, before: Option<Last>) -> Option<String> {
    let main = key.revision.main;
    if found.mod_revision != main {
        return Some(format!(
            "mod revision {}, expected {main}",
            found.mod_revision
        ));
    }
    if found.create_revision < 1 || found.create_revision > main {
        return Some(format!(
            "create revision {}, expected 1 to {main}",
            found.create_revision
        ));
    }
    if found.version < 1 {
        return Some(format!("version {}, expected at least 1", found.version));
    }
    if (found.version == 1) != (found.create_revision == main) {
        return Some(format!(
            "version {} with create revision {} at revision {main}: version 1 is the one that creates",
            found.version, found.create_revision
        ));
    }
    let (expected, left) = (
        before?.next(main),
        Last::put(found.create_revision, found.version),
    );
    (left != expected).then(|| {
        format!(
            "version {} created at {}, expected {expected}: a record of this key is missing or wrong",
            found.version, found.create_revision
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::revision::Revision;
    use crate::proto::wire;

    /// A record: main revision, key, and for a put create revision, version and lease.
    type Record = (i64, &'static str, Option<(i64, i64, i64)>);

    fn put(main: i64, key: &'static str, create: i64, version: i64) -> Record {
        (main, key, Some((create, version, 0)))
    }

    fn tombstone(main: i64, key: &'static str) -> Record {
        (main, key, None)
    }

    fn replay(records: &[Record], leases: &[i64]) -> (Counts, Vec<String>) {
        let mut report = Report::new(10);
        let mut keyspace = Keyspace::new(leases.to_vec(), 1000);
        for &(main, user_key, ref put) in records {
            let mut key = Revision { main, sub: 0 }.encode().to_vec();
            let mut value = Vec::new();
            wire::put_bytes(&mut value, 1, user_key.as_bytes());
            match *put {
                None => key.push(b't'),
                Some((create, version, lease)) => {
                    for (field, number) in [(2, create), (3, main), (4, version), (6, lease)] {
                        wire::put_nonzero(&mut value, field, number.cast_unsigned());
                    }
                }
            }
            keyspace.item(&key, value.len() as u64, Spot::default(), &mut report);
            for piece in value.chunks(3) {
                keyspace.value(piece);
            }
            keyspace.item_end(&mut report).unwrap();
        }
        keyspace.finish(&mut report);
        let told = report.listed().iter().map(|finding| finding.what.clone());
        (keyspace.counts, told.collect())
    }

    #[test]
    fn history_is_counted() {
        let history = [
            put(2, "a", 2, 1),
            put(3, "/registry/x", 3, 1),
            put(4, "a", 2, 2),
            tombstone(5, "a"),
            put(6, "a", 6, 1),
            tombstone(7, "/registry/x"),
            // Its first records were compacted away.
            put(8, "old", 3, 9),
            tombstone(9, "older"),
        ];
        let (counts, told) = replay(&history, &[]);
        assert_eq!(told, [""; 0]);
        assert_eq!(
            (counts.revision, counts.records, counts.tombstones),
            (9, 8, 3)
        );
        assert_eq!((counts.live_keys, counts.kubernetes), (2, true));
    }

    #[test]
    fn encrypted_values_are_noted() {
        let noted = |value: &[u8]| {
            let mut report = Report::new(10);
            let mut keyspace = Keyspace::new(Vec::new(), 1000);
            let mut record = Vec::new();
            wire::put_bytes(&mut record, 1, b"/registry/secrets/a/k8s:enc:");
            for field in [2, 3, 4] {
                wire::put_nonzero(&mut record, field, if field == 4 { 1 } else { 2 });
            }
            wire::put_bytes(&mut record, 5, value);
            let key = Revision { main: 2, sub: 0 }.encode();
            keyspace.item(&key, record.len() as u64, Spot::default(), &mut report);
            for piece in record.chunks(3) {
                keyspace.value(piece);
            }
            keyspace.item_end(&mut report).unwrap();
            keyspace.finish(&mut report);
            assert!(!report.is_damaged(), "{report:?}");
            let told = report.listed().first().map(|finding| finding.what.clone());
            assert_eq!(told.is_some(), keyspace.counts.encrypted == 1);
            told.is_some_and(|what| what.contains("EncryptionConfiguration"))
        };
        assert!(noted(b"k8s:enc:aescbc:v1:key1:\x00\xff") && noted(b"k8s:enc:"));
        assert!(
            !noted(b"k8s\0\n\x0c\n\x02v1\x12\x06Secret")
                && !noted(b"k8s:enc")
                && !noted(b" k8s:enc:")
        );
    }

    #[test]
    fn what_history_cannot_be_is_told() {
        let cases: [(&[Record], &str); 5] = [
            (
                &[put(2, "a", 2, 1), put(3, "a", 2, 3)],
                "expected version 2",
            ),
            (
                &[put(2, "a", 2, 1), put(3, "a", 3, 1)],
                "expected version 2",
            ),
            (
                &[tombstone(2, "a"), put(3, "a", 2, 2)],
                "expected version 1 created at 3",
            ),
            (&[put(2, "a", 3, 1)], "create revision 3, expected 1 to 2"),
            (&[put(2, "", 2, 1)], "record without a key"),
        ];
        for (history, expected) in cases {
            let (_, told) = replay(history, &[]);
            assert!(told[0].contains(expected), "{expected:?} in {told:?}");
        }
    }

    #[test]
    fn only_the_last_record_of_a_key_needs_its_lease() {
        let leased = |main, version, lease| (main, "a", Some((2, version, lease)));
        let (_, told) = replay(&[leased(2, 1, 7), leased(3, 2, 8)], &[8]);
        assert_eq!(told, [""; 0]);
        let (_, told) = replay(&[leased(2, 1, 8), leased(3, 2, 7)], &[8]);
        assert!(told[0].contains("0000000000000007"), "{told:?}");
    }
}
