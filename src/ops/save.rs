//! Save: stream a snapshot from a live member, prove it, and only then give it its name.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::ConnectOptions;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::observe::Observer;
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
}

/// Where a snapshot goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file that does not exist yet.
    File(PathBuf),
    /// `-`: standard output. Exit code 0 is the proof that it was whole.
    Stdout,
}

/// What was saved.
#[derive(Debug)]
pub struct Outcome {
    /// Endpoint that served it.
    pub endpoint: String,
    /// Why that one, in words: `follower, revision 308, 2 endpoints probed`.
    pub chosen_because: String,
    /// Member id and name, if the member could say.
    pub member_id: Option<u64>,
    /// Member name.
    pub member_name: Option<String>,
    /// Cluster id.
    pub cluster_id: Option<u64>,
    /// etcd's own version, from the status call.
    pub server_version: Option<String>,
    /// Bytes written, trailer included.
    pub bytes: u64,
    /// The verdict on what was written.
    pub verdict: Verdict,
    /// From the first byte asked for to the name given.
    pub took: Duration,
}

/// Saves. Nothing is left behind under any name when it fails.
pub fn run(_request: &Request, _limits: &Limits, _observer: &dyn Observer) -> Result<Outcome> {
    Err(Error::failed("save is not built yet"))
}
