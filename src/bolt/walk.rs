//! Reads everything that the root page reaches, in key order, and finds what is wrong with it.
//!
//! One pass serves checking, hashing, decoding and rebuilding: a [`Visitor`] gets every key and value.
//! Findings never stop the walk; what cannot be trusted is left out and said so. What is checked is
//! bbolt's `Tx.Check` and more (`formats.md` 2.9): page numbers against the high-water mark and the
//! file's end, no page reached twice, page header, element bounds, key order within and between pages,
//! uniform leaf depth, inline pages, and a persisted freelist against what is reachable.
//!
//! Memory: one bit for each page of the file, and one block head for each level of the tree.
//!
//! Source: etcd-io/bbolt, `tx_check.go`, v1.5.0.

use super::block::{Block, HEAD};
use super::db::Db;
use super::freelist;
use super::meta::NO_FREELIST;
use super::packed::Packed;
use super::page::{
    self, BUCKET_HEADER, BUCKET_LEAF, BranchElement, BucketHeader, LeafElement, MAX_KEY, MAX_VALUE,
};
use crate::error::Result;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::{Place, Report, printable};

/// Gets what the walk finds, in byte order of buckets and keys. An error ends the walk.
pub trait Visitor {
    /// A top-level bucket begins.
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()>;
    /// It ends.
    fn bucket_end(&mut self) -> Result<()>;
    /// An item of the bucket begins; its value follows in as many chunks as it takes, none if it is empty.
    fn item(&mut self, key: &[u8], value_len: u64, at: Spot) -> Result<()>;
    /// The next bytes of the item's value.
    fn value(&mut self, chunk: &[u8]) -> Result<()>;
    /// The item is complete.
    fn item_end(&mut self) -> Result<()>;
    /// A key beside the top-level buckets, or a bucket inside one: bbolt allows both, etcd makes neither.
    fn misplaced(&mut self, key: &[u8], what: Misplaced, at: Spot) -> Result<()>;
}

/// What bbolt allows and etcd does not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// A key and value in the root bucket.
    Item,
    /// A bucket inside a top-level bucket.
    Bucket,
}

/// Where an item is: cheap to hand around, a [`Place`] when it has to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// The page it is on; for an inline bucket the page that holds the bucket.
    pub page: u64,
    /// Offset in the file of the key.
    pub offset: u64,
}

impl From<Spot> for Place {
    fn from(spot: Spot) -> Place {
        Place {
            offset: Some(spot.offset),
            page: Some(spot.page),
            ..Place::default()
        }
    }
}

/// What the walk learned about the file as a whole.
#[derive(Debug)]
pub struct Walked {
    /// Structural findings, those of opening the file included.
    pub report: Report,
    /// Pages that are in use: metas, freelist, and what the root reaches.
    pub pages_in_use: u64,
}

/// Walks the whole file.
pub fn check(
    db: &Db<'_>,
    limits: &Limits,
    observer: &dyn Observer,
    visitor: &mut dyn Visitor,
) -> Result<Walked> {
    let mut walk = Walk::new(db, limits, observer, visitor, None);
    walk.report.absorb(db.findings().clone());
    walk.check_length();
    let freelist = walk.freelist()?;
    walk.root()?;
    if let Some(freelist) = freelist {
        walk.check_freelist(&freelist);
    }
    Ok(Walked {
        report: walk.report,
        pages_in_use: walk.reached + 2,
    })
}

/// Walks one top-level bucket; whatever is wrong with the file is left to [`check`].
pub fn bucket(
    db: &Db<'_>,
    name: &[u8],
    limits: &Limits,
    observer: &dyn Observer,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    Walk::new(db, limits, observer, visitor, Some(name)).root()
}

/// One tree: a bucket or the root bucket.
struct Tree {
    kind: Kind,
    /// Depth of the first leaf; all others must agree.
    leaf_depth: Option<usize>,
    /// The last key seen, if any: keys ascend across the whole tree.
    last: Option<Vec<u8>>,
    /// Spots of an inline bucket point at the page that holds it.
    page: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Root,
    Bucket,
    Nested,
}

/// The keys that a page may hold: from `lower`, below `upper`.
#[derive(Clone, Copy)]
struct Bounds<'b> {
    lower: &'b [u8],
    upper: Option<&'b [u8]>,
}

struct Walk<'a, 'i> {
    db: &'a Db<'i>,
    limits: &'a Limits,
    observer: &'a dyn Observer,
    visitor: &'a mut dyn Visitor,
    only: Option<&'a [u8]>,
    report: Report,
    seen: Bitmap,
    reached: u64,
    /// Pages that the file has and the high-water mark allows.
    pages: u64,
    buffers: Vec<Vec<u8>>,
}

impl<'a, 'i> Walk<'a, 'i> {
    fn new(
        db: &'a Db<'i>,
        limits: &'a Limits,
        observer: &'a dyn Observer,
        visitor: &'a mut dyn Visitor,
        only: Option<&'a [u8]>,
    ) -> Walk<'a, 'i> {
        let pages = db.pages_present().min(db.meta().high_water_mark);
        Walk {
            db,
            limits,
            observer,
            visitor,
            only,
            report: Report::new(limits.findings),
            seen: Bitmap::new(pages),
            reached: 0,
            pages,
            buffers: Vec::new(),
        }
    }

    fn check_length(&mut self) {
        let (size, len) = (self.db.size(), self.db.image().len());
        if len < size {
            self.report.error(
                Place::offset(len),
                format!(
                    "file cut: it ends at byte {len}, its pages need {size}: {} bytes are missing",
                    size - len
                ),
            );
        }
    }

    fn root(&mut self) -> Result<()> {
        let mut tree = Tree::new(Kind::Root, 0);
        self.tree(self.db.meta().root, &mut tree, 0)
    }

    fn tree(&mut self, root: u64, tree: &mut Tree, depth: usize) -> Result<()> {
        let bounds = Bounds {
            lower: &[],
            upper: None,
        };
        self.page(root, bounds, tree, depth, true)
    }

    /// One page and everything below it.
    fn page(
        &mut self,
        id: u64,
        bounds: Bounds<'_>,
        tree: &mut Tree,
        depth: usize,
        is_root: bool,
    ) -> Result<()> {
        self.observer.check()?;
        if depth >= self.limits.tree_depth {
            let what = format!("tree deeper than {} levels", self.limits.tree_depth);
            self.report.error(self.place(id), what);
            return Ok(());
        }
        let Some(block) = self.block(id)? else {
            return Ok(());
        };
        self.observer.advance(block.size());
        tree.page = id;
        match block.header().flags {
            page::BRANCH => self.branch(id, &block, bounds, tree, depth)?,
            page::LEAF => self.leaf(&block, bounds, tree, depth, is_root)?,
            _ => {
                let what = format!(
                    "expected a branch or leaf page, found {}",
                    block.header().kind()
                );
                self.report.error(self.place(id), what);
            }
        }
        self.buffers.push(block.into_buffer());
        Ok(())
    }

    /// Reads the block at page `id` if it may be there; claims its pages.
    fn block(&mut self, id: u64) -> Result<Option<Block<'i>>> {
        if id < 2 || id >= self.db.meta().high_water_mark {
            let mark = self.db.meta().high_water_mark;
            self.report.error(
                self.place(id),
                format!("page number outside of 2 to {mark}, the high-water mark"),
            );
            return Ok(None);
        }
        if id >= self.pages {
            self.report
                .error(self.place(id), "page behind the end of the file");
            return Ok(None);
        }
        if !self.seen.set(id) {
            self.report.error(self.place(id), "page reached twice");
            return Ok(None);
        }
        self.reached += 1;
        let room = (self.pages - id) * self.db.page_size();
        let buffer = self.buffers.pop().unwrap_or_default();
        let offset = id * self.db.page_size();
        let block = Block::read(self.db.image(), offset, self.db.page_size(), room, buffer)?;
        let header = *block.header();
        if header.id != id {
            self.report.error(
                self.place(id),
                format!("page header says it is page {}", header.id),
            );
        }
        let overflow = u64::from(header.overflow);
        if overflow >= self.pages - id {
            self.report.error(
                self.place(id),
                format!(
                    "{overflow} overflow pages run past page {}, the last one",
                    self.pages - 1
                ),
            );
            return Ok(None);
        }
        for extra in id + 1..=id + overflow {
            if !self.seen.set(extra) {
                self.report.error(
                    self.place(extra),
                    format!("page reached twice: as an overflow page of {id} too"),
                );
                return Ok(None);
            }
        }
        self.reached += overflow;
        let has_elements = matches!(header.flags, page::BRANCH | page::LEAF);
        if has_elements && block.table_end() > block.size() {
            self.report.error(
                self.place(id),
                format!(
                    "{} elements do not fit in {} bytes",
                    header.count,
                    block.size()
                ),
            );
            return Ok(None);
        }
        Ok(Some(block))
    }

    fn branch(
        &mut self,
        id: u64,
        block: &Block<'_>,
        bounds: Bounds<'_>,
        tree: &mut Tree,
        depth: usize,
    ) -> Result<()> {
        let count = usize::from(block.header().count);
        if count == 0 {
            self.report
                .error(self.place(id), "branch page without elements");
            return Ok(());
        }
        // The key of a child and of its successor bound it. Both are copied: the block may be larger than its head.
        let (mut here, mut next) = (Vec::new(), Vec::new());
        let mut packed = Packed::behind(block.table_end());
        let mut child = self.branch_key(id, block, 0, &mut packed, &mut here)?;
        if here.as_slice() < bounds.lower {
            let what = format!(
                "first key {} is below its parent's {}",
                show(&here),
                show(bounds.lower)
            );
            self.report.error(self.place(id), what);
        }
        for index in 0..count {
            let successor = if index + 1 < count {
                self.branch_key(id, block, index + 1, &mut packed, &mut next)?
            } else {
                None
            };
            let last = index + 1 == count;
            if !last && successor.is_some() && next <= here {
                let what = format!(
                    "key {} does not ascend: {} is before it",
                    show(&next),
                    show(&here)
                );
                self.report.error(self.place(id), what);
            }
            let upper = if last || successor.is_none() {
                bounds.upper
            } else {
                Some(next.as_slice())
            };
            if let Some(child) = child {
                let bounds = Bounds {
                    lower: &here,
                    upper,
                };
                self.page(child, bounds, tree, depth + 1, false)?;
            }
            child = successor;
            std::mem::swap(&mut here, &mut next);
        }
        self.check_overflow(id, block, &packed);
        Ok(())
    }

    /// The child of element `index`, and its key in `key`; or a finding.
    fn branch_key(
        &mut self,
        id: u64,
        block: &Block<'_>,
        index: usize,
        packed: &mut Packed,
        key: &mut Vec<u8>,
    ) -> Result<Option<u64>> {
        let mut scratch = Vec::new();
        key.clear();
        let at = Block::element_at(index);
        let bytes = block.get(at, page::ELEMENT, &mut scratch)?;
        let Ok(element) = BranchElement::decode(bytes) else {
            return Ok(None);
        };
        match locate(block, packed, at, element.pos, element.ksize, 0) {
            Ok(key_at) => {
                key.extend_from_slice(block.get(key_at, element.ksize as usize, &mut scratch)?);
                Ok(Some(element.child))
            }
            Err(what) => {
                self.report
                    .error(self.place(id), format!("branch element {index}: {what}"));
                Ok(None)
            }
        }
    }

    fn leaf(
        &mut self,
        block: &Block<'_>,
        bounds: Bounds<'_>,
        tree: &mut Tree,
        depth: usize,
        is_root: bool,
    ) -> Result<()> {
        let id = tree.page;
        let expected = *tree.leaf_depth.get_or_insert(depth);
        if depth != expected {
            let what = format!("leaf at depth {depth}, the first one is at depth {expected}");
            self.report.error(self.place(id), what);
        }
        let count = usize::from(block.header().count);
        if count == 0 && !is_root {
            self.report
                .error(self.place(id), "leaf page without elements below a branch");
        }
        let mut scratch = self.buffers.pop().unwrap_or_default();
        let mut packed = Packed::behind(block.table_end());
        for index in 0..count {
            let at = Block::element_at(index);
            let bytes = block.get(at, page::ELEMENT, &mut scratch)?;
            let Ok(element) = LeafElement::decode(bytes) else {
                break;
            };
            match locate(
                block,
                &mut packed,
                at,
                element.pos,
                element.ksize,
                element.vsize,
            ) {
                Ok(key_at) => {
                    self.element(block, &element, key_at, bounds, tree, depth, &mut scratch)?
                }
                Err(what) => {
                    let place = Place {
                        offset: Some(block.offset_of(at)),
                        ..self.place(id)
                    };
                    self.report
                        .error(place, format!("leaf element {index}: {what}"));
                }
            }
        }
        self.buffers.push(scratch);
        if block.is_inline() {
            self.check_inline_end(id, block, &packed);
        } else {
            self.check_overflow(id, block, &packed);
        }
        Ok(())
    }

    /// A page has as many overflow pages as its elements need.
    fn check_overflow(&mut self, id: u64, block: &Block<'_>, packed: &Packed) {
        let pages = u64::from(block.header().overflow) + 1;
        if let Some(what) = packed.fault(self.db.page_size(), pages) {
            self.report.error(self.place(id), what);
        }
    }

    /// An inline bucket ends with its last element.
    fn check_inline_end(&mut self, id: u64, block: &Block<'_>, packed: &Packed) {
        if let Some(end) = packed.end().filter(|end| *end != block.size()) {
            let what = format!(
                "inline bucket of {} bytes, its elements end at {end}",
                block.size()
            );
            let place = Place {
                offset: Some(block.offset_of(0)),
                ..self.place(id)
            };
            self.report.error(place, what);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one element seen from where it stands"
    )]
    fn element(
        &mut self,
        block: &Block<'_>,
        element: &LeafElement,
        key_at: u64,
        bounds: Bounds<'_>,
        tree: &mut Tree,
        depth: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let spot = Spot {
            page: tree.page,
            offset: block.offset_of(key_at),
        };
        let key = block.get(key_at, element.ksize as usize, scratch)?;
        if let Some(what) = out_of_order(key, bounds, tree.last.as_deref()) {
            self.report.error(spot.into(), what);
        }
        let last = tree.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        let value_at = key_at + u64::from(element.ksize);
        match (tree.kind, element.flags) {
            (Kind::Root, BUCKET_LEAF) => {
                if self.only.is_none_or(|only| only == key) {
                    let name = key.to_vec();
                    self.bucket(block, &name, value_at, element.vsize, spot, depth)?;
                }
                Ok(())
            }
            (Kind::Bucket, 0) => {
                self.visitor.item(key, u64::from(element.vsize), spot)?;
                let mut left = u64::from(element.vsize);
                let mut at = value_at;
                while left > 0 {
                    let len = left.min(HEAD);
                    self.visitor.value(block.get(at, len as usize, scratch)?)?;
                    (at, left) = (at + len, left - len);
                    if left > 0 {
                        self.observer.check()?;
                    }
                }
                self.visitor.item_end()
            }
            (Kind::Nested, 0) => Ok(()),
            (Kind::Root, 0) => self.visitor.misplaced(key, Misplaced::Item, spot),
            (Kind::Bucket | Kind::Nested, BUCKET_LEAF) => {
                let name = key.to_vec();
                self.visitor.misplaced(&name, Misplaced::Bucket, spot)?;
                self.descend(block, value_at, element.vsize, spot, Kind::Nested, depth)
                    .map(|_| ())
            }
            (_, flags) => {
                let what = format!("leaf element with flags {flags:#x}, expected 0 or 1");
                self.report.error(spot.into(), what);
                Ok(())
            }
        }
    }

    /// A top-level bucket.
    fn bucket(
        &mut self,
        block: &Block<'_>,
        name: &[u8],
        value_at: u64,
        vsize: u32,
        spot: Spot,
        depth: usize,
    ) -> Result<()> {
        let sequence = self
            .bucket_header(block, value_at, vsize, spot)?
            .map_or(0, |header| header.sequence);
        self.visitor.bucket(name, sequence)?;
        self.descend(block, value_at, vsize, spot, Kind::Bucket, depth)?;
        self.visitor.bucket_end()
    }

    fn bucket_header(
        &mut self,
        block: &Block<'_>,
        value_at: u64,
        vsize: u32,
        spot: Spot,
    ) -> Result<Option<BucketHeader>> {
        if (vsize as usize) < BUCKET_HEADER {
            let what = format!("bucket header of {vsize} bytes, expected {BUCKET_HEADER}");
            self.report.error(spot.into(), what);
            return Ok(None);
        }
        let mut scratch = Vec::new();
        Ok(BucketHeader::decode(block.get(value_at, BUCKET_HEADER, &mut scratch)?).ok())
    }

    /// Into the tree of a bucket, wherever it is.
    fn descend(
        &mut self,
        block: &Block<'_>,
        value_at: u64,
        vsize: u32,
        spot: Spot,
        kind: Kind,
        depth: usize,
    ) -> Result<()> {
        let Some(header) = self.bucket_header(block, value_at, vsize, spot)? else {
            return Ok(());
        };
        let mut tree = Tree::new(kind, spot.page);
        if header.root != 0 {
            if vsize as usize > BUCKET_HEADER {
                let extra = vsize as usize - BUCKET_HEADER;
                self.report.error(
                    spot.into(),
                    format!("{extra} bytes behind a bucket header that names a root page"),
                );
            }
            return self.tree(header.root, &mut tree, depth + 1);
        }
        let len = vsize as usize - BUCKET_HEADER;
        let most = self.db.page_size() as usize / 4;
        if len < page::HEADER || len > most {
            let what = format!(
                "inline bucket of {len} bytes, expected {} to {most}",
                page::HEADER
            );
            self.report.error(spot.into(), what);
            return Ok(());
        }
        if depth + 1 >= self.limits.tree_depth {
            let what = format!("tree deeper than {} levels", self.limits.tree_depth);
            self.report.error(spot.into(), what);
            return Ok(());
        }
        let at = value_at + BUCKET_HEADER as u64;
        self.inline(block, at, len, spot, &mut tree, depth + 1)
    }

    /// The page of an inline bucket.
    fn inline(
        &mut self,
        holder: &Block<'_>,
        at: u64,
        len: usize,
        spot: Spot,
        tree: &mut Tree,
        depth: usize,
    ) -> Result<()> {
        let mut scratch = Vec::new();
        let bytes = holder.get(at, len, &mut scratch)?.to_vec();
        let Ok(block) = Block::inline(bytes, holder.offset_of(at)) else {
            return Ok(());
        };
        let header = block.header();
        if header.id != 0 || header.flags != page::LEAF || header.overflow != 0 {
            let what = format!(
                "inline bucket with page id {}, kind {}, overflow {}; expected 0, leaf, 0",
                header.id,
                header.kind(),
                header.overflow
            );
            self.report.error(spot.into(), what);
            return Ok(());
        }
        if block.table_end() > block.size() {
            let what = format!(
                "inline bucket: {} elements do not fit in {len} bytes",
                header.count
            );
            self.report.error(spot.into(), what);
            return Ok(());
        }
        let bounds = Bounds {
            lower: &[],
            upper: None,
        };
        self.leaf(&block, bounds, tree, depth, true)
    }

    /// A persisted freelist, as a bitmap; its own pages are claimed.
    fn freelist(&mut self) -> Result<Option<Bitmap>> {
        let id = self.db.meta().freelist;
        if id == NO_FREELIST {
            return Ok(None);
        }
        let Some(block) = self.block(id)? else {
            return Ok(None);
        };
        let mut free = Bitmap::new(self.pages);
        let (pages, page_size) = (self.pages, self.db.page_size());
        let report = &mut self.report;
        let read = freelist::read(&block, |page| {
            if page < 2 || page >= pages {
                report.error(
                    Place::page(id, page_size),
                    format!("freelist names page {page}, outside of 2 to {pages}"),
                );
            } else if !free.set(page) {
                report.error(Place::page(page, page_size), "page twice in the freelist");
            }
        })?;
        if let Err(what) = read {
            self.report.error(self.place(id), what);
            return Ok(None);
        }
        Ok(Some(free))
    }

    /// Every page is reachable or free, and none is both. A stretch of pages is one finding: a lost
    /// branch leaves millions behind.
    fn check_freelist(&mut self, free: &Bitmap) {
        let mut page = 2;
        while page < self.pages {
            let state = |page| (self.seen.get(page), free.get(page));
            let (used, listed) = state(page);
            let mut end = page + 1;
            while end < self.pages && state(end) == (used, listed) {
                end += 1;
            }
            if used == listed {
                let what = match used {
                    true => "in use and in the freelist",
                    false => "neither reachable nor in the freelist",
                };
                let what = match end - page {
                    1 => format!("page {what}"),
                    pages => format!("{pages} pages from here on {what}"),
                };
                self.report.error(self.place(page), what);
            }
            page = end;
        }
    }

    fn place(&self, page: u64) -> Place {
        Place::page(page, self.db.page_size())
    }
}

impl Tree {
    fn new(kind: Kind, page: u64) -> Tree {
        Tree {
            kind,
            leaf_depth: None,
            last: None,
            page,
        }
    }
}

/// Where the key of an element at `at` is, if key and value lie between the element table and the block's
/// end, right behind those of the element before.
fn locate(
    block: &Block<'_>,
    packed: &mut Packed,
    at: u64,
    pos: u32,
    ksize: u32,
    vsize: u32,
) -> std::result::Result<u64, String> {
    let (key_at, end) = bounded(block, at, pos, ksize, vsize).inspect_err(|_| packed.lost())?;
    packed.next(key_at, end)?;
    Ok(key_at)
}

/// Where key and value of an element start and end, if its numbers make sense by themselves.
fn bounded(
    block: &Block<'_>,
    at: u64,
    pos: u32,
    ksize: u32,
    vsize: u32,
) -> std::result::Result<(u64, u64), String> {
    if ksize == 0 || ksize > MAX_KEY {
        return Err(format!("key of {ksize} bytes, expected 1 to {MAX_KEY}"));
    }
    if vsize > MAX_VALUE {
        return Err(format!(
            "value of {vsize} bytes, expected at most {MAX_VALUE}"
        ));
    }
    let key_at = at + u64::from(pos);
    let end = key_at + u64::from(ksize) + u64::from(vsize);
    if key_at < block.table_end() || end > block.size() {
        return Err(format!(
            "key and value at {key_at} to {end} of the page, expected within {} to {}",
            block.table_end(),
            block.size()
        ));
    }
    Ok((key_at, end))
}

fn out_of_order(key: &[u8], bounds: Bounds<'_>, last: Option<&[u8]>) -> Option<String> {
    if let Some(last) = last
        && key <= last
    {
        return Some(format!(
            "key {} does not ascend: {} is before it",
            show(key),
            show(last)
        ));
    }
    if key < bounds.lower {
        return Some(format!(
            "key {} is below its parent's {}",
            show(key),
            show(bounds.lower)
        ));
    }
    match bounds.upper {
        Some(upper) if key >= upper => Some(format!(
            "key {} is not below {}, where the next page starts",
            show(key),
            show(upper)
        )),
        _ => None,
    }
}

/// Keys in structural findings are bucket names and etcd's own binary keys, never users' keys.
fn show(key: &[u8]) -> String {
    printable(key)
}

/// One bit for each page.
struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    fn new(pages: u64) -> Bitmap {
        let words = usize::try_from(pages.div_ceil(64)).unwrap_or(0);
        Bitmap {
            words: vec![0; words],
        }
    }

    /// Sets the bit; false if it was set already or is out of range.
    fn set(&mut self, page: u64) -> bool {
        let bit = 1 << (page % 64);
        let word = usize::try_from(page / 64)
            .ok()
            .and_then(|word| self.words.get_mut(word));
        word.is_some_and(|word| {
            let fresh = *word & bit == 0;
            *word |= bit;
            fresh
        })
    }

    fn get(&self, page: u64) -> bool {
        let bit = 1 << (page % 64);
        let word = usize::try_from(page / 64)
            .ok()
            .and_then(|word| self.words.get(word));
        word.is_some_and(|word| word & bit != 0)
    }
}
