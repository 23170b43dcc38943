//! Whether a new backup fits, before it is begun.

use std::path::Path;

use crate::catalogue::entry::Entry;
use crate::error::{Error, Result};
use crate::io::dirs;
use crate::shell;

/// Snapshots are compressed 3 to 30 times; without a backup to go by, this is what they have to be.
const RATIO: u64 = 4;

/// Compares what is free in `dir` with what a db of `db_size` bytes needs, going by the last backup.
pub(super) fn check(dir: &Path, db_size: u64, before: Option<&Entry>) -> Result<()> {
    let free = dirs::free_space(dir)?;
    let needed = needed(db_size, before.map(sizes));
    if needed <= free {
        return Ok(());
    }
    let by = match before.map(sizes) {
        Some((archive, snapshot)) => {
            format!("the last one has {archive} bytes for a snapshot of {snapshot}")
        }
        None => "there is no backup to go by".into(),
    };
    Err(Error::refused(format!(
        "not enough space in {}: about {needed} bytes needed for a db of {db_size} ({by}), {free} free",
        dir.display()
    ))
    .hint(format!(
        "backup prunes when the new one is there; free some space first: etcd-rescue prune {} --keep-last N, or back up to another place",
        shell::path(dir)
    )))
}

fn sizes(entry: &Entry) -> (u64, u64) {
    (entry.backup.bytes, entry.backup.manifest.snapshot.size)
}

/// A tenth more than the last backup had for as many bytes.
fn needed(db_size: u64, last: Option<(u64, u64)>) -> u64 {
    let needed = match last {
        Some((archive, snapshot)) if snapshot > 0 => {
            let same_ratio = u128::from(db_size) * u128::from(archive) / u128::from(snapshot);
            same_ratio.saturating_add(same_ratio / 10)
        }
        _ => u128::from(db_size / RATIO),
    };
    u64::try_from(needed).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_backup_says_what_is_needed() {
        assert_eq!(needed(4000, None), 1000);
        assert_eq!(needed(4000, Some((100, 1000))), 440);
        assert_eq!(needed(4000, Some((100, 0))), 1000);
        assert_eq!(needed(u64::MAX, Some((u64::MAX, 1))), u64::MAX);
    }
}
