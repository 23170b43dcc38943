//! Down one tree: pages, branches, leaves, and the order of keys.

use super::super::block::{Block, HEAD};
use super::super::packed::Packed;
use super::super::page::{self, BUCKET_LEAF, BranchElement, LeafElement, MAX_KEY, MAX_VALUE};
use super::Walk;
use super::{Misplaced, Spot};
use crate::error::{Kind as ErrorKind, Result};
use crate::report::{Place, printable};

/// One tree: a bucket or the root bucket.
pub(super) struct Tree {
    pub kind: Kind,
    /// Depth of the first leaf; all others must agree.
    pub leaf_depth: Option<usize>,
    /// The last key seen, if any: keys ascend across the whole tree.
    pub last: Option<Vec<u8>>,
    /// Spots of an inline bucket point at the page that holds it.
    pub page: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Root,
    Bucket,
    Nested,
}

/// The keys that a page may hold: from `lower`, below `upper`.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'b> {
    pub lower: &'b [u8],
    pub upper: Option<&'b [u8]>,
}

impl Tree {
    pub(super) fn new(kind: Kind, page: u64) -> Tree {
        Tree {
            kind,
            leaf_depth: None,
            last: None,
            page,
        }
    }
}

impl<'i> Walk<'_, 'i> {
    pub(super) fn tree(&mut self, root: u64, tree: &mut Tree, depth: usize) -> Result<()> {
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
        if self.lost {
            return Ok(());
        }
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
    pub(super) fn block(&mut self, id: u64) -> Result<Option<Block<'i>>> {
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
        let (image, page_size) = (self.db.image(), self.db.page_size());
        let block = match Block::read(image, offset, page_size, room, self.guess, buffer) {
            Err(unreadable) if unreadable.kind() == ErrorKind::Damaged => {
                self.report.error(self.place(id), unreadable.to_string());
                return Ok(None);
            }
            read => read?,
        };
        self.guess = block.size();
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

    pub(super) fn leaf(
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
            if self.lost {
                return Ok(());
            }
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
                    let chunk = match block.get(at, len as usize, scratch) {
                        Err(unreadable) if unreadable.kind() == ErrorKind::Damaged => {
                            self.report.error(spot.into(), unreadable.to_string());
                            self.lost = true;
                            return Ok(());
                        }
                        read => read?,
                    };
                    self.visitor.value(chunk)?;
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
