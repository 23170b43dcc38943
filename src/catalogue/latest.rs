//! `DIR --latest`: the backup to take when nobody says which.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::entry;
use super::records::Catalogue;
use super::scan::scan;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The file of the newest proved backup. `Error::refused` when there is none.
pub fn latest(dir: &Path, now: Timestamp, limits: &Limits) -> Result<PathBuf> {
    let found = scan(dir, limits)?;
    let catalogue = Catalogue::load(dir)?;
    let entries = entry::entries(&found, &catalogue);
    match entry::last_verified(&entries, now) {
        Some(entry) => Ok(entry.backup.path.clone()),
        None => Err(Error::refused(format!(
            "{} has no verified backup ({} archives there)",
            dir.display(),
            entries.len()
        ))
        .hint(format!(
            "etcd-rescue list {0} shows what is there; etcd-rescue check {0} --full verifies it",
            dir.display()
        ))),
    }
}
