//! How far the WAL of a stopped member goes: its db may not have all that was written.
//!
//! The db has the entries up to its `consistent_index`; those above it are in the WAL alone, normally at most
//! one batch (100 ms or 10,000 writes) [etcd v3.7.1 server/storage/backend/backend.go]. All of them were saved
//! before any client was answered, and the hard state trails them: a lone member that starts again applies
//! every one. In a larger cluster those above the commit may have been refused by the others.

use std::path::Path;

use super::wal_segments;
use crate::error::{Error, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::proto::raft::{ENTRY_NORMAL, Entry};
use crate::proto::raft_internal::{self, Change};
use crate::wal::{self, End, Event, Segment};

/// Longest record that is read here, where nothing but a number is wanted: a record takes memory, and
/// verifying a db takes little. Servers accept requests of 1.5 MiB unless they are told otherwise.
const RECORD: usize = 16 << 20;

/// Runs of entries that are remembered, 16 bytes each. One batch has at most 10,000 entries.
const MOST_RUNS: usize = 1 << 20;

/// What of a log is not in the db.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Entries that would change the db.
    pub entries: u64,
    /// Those of them that the last hard state says are committed.
    pub committed: u64,
}

/// What the log in `wal_dir` has after entry `applied`, counting entries that change `least` or more.
///
/// `Error::damaged` when it can't be read to its end.
pub fn after(wal_dir: &Path, applied: u64, least: Change, limits: &Limits) -> Result<Tail> {
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
    let mut runs = Runs::default();
    let log = wal::read(&segments, limits, &mut |_, event| match event {
        Event::Entry(entry) => {
            runs.cut(entry.index);
            match entry.index > applied && change(&entry) >= least {
                true => runs.push(entry.index),
                false => Ok(()),
            }
        }
        _ => Ok(()),
    })?;
    match log.end {
        End::Clean | End::Torn(_) => Ok(Tail {
            entries: runs.count(u64::MAX),
            committed: runs.count(log.state.commit),
        }),
        End::Corrupt(corruption) => {
            Err(Error::damaged(format!("the WAL is damaged: {corruption}")))
        }
    }
}

/// A change of the members is no loss: a restore makes its own.
fn change(entry: &Entry<'_>) -> Change {
    match entry.entry_type {
        ENTRY_NORMAL => raft_internal::change(entry.data.unwrap_or_default()),
        _ => Change::Nothing,
    }
}

/// Indexes, ascending: first and last of each run.
#[derive(Default)]
struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// An entry takes the place of one with its index, and of all above it.
    fn cut(&mut self, index: u64) {
        while self.0.last().is_some_and(|(first, _)| *first >= index) {
            self.0.pop();
        }
        if let Some((_, last)) = self.0.last_mut() {
            *last = index.saturating_sub(1).min(*last);
        }
    }

    fn push(&mut self, index: u64) -> Result<()> {
        let full = self.0.len() >= MOST_RUNS;
        match self.0.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(index) => *last = index,
            _ if full => {
                return Err(Error::damaged(format!(
                    "more than {MOST_RUNS} runs of entries after the db"
                )));
            }
            _ => self.0.push((index, index)),
        }
        Ok(())
    }

    /// How many there are up to `last`.
    fn count(&self, last: u64) -> u64 {
        let upto = |run: &(u64, u64)| run.1.min(last).saturating_add(1).saturating_sub(run.0);
        self.0.iter().map(upto).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::WalName;
    use crate::proto::raft::{ENTRY_CONF_CHANGE, HardState};
    use crate::proto::walpb::{self, Metadata};
    use crate::proto::wire;
    use crate::wal::Encoder;

    fn request(number: u32) -> Vec<u8> {
        let mut data = Vec::new();
        wire::put_bytes(&mut data, number, b"\x0a\x01k");
        data
    }

    /// A log of these entries (index, type, data), committed up to `commit`.
    fn log(entries: &[(u64, i32, &[u8])], commit: u64) -> Vec<u8> {
        let mut log = Encoder::begin(0);
        let metadata = Metadata {
            node_id: 1,
            cluster_id: 1,
        };
        log.record(walpb::METADATA, Some(&metadata.encode()));
        for (index, entry_type, data) in entries {
            let entry = Entry {
                entry_type: *entry_type,
                term: 1,
                index: *index,
                data: Some(data),
            };
            log.record(walpb::ENTRY, Some(&entry.encode()));
        }
        let state = HardState {
            term: 1,
            vote: 1,
            commit,
        };
        log.record(walpb::STATE, Some(&state.encode()));
        log.into_bytes()
    }

    fn tail(log: &[u8], applied: u64, least: Change) -> Result<(u64, u64)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(WalName::default().to_string()), log).unwrap();
        let tail = after(dir.path(), applied, least, &Limits::default())?;
        Ok((tail.entries, tail.committed))
    }

    #[test]
    fn entries_after_the_db_are_counted() {
        let (put, grant) = (request(4), request(8));
        let entries: [(u64, i32, &[u8]); 7] = [
            (1, ENTRY_CONF_CHANGE, b"x"),
            (2, ENTRY_NORMAL, b""),
            (3, ENTRY_NORMAL, &put),
            (4, ENTRY_NORMAL, &grant),
            (5, ENTRY_NORMAL, &put),
            (6, ENTRY_NORMAL, &put),
            (7, ENTRY_CONF_CHANGE, b"x"),
        ];
        let log = log(&entries, 5);
        for (applied, least, expected) in [
            (0, Change::Keys, (3, 2)),
            (0, Change::Grants, (4, 3)),
            (2, Change::Keys, (3, 2)),
            (3, Change::Grants, (3, 2)),
            (5, Change::Grants, (1, 0)),
            (6, Change::Grants, (0, 0)),
            (9, Change::Grants, (0, 0)),
        ] {
            let found = tail(&log, applied, least).unwrap();
            assert_eq!(found, expected, "{applied} {least:?}");
        }
    }

    #[test]
    fn an_entry_that_was_replaced_does_not_count() {
        let put = request(4);
        let entries: [(u64, i32, &[u8]); 6] = [
            (1, ENTRY_NORMAL, &put),
            (2, ENTRY_NORMAL, &put),
            (3, ENTRY_NORMAL, &put),
            (4, ENTRY_NORMAL, &put),
            (2, ENTRY_NORMAL, b""),
            (3, ENTRY_NORMAL, &put),
        ];
        let found = tail(&log(&entries, 3), 0, Change::Keys).unwrap();
        assert_eq!(found, (2, 2));
    }

    /// As a power cut leaves it: etcd, too, goes on from the last whole record.
    #[test]
    fn a_torn_log_has_what_is_whole_in_it() {
        let put = request(4);
        let entries = [(1, ENTRY_NORMAL, &put[..]), (2, ENTRY_NORMAL, &put)];
        let log = log(&entries, 2);
        // The state is lost, which said what is committed.
        let torn = &log[..log.len() - 3];
        assert_eq!(tail(torn, 0, Change::Keys).unwrap(), (2, 0));
    }

    #[test]
    fn a_damaged_log_tells_nothing() {
        let mut log = log(&[(1, ENTRY_NORMAL, &request(4))], 1);
        let at = log.windows(3).position(|bytes| bytes == b"\x0a\x01k");
        log[at.unwrap()] ^= 1;
        let error = tail(&log, 0, Change::Keys).unwrap_err();
        assert!(error.to_string().contains("the WAL is damaged"), "{error}");
    }
}
