//! The walk's side of a verification: makes sense of every item, and hands it on to a follower.

use crate::bolt::Db;
use crate::bolt::walk::{self, Misplaced, Spot, Visitor};
use crate::error::{Error, Kind, Result};
use crate::etcd::facts::Facts;
use crate::etcd::keyspace::Counts;
use crate::etcd::meaning::{LeaseIds, Meaning};
use crate::limits::Limits;
use crate::observe::{Observer, Silent};
use crate::report::Report;

/// Listens to the walk of a verification: gets every item in order. `counts` says what is known of the
/// key space so far.
pub trait Follower {
    /// See [`Visitor::bucket`].
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()>;
    /// See [`Visitor::bucket_end`].
    fn bucket_end(&mut self, counts: &Counts) -> Result<()>;
    /// See [`Visitor::item`].
    fn item(&mut self, key: &[u8], value_len: u64) -> Result<()>;
    /// See [`Visitor::value`].
    fn value(&mut self, chunk: &[u8]) -> Result<()>;
    /// See [`Visitor::item_end`].
    fn item_end(&mut self) -> Result<()>;
}

/// What a walk brings home.
pub(super) struct Learned {
    pub structure: Report,
    pub meaning: Report,
    pub facts: Facts,
    /// A follower that could not go on with what it was given.
    pub lost: Option<Error>,
}

/// Walks the whole file.
pub(super) fn walk_meaning(
    db: &Db<'_>,
    limits: &Limits,
    observer: &dyn Observer,
    follower: Option<&mut dyn Follower>,
) -> Result<Learned> {
    let mut leases = LeaseIds::default();
    walk::bucket(db, b"lease", limits, &Silent(observer), &mut leases)?;
    let mut pass = Pass {
        meaning: Meaning::new(leases.ascending(), limits),
        follower,
        lost: None,
    };
    let walked = walk::check(db, limits, observer, &mut pass)?;
    let (mut facts, meaning) = pass.meaning.finish(!walked.broke_off);
    facts.page_size = db.meta().page_size;
    facts.size = db.size();
    facts.in_use = walked.pages_in_use.saturating_mul(db.page_size());
    facts.free = facts.size.saturating_sub(facts.in_use);
    Ok(Learned {
        structure: walked.report,
        meaning,
        facts,
        lost: pass.lost,
    })
}

/// The walk's visitor: makes sense of every item, then hands it on.
struct Pass<'l, 'f> {
    meaning: Meaning<'l>,
    follower: Option<&'f mut dyn Follower>,
    lost: Option<Error>,
}

impl Pass<'_, '_> {
    /// A follower that finds its input damaged is let go: the walk will say what the damage is.
    fn follow(
        &mut self,
        step: impl FnOnce(&mut dyn Follower, &Counts) -> Result<()>,
    ) -> Result<()> {
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        match step(*follower, self.meaning.counts()) {
            Err(e) if e.kind() == Kind::Damaged => {
                self.follower = None;
                self.lost = Some(e);
                Ok(())
            }
            other => other,
        }
    }
}

impl Visitor for Pass<'_, '_> {
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()> {
        self.meaning.bucket(name, sequence)?;
        self.follow(|follower, _| follower.bucket(name, sequence))
    }
    fn bucket_end(&mut self) -> Result<()> {
        self.meaning.bucket_end()?;
        self.follow(|follower, counts| follower.bucket_end(counts))
    }
    fn item(&mut self, key: &[u8], value_len: u64, at: Spot) -> Result<()> {
        self.meaning.item(key, value_len, at)?;
        self.follow(|follower, _| follower.item(key, value_len))
    }
    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        self.meaning.value(chunk)?;
        self.follow(|follower, _| follower.value(chunk))
    }
    fn item_end(&mut self) -> Result<()> {
        self.meaning.item_end()?;
        self.follow(|follower, _| follower.item_end())
    }
    fn misplaced(&mut self, key: &[u8], what: Misplaced, at: Spot) -> Result<()> {
        self.meaning.misplaced(key, what, at)
    }
}
