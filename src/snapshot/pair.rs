//! Two threads over one file: one hashes it, one walks it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::observe::Observer;

/// Runs both at once; when one fails the other is stopped, and the failure that came first is returned. Bytes are
/// counted by the one that hashes, unless `walk_counts`: then there is nothing to hash.
pub(super) fn both<A, B: Send>(
    observer: &dyn Observer,
    walk_counts: bool,
    walk: impl FnOnce(&dyn Observer) -> Result<A>,
    hash: impl FnOnce(&dyn Observer) -> Result<B> + Send,
) -> Result<(A, B)> {
    let stop = AtomicBool::new(false);
    let run_until = |failed: bool| stop.fetch_or(failed, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(|| {
            let result = hash(&Partner {
                observer,
                stop: &stop,
                counts: !walk_counts,
            });
            run_until(result.is_err());
            result
        });
        let walked = walk(&Partner {
            observer,
            stop: &stop,
            counts: walk_counts,
        });
        let walk_stopped_it = walked.is_err() && !run_until(true);
        let hashed = hashing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (walked, hashed) {
            (Ok(walked), Ok(hashed)) => Ok((walked, hashed)),
            (Err(e), Ok(_)) | (Ok(_), Err(e)) => Err(e),
            (Err(walked), Err(_)) if walk_stopped_it => Err(walked),
            (Err(_), Err(hashed)) => Err(hashed),
        }
    })
}

/// The observer of one of two threads: stops when its partner failed; only one of them counts bytes.
struct Partner<'a> {
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    counts: bool,
}

impl Observer for Partner<'_> {
    fn stage(&self, name: &str, total: Option<u64>) {
        self.observer.stage(name, total);
    }
    fn advance(&self, bytes: u64) {
        if self.counts {
            self.observer.advance(bytes);
        }
    }
    fn notice(&self, text: &str) {
        self.observer.notice(text);
    }
    fn warn(&self, text: &str) {
        self.observer.warn(text);
    }
    fn check(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::interrupted()),
            false => self.observer.check(),
        }
    }
}
