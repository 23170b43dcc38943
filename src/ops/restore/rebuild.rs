//! The new db, written while the old one is walked: the normal form that etcd 3.4 to 3.8 boots.
//!
//! | bucket | what becomes of it |
//! |---|---|
//! | `key` | every record as it is; behind them the bump marker, if the revision is bumped |
//! | `members` | the new members and no others |
//! | `members_removed`, `alarm` | empty |
//! | `cluster` | without `clusterVersion` and `downgrade` |
//! | `meta` | new `consistent_index` and `term`, bumped `scheduledCompactRev`; without `confState` and `storageVersion` |
//! | all others | as they are |
//!
//! Sources: `formats.md` 5.3 and 5.5; etcd-io/etcd `etcdutl/snapshot/v3_snapshot.go`, v3.7.1.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;

use super::Bump;
use crate::bolt::build::{Builder, Built};
use crate::datadir::boot::Boot;
use crate::error::{Error, Result};
use crate::etcd::keyspace::Counts;
use crate::etcd::revision::{RecordKey, Revision};
use crate::io::steady::Steady;
use crate::limits::Limits;
use crate::snapshot::{Follower, Peek};

/// How far `Bump::Auto` moves the revision of a Kubernetes snapshot: a week at 1,500 writes a second.
const KUBERNETES_BUMP: u64 = 1_000_000_000;

/// Revisions that a bump must leave: three centuries at 100,000 writes a second.
const REVISIONS_LEFT: i64 = 1 << 50;

/// What a gathered entry costs besides its bytes.
const OVERHEAD: usize = 64;

/// Writes the db that belongs to a new cluster, as it follows a walk over the old one.
pub struct Rebuild<'f> {
    builder: Builder<Steady<'f>>,
    members: BTreeMap<Vec<u8>, Vec<u8>>,
    consistent_index: u64,
    term: u64,
    bump: Bump,
    /// Revisions that are marked as compacted in the source: the new one must be above them.
    compacted: i64,
    /// Buckets that every db must have and that have not come yet, in byte order.
    pending: VecDeque<&'static [u8]>,
    bucket: Kind,
    small: BTreeMap<Vec<u8>, Vec<u8>>,
    small_key: Vec<u8>,
    /// Bytes that may still be gathered from this bucket, and how many there were at its start.
    left: usize,
    most: usize,
    hash: u32,
    revision: Revised,
}

/// What became of the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revised {
    /// How far it was moved.
    pub bump: u64,
    /// What a server will start from.
    pub after: i64,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Rebuilt {
    /// Pages and bytes.
    pub built: Built,
    /// CRC-32C over all of it, to be found again when it is read back.
    pub hash: u32,
    /// What became of the revision.
    pub revision: Revised,
}

/// What is done with a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Items pass through as they stream by.
    Pass,
    /// As [`Kind::Pass`], and the bump marker comes last.
    Key,
    /// Entries are dropped.
    Emptied,
    /// Entries are dropped, and the new members take their place.
    Members,
    /// Entries are gathered, changed, and written at the end.
    Cluster,
    /// As [`Kind::Cluster`].
    Meta,
}

impl<'f> Rebuild<'f> {
    /// Starts writing to the empty `file`.
    pub fn new(
        file: &'f File,
        peek: &Peek,
        boot: &Boot,
        bump: Bump,
        limits: &Limits,
    ) -> Result<Rebuild<'f>> {
        Ok(Rebuild {
            builder: Builder::new(Steady::new(file), peek.page_size)?,
            consistent_index: boot.consistent_index,
            term: boot.term,
            members: boot.members.iter().cloned().collect(),
            bump,
            compacted: compacted(peek),
            pending: VecDeque::from([
                b"cluster" as &[u8],
                b"key",
                b"members",
                b"members_removed",
                b"meta",
            ]),
            bucket: Kind::Pass,
            small: BTreeMap::new(),
            small_key: Vec::new(),
            left: limits.small_value,
            most: limits.small_value,
            hash: 0,
            revision: Revised::default(),
        })
    }

    /// Ends the file. It is worth nothing without the [`crate::snapshot::Snapshot`] that the walk gave.
    pub fn finish(mut self) -> Result<Rebuilt> {
        self.start_pending(None)?;
        let (_, built) = self.builder.finish()?;
        Ok(Rebuilt {
            built,
            hash: self.hash,
            revision: self.revision,
        })
    }

    /// Writes the buckets that should have come before `name`, and did not; all that are left for `None`.
    fn start_pending(&mut self, name: Option<&[u8]>) -> Result<()> {
        while let Some(next) = self.pending.front().copied() {
            if name.is_some_and(|name| next > name) {
                break;
            }
            self.pending.pop_front();
            if name == Some(next) {
                break;
            }
            self.start(next, 0)?;
            self.end(&Counts::default())?;
        }
        Ok(())
    }

    fn start(&mut self, name: &[u8], sequence: u64) -> Result<()> {
        self.bucket = match name {
            b"key" => Kind::Key,
            b"members" => Kind::Members,
            b"members_removed" | b"alarm" => Kind::Emptied,
            b"cluster" => Kind::Cluster,
            b"meta" => Kind::Meta,
            _ => Kind::Pass,
        };
        self.small.clear();
        self.left = self.most;
        self.digest(name);
        self.builder.bucket(name, sequence)
    }

    fn end(&mut self, counts: &Counts) -> Result<()> {
        match self.bucket {
            Kind::Pass | Kind::Emptied => {}
            Kind::Key => self.bump(counts)?,
            Kind::Members => self.small = std::mem::take(&mut self.members),
            Kind::Cluster => {
                for dropped in ["clusterVersion", "downgrade"] {
                    self.small.remove(dropped.as_bytes());
                }
            }
            Kind::Meta => self.renew_meta(),
        }
        for (key, value) in std::mem::take(&mut self.small) {
            self.emit(&key, &value)?;
        }
        self.builder.bucket_end()
    }

    /// Decides the bump, now that all keys are known, and leaves the marker.
    fn bump(&mut self, counts: &Counts) -> Result<()> {
        let base = counts.revision.max(self.compacted).max(1);
        self.revision = revise(self.bump, base, counts.kubernetes)?;
        let Revised { bump, after } = self.revision;
        match bump {
            0 => Ok(()),
            _ => self.emit(
                &Revision {
                    main: after,
                    sub: 0,
                }
                .encode(),
                &[],
            ),
        }
    }

    fn renew_meta(&mut self) {
        for dropped in ["confState", "storageVersion"] {
            self.small.remove(dropped.as_bytes());
        }
        self.small.insert(
            b"consistent_index".to_vec(),
            self.consistent_index.to_be_bytes().to_vec(),
        );
        self.small
            .insert(b"term".to_vec(), self.term.to_be_bytes().to_vec());
        if self.revision.bump > 0 {
            let mark = Revision {
                main: self.revision.after,
                sub: 0,
            };
            self.small
                .insert(b"scheduledCompactRev".to_vec(), mark.encode().to_vec());
        }
    }

    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.emit_start(key, value.len() as u64)?;
        if !value.is_empty() {
            self.emit_value(value)?;
        }
        self.builder.item_end()
    }

    fn emit_start(&mut self, key: &[u8], value_len: u64) -> Result<()> {
        self.digest(key);
        self.builder.item(key, value_len)
    }

    fn emit_value(&mut self, chunk: &[u8]) -> Result<()> {
        self.digest(chunk);
        self.builder.value(chunk)
    }

    /// Makes sure that a bucket which is gathered before it is written stays small.
    fn gather(&mut self, bytes: usize) -> Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::damaged("a small bucket is implausibly large")),
        }
    }

    fn digest(&mut self, bytes: &[u8]) {
        self.hash = crc32c::crc32c_append(self.hash, bytes);
    }
}

impl Follower for Rebuild<'_> {
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()> {
        self.start_pending(Some(name))?;
        self.start(name, sequence)
    }

    fn bucket_end(&mut self, counts: &Counts) -> Result<()> {
        self.end(counts)
    }

    fn item(&mut self, key: &[u8], value_len: u64) -> Result<()> {
        match self.bucket {
            Kind::Pass | Kind::Key => self.emit_start(key, value_len),
            Kind::Emptied | Kind::Members => Ok(()),
            Kind::Cluster | Kind::Meta => {
                self.gather(key.len().saturating_add(OVERHEAD))?;
                self.small_key = key.to_vec();
                self.small.insert(key.to_vec(), Vec::new());
                Ok(())
            }
        }
    }

    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        match self.bucket {
            Kind::Pass | Kind::Key => self.emit_value(chunk),
            Kind::Emptied | Kind::Members => Ok(()),
            Kind::Cluster | Kind::Meta => {
                self.gather(chunk.len())?;
                let value = self.small.entry(self.small_key.clone()).or_default();
                value.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    fn item_end(&mut self) -> Result<()> {
        match self.bucket {
            Kind::Pass | Kind::Key => self.builder.item_end(),
            _ => Ok(()),
        }
    }
}

/// What becomes of the revision `base`, which counts compaction marks too.
pub fn revise(bump: Bump, base: i64, kubernetes: bool) -> Result<Revised> {
    let bump = match bump {
        Bump::Auto if kubernetes => KUBERNETES_BUMP,
        Bump::Auto | Bump::Off => 0,
        Bump::By(bump) => bump,
    };
    let after = i64::try_from(bump)
        .ok()
        .and_then(|bump| base.checked_add(bump));
    match after {
        Some(after) if bump == 0 || after <= i64::MAX - REVISIONS_LEFT => {
            Ok(Revised { bump, after })
        }
        _ => Err(Error::refused(format!(
            "revision {base} cannot be bumped by {bump}: revisions end at {}, and a server could not go on for long",
            i64::MAX
        ))
        .hint(format!(
            "--bump-revision {KUBERNETES_BUMP} is enough for a week at 1,500 writes a second"
        ))),
    }
}

/// The highest revision that a compaction mark names.
fn compacted(peek: &Peek) -> i64 {
    let marks = peek
        .meta
        .iter()
        .filter(|(key, _)| key.ends_with(b"CompactRev"));
    let revisions = marks.filter_map(|(_, value)| RecordKey::decode(value).ok());
    revisions.map(|key| key.revision.main).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_server_can_go_on_for_long_after_a_bump() {
        const LAST: i64 = i64::MAX - REVISIONS_LEFT;
        let after = |bump, base| revise(bump, base, true).map(|revised| revised.after);
        assert_eq!(after(Bump::Auto, 7).unwrap(), 1_000_000_007);
        assert_eq!(after(Bump::By(1), LAST - 1).unwrap(), LAST);
        // What is not bumped is as near the end as it was.
        assert_eq!(after(Bump::Off, i64::MAX).unwrap(), i64::MAX);
        for (bump, base) in [
            (Bump::By(1), LAST),
            (Bump::By(1), i64::MAX),
            (Bump::By(u64::MAX), 1),
            (Bump::Auto, LAST),
        ] {
            assert_eq!(after(bump, base).unwrap_err().kind(), Kind::Refused);
        }
    }
}
