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

mod buckets;
mod tree;

use self::tree::{Kind, Tree};
use super::bitmap::Bitmap;
use super::db::Db;
use super::freelist;
use super::meta::NO_FREELIST;
use crate::error::Result;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::{Place, Report};

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
    /// It ended within a value that cannot be read to its end; of what comes after it nothing is known.
    pub broke_off: bool,
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
        broke_off: walk.lost,
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
    /// Size of the last block: its neighbour is often as large.
    guess: u64,
    /// A value broke off in the middle of an item: the visitor cannot be told of anything else.
    lost: bool,
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
            guess: 0,
            lost: false,
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
