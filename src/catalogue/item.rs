//! A backup as far as retention is concerned.

use std::cmp::Reverse;

use jiff::Timestamp;

/// A backup as far as retention is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The archive's id; no two items share one.
    pub id: String,
    /// When its snapshot was taken.
    pub at: Timestamp,
    /// Bytes of the archive on disk.
    pub bytes: u64,
    /// Which cluster, if the manifest says so.
    pub cluster: Option<String>,
    /// etcd's revision in it.
    pub revision: i64,
    /// Its number among the backups that were made here, if the catalogue has it.
    pub order: Option<u64>,
    /// What is known of it.
    pub marks: Marks,
}

/// What is known of a backup, from its manifest and its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The manifest says that `backup` made it.
    pub by_backup: bool,
    /// When its snapshot was taken is known.
    pub dated: bool,
    /// It was read back and proved, and not found damaged since.
    pub verified: bool,
    /// A check found it damaged.
    pub damaged: bool,
    /// It was odd beside the one before it, and nobody has accepted that.
    pub suspicious: bool,
    /// A person wants it kept.
    pub pinned: bool,
}

impl Item {
    /// Proved to be whole when it was last looked at.
    pub fn is_good(&self) -> bool {
        self.marks.verified && !self.marks.damaged
    }

    /// Higher for what is newer. Of the same date is newer what was made later, as far as that is known.
    pub fn age(&self) -> (Timestamp, Option<u64>, i64, Reverse<&str>) {
        (self.at, self.order, self.revision, Reverse(&self.id))
    }

    /// The last backup could be this one.
    pub fn may_be_latest(&self) -> bool {
        self.is_good() && self.marks.dated
    }

    /// It counts towards the rules.
    pub fn counts(&self, now: Timestamp) -> bool {
        self.marks.by_backup && self.is_good() && !self.marks.suspicious && self.at <= now
    }
}
