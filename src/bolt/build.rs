//! Writes a clean bbolt file from sorted items: the only writer of db files there is.
//!
//! Bottom up and front to back: leaf pages are filled and written as items come in, a branch page when
//! it is full, the two metas last. Memory is one open page for each level. No free pages, no freelist,
//! no inline buckets. Such files boot on etcd 3.4 to 3.8 (`formats.md` 2.10).
//!
//! An item that is larger than a page shares its overflow pages with its neighbours, as in a file that bbolt
//! itself has written: a db must not grow by being restored, or it comes back above its quota. Only what is
//! larger than 256 KiB stands alone, and goes straight to the file.

mod leaf;

use std::io::{Seek, SeekFrom, Write};

use self::leaf::{GATHERED, Leaf, MAX_COUNT};
use super::meta::{Meta, NO_FREELIST};
use super::page::{
    self, BUCKET_LEAF, BranchElement, BucketHeader, ELEMENT, HEADER, MAX_KEY, MAX_VALUE, PageHeader,
};
use crate::error::{Error, Result};
use crate::report::printable;

/// Writes one file.
pub struct Builder<W> {
    out: W,
    page_size: usize,
    /// The next page to be written.
    next: u64,
    tree: Tree,
    bucket: Option<(Vec<u8>, u64)>,
    buckets: Vec<(Vec<u8>, BucketHeader)>,
    streaming: Option<Streaming>,
}

/// What was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Pages, the high-water mark.
    pub pages: u64,
    /// Bytes: pages times page size.
    pub bytes: u64,
}

/// The tree that is being built: one open leaf, and one open branch for each level above it.
#[derive(Default)]
struct Tree {
    leaf: Leaf,
    branches: Vec<Branch>,
    last: Option<Vec<u8>>,
}

#[derive(Default)]
struct Branch {
    children: Vec<(Vec<u8>, u64)>,
    size: usize,
}

/// An item whose value is still coming in.
struct Streaming {
    left: u64,
    alone: Option<Alone>,
}

/// An item on a page of its own, which goes straight to the file.
struct Alone {
    key: Vec<u8>,
    id: u64,
    /// Zeros to write behind it.
    padding: usize,
}

impl<W: Write + Seek> Builder<W> {
    /// A builder at the start of `out`, which is empty. `page_size` is a power of two in [`page::PAGE_SIZES`].
    pub fn new(mut out: W, page_size: u32) -> Result<Builder<W>> {
        let page_size = page_size as usize;
        put(&mut out, &vec![0; 2 * page_size])?;
        Ok(Builder {
            out,
            page_size,
            next: 2,
            tree: Tree::default(),
            bucket: None,
            buckets: Vec::new(),
            streaming: None,
        })
    }

    /// Starts a top-level bucket; names come in byte order.
    pub fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()> {
        self.idle()?;
        if self.bucket.is_some() {
            return Err(misuse("a bucket inside a bucket"));
        }
        self.bucket = Some((name.to_vec(), sequence));
        Ok(())
    }

    /// Ends the bucket.
    pub fn bucket_end(&mut self) -> Result<()> {
        self.idle()?;
        let Some((name, sequence)) = self.bucket.take() else {
            return Err(misuse("the end of a bucket that did not begin"));
        };
        let root = self.finish_tree()?;
        self.buckets.push((name, BucketHeader { root, sequence }));
        Ok(())
    }

    /// Starts an item; keys come in byte order. [`Builder::value`] follows until `value_len` bytes are there.
    pub fn item(&mut self, key: &[u8], value_len: u64) -> Result<()> {
        if self.bucket.is_none() {
            return Err(misuse("an item outside a bucket"));
        }
        self.start(0, key, value_len)
    }

    /// The next bytes of the item's value.
    pub fn value(&mut self, chunk: &[u8]) -> Result<()> {
        let Some(streaming) = &mut self.streaming else {
            return Err(misuse("a value without an item"));
        };
        streaming.left = streaming
            .left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| misuse("a value longer than announced"))?;
        match streaming.alone {
            Some(_) => put(&mut self.out, chunk),
            None => {
                self.tree.leaf.value(chunk);
                Ok(())
            }
        }
    }

    /// The item is complete.
    pub fn item_end(&mut self) -> Result<()> {
        match self.streaming.take() {
            Some(Streaming {
                left: 0,
                alone: None,
            }) => Ok(()),
            Some(Streaming {
                left: 0,
                alone: Some(alone),
            }) => {
                put(&mut self.out, &vec![0; alone.padding])?;
                // Not earlier: this may write a branch page.
                self.add_child(0, alone.key, alone.id)
            }
            Some(_) => Err(misuse("a value shorter than announced")),
            None => Err(misuse("the end of an item that did not begin")),
        }
    }

    /// Writes the root bucket and the metas; gives the output back, positioned anywhere.
    pub fn finish(mut self) -> Result<(W, Built)> {
        self.idle()?;
        if self.bucket.is_some() {
            return Err(misuse("a bucket that did not end"));
        }
        for (name, header) in std::mem::take(&mut self.buckets) {
            let header = header.encode();
            self.start(BUCKET_LEAF, &name, header.len() as u64)?;
            self.value(&header)?;
            self.item_end()?;
        }
        let root = self.finish_tree()?;
        for (id, txid) in [(0, 2), (1, 1)] {
            let meta = Meta {
                page_size: self.page_size as u32,
                root,
                sequence: 0,
                freelist: NO_FREELIST,
                high_water_mark: self.next,
                txid,
            };
            let at = SeekFrom::Start(id * self.page_size as u64);
            self.out.seek(at).map_err(write_error)?;
            put(&mut self.out, &meta.encode(id))?;
        }
        self.out.flush().map_err(write_error)?;
        let built = Built {
            pages: self.next,
            bytes: self.next * self.page_size as u64,
        };
        Ok((self.out, built))
    }

    fn idle(&self) -> Result<()> {
        match self.streaming {
            None => Ok(()),
            Some(_) => Err(misuse("an item that did not end")),
        }
    }

    fn start(&mut self, flags: u32, key: &[u8], value_len: u64) -> Result<()> {
        self.idle()?;
        let vsize = value_size(key, value_len)?;
        if self.tree.last.as_deref().is_some_and(|last| key <= last) {
            return Err(misuse(&format!("key {} out of order", printable(key))));
        }
        let last = self.tree.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        let size = ELEMENT + key.len() + vsize as usize;
        if !self.tree.leaf.takes(size, self.page_size) {
            self.write_leaf()?;
        }
        let alone = match HEADER + size > GATHERED {
            true => Some(self.start_alone(flags, key, vsize)?),
            false => {
                self.tree.leaf.item(flags, key, vsize);
                None
            }
        };
        self.streaming = Some(Streaming {
            left: value_len,
            alone,
        });
        Ok(())
    }

    /// Writes the front of a page with one large item; its value goes straight to the file.
    fn start_alone(&mut self, flags: u32, key: &[u8], vsize: u32) -> Result<Alone> {
        let mut leaf = Leaf::default();
        leaf.item(flags, key, vsize);
        let size = leaf.bytes() + vsize as usize;
        let pages = size.div_ceil(self.page_size);
        let id = self.allocate(pages as u64);
        put(&mut self.out, &leaf.front(id, pages))?;
        put(&mut self.out, leaf.data())?;
        Ok(Alone {
            key: leaf.clear(),
            id,
            padding: pages * self.page_size - size,
        })
    }

    /// Writes the open leaf, if there is anything in it.
    fn write_leaf(&mut self) -> Result<()> {
        if self.tree.leaf.is_empty() {
            return Ok(());
        }
        let mut leaf = std::mem::take(&mut self.tree.leaf);
        let id = self.write_leaf_page(&leaf)?;
        let first = leaf.clear();
        self.tree.leaf = leaf;
        self.add_child(0, first, id)
    }

    fn write_leaf_page(&mut self, leaf: &Leaf) -> Result<u64> {
        let pages = leaf.bytes().div_ceil(self.page_size);
        let id = self.allocate(pages as u64);
        put(&mut self.out, &leaf.front(id, pages))?;
        put(&mut self.out, leaf.data())?;
        put(
            &mut self.out,
            &vec![0; pages * self.page_size - leaf.bytes()],
        )?;
        Ok(id)
    }

    /// Hangs a page under the branch at `level`. A full branch is written, but for its last child: so no
    /// branch is left with a single one.
    fn add_child(&mut self, level: usize, key: Vec<u8>, id: u64) -> Result<()> {
        if self.tree.branches.len() == level {
            self.tree.branches.push(Branch::default());
        }
        let page_size = self.page_size;
        let Some(branch) = self.tree.branches.get_mut(level) else {
            return Err(misuse("a branch above nothing"));
        };
        let size = ELEMENT + key.len();
        let full = HEADER + branch.size + size > page_size || branch.children.len() >= MAX_COUNT;
        if full && branch.children.len() >= 3 {
            let last = branch.children.split_off(branch.children.len() - 1);
            let full = std::mem::take(branch);
            branch.size = last.iter().map(|(key, _)| ELEMENT + key.len()).sum();
            branch.children = last;
            branch.children.push((key, id));
            branch.size += size;
            self.write_branch(level, full)
        } else {
            branch.children.push((key, id));
            branch.size += size;
            Ok(())
        }
    }

    /// Writes a branch page and hangs it one level up.
    fn write_branch(&mut self, level: usize, branch: Branch) -> Result<()> {
        let (first, id) = self.write_branch_page(branch)?;
        self.add_child(level + 1, first, id)
    }

    fn write_branch_page(&mut self, branch: Branch) -> Result<(Vec<u8>, u64)> {
        let keys: usize = branch.children.iter().map(|(key, _)| key.len()).sum();
        let count = branch.children.len();
        let size = HEADER + count * ELEMENT + keys;
        let pages = size.div_ceil(self.page_size);
        let id = self.allocate(pages as u64);
        let mut page = Vec::with_capacity(pages * self.page_size);
        let header = PageHeader {
            id,
            flags: page::BRANCH,
            count: count as u16,
            overflow: (pages - 1) as u32,
        };
        header.encode(&mut page);
        let mut key_at = 0;
        for (index, (key, child)) in branch.children.iter().enumerate() {
            let pos = ((count - index) * ELEMENT + key_at) as u32;
            BranchElement {
                pos,
                ksize: key.len() as u32,
                child: *child,
            }
            .encode(&mut page);
            key_at += key.len();
        }
        for (key, _) in &branch.children {
            page.extend_from_slice(key);
        }
        self.write_padded(page)?;
        let first = branch.children.into_iter().next().map(|(key, _)| key);
        Ok((first.unwrap_or_default(), id))
    }

    /// Closes the tree, level by level, and returns its root page.
    fn finish_tree(&mut self) -> Result<u64> {
        if self.tree.branches.is_empty() {
            let leaf = std::mem::take(&mut self.tree).leaf;
            return self.write_leaf_page(&leaf);
        }
        self.write_leaf()?;
        let mut level = 0;
        loop {
            let top = level + 1 == self.tree.branches.len();
            let branch = self
                .tree
                .branches
                .get_mut(level)
                .map(std::mem::take)
                .unwrap_or_default();
            if top && branch.children.len() == 1 {
                self.tree = Tree::default();
                return Ok(branch.children.first().map_or(0, |(_, id)| *id));
            }
            self.write_branch(level, branch)?;
            level += 1;
        }
    }

    fn allocate(&mut self, pages: u64) -> u64 {
        let id = self.next;
        self.next += pages;
        id
    }

    fn write_padded(&mut self, mut page: Vec<u8>) -> Result<()> {
        page.resize(page.len().next_multiple_of(self.page_size), 0);
        put(&mut self.out, &page)
    }
}

/// The length of a value that a page can have with this key.
fn value_size(key: &[u8], value_len: u64) -> Result<u32> {
    let key_fits = u32::try_from(key.len()).is_ok_and(|size| (1..=MAX_KEY).contains(&size));
    let vsize = u32::try_from(value_len).ok();
    match vsize.filter(|size| key_fits && *size <= MAX_VALUE) {
        Some(vsize) => Ok(vsize),
        None => Err(misuse(&format!(
            "a key of {} bytes with a value of {value_len}",
            key.len()
        ))),
    }
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(write_error)
}

fn write_error(source: std::io::Error) -> Error {
    Error::failed("cannot write the new db").because(source)
}

/// The walk hands over only what it found in order; anything else is a bug of ours or a damaged input.
fn misuse(what: &str) -> Error {
    Error::damaged(format!("cannot build a db: {what}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::bolt::Db;
    use crate::bolt::collect::Collect;
    use crate::bolt::walk::{self, Walked};
    use crate::io::Image;
    use crate::limits::Limits;
    use crate::observe::Unobserved;

    type Model = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

    fn build(model: &Model, page_size: u32) -> Vec<u8> {
        let mut builder = Builder::new(Cursor::new(Vec::new()), page_size).unwrap();
        for (name, items) in model {
            builder.bucket(name, 0).unwrap();
            for (key, value) in items {
                builder.item(key, value.len() as u64).unwrap();
                for chunk in value.chunks(1000) {
                    builder.value(chunk).unwrap();
                }
                builder.item_end().unwrap();
            }
            builder.bucket_end().unwrap();
        }
        let (out, built) = builder.finish().unwrap();
        assert_eq!(out.get_ref().len() as u64, built.bytes);
        out.into_inner()
    }

    fn read(bytes: Vec<u8>) -> (Model, Walked) {
        let image = Image::from_memory(bytes);
        let db = Db::open(&image, &Limits::default()).unwrap().unwrap();
        let mut collect = Collect::up_to(usize::MAX);
        let walked = walk::check(&db, &Limits::default(), &Unobserved, &mut collect).unwrap();
        let buckets = collect.buckets.into_iter();
        (
            buckets
                .map(|(name, items)| (name, items.into_iter().collect()))
                .collect(),
            walked,
        )
    }

    #[test]
    fn what_is_built_is_read_back_at_every_page_size() {
        let mut model = Model::new();
        let mut items = BTreeMap::new();
        for n in 0..5000u32 {
            let value = vec![n as u8; (n as usize * 7919) % 400];
            items.insert(format!("key-{n:08}").into_bytes(), value);
        }
        items.insert(b"large".to_vec(), vec![1; 700_000]);
        model.insert(b"key".to_vec(), items);
        model.insert(b"empty".to_vec(), BTreeMap::new());
        for page_size in [512, 4096, 16384, 65536] {
            let (found, walked) = read(build(&model, page_size));
            assert_eq!(walked.report.listed(), []);
            assert!(found == model, "page size {page_size}");
        }
    }

    /// A restored db that is larger than the snapshot may be above its quota, and raise the alarm at its first start.
    #[test]
    fn large_items_share_their_pages() {
        let pages_for = |sizes: &[usize]| {
            let key = |n| format!("{n:08}").into_bytes();
            let value = |size: &usize| vec![1; size - ELEMENT - 8];
            let items = sizes.iter().enumerate();
            let items = items.map(|(n, size)| (key(n), value(size))).collect();
            let model = Model::from([(b"key".to_vec(), items)]);
            let (found, walked) = read(build(&model, 4096));
            assert!(found == model && walked.report.total() == 0, "{sizes:?}");
            // Two metas, the root, and the branch that more than one leaf needs.
            walked.pages_in_use - 4
        };
        for (sizes, pages) in [
            // Two by two, as bbolt has them.
            (&[4100; 100][..], 150),
            (&[12_400; 100], 350),
            // They would need as many pages together as apart.
            (&[3000; 100], 100),
            (&[4070; 100], 100),
            // The next ones go where there is room.
            (&[4100, 2000, 2000, 4000], 3),
            (&[100, 33_000, 100, 33_000], 18),
            // Too large to be gathered: alone, on 74 pages.
            (&[100, 300_000, 300_000, 100], 150),
        ] {
            assert_eq!(pages_for(sizes), pages, "{:?}", &sizes[..4]);
        }
    }

    #[test]
    fn an_empty_file_has_a_root() {
        let (found, walked) = read(build(&Model::new(), 4096));
        assert_eq!(
            (found, walked.report.total(), walked.pages_in_use),
            (Model::new(), 0, 3)
        );
    }

    #[test]
    fn disorder_is_refused() {
        let mut builder = Builder::new(Cursor::new(Vec::new()), 4096).unwrap();
        builder.bucket(b"key", 0).unwrap();
        builder.item(b"b", 0).unwrap();
        builder.item_end().unwrap();
        assert!(builder.item(b"a", 0).is_err());
        assert!(builder.item(b"", 0).is_err());
        assert!(builder.item(b"c", 1 << 40).is_err());
        builder.item(b"c", 2).unwrap();
        assert!(builder.value(b"abc").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_model_survives(
            model in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 1..20),
                prop::collection::btree_map(
                    prop::collection::vec(any::<u8>(), 1..700),
                    prop::collection::vec(any::<u8>(), 0..1500),
                    0..60,
                ),
                0..5,
            ),
            page_size in prop::sample::select(vec![512u32, 1024, 4096, 65536]),
        ) {
            let (found, walked) = read(build(&model, page_size));
            prop_assert_eq!(walked.report.listed(), []);
            prop_assert_eq!(found, model);
        }
    }
}
