//! How long work tells the outside what it is doing, and hears that it should stop.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Watches an operation: progress goes out, interruption comes in. Shared by the threads of one operation.
pub trait Observer: Sync {
    /// A new stage begins: `streaming`, `checking`, `writing`, `syncing`. `total` is in bytes, if known.
    fn stage(&self, name: &str, total: Option<u64>);

    /// `bytes` more are done in this stage.
    fn advance(&self, bytes: u64);

    /// Something worth a line on stderr happened, and the work goes on.
    fn notice(&self, text: &str);

    /// As [`Observer::notice`], and it may cost somebody something.
    fn warn(&self, text: &str) {
        self.notice(text);
    }

    /// [`crate::error::Kind::Interrupted`] once a signal has arrived. Called at least once for each
    /// megabyte or tenth of a second of work.
    fn check(&self) -> Result<()>;
}

/// Passes everything on, and ends the work when its time is up.
pub struct Bounded<'a> {
    inner: &'a dyn Observer,
    limit: Duration,
    until: Instant,
}

impl<'a> Bounded<'a> {
    /// From now on the work has this long.
    pub fn new(inner: &'a dyn Observer, limit: Duration) -> Bounded<'a> {
        Bounded {
            inner,
            limit,
            until: Instant::now() + limit,
        }
    }
}

impl Observer for Bounded<'_> {
    fn stage(&self, name: &str, total: Option<u64>) {
        self.inner.stage(name, total);
    }

    fn advance(&self, bytes: u64) {
        self.inner.advance(bytes);
    }

    fn notice(&self, text: &str) {
        self.inner.notice(text);
    }

    fn warn(&self, text: &str) {
        self.inner.warn(text);
    }

    /// [`crate::error::Kind::Unreachable`] when the time is up.
    fn check(&self) -> Result<()> {
        self.inner.check()?;
        if Instant::now() < self.until {
            return Ok(());
        }
        Err(
            Error::unreachable(format!("not done within {:?}", self.limit))
                .hint("give --command-timeout more time, or leave it out: a stream that stands still is noticed all the same"),
        )
    }
}

/// Watches nothing, never interrupts.
pub struct Unobserved;

impl Observer for Unobserved {
    fn stage(&self, _name: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn notice(&self, _text: &str) {}
    fn check(&self) -> Result<()> {
        Ok(())
    }
}
