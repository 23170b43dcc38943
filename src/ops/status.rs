//! Status: what `etcdutl snapshot status` says, and what it leaves out.

use std::path::PathBuf;

use crate::error::Result;
use crate::etcd::facts::Facts;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::Report;
use crate::snapshot;
use crate::source::{self, Input};

/// What to look at.
#[derive(Clone, Debug)]
pub struct Request {
    /// One input.
    pub input: Input,
    /// Look at a db that a running etcd holds.
    pub raw: bool,
    /// Where standard input may be kept if it cannot seek, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
}

/// What was seen.
#[derive(Debug)]
pub struct Outcome {
    /// What the input was found to be.
    pub input: String,
    /// Meaningless where `report.is_damaged()`.
    pub facts: Facts,
    /// Structure and meaning findings; the SHA-256 is not checked here.
    pub report: Report,
}

/// Walks the structure once; does not check the SHA-256.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<Outcome> {
    let candidate = source::open(&request.input, request.raw, &request.spool_dirs, observer)?;
    let verdict = snapshot::survey(&candidate, limits, observer)?;
    Ok(Outcome {
        input: verdict.input,
        facts: verdict.facts,
        report: verdict.report,
    })
}
