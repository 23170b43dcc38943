//! Check: is there a verified backup that is young enough? And, if asked, do the disks still give back
//! what was written?

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::entry::{self, Entry, Freshness};
use crate::catalogue::lock::DirLock;
use crate::catalogue::records::{Catalogue, How};
use crate::catalogue::run::Totals;
use crate::catalogue::scan::{self, Scan, Stranger};
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::observe::{Observer, limit, rough};
use crate::report::Severity;
use crate::shell;
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
    /// How it ended.
    pub end: End,
}

/// How a verification from the disk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it is there and good.
    Good,
    /// What is wrong with it.
    Damaged(String),
    /// Why nobody can tell: that is no word on the archive.
    Unreadable(String),
}

impl Reading {
    /// What is wrong with it, if anything is.
    pub fn damage(&self) -> Option<&str> {
        match &self.end {
            End::Damaged(what) => Some(what),
            End::Good | End::Unreadable(_) => None,
        }
    }

    /// Why nobody can tell, if nobody can.
    pub fn unreadable(&self) -> Option<&str> {
        match &self.end {
            End::Unreadable(why) => Some(why),
            End::Good | End::Damaged(_) => None,
        }
    }
}

impl Outcome {
    /// How many archives could not be read, for no fault of theirs.
    pub fn unreadable(&self) -> u64 {
        let readings = self.readings.iter();
        readings
            .filter(|reading| reading.unreadable().is_some())
            .count() as u64
    }
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
    /// Why what was found is not recorded, where it should have been.
    pub unrecorded: Option<Error>,
}

/// Checks. Nothing but the catalogue is written, and that only if something was verified.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<Outcome> {
    let mut warnings = Vec::new();
    let mut proof = Proof::default();
    if request.reread != Reread::None {
        proof = reread(request, limits, observer, &mut warnings)?;
    }
    let now = Timestamp::now();
    let found = scan::scan(&request.dir, limits)?;
    // What could not be recorded was found all the same.
    let catalogue = match proof.kept {
        Some(catalogue) => catalogue,
        None => Catalogue::load(&request.dir)?,
    };
    // Whoever read archives has told it before it was mended.
    if request.reread == Reread::None {
        warnings.extend(catalogue.problem());
        warnings.extend(entry::unread(&found, &catalogue));
    }
    warnings.extend(entry::missing_pins(&found, &catalogue));
    let entries = entry::entries(&found, &catalogue);
    warnings.extend(entry::suspicious(&entries));
    let newest = entry::last_verified(&entries, now).cloned();
    let max_age = SignedDuration::try_from(request.max_age).unwrap_or(SignedDuration::MAX);
    let freshness = entry::freshness(&entries, max_age, now);
    let age = newest
        .as_ref()
        .map(|entry| now.duration_since(entry.backup.at));
    Ok(Outcome {
        late: late(&freshness, request.max_age, &entries),
        now,
        newest,
        age,
        readings: proof.readings,
        totals: entry::totals(&entries, &found, &catalogue),
        warnings,
        unrecorded: proof.unrecorded,
    })
}

/// Why the newest one is not young enough.
fn late(freshness: &Freshness, max: Duration, entries: &[Entry]) -> Option<String> {
    match freshness {
        Freshness::Fresh(_) => None,
        Freshness::Missing if entries.is_empty() => Some("there is no backup".into()),
        Freshness::Missing if entries.iter().any(|entry| entry.item().is_good()) => Some(
            "nobody knows how old the verified archives are: pack made them, of snapshots without a date".into(),
        ),
        Freshness::Missing => Some(format!(
            "none of {} archives is a verified backup",
            entries.len()
        )),
        Freshness::Future => {
            Some("every verified backup is dated in the future: a clock is or was wrong".into())
        }
        Freshness::TooOld(age) => Some(format!(
            "the newest verified backup is {} old, more than {}",
            rough(age.unsigned_abs()),
            limit(max)
        )),
    }
}

/// What came of reading archives.
#[derive(Default)]
struct Proof {
    readings: Vec<Reading>,
    /// Why not all of it is recorded, where it should have been.
    unrecorded: Option<Error>,
    /// The catalogue as it ought to be, where that is not what the directory has.
    kept: Option<Catalogue>,
}

/// Verifies archives from the disk, and records what comes out.
fn reread(
    request: &Request,
    limits: &Limits,
    observer: &dyn Observer,
    warnings: &mut Vec<String>,
) -> Result<Proof> {
    let dir = &request.dir;
    let command = format!("check {}", dir.display());
    let (now, wait) = (Timestamp::now(), request.lock_wait);
    let mut lock = match DirLock::hold(dir, command, now, wait, observer) {
        Ok(lock) => Some(lock),
        // A copy in another place, perhaps: what is there can be verified all the same.
        Err(e) if is_read_only(&e) => {
            warnings.push(format!("what is found cannot be recorded: {e}"));
            None
        }
        Err(e) => return Err(e),
    };
    warnings.extend(lock.as_ref().and_then(DirLock::warning));
    let mut catalogue = Catalogue::load(dir)?;
    catalogue.can_be_written(dir)?;
    warnings.extend(catalogue.problem());
    let found = scan::scan(dir, limits)?;
    let mut unrecorded = None;
    let mut record = |catalogue: &mut Catalogue| {
        if let Some(held) = &lock
            && let Err(e) = catalogue.save(held, Timestamp::now())
        {
            // The others can be looked at all the same.
            unrecorded = Some(e);
            lock = None;
        }
    };
    let mut readings = unsound(&found, &mut catalogue);
    let unread = entry::unread_files(&found, &catalogue);
    readings.extend(unread.map(|stranger| Reading {
        file: stranger.file_name(),
        end: End::Unreadable(stranger.why.clone()),
    }));
    let missing = missing(&found, &mut catalogue, request.reread);
    if missing.is_some() || !readings.is_empty() {
        record(&mut catalogue);
    }
    warnings.extend(missing);
    for entry in chosen(entry::entries(&found, &catalogue), request.reread) {
        let end = read(&entry, limits, observer)?;
        let (now, known) = (Timestamp::now(), catalogue.entry(&entry.backup.id));
        match &end {
            End::Good => known.found_good(now, How::Check),
            End::Damaged(what) => known.found_damaged(now, what),
            End::Unreadable(_) => {}
        }
        let names: Vec<String> = entry.backup.paths().map(scan::file_name).collect();
        known.found_as(&names);
        // Each one for itself: a check of many hours must not lose all of it at the end.
        record(&mut catalogue);
        readings.push(Reading {
            file: entry.backup.file_name(),
            end,
        });
    }
    Ok(Proof {
        readings,
        unrecorded,
        kept: lock.is_none().then_some(catalogue),
    })
}

fn is_read_only(error: &Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.io_kind(), Some(PermissionDenied | ReadOnlyFilesystem))
}

/// What were archives: damaged for sure, and there is nothing to read.
fn unsound(found: &Scan, catalogue: &mut Catalogue) -> Vec<Reading> {
    let files: Vec<_> = entry::unsound_files(found, catalogue).cloned().collect();
    let reading = |stranger: Stranger| {
        let file = stranger.file_name();
        if let Some(id) = catalogue.named(&file).map(str::to_owned) {
            let record = catalogue.entry(&id);
            record.found_damaged(Timestamp::now(), stranger.why.clone());
        }
        Reading {
            file,
            end: End::Damaged(stranger.why),
        }
    };
    files.into_iter().map(reading).collect()
}

/// Archives that were proved and are not there any more, in words, if all are looked at; each is told once.
fn missing(found: &Scan, catalogue: &mut Catalogue, reread: Reread) -> Option<String> {
    if reread != Reread::Full {
        return None;
    }
    let present = entry::present(found, catalogue);
    let absent = catalogue.absent(&present);
    let new = absent.filter(|(_, record)| record.missed.is_none() && record.damaged.is_none());
    let new: Vec<(String, String)> = new
        .map(|(id, record)| (id.to_owned(), record.file.clone().unwrap_or(id.to_owned())))
        .collect();
    let now = Timestamp::now();
    for (id, _) in &new {
        catalogue.entry(id).missed = Some(now);
    }
    entry::list(new.into_iter().map(|(_, file)| file))
        .map(|files| format!("verified once, and not there any more: {files}"))
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

/// Reads one archive from the disk. Only an interruption is an error.
fn read(entry: &Entry, limits: &Limits, observer: &dyn Observer) -> Result<End> {
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
        Err(e) if scan::is_damage(&e) => Ok(End::Damaged(e.to_string())),
        Err(e) => Ok(End::Unreadable(e.to_string())),
        Ok(verified) => {
            let verdict = verified.into_verdict();
            let findings = verdict.report.listed().iter().rev();
            // Of several the first.
            let worst = findings.max_by_key(|finding| finding.severity == Severity::Error);
            Ok(match (verdict.sum, &entry.backup.flaw) {
                (Sum::Good, None) => End::Good,
                // What is inside is whole, and the file is not.
                (Sum::Good, Some(flaw)) => End::Damaged(flaw.clone()),
                _ => End::Damaged(worst.map_or("not proved".into(), ToString::to_string)),
            })
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
    let dir = shell::path(&request.dir);
    let error = Error::failed(format!("{}: {late}", request.dir.display()));
    Some(error.hint(match outcome.newest {
        Some(_) => format!(
            "etcd-rescue list {dir} shows what is there; the last run's --report says why there is no newer one"
        ),
        None if outcome.totals.unverified == 0 => format!(
            "etcd-rescue list {dir} shows what is there; the last run's --report says why there is no backup"
        ),
        None => format!(
            "etcd-rescue check {dir} --full verifies what is there; the last run's --report says why there is no backup"
        ),
    }))
}
