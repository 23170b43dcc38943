//! Pack: any input that is good, into an archive.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::archive::manifest::Manifest;
use crate::archive::{self, Written};
use crate::error::Result;
use crate::io::outlet::Outlet;
use crate::io::{Image, fault};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::packed::{self, By, Effort};
use crate::snapshot::{self, Listeners, Options, Verdict, Verified};
use crate::source::{Candidate, Source};

/// What to pack, and into what.
#[derive(Clone, Debug)]
pub struct Request {
    /// One input. Standard output may be kept where standard input may.
    pub source: Source,
    /// Where the archive goes; `None`: standard output.
    pub output: Option<PathBuf>,
    /// Replace an existing output, atomically.
    pub force: bool,
    /// How to pack.
    pub effort: Effort,
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
    let target = request.output.as_deref();
    Outlet::check(target, request.force)?;
    let candidate = request.source.open(limits, observer)?;
    let packing = Packing {
        request,
        limits,
        observer,
    };
    let mut outlet = Outlet::create(target, request.force, &request.source.spool_dirs)?;
    let ending = packing.pack(candidate, &mut outlet)?;
    if let Ending::Done(outcome) = &ending {
        outlet.finish(outcome.bytes, stdout, observer)?;
    }
    Ok(ending)
}

struct Packing<'a> {
    request: &'a Request,
    limits: &'a Limits,
    observer: &'a dyn Observer,
}

impl Packing<'_> {
    fn pack(&self, candidate: Candidate, out: &mut Outlet) -> Result<Ending> {
        let (at, name) = (jiff::Timestamp::now(), out.name());
        let written = |e| fault::write_error(&name, e);
        let mut writer = archive::Writer::new(&mut *out, self.request.effort.alone())?;
        let mut tee = |piece: &[u8]| writer.write_all(piece).map_err(written);
        let options = Options {
            raw: self.request.source.raw,
            digest: None,
        };
        let listeners = Listeners::tee(&mut tee);
        let verified = snapshot::verify(candidate, options, self.limits, self.observer, listeners)?;
        let snapshot = match verified {
            Verified::Bad(verdict) => return Ok(Ending::BadInput(verdict)),
            Verified::Good(snapshot) => snapshot,
        };
        snapshot.behind_image(self.observer, &mut tee)?;
        let (_, frames) = writer.finish_frames().map_err(written)?;
        let verdict = snapshot.into_verdict();
        let manifest = self.manifest(at, &verdict, &frames);
        let tail = archive::tail(&manifest)?;
        out.write_all(&tail).map_err(written)?;
        self.observer.stage("reading back", Some(frames.size));
        let image = Image::from_file(out.reader()?, name.display().to_string())?;
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
