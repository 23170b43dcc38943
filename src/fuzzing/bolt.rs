//! Fuzz bodies for the bbolt file: metas, pages and trees, and what is built is what is read.

use std::collections::BTreeMap;
use std::io::Cursor;

use super::holds;
use crate::bolt::build::Builder;
use crate::bolt::collect::Collect;
use crate::bolt::meta::{META_PAGE, Meta, NO_FREELIST};
use crate::bolt::walk::{self, Misplaced, Spot, Visitor};
use crate::bolt::{Db, page};
use crate::error::Result;
use crate::io::Image;
use crate::limits::Limits;
use crate::observe::Unobserved;

/// Buckets and their items.
pub(super) type Model = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A meta page as it is; and two of them in a file, with checksums that are right.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_meta(data: &[u8]) {
    if let Ok(meta) = Meta::decode(data) {
        assert_eq!(Meta::decode(&meta.encode(1)), Ok(meta));
    }
    let limits = Limits::default();
    let as_it_is = Image::from_memory(data.to_vec());
    let _ = holds("memory opens", Db::open(&as_it_is, &limits));

    let (first, second) = data.split_at_checked(META_PAGE).unwrap_or((data, &[]));
    let (first, second) = (sealed_meta(first), sealed_meta(second));
    let page_size = crate::bytes::u32_le(&first, 24).unwrap_or(0);
    let mut file = first.clone();
    if page::PAGE_SIZES.contains(&page_size) {
        file.resize(page_size as usize, 0);
    }
    file.extend_from_slice(&second);
    let image = Image::from_memory(file);
    let Ok(db) = holds("memory opens", Db::open(&image, &limits)) else {
        return;
    };
    let metas: Vec<Meta> = [&first, &second]
        .iter()
        .flat_map(|page| Meta::decode(page))
        .collect();
    assert!(metas.contains(db.meta()));
    if let [first, second] = metas[..]
        && db.findings().total() == 0
    {
        assert_eq!(first.page_size, second.page_size);
        assert_eq!(db.meta().txid, first.txid.max(second.txid));
    }
}

/// A meta page with the magic, the version and the checksum that it should have.
pub(super) fn sealed_meta(page: &[u8]) -> Vec<u8> {
    let u64_at = |at| crate::bytes::u64_le(page, at).unwrap_or(0);
    let meta = Meta {
        page_size: crate::bytes::u32_le(page, 24).unwrap_or(0),
        root: u64_at(32),
        sequence: u64_at(40),
        freelist: u64_at(48),
        high_water_mark: u64_at(56),
        txid: u64_at(64),
    };
    meta.encode(u64_at(0))
}

/// Pages behind metas that are made for them.
///
/// Input: flags (1: pages of 1024 bytes instead of 512; 2: every page gets its right number; 4: there is
/// a freelist), the root page, the freelist's page, the high-water mark (0: what there is), the pages
/// from page 2 on.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_walk(data: &[u8]) {
    let Some((&[flags, root, freelist, mark], pages)) = data.split_first_chunk() else {
        return;
    };
    let page_size = 512 << (flags & 1);
    let mut file = vec![0; 2 * page_size];
    file.extend_from_slice(pages);
    let there = file.len().div_ceil(page_size) as u64;
    if flags & 2 != 0 {
        number_pages(&mut file, page_size);
    }
    let meta = Meta {
        page_size: page_size as u32,
        root: root.into(),
        sequence: 0,
        freelist: match flags & 4 {
            0 => NO_FREELIST,
            _ => freelist.into(),
        },
        high_water_mark: match mark {
            0 => there,
            mark => mark.into(),
        },
        txid: 2,
    };
    for (id, txid) in [(0, 2), (1, 1)] {
        let page = Meta { txid, ..meta }.encode(id as u64);
        for (to, from) in file.iter_mut().skip(id * page_size).zip(page) {
            *to = from;
        }
    }
    let len = file.len() as u64;
    let image = Image::from_memory(file);
    let limits = Limits::default();
    let db = holds("memory opens", Db::open(&image, &limits)).unwrap_or_else(|fault| {
        panic!("metas that are right: {fault:?}");
    });
    let mut protocol = Protocol::default();
    let walked = holds(
        "walking memory does not fail",
        walk::check(&db, &limits, &Unobserved, &mut protocol),
    );
    assert!(protocol.open.is_none() && protocol.value_left.is_none());
    assert!(
        protocol.bytes <= len,
        "{} bytes visited in a file of {len}",
        protocol.bytes
    );
    assert!(walked.pages_in_use <= db.pages_present().max(2));
    if walked.report.total() == 0 && protocol.misplaced == 0 {
        let model = read(&db);
        for (name, items) in &model {
            assert_eq!(&read_bucket(&db, name), items);
        }
        assert!(rebuilt(&model, 512) == model);
    }
}

fn number_pages(file: &mut [u8], page_size: usize) {
    for (id, page) in (0u64..).zip(file.chunks_mut(page_size)) {
        for (to, from) in page.iter_mut().zip(id.to_le_bytes()) {
            *to = from;
        }
    }
}

/// Asserts what a visitor may rely on: begin and end in order, values as long as announced.
#[derive(Default)]
struct Protocol {
    open: Option<Vec<u8>>,
    value_left: Option<u64>,
    bytes: u64,
    misplaced: u64,
}

impl Visitor for Protocol {
    fn bucket(&mut self, name: &[u8], _sequence: u64) -> Result<()> {
        assert!(!name.is_empty());
        assert_eq!(self.open.replace(name.to_vec()), None);
        self.bytes += name.len() as u64;
        Ok(())
    }
    fn bucket_end(&mut self) -> Result<()> {
        assert!(self.open.take().is_some() && self.value_left.is_none());
        Ok(())
    }
    fn item(&mut self, key: &[u8], value_len: u64, _at: Spot) -> Result<()> {
        assert!(self.open.is_some() && !key.is_empty());
        assert_eq!(self.value_left.replace(value_len), None);
        self.bytes += key.len() as u64;
        Ok(())
    }
    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        assert!(!chunk.is_empty());
        let left = self.value_left.as_mut().expect("a value follows an item");
        *left = left
            .checked_sub(chunk.len() as u64)
            .expect("a value is as long as announced");
        self.bytes += chunk.len() as u64;
        Ok(())
    }
    fn item_end(&mut self) -> Result<()> {
        assert_eq!(self.value_left.take(), Some(0));
        Ok(())
    }
    fn misplaced(&mut self, _key: &[u8], _what: Misplaced, _at: Spot) -> Result<()> {
        self.misplaced += 1;
        Ok(())
    }
}

/// Operations on a model; what is built from it is read back, at any page size.
///
/// Input: page size as a power of two, then operations: bucket and key length (3 bits each, a byte), then
/// the value's length (two bytes, little endian, the second one's high bits shift it), then the key.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_build_model(data: &[u8]) {
    let Some((&shift, mut rest)) = data.split_first() else {
        return;
    };
    let page_size = 512 << (shift % 8);
    let mut model = Model::new();
    while let Some((&[shape, low, high], tail)) = rest.split_first_chunk() {
        let bucket = vec![b'a' + (shape >> 5)];
        let items = model.entry(bucket).or_default();
        let key_len = usize::from(shape & 31);
        let (key, tail) = tail.split_at_checked(key_len).unwrap_or((tail, &[]));
        let value_len = (usize::from(low) << (high & 7)) + usize::from(high >> 3);
        if !key.is_empty() {
            // Long keys are what makes trees deep.
            let key = key.repeat(1 + usize::from(high & 3) * 40);
            items.insert(key, vec![low ^ high; value_len]);
        }
        rest = tail;
    }
    assert!(rebuilt(&model, page_size) == model);
}

/// Builds a file from the model and reads it back.
fn rebuilt(model: &Model, page_size: u32) -> Model {
    let image = Image::from_memory(built(model, page_size));
    let db = holds("what was built opens", Db::open(&image, &Limits::default()));
    let db = db.unwrap_or_else(|fault| panic!("what was built opens: {fault:?}"));
    let mut protocol = Protocol::default();
    let walked = holds(
        "what was built is walked",
        walk::check(&db, &Limits::default(), &Unobserved, &mut protocol),
    );
    assert_eq!(walked.report.listed(), []);
    read(&db)
}

/// A file made by the builder.
pub(super) fn built(model: &Model, page_size: u32) -> Vec<u8> {
    let build = || -> Result<Vec<u8>> {
        let mut builder = Builder::new(Cursor::new(Vec::new()), page_size)?;
        for (name, items) in model {
            builder.bucket(name, 0)?;
            for (key, value) in items {
                builder.item(key, value.len() as u64)?;
                for chunk in value.chunks(100) {
                    builder.value(chunk)?;
                }
                builder.item_end()?;
            }
            builder.bucket_end()?;
        }
        let (out, built) = builder.finish()?;
        assert_eq!(out.get_ref().len() as u64, built.bytes);
        Ok(out.into_inner())
    };
    holds("a model can be built", build())
}

fn read(db: &Db<'_>) -> Model {
    let mut collect = Collect::up_to(usize::MAX);
    holds(
        "what was walked is walked again",
        walk::check(db, &Limits::default(), &Unobserved, &mut collect),
    );
    let buckets = collect.buckets.into_iter();
    buckets
        .map(|(name, items)| (name, items.into_iter().collect()))
        .collect()
}

fn read_bucket(db: &Db<'_>, name: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut collect = Collect::up_to(usize::MAX);
    holds(
        "one bucket alone is walked",
        walk::bucket(db, name, &Limits::default(), &Unobserved, &mut collect),
    );
    assert!(matches!(&collect.buckets[..], [(found, _)] if found == name));
    collect
        .buckets
        .into_iter()
        .flat_map(|(_, items)| items)
        .collect()
}
