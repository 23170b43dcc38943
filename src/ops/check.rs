//! Check: is there a verified backup that is young enough? And, if asked, do the disks still give back
//! what was written?

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::entry::{self, Entry, Freshness};
use crate::catalogue::lock::DirLock;
use crate::catalogue::records::{Catalogue, How};
use crate::catalogue::run::Totals;
use crate::catalogue::scan;
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::observe::{Observer, rough};
use crate::snapshot::{self, Listeners, Options, Sum};
use crate::source::{Input, Source};

/// What to check.
#[derive(Clone, Debug)]
pub struct Request {
    /// The directory of the backups.
    pub dir: PathBuf,
    /// How old the newest verified backup may be.
    pub max_age: Duration,
    /// How many archives to verify from the disk, those checked longest ago first.
    pub reread: Reread,
    /// How long to wait for another run to end.
    pub lock_wait: Duration,
}

/// How many archives are verified from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reread {
    /// None: what is recorded counts.
    None,
    /// This many.
    Sample(usize),
    /// All of them.
    Full,
}

/// One archive that was verified from the disk.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Its file.
    pub file: String,
    /// What is wrong with it, if anything is.
    pub damage: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub struct Outcome {
    /// When it was looked at.
    pub now: Timestamp,
    /// The newest verified backup.
    pub newest: Option<Entry>,
    /// How old it is; negative if it is dated in the future.
    pub age: Option<SignedDuration>,
    /// Why there is none that is young enough.
    pub late: Option<String>,
    /// What was verified from the disk.
    pub readings: Vec<Reading>,
    /// How many of each kind there are.
    pub totals: Totals,
    /// What else is worth knowing.
    pub warnings: Vec<String>,
}

/// Checks. Nothing but the catalogue is written, and that only if something was verified.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<Outcome> {
    let mut warnings = Vec::new();
    let mut readings = Vec::new();
    if request.reread != Reread::None {
        readings = reread(request, limits, observer, &mut warnings)?;
    }
    let now = Timestamp::now();
    let found = scan::scan(&request.dir, limits)?;
    let catalogue = Catalogue::load(&request.dir)?;
    warnings.extend(catalogue.problem());
    let entries = entry::entries(&found, &catalogue);
    let newest = entry::last_verified(&entries, now).cloned();
    let max_age = SignedDuration::try_from(request.max_age).unwrap_or(SignedDuration::MAX);
    let freshness = entry::freshness(&entries, max_age, now);
    let age = newest
        .as_ref()
        .map(|entry| now.duration_since(entry.backup.at));
    Ok(Outcome {
        late: late(&freshness, request.max_age, entries.len()),
        now,
        newest,
        age,
        readings,
        totals: entry::totals(&entries, &found),
        warnings,
    })
}

/// Why the newest one is not young enough.
fn late(freshness: &Freshness, max: Duration, archives: usize) -> Option<String> {
    match freshness {
        Freshness::Fresh(_) => None,
        Freshness::Missing if archives == 0 => Some("there is no backup".into()),
        Freshness::Missing => Some(format!("none of {archives} archives is a verified backup")),
        Freshness::Future => {
            Some("every verified backup is dated in the future: a clock is or was wrong".into())
        }
        Freshness::TooOld(age) => Some(format!(
            "the newest verified backup is {} old, more than {}",
            rough(age.unsigned_abs()),
            rough(max)
        )),
    }
}

/// Verifies archives from the disk, and records what comes out.
fn reread(
    request: &Request,
    limits: &Limits,
    observer: &dyn Observer,
    warnings: &mut Vec<String>,
) -> Result<Vec<Reading>> {
    let dir = &request.dir;
    let command = format!("check {}", dir.display());
    let (now, wait) = (Timestamp::now(), request.lock_wait);
    let lock = DirLock::hold(dir, command, now, wait, observer)?;
    warnings.extend(lock.warning());
    let mut catalogue = Catalogue::load(dir)?;
    catalogue.can_be_written(dir)?;
    let found = scan::scan(dir, limits)?;
    let mut readings = Vec::new();
    for entry in chosen(entry::entries(&found, &catalogue), request.reread) {
        let damage = damage(&entry, limits, observer)?;
        let (now, record) = (Timestamp::now(), catalogue.entry(&entry.backup.id));
        match &damage {
            None => record.found_good(now, How::Check),
            Some(what) => record.found_damaged(now, what),
        }
        // Each one for itself: a check of many hours must not lose all of it at the end.
        catalogue.save(&lock, now)?;
        readings.push(Reading {
            file: entry.backup.file_name(),
            damage,
        });
    }
    Ok(readings)
}

/// Those that were looked at longest ago come first, those that never were before all others.
fn chosen(mut entries: Vec<Entry>, reread: Reread) -> Vec<Entry> {
    entries.sort_by_key(|entry| {
        let verified = entry.record.verified.as_ref().map(|verified| verified.at);
        let damaged = entry.record.damaged.as_ref().map(|damaged| damaged.at);
        verified.max(damaged)
    });
    match reread {
        Reread::None => entries.clear(),
        Reread::Sample(number) => entries.truncate(number),
        Reread::Full => {}
    }
    entries
}

/// Reads one archive from the disk. Damage is a value; an error means that nobody can tell.
fn damage(entry: &Entry, limits: &Limits, observer: &dyn Observer) -> Result<Option<String>> {
    let path = &entry.backup.path;
    drop_cache(path);
    // A snapshot without trailer was packed with --raw, and said so then.
    let source = Source {
        input: Input::Path(path.clone()),
        raw: !entry.backup.manifest.snapshot.trailer,
        spool_dirs: Vec::new(),
    };
    let options = Options {
        raw: source.raw,
        digest: None,
    };
    let verified = source.open(limits, observer).and_then(|candidate| {
        snapshot::verify(candidate, options, limits, observer, Listeners::default())
    });
    match verified {
        Err(e) if e.kind() == Kind::Interrupted => Err(e),
        Err(e) => Ok(Some(e.to_string())),
        Ok(verified) => {
            let verdict = verified.into_verdict();
            let first = verdict.report.listed().first().map(ToString::to_string);
            match verdict.sum {
                // What is inside is whole, and the file is not.
                Sum::Good => Ok(entry.backup.flaw.clone()),
                _ => Ok(Some(first.unwrap_or_else(|| "not proved".into()))),
            }
        }
    }
}

/// What memory has of the file says nothing of the disk. Advice that is not taken costs proof, not data.
fn drop_cache(path: &std::path::Path) {
    if let Ok(file) = std::fs::File::open(path) {
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// What a check with a bad end says.
pub fn error(request: &Request, outcome: &Outcome) -> Option<Error> {
    let late = outcome.late.as_ref()?;
    Some(
        Error::failed(format!("{}: {late}", request.dir.display())).hint(format!(
            "etcd-rescue list {} shows what is there; the last run's --report says why there is no newer one",
            request.dir.display()
        )),
    )
}
