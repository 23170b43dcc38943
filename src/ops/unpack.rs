//! Unpack: the snapshot out of an archive, byte for byte.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::fault;
use crate::io::outlet::Outlet;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::shell;
use crate::snapshot::{self, Listeners, Options, Verdict, Verified};
use crate::source::{Candidate, Source};

/// What to unpack, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// An archive, or a snapshot that is compressed with zstd or gzip. Standard output may be kept
    /// where standard input may.
    pub source: Source,
    /// Where the snapshot goes; `None`: standard output.
    pub output: Option<PathBuf>,
    /// Replace an existing output, atomically.
    pub force: bool,
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
    let target = request.output.as_deref();
    Outlet::check(target, request.force)?;
    let candidate = request.source.open(limits, observer)?;
    if candidate.container.is_none() {
        let name = candidate.image.name();
        let word = shell::path(Path::new(name));
        return Err(Error::usage(format!("{name} is not compressed"))
            .hint(format!("use it as it is: etcd-rescue verify {word}")));
    }
    let mut outlet = Outlet::create(target, request.force, &request.source.spool_dirs)?;
    let ending = unpack(candidate, &mut outlet, request.source.raw, limits, observer)?;
    if let Ending::Done(verdict) = &ending {
        outlet.finish(verdict.length, stdout, observer)?;
    }
    Ok(ending)
}

fn unpack(
    candidate: Candidate,
    out: &mut Outlet,
    raw: bool,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Ending> {
    let name = out.name();
    let mut tee = |piece: &[u8]| {
        let written = out.write_all(piece);
        written.map_err(|e| fault::write_error(&name, e))
    };
    let options = Options { raw, digest: None };
    let listeners = Listeners::tee(&mut tee);
    match snapshot::verify(candidate, options, limits, observer, listeners)? {
        Verified::Bad(verdict) => Ok(Ending::BadInput(verdict)),
        Verified::Good(snapshot) => {
            snapshot.behind_image(observer, &mut tee)?;
            Ok(Ending::Done(Box::new(snapshot.into_verdict())))
        }
    }
}
