//! `DIR --latest`: the backup to take when nobody says which.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::entry::{self, Entry};
use super::records::Catalogue;
use super::scan::scan;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::shell;

/// What was found.
#[derive(Debug)]
pub struct Latest {
    /// Its file.
    pub path: PathBuf,
    /// Why a person should look before relying on it.
    pub doubts: Vec<String>,
}

/// The newest proved backup. `Error::refused` when there is none.
pub fn latest(dir: &Path, now: Timestamp, limits: &Limits) -> Result<Latest> {
    let found = scan(dir, limits)?;
    let catalogue = Catalogue::load(dir)?;
    let entries = entry::entries(&found, &catalogue);
    match entry::last_verified(&entries, now) {
        Some(entry) => Ok(Latest {
            path: entry.backup.path.clone(),
            doubts: doubt(entry, &entries, now)
                .into_iter()
                .chain(newer(entry, &entries, dir))
                .chain(entry::unsound(&found, &catalogue))
                .collect(),
        }),
        None => Err(Error::refused(format!(
            "{} has no verified backup ({} archives there)",
            dir.display(),
            entries.len()
        ))
        .hint(format!(
            "etcd-rescue list {0} shows what is there; etcd-rescue check {0} --full verifies it; \
             what pack made has no date and is never the latest: name its file",
            shell::path(dir)
        ))),
    }
}

/// What is younger and does not count: the directory may be a copy whose catalogue did not come along.
fn newer(latest: &Entry, entries: &[Entry], dir: &Path) -> impl Iterator<Item = String> {
    let newer = |damaged: bool| {
        let newer = entries
            .iter()
            .filter(|entry| entry.backup.at >= latest.backup.at && entry.backup.dated());
        let odd = newer.filter(move |entry| {
            let marks = entry.marks();
            marks.damaged == damaged && (damaged || !marks.verified)
        });
        entry::list(odd.map(|entry| entry.backup.file_name()))
    };
    let unverified = newer(false).map(|files| {
        let dir = shell::path(dir);
        format!("newer, but not verified: {files}; etcd-rescue check {dir} --full verifies them")
    });
    let damaged = newer(true).map(|files| format!("newer, but damaged: {files}"));
    unverified.into_iter().chain(damaged)
}

/// A cluster that was wiped goes on being backed up: its last backup is whole, and not what anybody wants.
fn doubt(latest: &Entry, entries: &[Entry], now: Timestamp) -> Option<String> {
    let record = &latest.record;
    if !record.is_suspicious() {
        // The odd one may be among those before it.
        let odd = entries.iter().find(|entry| entry.record.is_suspicious())?;
        return Some(format!(
            "{} is suspicious, and nobody has accepted it yet: {}",
            odd.backup.file_name(),
            odd.record.suspicious.join("; ")
        ));
    }
    let mut others = entries.iter();
    let before = others.find(|entry| entry.item().counts(now));
    let instead = before.map_or(String::new(), |entry| {
        format!(
            "; the last one before that is {}",
            entry.backup.path.display()
        )
    });
    Some(format!(
        "it is suspicious: {}{instead}",
        record.suspicious.join("; ")
    ))
}
