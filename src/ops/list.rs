//! List: what lies in a directory of backups.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::catalogue::entry::{self, Entry};
use crate::catalogue::records::Catalogue;
use crate::catalogue::run::Totals;
use crate::catalogue::scan::{self, Scan};
use crate::error::Result;
use crate::limits::Limits;

/// What to list.
#[derive(Clone, Debug)]
pub struct Request {
    /// The directory of the backups.
    pub dir: PathBuf,
}

/// What is there.
#[derive(Debug)]
pub struct Outcome {
    /// When it was looked at.
    pub now: Timestamp,
    /// The backups, newest first.
    pub entries: Vec<Entry>,
    /// What looks like a backup and is none, and what is unfinished.
    pub found: Scan,
    /// The files among the strangers that were archives.
    pub unsound: Vec<PathBuf>,
    /// How many of each kind.
    pub totals: Totals,
    /// Id of the newest proved one.
    pub latest: Option<String>,
    /// What is wrong with the catalogue, or missing of what it has.
    pub problem: Option<String>,
}

/// Reads the ends of the files and the catalogue; changes nothing.
pub fn run(request: &Request, limits: &Limits) -> Result<Outcome> {
    let now = Timestamp::now();
    let found = scan::scan(&request.dir, limits)?;
    let catalogue = Catalogue::load(&request.dir)?;
    let entries = entry::entries(&found, &catalogue);
    let latest = entry::last_verified(&entries, now).map(|entry| entry.backup.id.clone());
    let unsound = entry::unsound_files(&found, &catalogue);
    Ok(Outcome {
        now,
        unsound: unsound.map(|file| file.path.clone()).collect(),
        totals: entry::totals(&entries, &found, &catalogue),
        latest,
        problem: catalogue
            .problem()
            .or_else(|| entry::missing_pins(&found, &catalogue)),
        entries,
        found,
    })
}
