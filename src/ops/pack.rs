//! Pack: any input that is good, into an archive.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::archive::manifest::Manifest;
use crate::archive::{self, Written};
use crate::error::{Error, Result};
use crate::io::staged::{self, StagedFile};
use crate::io::{Image, fault, sendout, spool};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::packed::{self, By, Effort};
use crate::snapshot::{self, Listeners, Options, Verdict, Verified};
use crate::source::{self, Candidate, Input};

/// What to pack, and into what.
#[derive(Clone, Debug)]
pub struct Request {
    /// One input.
    pub input: Input,
    /// Accept a file without SHA-256 trailer, and a db that a running etcd holds.
    pub raw: bool,
    /// Where the archive goes; `None`: standard output.
    pub output: Option<PathBuf>,
    /// Replace an existing output, atomically.
    pub force: bool,
    /// How to pack.
    pub effort: Effort,
    /// Where standard input and standard output may be kept, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
}

/// What was packed.
#[derive(Debug)]
pub struct Outcome {
    /// The verdict on the input.
    pub verdict: Verdict,
    /// What the archive says of itself.
    pub manifest: Manifest,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// The archive has its name.
    Done(Box<Outcome>),
    /// The input is not good; nothing was written.
    BadInput(Box<Verdict>),
}

/// Packs while it proves; the archive is read back before it gets its name.
pub fn run(
    request: &Request,
    limits: &Limits,
    observer: &dyn Observer,
    stdout: &File,
) -> Result<Ending> {
    if let Some(path) = &request.output {
        staged::check_target(path, request.force)?;
    }
    let candidate = source::open(
        &request.input,
        request.raw,
        &request.spool_dirs,
        limits,
        observer,
    )?;
    let packing = Packing {
        request,
        limits,
        observer,
    };
    match &request.output {
        Some(path) => {
            let mut staged = StagedFile::create(path, request.force)?;
            let read = staged.file().try_clone();
            let read = read.map_err(|e| Error::io("read back", path, e))?;
            let ending = packing.pack(candidate, &mut staged, read, path)?;
            if let Ending::Done(_) = &ending {
                observer.stage("syncing", None);
                staged.commit()?;
            }
            Ok(ending)
        }
        None => {
            let name = Path::new("standard output");
            let (file, _) = spool::unnamed(&request.spool_dirs)?;
            let read = file.try_clone();
            let read = read.map_err(|e| Error::io("read back", name, e))?;
            let ending = packing.pack(candidate, &mut &file, read, name)?;
            if let Ending::Done(outcome) = &ending {
                sendout::send(&file, outcome.bytes, stdout, observer)?;
            }
            Ok(ending)
        }
    }
}

struct Packing<'a> {
    request: &'a Request,
    limits: &'a Limits,
    observer: &'a dyn Observer,
}

impl Packing<'_> {
    fn pack(
        &self,
        candidate: Candidate,
        mut out: &mut (dyn Write + Send),
        read: File,
        name: &Path,
    ) -> Result<Ending> {
        let at = jiff::Timestamp::now();
        let mut writer = archive::Writer::new(&mut out, self.request.effort.alone())?;
        let mut tee = |piece: &[u8]| {
            let written = writer.write_all(piece);
            written.map_err(|e| fault::write_error(name, e))
        };
        let options = Options {
            raw: self.request.raw,
            digest: None,
        };
        let listeners = Listeners {
            follower: None,
            tee: Some(&mut tee),
        };
        let verified = snapshot::verify(candidate, options, self.limits, self.observer, listeners)?;
        let snapshot = match verified {
            Verified::Bad(verdict) => return Ok(Ending::BadInput(verdict)),
            Verified::Good(snapshot) => snapshot,
        };
        snapshot.behind_image(self.observer, &mut tee)?;
        let written = |e| fault::write_error(name, e);
        let (_, frames) = writer.finish_frames().map_err(written)?;
        let verdict = snapshot.into_verdict();
        let manifest = self.manifest(at, &verdict, &frames);
        let tail = archive::tail(&manifest)?;
        out.write_all(&tail).map_err(written)?;
        self.observer.stage("reading back", Some(frames.size));
        let image = Image::from_file(read, name.display().to_string())?;
        packed::check_written(image, &manifest, self.limits, self.observer)?;
        Ok(Ending::Done(Box::new(Outcome {
            verdict,
            manifest,
            bytes: frames.compressed + tail.len() as u64,
        })))
    }

    /// An archive that is packed anew keeps what is known of its origin.
    fn manifest(&self, at: jiff::Timestamp, verdict: &Verdict, frames: &Written) -> Manifest {
        let old = verdict.packed.as_ref();
        let old = old.and_then(|packed| packed.manifest.as_ref());
        let source = old.and_then(|manifest| manifest.source.clone());
        let mut manifest = packed::manifest(By::Pack, at, verdict, frames, source);
        if let Some(old) = old {
            manifest.made.at.clone_from(&old.made.at);
        }
        manifest
    }
}
