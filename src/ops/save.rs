//! Save: stream a snapshot from a live member, prove it, and only then give it its name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::archive::manifest::Manifest;
use crate::client::{self, Client, ConnectOptions};
use crate::error::Result;
use crate::intake::{self, Taken};
use crate::io::outlet::Outlet;
use crate::io::staged::{self, StagedFile};
use crate::limits::Limits;
use crate::observe::{Bounded, Observer};
use crate::packed::{By, Effort};
use crate::snapshot::Verdict;

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
    /// How to pack an archive.
    pub effort: Effort,
    /// Where a snapshot for standard output is kept until it is proved, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
}

/// Where a snapshot goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file that does not exist yet.
    File(PathBuf),
    /// The same, packed: its name ends in `.zst`.
    Archive(PathBuf),
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
    /// Bytes of the snapshot, trailer included.
    pub bytes: u64,
    /// The archive that it is in, if it is.
    pub packed: Option<Packed>,
    /// The verdict on what was written.
    pub verdict: Verdict,
    /// From the first byte asked for to the name given.
    pub took: Duration,
}

/// An archive.
#[derive(Debug)]
pub struct Packed {
    /// Its bytes.
    pub bytes: u64,
    /// What it says of itself.
    pub manifest: Manifest,
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
    if let Output::File(path) | Output::Archive(path) = &request.output {
        staged::check_target(path, request.force)?;
    }
    let taken = intake::take(
        &request.connect,
        observer,
        &mut |_, _| {},
        &mut |client, from| {
            let saving = Saving {
                client,
                from,
                request,
                limits,
                observer,
            };
            match &request.output {
                Output::File(path) => saving.plain(Some(path), stdout),
                Output::Archive(path) => saving.archive(path),
                Output::Stdout => saving.plain(None, stdout),
            }
        },
    )?;
    Ok(outcome(taken, started))
}

/// What one member gave.
struct Saved {
    bytes: u64,
    verdict: Verdict,
    packed: Option<Packed>,
}

/// One attempt, from one member.
struct Saving<'a> {
    client: &'a Client,
    from: &'a client::Candidate,
    request: &'a Request,
    limits: &'a Limits,
    observer: &'a dyn Observer,
}

impl Saving<'_> {
    fn plain(&self, target: Option<&Path>, stdout: &File) -> Result<Saved> {
        let Request {
            force, spool_dirs, ..
        } = self.request;
        let mut outlet = Outlet::create(target, *force, spool_dirs)?;
        let verdict = intake::plain(
            self.client,
            self.from,
            &mut outlet,
            self.limits,
            self.observer,
        )?;
        outlet.finish(verdict.length, stdout, self.observer)?;
        Ok(Saved {
            bytes: verdict.length,
            verdict,
            packed: None,
        })
    }

    fn archive(&self, path: &Path) -> Result<Saved> {
        let mut staged = StagedFile::create(path, self.request.force)?;
        let options = self.request.effort.beside_a_server();
        let packed = intake::packed(
            self.client,
            self.from,
            (&mut staged, path),
            (By::Save, options),
            &|_| Ok(()),
            self.limits,
            self.observer,
        )?;
        self.observer.stage("syncing", None);
        staged.commit()?;
        Ok(Saved {
            bytes: packed.verdict.length,
            packed: Some(Packed {
                bytes: packed.bytes,
                manifest: packed.manifest,
            }),
            verdict: packed.verdict,
        })
    }
}

fn outcome(taken: Taken<Saved>, started: Instant) -> Outcome {
    let Taken { from, got, .. } = taken;
    let member = from.member;
    Outcome {
        endpoint: member.endpoint,
        chosen_because: from.because,
        member_id: member.member_id,
        member_name: member.name,
        cluster_id: member.cluster_id,
        server_version: member.version,
        bytes: got.bytes,
        verdict: got.verdict,
        packed: got.packed,
        took: started.elapsed(),
    }
}
