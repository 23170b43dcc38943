//! Fuzz bodies for what a snapshot means: the door of `verify`, KeyValue records, and whole histories.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};

use super::bolt::{Model, built, sealed_meta};
use super::holds;
use crate::bolt::meta::META_PAGE;
use crate::bolt::page;
use crate::error::Result;
use crate::etcd::buckets::KNOWN;
use crate::etcd::keyspace::Counts;
use crate::etcd::revision::{RecordKey, Revision};
use crate::io::Image;
use crate::limits::Limits;
use crate::observe::Unobserved;
use crate::proto::kv::{KeyValue, Part, Scan};
use crate::proto::wire;
use crate::snapshot::{
    self, Follower, Level, Listeners, Options, Sum, Verdict, Verified, verify_bytes,
};
use crate::source::{Candidate, Origin};
use crate::transport;

/// A file at the door of `verify`: as it is, and with metas and a SHA-256 that are right.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_snapshot(data: &[u8]) {
    for bytes in [data.to_vec(), sealed(data)] {
        let strict = verdict(&bytes, false);
        let raw = verdict(&bytes, true);
        assert_eq!(strict.report.listed(), raw.report.listed());
        assert!(strict.report.listed().len() <= Limits::default().findings);
        assert_eq!(strict.sum == Sum::Damaged, raw.sum == Sum::Damaged);
        match strict.sum {
            Sum::Good => assert_eq!(strict.transport, Level::Good),
            Sum::Unproven => assert_eq!(raw.sum, Sum::Good),
            Sum::Damaged => assert!(raw.report.is_damaged()),
        }
        if raw.sum == Sum::Good {
            rebuild(bytes, &raw);
        }
    }
}

fn verdict(bytes: &[u8], raw: bool) -> Verdict {
    holds("memory is verified", verify_bytes(bytes.to_vec(), raw))
}

/// The same bytes with the metas' magic, version and checksum, and the trailer, as they should be.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let page_size = crate::bytes::u32_le(data, 24).unwrap_or(0);
    if !page_size.is_power_of_two() || !page::PAGE_SIZES.contains(&page_size) {
        return bytes;
    }
    let page_size = page_size as usize;
    bytes.resize(
        bytes.len().next_multiple_of(page_size).max(2 * page_size),
        0,
    );
    for page in bytes.chunks_mut(page_size).take(2) {
        let meta = sealed_meta(page);
        for (to, from) in page.iter_mut().zip(meta).take(META_PAGE) {
            *to = from;
        }
    }
    let mut context = Context::new(&SHA256);
    context.update(&bytes);
    bytes.extend(transport::finish(context));
    bytes
}

/// What proved good can be written anew, and that proves good too, with the same content.
fn rebuild(bytes: Vec<u8>, verdict: &Verdict) {
    let candidate = Candidate::plain(Image::from_memory(bytes), Origin::Stdin);
    let options = Options {
        raw: true,
        digest: None,
    };
    let mut copy = Copy::default();
    let limits = Limits::default();
    let verified = snapshot::verify(
        candidate,
        options,
        &limits,
        &Unobserved,
        Listeners::follower(&mut copy),
    );
    let verified = holds("memory is verified again", verified);
    assert!(matches!(verified, Verified::Good(_)));
    let again = verify_bytes(built(&copy.model, 512), true);
    let again = holds("what was rebuilt is verified", again);
    assert_eq!(again.sum, Sum::Good, "{:?}", again.report);
    let content = |verdict: &Verdict| {
        let facts = &verdict.facts;
        (
            facts.hash,
            facts.revision,
            facts.live_keys,
            facts.total_entries,
        )
    };
    assert_eq!(content(&again), content(verdict));
}

#[derive(Default)]
struct Copy {
    model: Model,
    bucket: Vec<u8>,
    key: Vec<u8>,
}

impl Copy {
    fn value_of_item(&mut self) -> &mut Vec<u8> {
        let items = self.model.entry(self.bucket.clone()).or_default();
        items.entry(self.key.clone()).or_default()
    }
}

impl Follower for Copy {
    fn bucket(&mut self, name: &[u8], _sequence: u64) -> Result<()> {
        self.bucket = name.to_vec();
        self.model.entry(name.to_vec()).or_default();
        Ok(())
    }
    fn bucket_end(&mut self, _counts: &Counts) -> Result<()> {
        Ok(())
    }
    fn item(&mut self, key: &[u8], _value_len: u64) -> Result<()> {
        self.key = key.to_vec();
        self.value_of_item();
        Ok(())
    }
    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        self.value_of_item().extend_from_slice(chunk);
        Ok(())
    }
    fn item_end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A KeyValue in pieces, against the general protobuf reader; and a revision.
///
/// Input: length of the pieces, then the bytes.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_keyvalue(data: &[u8]) {
    let Some((&piece, body)) = data.split_first() else {
        return;
    };
    let whole = scan(body, body.len().max(1));
    assert_eq!(whole, scan(body, usize::from(piece) + 1));
    assert_eq!(whole, scan(body, 1));
    let (found, key) = whole;
    let found = found.ok().map(|found| (found, key));
    let fields = by_fields(body);
    // The general reader skips groups, and takes numbers that are longer than need be.
    if found.is_some() || fields.as_ref().is_some_and(|(_, plain)| plain == body) {
        assert_eq!(found, fields.map(|(fields, _)| fields));
    }

    if let Ok(record) = RecordKey::decode(body) {
        let mut key = record.revision.encode().to_vec();
        key.extend(record.tombstone.then_some(b't'));
        assert_eq!(key, body);
    }
}

fn scan(bytes: &[u8], piece: usize) -> (std::result::Result<KeyValue, String>, Vec<u8>) {
    let (mut scan, mut key) = (Scan::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        scan.feed(piece, |part, piece| {
            if part == Part::Key {
                key.extend_from_slice(piece);
            }
        });
    }
    (scan.finish(), key)
}

/// A KeyValue and its user key.
type Keyed = (KeyValue, Vec<u8>);

/// The KeyValue and its key as the general reader sees it, if its fields are those that etcd writes; and
/// the same fields encoded plainly.
fn by_fields(body: &[u8]) -> Option<(Keyed, Vec<u8>)> {
    let (mut found, mut user_key, mut last) = (KeyValue::default(), Vec::new(), 0);
    let mut plain = Vec::new();
    for field in wire::fields("mvccpb.KeyValue", body) {
        let field = field.ok()?;
        if field.number <= last {
            return None;
        }
        last = field.number;
        match field.value {
            wire::Value::Varint(value) => wire::put_u64(&mut plain, field.number, value),
            wire::Value::Bytes(bytes) => wire::put_bytes(&mut plain, field.number, bytes),
            _ => return None,
        }
        match (field.number, field.value) {
            (1, wire::Value::Bytes(key)) => {
                found.key_len = key.len() as u64;
                user_key = key.to_vec();
            }
            (2, wire::Value::Varint(n)) => found.create_revision = n.cast_signed(),
            (3, wire::Value::Varint(n)) => found.mod_revision = n.cast_signed(),
            (4, wire::Value::Varint(n)) => found.version = n.cast_signed(),
            (5, wire::Value::Bytes(value)) => found.value_len = value.len() as u64,
            (6, wire::Value::Varint(n)) => found.lease = n.cast_signed(),
            _ => return None,
        }
    }
    Some(((found, user_key), plain))
}

/// A db of a few entries: any bytes in any bucket, or records of a history, checked against a simple model.
///
/// Input: entries of a kind (below 10: a bucket of [`KNOWN`], then lengths of key and value, then those; 10
/// and more: a put, or a tombstone where odd, then main revision, key, create revision, version and lease).
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_meaning(data: &[u8]) {
    let mut model = Model::new();
    for required in ["key", "meta"] {
        model.insert(required.into(), BTreeMap::new());
    }
    let mut history = BTreeMap::new();
    let mut only_history = true;
    let mut rest = data;
    while let Some((&kind, tail)) = rest.split_first() {
        rest = match KNOWN.get(usize::from(kind)) {
            Some(bucket) => {
                only_history = false;
                any_entry(model.entry(bucket.as_bytes().to_vec()).or_default(), tail)
            }
            None => record(&mut history, kind & 1 == 1, tail),
        };
    }
    let keys = model.entry(b"key".to_vec()).or_default();
    for (key, record) in &history {
        keys.insert(key.clone(), record.encode());
    }
    let bytes = built(&model, 512);
    let verdict = holds(
        "what was built is verified",
        verify_bytes(bytes.clone(), true),
    );
    assert_eq!(verdict.structure, Level::Good);
    let facts = &verdict.facts;
    let entries: usize = model.values().map(BTreeMap::len).sum();
    assert_eq!(facts.total_entries, entries as u64);
    assert_eq!(facts.hash, status_hash(&model));
    if only_history {
        let live = live_keys(history.values());
        assert_eq!(verdict.meaning == Level::Good, live.is_some());
        assert!(live.is_none_or(|live| live == facts.live_keys));
    }
    if verdict.sum == Sum::Good {
        rebuild(bytes, &verdict);
    }
}

fn any_entry<'d>(items: &mut BTreeMap<Vec<u8>, Vec<u8>>, data: &'d [u8]) -> &'d [u8] {
    let Some((&[key_len, value_len], rest)) = data.split_first_chunk() else {
        return &[];
    };
    let split = |bytes: &'d [u8], len: u8| {
        bytes
            .split_at_checked(usize::from(len))
            .unwrap_or((bytes, &[]))
    };
    let (key, rest) = split(rest, key_len);
    let (value, rest) = split(rest, value_len);
    if !key.is_empty() {
        items.insert(key.to_vec(), value.to_vec());
    }
    rest
}

/// A record of one of 256 keys.
struct Record {
    tombstone: bool,
    key: u8,
    main: i64,
    create: i64,
    version: i64,
    lease: i64,
}

fn record<'d>(
    history: &mut BTreeMap<Vec<u8>, Record>,
    tombstone: bool,
    data: &'d [u8],
) -> &'d [u8] {
    let Some((&[main, key, create, version, lease], rest)) = data.split_first_chunk() else {
        return &[];
    };
    let mut place = Revision {
        main: main.into(),
        sub: 0,
    }
    .encode()
    .to_vec();
    place.extend(tombstone.then_some(b't'));
    history.insert(
        place,
        Record {
            tombstone,
            key,
            main: main.into(),
            create: create.into(),
            version: version.into(),
            lease: lease.into(),
        },
    );
    rest
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_bytes(&mut out, 1, &[self.key]);
        if !self.tombstone {
            wire::put_nonzero(&mut out, 2, self.create.cast_unsigned());
            wire::put_nonzero(&mut out, 3, self.main.cast_unsigned());
            wire::put_nonzero(&mut out, 4, self.version.cast_unsigned());
            wire::put_bytes(&mut out, 5, b"v");
            wire::put_nonzero(&mut out, 6, self.lease.cast_unsigned());
        }
        out
    }
}

/// How many keys are live after a history that etcd could have written; none if it could not. Revisions
/// here are below 256, and what came before the first record of a key is unknown.
fn live_keys<'r>(history: impl Iterator<Item = &'r Record>) -> Option<u64> {
    // Key: none after a tombstone, else create revision and version.
    let mut keys = BTreeMap::<u8, Option<(i64, i64)>>::new();
    for record in history {
        let before = keys.get(&record.key).copied();
        let Record {
            main,
            create,
            version,
            ..
        } = *record;
        if record.tombstone {
            keys.insert(record.key, None);
            continue;
        }
        let possible = match before {
            Some(Some((created, last))) => create == created && version == last + 1,
            Some(None) => create == main && version == 1,
            None => create >= 1 && version >= 1,
        };
        if !possible || create > main || (create == main) != (version == 1) {
            return None;
        }
        keys.insert(record.key, Some((create, version)));
    }
    Some(keys.values().flatten().count() as u64)
}

/// HASH of `etcdutl snapshot status` (`formats.md` 4.1).
fn status_hash(model: &Model) -> u32 {
    let mut hash = 0;
    for (name, items) in model {
        hash = crc32c::crc32c_append(hash, name);
        for (key, value) in items {
            hash = crc32c::crc32c_append(hash, key);
            hash = crc32c::crc32c_append(hash, value);
        }
    }
    hash
}
