//! Restore: a proved snapshot becomes a member's data dir that etcd 3.4 to 3.8 boots, whole or not at all.
//!
//! The db is rebuilt while the snapshot is being proved; both end together, and only a proved snapshot
//! gives the new member its name.

mod owner;
mod place;
mod plan;
mod rebuild;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use self::owner::Owner;
use self::place::{Staging, Target};
pub use self::plan::Plan;
use self::rebuild::{Rebuild, Rebuilt};
use crate::datadir::boot::{Boot, boot};
use crate::error::{Error, Kind, Result};
use crate::etcd::ids::{self, NewCluster};
use crate::etcd::urls;
use crate::io::{Image, dirs, fault};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::snapshot::{self, Listeners, Options, Peek, Snapshot, Verdict, Verified};
use crate::source::{Candidate, Input, Origin, Source};
use crate::{transport, wal};

/// What to restore, where, and as whom. Defaults are etcdutl's where etcdutl has the flag.
#[derive(Clone, Debug)]
pub struct Request {
    /// One input; `--skip-hash-check` is etcdutl's name for what `--raw` does.
    pub source: Source,
    /// `--data-dir`; `member/` is made below it.
    pub data_dir: PathBuf,
    /// `--wal-dir`, if the WAL goes elsewhere.
    pub wal_dir: Option<PathBuf>,
    /// `--name`, default `default`.
    pub name: String,
    /// `--initial-cluster`, default `NAME=URLS` of this member.
    pub initial_cluster: Option<String>,
    /// `--initial-cluster-token`, default derived from the snapshot's SHA-256.
    pub initial_cluster_token: Option<String>,
    /// `--initial-advertise-peer-urls`, default `http://localhost:2380`, or this member's URLs in the initial cluster.
    pub initial_advertise_peer_urls: Option<String>,
    /// `--bump-revision`, `--no-bump` or neither.
    pub bump: Bump,
    /// `--owner USER:GROUP`.
    pub owner: Option<String>,
    /// `--move-aside`: an existing `member/` is renamed, never removed.
    pub move_aside: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// How far the revision is moved so that watchers notice the restore (`formats.md` 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    /// By 1,000,000,000 when the snapshot has keys under `/registry/`, else not.
    Auto,
    /// Not at all.
    Off,
    /// By this much.
    By(u64),
}

/// What was done.
#[derive(Debug)]
pub struct Outcome {
    /// What was planned, and done unless `dry_run`.
    pub plan: Plan,
    /// Nothing was written.
    pub dry_run: bool,
    /// The verdict on the input.
    pub verdict: Verdict,
    /// The file that was restored, where INPUT does not name it any more: `--latest` may name another tomorrow, and
    /// a db that was in the old member went aside with it.
    pub file: Option<PathBuf>,
    /// Bytes of the new db.
    pub db_bytes: u64,
}

/// How a restore ends short of an error.
#[derive(Debug)]
pub enum Ending {
    /// Done, or planned.
    Done(Box<Outcome>),
    /// The input does not prove good; nothing was touched.
    BadInput(Box<Verdict>),
}

/// Restores.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<Ending> {
    let target = Target::look(
        &request.data_dir,
        request.wal_dir.as_deref(),
        request.move_aside,
    )?;
    let candidate = request.source.open(limits, observer)?;
    let job = match Job::prepare(request, target, &candidate, limits, observer) {
        // What is lost, and what it costs, is for a verdict to say.
        Err(e) if e.kind() == Kind::Damaged => {
            return verdict_on(candidate, request.source.raw, limits, observer)?.ok_or(e);
        }
        prepared => prepared?,
    };
    let ending = if request.dry_run {
        job.rehearse(candidate, limits, observer)
    } else {
        job.perform(candidate, limits, observer)
    };
    ending.map_err(name_full_disk)
}

/// How it ends for an input that is not good; `None` when it is.
fn verdict_on(
    candidate: Candidate,
    raw: bool,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Option<Ending>> {
    let options = Options { raw, digest: None };
    let listeners = Listeners::default();
    Ok(
        match snapshot::verify(candidate, options, limits, observer, listeners)? {
            Verified::Bad(verdict) => Some(Ending::BadInput(verdict)),
            Verified::Good(_) => None,
        },
    )
}

/// A restore that is ready to begin.
struct Job<'r> {
    request: &'r Request,
    target: Target,
    peek: Peek,
    options: Options,
    token: Token,
    cluster: NewCluster,
    boot: Boot,
    owner: Owner,
}

/// What the ids are made with.
struct Token {
    text: String,
    derived: bool,
}

impl<'r> Job<'r> {
    fn prepare(
        request: &'r Request,
        target: Target,
        candidate: &Candidate,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Job<'r>> {
        let peek = snapshot::peek_meta(candidate, limits)?;
        let mut options = Options {
            raw: request.source.raw,
            digest: None,
        };
        let token = match &request.initial_cluster_token {
            Some(text) => Token {
                text: text.clone(),
                derived: false,
            },
            None => {
                // Without a trailer the SHA-256 must be known before the ids are written.
                let digest = match peek.trailer {
                    Some(trailer) => trailer,
                    None => *options.digest.insert(transport::digest(
                        &candidate.image,
                        peek.size,
                        observer,
                        None,
                    )?),
                };
                Token {
                    text: derived_token(digest),
                    derived: true,
                }
            }
        };
        let cluster = new_cluster(request, &token.text)?;
        let like = [target.member.as_path(), target.data_dir.as_path()];
        let owner = Owner::find(request.owner.as_deref(), &like)?;
        Ok(Job {
            request,
            target,
            peek,
            options,
            token,
            boot: boot(&cluster, &request.name)?,
            cluster,
            owner,
        })
    }

    /// Nothing but the proof.
    fn prove(
        &self,
        candidate: Candidate,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Verified> {
        let listeners = Listeners::default();
        snapshot::verify(candidate, self.options, limits, observer, listeners)
    }

    /// `--dry-run`: everything but the writing.
    fn rehearse(
        self,
        candidate: Candidate,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Ending> {
        match self.prove(candidate, limits, observer)? {
            Verified::Bad(verdict) => Ok(Ending::BadInput(verdict)),
            Verified::Good(snapshot) => {
                let facts = snapshot.facts();
                let revised =
                    rebuild::revise(self.request.bump, facts.current_revision, facts.kubernetes)?;
                let plan = Plan::new(&self, &snapshot, revised)?;
                plan::refuse_unknown_version(&snapshot)?;
                self.target.refuse_full(snapshot.facts().in_use)?;
                Ok(self.done(plan, *snapshot, 0))
            }
        }
    }

    fn perform(
        self,
        candidate: Candidate,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Ending> {
        let candidate = match self.make_sure_of_room(candidate, limits, observer)? {
            Ok(candidate) => candidate,
            Err(verdict) => return Ok(Ending::BadInput(verdict)),
        };
        let staging = Staging::create(&self.target, observer)?;
        staging.member.dir("snap")?;
        let (db, db_path) = staging.member.file("snap/db")?;
        let mut rebuild = Rebuild::new(&db, &self.peek, &self.boot, self.request.bump, limits)?;
        let listeners = Listeners::follower(&mut rebuild);
        let verified = snapshot::verify(candidate, self.options, limits, observer, listeners)?;
        let snapshot = match verified {
            Verified::Bad(verdict) => return Ok(Ending::BadInput(verdict)),
            Verified::Good(snapshot) => snapshot,
        };
        let rebuilt = rebuild.finish().map_err(|e| e.within(db_path.display()))?;
        let plan = Plan::new(&self, &snapshot, rebuilt.revision)?;
        plan::refuse_unknown_version(&snapshot)?;
        self.write_log(&staging)?;
        check_written(&db, &db_path, &rebuilt, &snapshot, limits, observer)?;
        for dir in staging.dirs() {
            self.owner.apply(dir.path(), observer)?;
            for made in dir.made() {
                self.owner.apply_one(made, observer)?;
            }
        }
        self.owner.look_at_door(&self.request.data_dir, observer);
        observer.stage("syncing", None);
        observer.check()?;
        staging.commit(&self.target)?;
        Ok(self.done(plan, *snapshot, rebuilt.built.bytes))
    }

    /// If a db as large as the old one would not fit, only its pages in use may have to: how many that
    /// are only a walk can tell.
    fn make_sure_of_room(
        &self,
        candidate: Candidate,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<std::result::Result<Candidate, Box<Verdict>>> {
        if self.target.refuse_full(self.peek.size).is_ok() {
            return Ok(Ok(candidate));
        }
        match self.prove(candidate, limits, observer)? {
            Verified::Bad(verdict) => Ok(Err(verdict)),
            Verified::Good(snapshot) => {
                self.target.refuse_full(snapshot.facts().in_use)?;
                Ok(Ok(snapshot.into_candidate()))
            }
        }
    }

    /// The WAL and the .snap with which the new cluster begins.
    fn write_log(&self, staging: &Staging) -> Result<()> {
        let wal_path = staging.wal_dir()?.join(self.boot.wal_name.to_string());
        let file = write_new(&wal_path, &self.boot.wal)?;
        preallocate(&file, wal::SEGMENT_SIZE).map_err(|e| fault::write_error(&wal_path, e))?;
        let snap_name = self.boot.snap_name.to_string();
        write_new(
            &staging.member.path().join("snap").join(snap_name),
            &self.boot.snap,
        )?;
        Ok(())
    }

    fn done(&self, plan: Plan, snapshot: Snapshot, db_bytes: u64) -> Ending {
        Ending::Done(Box::new(Outcome {
            dry_run: self.request.dry_run,
            file: self.file(&plan, snapshot.origin()),
            plan,
            verdict: snapshot.into_verdict(),
            db_bytes,
        }))
    }

    /// See [`Outcome::file`].
    fn file(&self, plan: &Plan, origin: &Origin) -> Option<PathBuf> {
        let file = match origin {
            Origin::File(file) | Origin::DataDir { db: file, .. } => file,
            Origin::Stdin => return None,
        };
        let latest = || matches!(self.request.source.input, Input::Latest(_)).then(|| file.clone());
        renamed(file, &plan.member_dir, plan.moved_aside.as_ref()).or_else(latest)
    }
}

/// The path by which `file` is found when what was `from` is called `to`.
fn renamed(file: &Path, from: &Path, to: Option<&PathBuf>) -> Option<PathBuf> {
    let file = dirs::absolute(file);
    let within = file.strip_prefix(dirs::absolute(from)).ok()?;
    Some(dirs::absolute(to?).join(within))
}

/// Members restored from different snapshots must refuse each other: so the token is made of the content.
fn derived_token(digest: [u8; 32]) -> String {
    let hex = transport::hex(digest);
    format!("etcd-rescue-{}", hex.get(..16).unwrap_or_default())
}

/// The cluster that the request describes. Its defaults are etcdutl's: one member at http://localhost:2380.
fn new_cluster(request: &Request, token: &str) -> Result<NewCluster> {
    const DEFAULT_URL: &str = "http://localhost:2380";
    let advertised = request.initial_advertise_peer_urls.as_deref();
    let text = match &request.initial_cluster {
        Some(text) => text.clone(),
        None => {
            let urls = advertised.unwrap_or(DEFAULT_URL).split(',');
            let pairs: Vec<_> = urls.map(|url| format!("{}={url}", request.name)).collect();
            pairs.join(",")
        }
    };
    let cluster = NewCluster::new(ids::parse_initial_cluster(&text)?, token)?;
    cluster.member(&request.name)?;
    if let Some(advertised) = advertised {
        let advertised = urls::parse_list("--initial-advertise-peer-urls", advertised)?;
        cluster.check_advertised(&request.name, &advertised)?;
    }
    Ok(cluster)
}

/// A new file with these bytes, 0600.
fn write_new(path: &Path, bytes: &[u8]) -> Result<File> {
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.map_err(|e| Error::io("create", path, e))?;
    file.write_all(bytes)
        .map_err(|e| fault::write_error(path, e))?;
    Ok(file)
}

/// Room for the whole segment, as etcd makes it; where the file system cannot reserve, zeros without room must do.
fn preallocate(file: &File, size: u64) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(size),
        other => Ok(other?),
    }
}

/// Reads the new db back and compares it with what was meant to be written, while the kernel writes it out.
fn check_written(
    db: &File,
    path: &Path,
    rebuilt: &Rebuilt,
    snapshot: &Snapshot,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<()> {
    let sync = db.try_clone().map_err(|e| Error::io("sync", path, e))?;
    let read = db
        .try_clone()
        .map_err(|e| Error::io("read back", path, e))?;
    let (written, synced) = std::thread::scope(|scope| {
        let syncing = scope.spawn(move || sync.sync_all());
        let image = Image::from_file(read, path.display().to_string());
        let written = image.and_then(|image| {
            let candidate = Candidate::plain(image, Origin::File(path.to_owned()));
            // The same records in the same order hold the same versions: the hash tells.
            let limits = Limits {
                user_keys: 0,
                ..limits.clone()
            };
            snapshot::survey(&candidate, &limits, observer)
        });
        let synced = syncing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (written, synced)
    });
    synced.map_err(|e| fault::write_error(path, e))?;
    let written = written?;
    let (old, new) = (snapshot.facts(), &written.facts);
    let wanted = (
        rebuilt.hash,
        old.records + u64::from(rebuilt.revision.bump > 0),
        old.leases,
        rebuilt.revision.after,
    );
    let found = (new.hash, new.records, new.leases, new.current_revision);
    if written.report.is_damaged() || wanted != found || written.length != rebuilt.built.bytes {
        return Err(Error::failed(format!(
            "{}: what was read back is not what was written: hash, records, leases, revision {found:?}, expected {wanted:?}; {}",
            path.display(),
            written.report.listed().first().map_or("no finding".into(), ToString::to_string)
        ))
        .hint("the disk or the memory of this machine cannot be trusted: restore on another one"));
    }
    Ok(())
}

/// A full disk can show at any write.
fn name_full_disk(error: Error) -> Error {
    match error.io_kind() {
        Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) if error.hint_text().is_none() => {
            error.hint("the disk is full; nothing was left behind: free some space, or choose another --data-dir")
        }
        _ => error,
    }
}
