//! How far the WAL of a stopped member goes: its db may not have all that was committed.
//!
//! The db has the entries up to its `consistent_index`; committed ones above it are in the WAL alone,
//! normally at most one batch (100 ms or 10,000 writes) [etcd v3.7.1 server/storage/backend/backend.go].

use std::path::Path;

use super::wal_segments;
use crate::error::{Error, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::wal::{self, End, Segment};

/// Longest record that is read here, where nothing but a number is wanted: a record takes memory, and
/// verifying a db takes little. Servers accept requests of 1.5 MiB unless they are told otherwise.
const RECORD: usize = 16 << 20;

/// Raft index of the last entry that the log knows to be committed. `Error::damaged` when it can't be read to its end.
pub fn committed(wal_dir: &Path, limits: &Limits) -> Result<u64> {
    let mut images = Vec::new();
    for (name, path) in wal_segments(wal_dir)? {
        images.push((name.seq, Image::open(&path)?));
    }
    let segments: Vec<_> = images
        .iter()
        .map(|(seq, image)| Segment { seq: *seq, image })
        .collect();
    let limits = &Limits {
        wal_record: RECORD.min(limits.wal_record),
        ..limits.clone()
    };
    let log = wal::read(&segments, limits, &mut |_, _| Ok(()))?;
    match log.end {
        End::Clean | End::Torn(_) => Ok(log.state.commit),
        End::Corrupt(corruption) => {
            Err(Error::damaged(format!("the WAL is damaged: {corruption}")))
        }
    }
}
