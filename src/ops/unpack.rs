//! Unpack: the snapshot out of an archive, byte for byte.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::staged::{self, StagedFile};
use crate::io::{fault, sendout, spool};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::snapshot::{self, Listeners, Options, Verdict, Verified};
use crate::source::{self, Candidate, Input};

/// What to unpack, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// An archive, or a snapshot that is compressed with zstd or gzip.
    pub input: Input,
    /// Accept a file without SHA-256 trailer.
    pub raw: bool,
    /// Where the snapshot goes; `None`: standard output.
    pub output: Option<PathBuf>,
    /// Replace an existing output, atomically.
    pub force: bool,
    /// Where standard input and standard output may be kept, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
}

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// The snapshot has its name; the verdict on it.
    Done(Box<Verdict>),
    /// The input is not good; nothing was written.
    BadInput(Box<Verdict>),
}

/// Unpacks while it proves: container, transport, structure and meaning.
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
    if candidate.container.is_none() {
        let name = candidate.image.name();
        return Err(Error::usage(format!("{name} is not compressed"))
            .hint(format!("use it as it is: etcd-rescue verify {name}")));
    }
    let unpacking = Unpacking {
        request,
        limits,
        observer,
    };
    match &request.output {
        Some(path) => {
            let mut staged = StagedFile::create(path, request.force)?;
            let ending = unpacking.unpack(candidate, &mut staged, path)?;
            if let Ending::Done(_) = &ending {
                observer.stage("syncing", None);
                staged.commit()?;
            }
            Ok(ending)
        }
        None => {
            let name = Path::new("standard output");
            let (file, _) = spool::unnamed(&request.spool_dirs)?;
            let ending = unpacking.unpack(candidate, &mut &file, name)?;
            if let Ending::Done(verdict) = &ending {
                sendout::send(&file, verdict.length, stdout, observer)?;
            }
            Ok(ending)
        }
    }
}

struct Unpacking<'a> {
    request: &'a Request,
    limits: &'a Limits,
    observer: &'a dyn Observer,
}

impl Unpacking<'_> {
    fn unpack(
        &self,
        candidate: Candidate,
        out: &mut (dyn Write + Send),
        name: &Path,
    ) -> Result<Ending> {
        let mut tee = |piece: &[u8]| {
            let written = out.write_all(piece);
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
        match verified {
            Verified::Bad(verdict) => Ok(Ending::BadInput(verdict)),
            Verified::Good(snapshot) => {
                snapshot.behind_image(self.observer, &mut tee)?;
                Ok(Ending::Done(Box::new(snapshot.into_verdict())))
            }
        }
    }
}
