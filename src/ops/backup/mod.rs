//! Backup, the verb for cron: save into an archive, read it back from the disk, name it, prune, report.
//!
//! A run that fails leaves the directory as it was; what happened is in the [`RunReport`] either way.

mod ending;
mod room;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::Advice;

use crate::archive::manifest::Manifest;
use crate::catalogue::compare::{self, Vitals};
use crate::catalogue::entry::{self, Entry};
use crate::catalogue::lock::{DirLock, Holder};
use crate::catalogue::policy::Policy;
use crate::catalogue::prune::Pruning;
use crate::catalogue::records::Catalogue;
use crate::catalogue::run::{Failover, Outcome, Pruned, RunReport, Stage};
use crate::catalogue::scan::{self, Scan};
use crate::catalogue::telling::Telling;
use crate::client::ConnectOptions;
use crate::error::{Error, Result};
use crate::intake;
use crate::io::fault;
use crate::io::staged::StagedFile;
use crate::limits::Limits;
use crate::observe::{Bounded, Observer};
use crate::packed::{By, Effort};
use crate::shell;
use crate::snapshot::{self, Listeners, Options, Verified};
use crate::source;

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The directory of the backups.
    pub dir: PathBuf,
    /// Where the caller is going to tell how it went: tried before anything else is done.
    pub telling: Telling,
    /// How to reach the cluster.
    pub connect: ConnectOptions,
    /// What names of backups begin with.
    pub name: String,
    /// What stays.
    pub policy: Policy,
    /// How to pack.
    pub effort: Effort,
    /// How long to wait for another run to end.
    pub lock_wait: Duration,
    /// How long the whole run may take.
    pub timeout: Option<Duration>,
}

/// Runs it. The report is complete but for its exit code, which only the caller knows; the error is what ended
/// the run, or what went wrong after the backup was made.
pub fn run(
    request: &Request,
    tool: &str,
    limits: &Limits,
    observer: &dyn Observer,
) -> (RunReport, Option<Error>) {
    let started = Instant::now();
    let mut report = begin(&request.dir, tool);
    let stage = Here(Mutex::new(Stage::Arguments));
    let late = |what| ending::overdue(stage.get(), what);
    let bounded = request
        .timeout
        .map(|limit| Bounded::new(observer, limit).late(&late));
    let run = Run {
        request,
        limits,
        observer: match &bounded {
            Some(bounded) => bounded,
            None => observer,
        },
        stage: &stage,
    };
    let error = run.all(&mut report).err();
    let error = error.map(|error| ending::seen_from_outside(error, &report));
    if let Some(error) = &error {
        // Once it has its name, the backup is made, whatever happens then.
        match report.outcome {
            Outcome::Failed => report.fail(stage.get(), error, 1),
            Outcome::Saved | Outcome::Suspicious => {
                report.stage = stage.get();
                report.error = Some(error.into());
            }
        }
    }
    ending::look_around(&mut report, &request.dir, limits);
    report.end(Timestamp::now(), started.elapsed());
    (report, error)
}

/// The report of a run that never began, because its command line makes no sense: who waits for a backup of `dir` is
/// to hear of that, too, and when the last good one was.
pub fn never_began(
    dir: &Path,
    tool: &str,
    error: &Error,
    exit_code: u8,
    limits: &Limits,
) -> RunReport {
    let started = Instant::now();
    let mut report = begin(dir, tool);
    report.fail(Stage::Arguments, error, exit_code);
    ending::look_around(&mut report, dir, limits);
    report.end(Timestamp::now(), started.elapsed());
    report
}

fn begin(dir: &Path, tool: &str) -> RunReport {
    let now = Timestamp::now();
    let host = Holder::this_process("", now).host;
    RunReport::begin(tool, &host, dir, now)
}

/// Where a run is; the threads of the work may ask.
struct Here(Mutex<Stage>);

impl Here {
    fn get(&self) -> Stage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

struct Run<'a> {
    request: &'a Request,
    limits: &'a Limits,
    observer: &'a dyn Observer,
    stage: &'a Here,
}

/// An archive that is proved and has no name yet.
struct Made {
    staged: StagedFile,
    manifest: Manifest,
    id: String,
}

impl Run<'_> {
    fn all(&self, report: &mut RunReport) -> Result<()> {
        self.request.telling.refuse_foreign()?;
        self.enter(Stage::Lock)?;
        let lock = self.lock()?;
        self.warn(report, lock.warning());
        self.enter(Stage::Clean)?;
        scan::remove_stale(&lock, &mut |path, gone| {
            let what = match gone {
                Ok(()) => format!("removed {}, left by a run that was killed", path.display()),
                Err(e) => format!("{e}: what a killed run left takes room"),
            };
            self.warn(report, Some(what));
        });
        let found = scan::scan(lock.dir(), self.limits)?;
        let mut catalogue = Catalogue::load(lock.dir())?;
        catalogue.can_be_written(lock.dir())?;
        self.warn(report, catalogue.problem());
        let present = entry::present(&found, &catalogue);
        catalogue.tidy(&present, Timestamp::now());
        self.warn(report, entry::missing_pins(&found, &catalogue));
        self.warn(report, entry::unsound(&found, &catalogue));
        self.warn(report, entry::unread(&found, &catalogue));
        let entries = entry::entries(&found, &catalogue);
        let before = entry::previous(&entries, Timestamp::now());
        // What the catalogue says of it holds also when the archive is gone or has become unreadable.
        let vitals = catalogue.last_vitals().cloned();
        let vitals = vitals.or_else(|| before.map(Entry::vitals));
        let made = self.make(before, report)?;
        self.enter(Stage::Compare)?;
        let suspicious = compare::suspicious(vitals.as_ref(), &Vitals::of(&made.manifest));
        let suspicious: Vec<String> = suspicious.iter().map(ToString::to_string).collect();
        self.name(made, &lock, &mut catalogue, &suspicious)?;
        report.outcome = match suspicious.is_empty() {
            true => Outcome::Saved,
            false => Outcome::Suspicious,
        };
        report.suspicious = suspicious;
        let found = scan::scan(lock.dir(), self.limits)?;
        let entries = entry::entries(&found, &catalogue);
        report.saved = newest_made(&entries).and_then(Entry::report);
        self.enter(Stage::Prune)?;
        self.prune(&lock, &found, &mut catalogue, report)?;
        self.stage.set(Stage::Done);
        report.stage = Stage::Done;
        Ok(())
    }

    fn enter(&self, stage: Stage) -> Result<()> {
        self.stage.set(stage);
        self.observer.check()
    }

    /// Told at once, and in the report.
    fn warn(&self, report: &mut RunReport, text: Option<String>) {
        if let Some(text) = text {
            self.observer.warn(&text);
            report.warnings.push(text);
        }
    }

    fn lock(&self) -> Result<DirLock> {
        let dir = &self.request.dir;
        if !dir.is_dir() {
            // Made here, it could be on the wrong disk: below a mount point that is not mounted.
            let missing = format!("{} is not a directory", dir.display());
            return Err(
                Error::refused(missing).hint(format!("mkdir -m 700 -p {}", shell::path(dir)))
            );
        }
        let command = format!("backup {}", dir.display());
        let (now, wait) = (Timestamp::now(), self.request.lock_wait);
        DirLock::hold(dir, command, now, wait, self.observer)
    }

    /// From a member into an archive that is proved twice: as it came in, and as the disk has it.
    fn make(&self, before: Option<&Entry>, report: &mut RunReport) -> Result<Made> {
        self.enter(Stage::Save)?;
        // Only a file system without unnamed files shows it, with a mark that it is unfinished.
        let pending = self.request.dir.join(".etcd-rescue-new.db.zst");
        let options = self.request.effort.beside_a_server();
        let RunReport {
            failovers,
            alarms,
            warnings,
            ..
        } = report;
        let mut vain = |endpoint, error| failovers.push(Failover { endpoint, error });
        let connect = &self.request.connect;
        let taken = intake::take(connect, self.observer, &mut vain, &mut |client, from| {
            let active = intake::alarms(&from.member);
            // The client has told of them; here they are for whoever reads nothing but the report.
            warnings.retain(|text| !text.starts_with(ALARM));
            warnings.extend(active.iter().map(|alarm| format!("{ALARM}{alarm}")));
            *alarms = Some(active);
            self.enter(Stage::Space)?;
            room::check(&self.request.dir, from.member.db_size, before)?;
            self.enter(Stage::Save)?;
            let mut staged = StagedFile::create(&pending, false)?;
            // The server's word on its db is some writes old; the stream begins with the truth.
            let room = |size| {
                let room = room::check(&self.request.dir, size, before);
                room.inspect_err(|_| self.stage.set(Stage::Space))
            };
            let by = (By::Backup, options);
            let (limits, observer) = (self.limits, self.observer);
            let target = (&mut staged, &*self.pending());
            let packed = intake::packed(client, from, target, by, &room, limits, observer)?;
            Ok((staged, packed.manifest))
        })?;
        let (staged, manifest) = taken.got;
        self.enter(Stage::Verify)?;
        let id = self.read_back(&staged, &manifest)?;
        Ok(Made {
            staged,
            manifest,
            id,
        })
    }

    /// What messages call the archive as long as it has no name.
    fn pending(&self) -> PathBuf {
        format!("the new backup in {}", self.request.dir.display()).into()
    }

    /// Reads it from the disk, not from memory, and proves all of it once more. Returns the archive's id.
    fn read_back(&self, staged: &StagedFile, meant: &Manifest) -> Result<String> {
        let name = self.pending();
        let failed = |e: std::io::Error| Error::io("read back", &name, e);
        let file = staged.file();
        file.sync_all().map_err(|e| fault::write_error(&name, e))?;
        // All of it is on the disk: what is dropped now must come from there.
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed).map_err(|e| failed(e.into()))?;
        let read = file.try_clone().map_err(failed)?;
        let candidate = source::of_file(
            read,
            "the new backup",
            std::slice::from_ref(&self.request.dir),
            self.limits,
            self.observer,
        )?;
        let id = candidate
            .archive()
            .and_then(|archive| archive.id().map(str::to_owned));
        let same = candidate.archive().and_then(|archive| archive.manifest()) == Some(meant);
        // Of what was just written, not even what can be done without may be wrong.
        let flaw = candidate
            .archive()
            .and_then(|archive| archive.findings().listed().first())
            .map(ToString::to_string);
        let options = Options::default();
        let verified = snapshot::verify(
            candidate,
            options,
            self.limits,
            self.observer,
            Listeners::default(),
        )?;
        match (verified, id, same && flaw.is_none()) {
            (Verified::Good(_), Some(id), true) => Ok(id),
            (verified, ..) => {
                let verdict = verified.into_verdict();
                let first = verdict.report.listed().first().map(ToString::to_string);
                let first = first.or(flaw).unwrap_or_else(|| "another manifest".into());
                Err(Error::failed(format!(
                    "what the disk gives back is not what was written to {}: {first}",
                    self.request.dir.display()
                ))
                .hint("the disk or the memory of this machine cannot be trusted: back up to another place"))
            }
        }
    }

    /// The record comes first: one without an archive means nothing, an archive without one counts as not verified.
    fn name(
        &self,
        mut made: Made,
        lock: &DirLock,
        catalogue: &mut Catalogue,
        suspicious: &[String],
    ) -> Result<()> {
        let now = Timestamp::now();
        let at: Timestamp = made.manifest.made.at.parse().unwrap_or(now);
        let stem = format!(
            "{}-{}-rev{}",
            self.prefix(&made.manifest),
            at.strftime("%Y%m%dT%H%M%SZ"),
            made.manifest.etcd.revision
        );
        let free = |name: &String| !self.request.dir.join(name).exists();
        let mut names = std::iter::once(format!("{stem}.db.zst"))
            .chain((2..1000).map(|nth| format!("{stem}-{nth}.db.zst")));
        let name = names.find(free).unwrap_or_else(|| format!("{stem}.db.zst"));
        let vitals = Vitals::of(&made.manifest);
        catalogue.made((&made.id, &name), vitals, now, suspicious.to_vec());
        catalogue.save(lock, now)?;
        made.staged.rename_to(self.request.dir.join(name));
        made.staged.commit().inspect_err(|_| {
            catalogue.forget(&made.id);
            let _ = catalogue.save(lock, now);
        })
    }

    /// What the name begins with, its placeholders filled.
    fn prefix(&self, manifest: &Manifest) -> String {
        let source = manifest.source.as_ref();
        let member = source.and_then(|source| source.member_name.clone());
        let cluster = source.map(|source| source.cluster_id.clone());
        let host = Holder::this_process("", Timestamp::now()).host;
        let filled = self.request.name.replace("{host}", &plain(&host));
        let filled = filled.replace("{member}", &plain(&member.unwrap_or_default()));
        filled.replace("{cluster}", &plain(&cluster.unwrap_or_default()))
    }

    fn prune(
        &self,
        lock: &DirLock,
        found: &Scan,
        catalogue: &mut Catalogue,
        report: &mut RunReport,
    ) -> Result<()> {
        if report.outcome == Outcome::Suspicious {
            report.pruned = Some(Pruned {
                skipped: Some("the new backup is suspicious".into()),
                ..Pruned::default()
            });
            return Ok(());
        }
        let now = Timestamp::now();
        let pruning = Pruning::plan(found, catalogue, &self.request.policy, now);
        let mut check = || self.observer.check();
        let (pruned, failed) = pruning.carry_out(lock, catalogue, now, self.limits, &mut check);
        report.pruned = Some(pruned);
        failed.map_or(Ok(()), Err)
    }
}

/// How a warning about an alarm of etcd begins.
const ALARM: &str = "etcd has an active alarm: ";

/// What others call themselves, as far as it suits a file name.
fn plain(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().take(64).map(plain).collect()
}

/// The one that was recorded last.
fn newest_made(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().max_by_key(|entry| entry.record.order)
}
