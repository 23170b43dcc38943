//! How long work tells the outside what it is doing, and hears that it should stop.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Watches an operation: progress goes out, interruption comes in. Shared by the threads of one operation.
pub trait Observer: Sync {
    /// A new stage begins: `streaming`, `checking`, `writing`, `syncing`. `total` is in bytes, if known.
    /// One in which nothing is done yet goes on when it is told once more.
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
    late: &'a (dyn Fn(String) -> Error + Sync),
}

impl<'a> Bounded<'a> {
    /// From now on the work has this long.
    pub fn new(inner: &'a dyn Observer, limit: Duration) -> Bounded<'a> {
        Bounded {
            inner,
            limit,
            until: Instant::now() + limit,
            late: &|what| {
                Error::unreachable(what).hint("give --command-timeout more time, or leave it out: a stream that stands still is noticed all the same")
            },
        }
    }

    /// What it means that the time is up, in other words: `late` makes an error of `not done within 5m`.
    #[must_use]
    pub fn late(self, late: &'a (dyn Fn(String) -> Error + Sync)) -> Bounded<'a> {
        Bounded { late, ..self }
    }
}

/// A span of time for a person: `26h`, `3d 4h`, `5m 10s`.
pub fn rough(span: Duration) -> String {
    let seconds = span.as_secs();
    let (first, second) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3600..172_800 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match second.0 {
        0 => format!("{}{}", first.0, first.1),
        _ => format!("{}{} {}{}", first.0, first.1, second.0, second.1),
    }
}

/// A limit that a person has set, as [`rough`] has it; one under a second is not nothing: `400ms`.
pub fn limit(span: Duration) -> String {
    match (span.as_millis(), span.as_micros(), span.as_nanos()) {
        (1000.., ..) | (0, 0, 0) => rough(span),
        (0, 0, nanos) => format!("{nanos}ns"),
        (0, micros, _) => format!("{micros}us"),
        (millis, ..) => format!("{millis}ms"),
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

    /// [`crate::error::Kind::Unreachable`], or what [`Bounded::late`] says, when the time is up.
    fn check(&self) -> Result<()> {
        self.inner.check()?;
        if Instant::now() < self.until {
            return Ok(());
        }
        Err((self.late)(format!(
            "not done within {}",
            limit(self.limit)
        )))
    }
}

/// Waits this long, in steps that hear of a signal: each call is a step, and gives false when the time is up.
pub fn patience<'a>(
    wait: Duration,
    observer: &'a dyn Observer,
) -> impl FnMut() -> Result<bool> + 'a {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = wait;
    move || {
        observer.check()?;
        let step = left.min(STEP);
        std::thread::sleep(step);
        left -= step;
        Ok(!step.is_zero())
    }
}

/// Interruptible, and silent.
pub struct Silent<'a>(pub &'a dyn Observer);

impl Observer for Silent<'_> {
    fn stage(&self, _name: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn notice(&self, text: &str) {
        self.0.notice(text);
    }
    fn warn(&self, text: &str) {
        self.0.warn(text);
    }
    fn check(&self) -> Result<()> {
        self.0.check()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_nothing_when_it_is_something() {
        for (span, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(1), "1ns"),
            (Duration::from_micros(20), "20us"),
            (Duration::from_millis(400), "400ms"),
            (Duration::from_millis(59_400), "59s"),
            (Duration::from_secs(310), "5m 10s"),
            (Duration::from_secs(26 * 3600), "26h"),
            (Duration::from_secs(76 * 3600), "3d 4h"),
        ] {
            assert_eq!(limit(span), text);
        }
        // An age need not be told as exactly.
        assert_eq!(rough(Duration::from_millis(400)), "0s");
    }
}
