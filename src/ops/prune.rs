//! Prune: what a policy lets go is removed, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::catalogue::lock::DirLock;
use crate::catalogue::policy::Policy;
use crate::catalogue::prune::Pruning;
use crate::catalogue::records::Catalogue;
use crate::catalogue::run::Pruned;
use crate::catalogue::scan;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::observe::Observer;

/// What to prune, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The directory of the backups.
    pub dir: PathBuf,
    /// What stays.
    pub policy: Policy,
    /// Decide, and remove nothing.
    pub dry_run: bool,
    /// How long to wait for another run to end.
    pub lock_wait: Duration,
}

/// What was decided and done.
#[derive(Debug)]
pub struct Outcome {
    /// Every backup, and why it stays or goes.
    pub pruning: Pruning,
    /// What was removed; what would be, if it was a dry run.
    pub pruned: Pruned,
    /// What is wrong with the lock or the catalogue.
    pub warnings: Vec<String>,
    /// The first of what could not be removed, or what ended it early.
    pub failed: Option<Error>,
}

/// Decides, and carries it out unless it is a dry run.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<Outcome> {
    let lock = match request.dry_run {
        true => None,
        false => Some(hold(request, observer)?),
    };
    let now = Timestamp::now();
    let found = scan::scan(&request.dir, limits)?;
    let mut catalogue = Catalogue::load(&request.dir)?;
    let problem = catalogue.problem();
    let pruning = Pruning::plan(&found, &catalogue, &request.policy, now);
    let (pruned, failed) = match &lock {
        Some(lock) => {
            pruning.carry_out(lock, &mut catalogue, now, limits, &mut || observer.check())
        }
        None => (pruning.pruned(), None),
    };
    let warnings = lock.and_then(|lock| lock.warning());
    Ok(Outcome {
        pruning,
        pruned,
        failed,
        warnings: warnings.into_iter().chain(problem).collect(),
    })
}

fn hold(request: &Request, observer: &dyn Observer) -> Result<DirLock> {
    let command = format!("prune {}", request.dir.display());
    let (now, wait) = (Timestamp::now(), request.lock_wait);
    DirLock::hold(&request.dir, command, now, wait, observer)
}
