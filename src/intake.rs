//! From a live member into a file that was proved, plain or packed; with fail-over.
//!
//! Nothing here gives a name to anything: whoever asked does that, once all is proved.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::archive::manifest::{Manifest, Source};
use crate::archive::{self, Archive, Written};
use crate::client::{self, Client, ConnectOptions, Received, Sink};
use crate::error::{Error, Kind, Result};
use crate::io::outlet::Outlet;
use crate::io::staged::StagedFile;
use crate::io::{Image, fault};
use crate::limits::Limits;
use crate::observe::{Observer, Silent};
use crate::packed::{self, By};
use crate::scattered;
use crate::snapshot::{self, Listeners, Options, Verdict, Verified};
use crate::source::{Candidate, Origin};
use crate::transport::TRAILER;

/// What one member gave.
#[derive(Debug)]
pub struct Taken<T> {
    /// The member, and why that one.
    pub from: client::Candidate,
    /// What was made of it.
    pub got: T,
}

/// Hears of each endpoint that was tried in vain, and why.
pub type Vain<'a> = &'a mut dyn FnMut(String, String);

/// Asks the members in order of preference, each from the beginning, until one of them serves. A failure
/// that another member would share ends it.
pub fn take<T>(
    connect: &ConnectOptions,
    observer: &dyn Observer,
    vain: Vain<'_>,
    attempt: &mut dyn FnMut(&Client, &client::Candidate) -> Result<T>,
) -> Result<Taken<T>> {
    let client = Client::new(connect.clone())?;
    let survey = client.survey_hearing(observer, vain)?;
    let mut candidates = survey.candidates.into_iter().peekable();
    while let Some(from) = candidates.next() {
        let error = match attempt(&client, &from) {
            Ok(got) => return Ok(Taken { from, got }),
            Err(error) => error,
        };
        if !is_the_members_fault(&error) || observer.check().is_err() {
            return Err(error);
        }
        vain(from.member.endpoint, error.to_string());
        match candidates.peek() {
            Some(next) => observer.notice(&format!(
                "{error}; trying {} next, from the beginning",
                next.member.endpoint
            )),
            None => return Err(error),
        }
    }
    Err(Error::unreachable("no endpoint to save from"))
}

/// Another member may do better: this one broke off, or what it has is damaged.
fn is_the_members_fault(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unreachable | Kind::Damaged)
}

/// Streams from `from` into `out`, which is empty, and proves what was written.
pub fn plain(
    client: &Client,
    from: &client::Candidate,
    out: &mut Outlet,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Verdict> {
    let received = receive(client, from, out, observer)?;
    let (file, name) = (out.reader()?, out.name());
    let image = |file: File| {
        let image = Image::from_file(file, name.display().to_string())?;
        Ok((image, None))
    };
    prove(&file, &name, from, &received, image, limits, observer)
}

/// A snapshot that was packed while it came in.
#[derive(Debug)]
pub struct Packed {
    /// The verdict on what was written.
    pub verdict: Verdict,
    /// The manifest that was written behind it.
    pub manifest: Manifest,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// As [`plain`], into an archive: the frames are read back for the proof, then the manifest is written. `room` is
/// asked once it is known how many bytes the snapshot has; how many the archive will have nobody knows. `name` is what
/// messages call the archive.
pub fn packed(
    client: &Client,
    from: &client::Candidate,
    (staged, name): (&mut StagedFile, &Path),
    (by, options): (By, archive::Options),
    room: &dyn Fn(u64) -> Result<()>,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Packed> {
    let at = jiff::Timestamp::now();
    let written = |e| fault::write_error(name, e);
    let mut writer = archive::Writer::new(&mut *staged, options)?;
    let mut sink = FileSink {
        out: &mut writer,
        name,
        room,
    };
    let received = receive(client, from, &mut sink, observer)?;
    let (_, frames) = writer.finish_frames().map_err(written)?;
    let dir = staged.dir().to_owned();
    let image = |file| unpacked(file, (name, &dir), &frames, limits);
    let verdict = prove(
        staged.file(),
        name,
        from,
        &received,
        image,
        limits,
        observer,
    )?;
    let source = Some(source(from));
    let manifest = packed::manifest(by, at, &verdict, &frames, source);
    let tail = archive::tail(&manifest)?;
    staged.write_all(&tail).map_err(written)?;
    Ok(Packed {
        bytes: frames.compressed + tail.len() as u64,
        verdict,
        manifest,
    })
}

/// The frames that were just written, as the snapshot inside.
fn unpacked(
    file: File,
    (name, dir): (&Path, &Path),
    frames: &Written,
    limits: &Limits,
) -> Result<(Image, Option<Archive>)> {
    let file = Image::from_file(file, name.display().to_string())?;
    let archive = Archive::from_frames(file, &frames.frames, frames.size, limits)?;
    let image = scattered::image(&archive, &[dir.to_owned()])?;
    Ok((image, Some(archive)))
}

/// The alarms of a cluster as a manifest and a report have them: type, and member id in hex.
pub fn alarms(member: &client::Member) -> Vec<String> {
    let alarm = |alarm: &client::Alarm| format!("{} {:x}", alarm.name, alarm.member_id);
    member.alarms.iter().map(alarm).collect()
}

/// What the manifest says of the member.
fn source(from: &client::Candidate) -> Source {
    let member = &from.member;
    let endpoint = member.endpoint.rsplit_once('@');
    let role = match (member.is_learner, member.is_leader()) {
        (true, _) => "learner",
        (false, true) => "leader",
        (false, false) => "follower",
    };
    Source {
        // A user in front of the host means nothing to etcd, and may have been meant as a secret.
        endpoint: endpoint.map_or(member.endpoint.clone(), |(_, host)| host.into()),
        cluster_id: format!("{:x}", member.cluster_id),
        member_id: format!("{:x}", member.member_id),
        member_name: member.name.clone(),
        server_version: member.version.clone(),
        role: role.into(),
        raft_applied_index: member.raft_applied_index,
        alarms: alarms(member),
        ..Source::default()
    }
}

/// Streams into `sink`, trailer included.
fn receive(
    client: &Client,
    from: &client::Candidate,
    sink: &mut dyn Sink,
    observer: &dyn Observer,
) -> Result<Received> {
    let received = client.snapshot(from, sink, observer)?;
    sink.chunk(&received.trailer)?;
    Ok(received)
}

impl Sink for Outlet {
    fn begin(&mut self, total_image_bytes: u64) -> Result<()> {
        self.reserve(total_image_bytes.saturating_add(TRAILER))
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)
            .map_err(|e| fault::write_error(&self.name(), e))
    }
}

/// Writes what comes in, if there is room for it.
struct FileSink<'a> {
    out: &'a mut dyn Write,
    name: &'a Path,
    room: &'a dyn Fn(u64) -> Result<()>,
}

impl Sink for FileSink<'_> {
    fn begin(&mut self, total_image_bytes: u64) -> Result<()> {
        (self.room)(total_image_bytes.saturating_add(TRAILER))
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .map_err(|e| fault::write_error(self.name, e))
    }
}

/// Reads back what was written and checks structure and meaning, while the kernel writes it out. Its
/// SHA-256 was compared on the way in. The frames of an archive are checked beside it, all of them.
fn prove(
    file: &File,
    name: &Path,
    from: &client::Candidate,
    received: &Received,
    image: impl FnOnce(File) -> Result<(Image, Option<Archive>)>,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Verdict> {
    let read = file
        .try_clone()
        .map_err(|e| Error::io("read back", name, e))?;
    let (verified, synced) = std::thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync_all());
        let verified = image(read).and_then(|(image, archive)| {
            let frames = archive.map(|archive| {
                let quiet = Silent(observer);
                scope.spawn(move || archive.read_through(0, &quiet, &mut |_, _| Ok(())))
            });
            let candidate = Candidate::plain(image, Origin::File(name.to_owned()));
            let options = Options {
                raw: false,
                digest: Some(received.sha256),
            };
            let verified =
                snapshot::verify(candidate, options, limits, observer, Listeners::default());
            if let Some(frames) = frames {
                let read = frames.join();
                read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            verified
        });
        if verified.is_ok() {
            observer.stage("syncing", None);
        }
        let synced = syncing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (verified, synced)
    });
    synced.map_err(|e| fault::write_error(name, e))?;
    match verified? {
        Verified::Good(snapshot) => Ok(snapshot.into_verdict()),
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
