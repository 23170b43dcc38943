//! Verify: transport, structure and meaning of one input.

use std::path::PathBuf;

use crate::error::Result;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::snapshot::{self, Listeners, Options, Verdict, Verified};
use crate::source::{self, Input};

/// What to verify.
#[derive(Clone, Debug)]
pub struct Request {
    /// One input.
    pub input: Input,
    /// Accept a file without SHA-256 trailer, and a db that a running etcd holds.
    pub raw: bool,
    /// Where standard input may be kept if it cannot seek, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
}

/// Reads the whole input once. A bad verdict is a value; an error means that there is no verdict.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<Verdict> {
    let candidate = source::open(
        &request.input,
        request.raw,
        &request.spool_dirs,
        limits,
        observer,
    )?;
    let options = Options {
        raw: request.raw,
        digest: None,
    };
    snapshot::verify(candidate, options, limits, observer, Listeners::default())
        .map(Verified::into_verdict)
}
