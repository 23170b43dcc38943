//! Save: stream a snapshot from a live member, prove it, and only then give it its name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::client::{self, Client, ConnectOptions, Received, Sink};
use crate::error::{Error, Kind, Result};
use crate::io::staged::{self, StagedFile};
use crate::io::{Image, dirs, fault, spool};
use crate::limits::Limits;
use crate::observe::{Bounded, Observer};
use crate::snapshot::{self, Options, Verdict, Verified};
use crate::source::{Candidate, Origin};
use crate::transport::TRAILER;

/// What to save, and where.
#[derive(Clone, Debug)]
pub struct Request {
    /// How to reach the cluster.
    pub connect: ConnectOptions,
    /// Where it goes.
    pub output: Output,
    /// Replace an existing output, atomically.
    pub force: bool,
    /// The whole save must be done within this, if it is bounded at all: etcdctl's
    /// `--command-timeout`, where it is given.
    pub within: Option<Duration>,
    /// Where a snapshot for standard output is kept until it is proved, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
}

/// Where a snapshot goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file that does not exist yet.
    File(PathBuf),
    /// `-`: standard output. Nothing is written to it before all is proved.
    Stdout,
}

/// What was saved.
#[derive(Debug)]
pub struct Outcome {
    /// Endpoint that served it.
    pub endpoint: String,
    /// Why that one, in words.
    pub chosen_because: String,
    /// Member id.
    pub member_id: u64,
    /// Member name, if it could be asked for.
    pub member_name: Option<String>,
    /// Cluster id.
    pub cluster_id: u64,
    /// etcd's own version, from the status call.
    pub server_version: String,
    /// Bytes written, trailer included.
    pub bytes: u64,
    /// The verdict on what was written.
    pub verdict: Verdict,
    /// From the first byte asked for to the name given.
    pub took: Duration,
}

/// Saves. Nothing is left behind under any name when it fails. `stdout` is written to for [`Output::Stdout`] alone.
pub fn run(
    request: &Request,
    limits: &Limits,
    observer: &dyn Observer,
    stdout: &File,
) -> Result<Outcome> {
    let started = Instant::now();
    let bounded = request.within.map(|limit| Bounded::new(observer, limit));
    let observer = match &bounded {
        Some(bounded) => bounded,
        None => observer,
    };
    if let Output::File(path) = &request.output {
        staged::check_target(path, request.force)?;
    }
    let client = Client::new(request.connect.clone())?;
    let survey = client.survey(observer)?;
    let mut candidates = survey.candidates.iter().peekable();
    while let Some(candidate) = candidates.next() {
        let saved = save_from(&client, candidate, request, limits, observer, stdout);
        match (saved, candidates.peek()) {
            (Ok(saved), _) => return Ok(outcome(candidate, saved, started)),
            (Err(e), Some(next)) if is_the_members_fault(&e) && observer.check().is_ok() => {
                observer.notice(&format!(
                    "{e}; trying {} next, from the beginning",
                    next.member.endpoint
                ));
            }
            (Err(e), _) => return Err(e),
        }
    }
    Err(Error::unreachable("no endpoint to save from"))
}

/// Another member may do better: this one broke off, or what it has is damaged.
fn is_the_members_fault(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unreachable | Kind::Damaged)
}

/// What one member gave.
struct Saved {
    bytes: u64,
    verdict: Verdict,
}

fn save_from(
    client: &Client,
    from: &client::Candidate,
    request: &Request,
    limits: &Limits,
    observer: &dyn Observer,
    stdout: &File,
) -> Result<Saved> {
    match &request.output {
        Output::File(path) => {
            let mut file = StagedFile::create(path, request.force)?;
            let dir = file.dir().to_owned();
            let received = receive(client, from, &mut file, path, &dir, observer)?;
            let saved = prove(file.file(), path, from, &received, limits, observer)?;
            observer.stage("syncing", None);
            file.commit()?;
            Ok(saved)
        }
        Output::Stdout => {
            let (mut file, dir) = spool::unnamed(&request.spool_dirs)?;
            let name = Path::new("standard output");
            let received = receive(client, from, &mut file, name, &dir, observer)?;
            let saved = prove(&file, name, from, &received, limits, observer)?;
            pass_on(file, saved.bytes, stdout, observer)?;
            Ok(saved)
        }
    }
}

/// Streams into `out`, trailer included.
fn receive(
    client: &Client,
    from: &client::Candidate,
    out: &mut impl Write,
    name: &Path,
    dir: &Path,
    observer: &dyn Observer,
) -> Result<Received> {
    let mut sink = FileSink { out, name, dir };
    let received = client.snapshot(from, &mut sink, observer)?;
    sink.chunk(&received.trailer)?;
    Ok(received)
}

/// Writes what comes in, if there is room for it.
struct FileSink<'a, W> {
    out: &'a mut W,
    name: &'a Path,
    dir: &'a Path,
}

impl<W: Write> Sink for FileSink<'_, W> {
    fn begin(&mut self, total_image_bytes: u64) -> Result<()> {
        let needed = total_image_bytes.saturating_add(TRAILER);
        let free = dirs::free_space(self.dir)?;
        if needed > free {
            return Err(Error::refused(format!(
                "not enough space in {}: {needed} bytes needed, {free} free",
                self.dir.display()
            ))
            .hint("free some space, or save to another place"));
        }
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .map_err(|e| fault::write_error(self.name, e))
    }
}

/// Reads back what was written and checks structure and meaning, while the kernel writes it out. Its
/// SHA-256 was compared on the way in.
fn prove(
    file: &File,
    name: &Path,
    from: &client::Candidate,
    received: &Received,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Saved> {
    let read = file
        .try_clone()
        .map_err(|e| Error::io("read back", name, e))?;
    let (verified, synced) = std::thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync_all());
        let image = Image::from_file(read, name.display().to_string());
        let verified = image.and_then(|image| {
            let candidate = Candidate {
                image,
                origin: Origin::File(name.to_owned()),
                live: false,
            };
            let options = Options {
                raw: false,
                digest: Some(received.sha256),
            };
            snapshot::verify(candidate, options, limits, observer, None)
        });
        let synced = syncing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (verified, synced)
    });
    synced.map_err(|e| fault::write_error(name, e))?;
    match verified? {
        Verified::Good(snapshot) => {
            let verdict = snapshot.into_verdict();
            Ok(Saved {
                bytes: verdict.length,
                verdict,
            })
        }
        Verified::Bad(verdict) => Err(damaged_member(from, &verdict)),
    }
}

/// Every byte arrived, and they make no sound db: so has the member itself, or a file was replaced under it.
fn damaged_member(from: &client::Candidate, verdict: &Verdict) -> Error {
    let first = verdict
        .report
        .listed()
        .iter()
        .find(|finding| finding.severity == crate::report::Severity::Error);
    Error::damaged(format!(
        "what {} sent arrived whole and is damaged all the same ({} errors; first: {}): nothing was kept",
        from.member.endpoint,
        verdict.report.count(crate::report::Severity::Error),
        first.map_or("none listed".into(), ToString::to_string)
    ))
    .hint("save from another member; if there is none, stop this one, copy its member/snap/db and keep the copy safe")
}

/// The proved bytes, to standard output. Whoever reads there may stop and never go on: a thread of its own
/// writes, so that a signal need not wait for it.
fn pass_on(file: File, bytes: u64, stdout: &File, observer: &dyn Observer) -> Result<()> {
    const TICK: Duration = Duration::from_millis(100);
    observer.stage("writing", Some(bytes));
    let failed = |e| Error::failed("cannot write to standard output").because(e);
    let stdout = stdout.try_clone().map_err(failed)?;
    let (done, progress) = mpsc::channel();
    let writer = std::thread::spawn(move || copy(file, stdout, &done));
    loop {
        observer.check()?;
        match progress.recv_timeout(TICK) {
            Ok(len) => observer.advance(len),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let written = writer
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    written.map_err(failed)
}

/// All of `from`, told in pieces.
fn copy(mut from: File, mut to: File, done: &mpsc::Sender<u64>) -> std::io::Result<()> {
    from.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..len).unwrap_or_default())?;
        // Nobody listens any more after a signal.
        let _ = done.send(len as u64);
    }
}

fn outcome(from: &client::Candidate, saved: Saved, started: Instant) -> Outcome {
    let member = &from.member;
    Outcome {
        endpoint: member.endpoint.clone(),
        chosen_because: from.because.clone(),
        member_id: member.member_id,
        member_name: member.name.clone(),
        cluster_id: member.cluster_id,
        server_version: member.version.clone(),
        bytes: saved.bytes,
        verdict: saved.verdict,
        took: started.elapsed(),
    }
}
