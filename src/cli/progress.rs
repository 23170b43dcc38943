//! Progress on standard error: one line that is redrawn on a terminal, JSON lines for a program, or
//! nothing; and the way in which a signal reaches the work.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::humanize::{countdown, size};
use super::raw::ProgressMode;
use super::{signals, ui};
use crate::error::Result;
use crate::observe::Observer;

/// A rate is measured over this much of the past.
const WINDOW: Duration = Duration::from_secs(3);
/// Without a byte for this long, the line says so.
const STILL: Duration = Duration::from_secs(2);
/// Work that is done before this draws no line at all.
const PATIENCE: Duration = Duration::from_millis(300);
/// Bytes after which `advance` looks at the clock; `check` always does.
const STRIDE: u64 = 1 << 20;

/// Watches one operation. Cheap to tell: an atomic addition, and a clock once in a megabyte.
pub struct Progress {
    style: Style,
    /// What the work is on, where there is more than one.
    subject: Option<String>,
    born: Instant,
    /// Bytes done in this stage.
    done: AtomicU64,
    /// Milliseconds after birth at which the next line is due.
    due: AtomicU64,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Line,
    Json,
    Quiet,
}

impl Style {
    /// At least this long between two lines.
    fn pause(self) -> Duration {
        match self {
            Style::Line => Duration::from_millis(100),
            _ => Duration::from_millis(500),
        }
    }
}

/// What is going on, and since when.
struct Stage {
    name: String,
    total: Option<u64>,
    began: Instant,
    /// Looks at the byte count, oldest first, within [`WINDOW`].
    looks: VecDeque<(Instant, u64)>,
    /// When the byte count last grew.
    moved: Instant,
}

impl Stage {
    fn new(name: &str, total: Option<u64>, now: Instant) -> Stage {
        Stage {
            name: name.to_string(),
            total,
            began: now,
            looks: VecDeque::from([(now, 0)]),
            moved: now,
        }
    }

    /// Takes note of the byte count and forgets what is too old, but for one look to measure from.
    fn look(&mut self, now: Instant, done: u64) {
        if self.looks.back().is_none_or(|(_, before)| *before < done) {
            self.moved = now;
        }
        self.looks.push_back((now, done));
        while self.looks.len() > 2
            && self
                .looks
                .get(1)
                .is_some_and(|(then, _)| now - *then >= WINDOW)
        {
            self.looks.pop_front();
        }
    }

    /// Bytes per second over the window.
    fn rate(&self) -> f64 {
        match (self.looks.front(), self.looks.back()) {
            (Some((then, before)), Some((now, done))) if now > then => {
                done.saturating_sub(*before) as f64 / (*now - *then).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// `streaming  512 MB of 1.2 GB  43%  210 MB/s  3s left`
    fn line(&self, subject: Option<&str>, now: Instant, done: u64) -> String {
        let mut parts: Vec<String> = subject.map(String::from).into_iter().collect();
        parts.push(self.name.clone());
        let known = self.total.filter(|total| *total > 0 && done <= *total);
        match known {
            Some(total) => {
                parts.push(format!("{} of {}", size(done), size(total)));
                parts.push(format!("{}%", u128::from(done) * 100 / u128::from(total)));
            }
            None if done > 0 => parts.push(size(done)),
            None => {}
        }
        let rate = self.rate();
        if done > 0 && now - self.moved >= STILL && known != Some(done) {
            parts.push(format!("nothing for {}", countdown(now - self.moved)));
        } else if rate >= 1.0 {
            parts.push(format!("{}/s", size(rate as u64)));
            if let Some(total) = known.filter(|total| *total > done) {
                let left =
                    Duration::from_secs_f64(((total - done) as f64 / rate).ceil().min(360_000.0));
                parts.push(format!("{} left", countdown(left)));
            }
        }
        parts.join("  ")
    }

    fn json(&self, input: Option<&str>, now: Instant, done: u64, finished: bool) -> String {
        let line = JsonLine {
            input,
            stage: &self.name,
            bytes: done,
            total: self.total,
            elapsed: ((now - self.began).as_secs_f64() * 1000.0).round() / 1000.0,
            rate: self.rate() as u64,
            finished,
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// A line of `--progress json`: stable keys, promised in `--help`.
#[derive(Serialize)]
struct JsonLine<'a> {
    /// Which input, where there is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    stage: &'a str,
    bytes: u64,
    total: Option<u64>,
    /// Seconds since the stage began.
    elapsed: f64,
    /// Bytes per second of late.
    rate: u64,
    /// The last line of its stage.
    finished: bool,
}

impl Progress {
    /// Watches in the way that was asked for.
    pub fn new(mode: ProgressMode, subject: Option<String>) -> Progress {
        let style = match mode {
            ProgressMode::Json => Style::Json,
            ProgressMode::Auto if ui::stderr_takes_a_line() => Style::Line,
            ProgressMode::Auto | ProgressMode::None => Style::Quiet,
        };
        Progress::with_style(style, subject)
    }

    fn with_style(style: Style, subject: Option<String>) -> Progress {
        let now = Instant::now();
        Progress {
            style,
            subject,
            born: now,
            done: AtomicU64::new(0),
            due: AtomicU64::new(PATIENCE.as_millis() as u64),
            stage: Mutex::new(Stage::new("", None, now)),
        }
    }

    /// The operation is over: the line goes, the last stage is told.
    pub fn finish(&self) {
        self.next_stage(Stage::new("", None, Instant::now()));
        ui::wipe();
    }

    fn next_stage(&self, next: Stage) {
        let mut stage = self.now();
        let done = self.done.swap(0, Relaxed);
        if self.style == Style::Json && !stage.name.is_empty() {
            stage.look(next.began, done);
            ui::progress_json(&stage.json(self.subject(), next.began, done, true));
        }
        *stage = next;
    }

    /// Tells if it is time to.
    fn tick(&self) {
        let now = Instant::now();
        let millis = (now - self.born).as_millis() as u64;
        let due = self.due.load(Relaxed);
        if self.style == Style::Quiet || millis < due {
            return;
        }
        let next = millis + self.style.pause().as_millis() as u64;
        if self
            .due
            .compare_exchange(due, next, Relaxed, Relaxed)
            .is_err()
        {
            return; // another thread tells it
        }
        let mut stage = self.now();
        if stage.name.is_empty() {
            return;
        }
        let done = self.done.load(Relaxed);
        stage.look(now, done);
        match self.style {
            Style::Line => ui::progress_line(&stage.line(self.subject(), now, done)),
            Style::Json => ui::progress_json(&stage.json(self.subject(), now, done, false)),
            Style::Quiet => {}
        }
    }

    fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    fn now(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    /// A stage that has no byte done yet goes on when it is told once more.
    fn stage(&self, name: &str, total: Option<u64>) {
        let stage = self.now();
        if stage.name == name && stage.total == total && self.done.load(Relaxed) == 0 {
            return;
        }
        drop(stage);
        self.next_stage(Stage::new(name, total, Instant::now()));
    }

    fn advance(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Relaxed);
        if before / STRIDE != before.wrapping_add(bytes) / STRIDE {
            self.tick();
        }
    }

    fn notice(&self, text: &str) {
        ui::note(text);
    }

    fn warn(&self, text: &str) {
        ui::warning(text);
    }

    fn check(&self) -> Result<()> {
        self.tick();
        signals::check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long() {
        let start = Instant::now();
        let mut stage = Stage::new("streaming", Some(1_000_000_000), start);
        stage.look(at(start, 1.0), 100_000_000);
        stage.look(at(start, 2.0), 250_000_000);
        assert_eq!(
            stage.line(None, at(start, 2.0), 250_000_000),
            "streaming  250 MB of 1.0 GB  25%  125 MB/s  6s left"
        );
    }

    #[test]
    fn a_stream_that_stands_still_is_said_to() {
        let start = Instant::now();
        let mut stage = Stage::new("streaming", Some(1_000), start);
        for second in 1..=5 {
            stage.look(at(start, f64::from(second)), 500);
        }
        let line = stage.line(None, at(start, 5.0), 500);
        assert_eq!(line, "streaming  500 B of 1.0 kB  50%  nothing for 4s");
    }

    #[test]
    fn unknown_and_wrong_totals_claim_nothing() {
        let start = Instant::now();
        let mut stage = Stage::new("checking", None, start);
        assert_eq!(stage.line(None, start, 0), "checking");
        stage.look(at(start, 1.0), 2_000_000);
        assert_eq!(
            stage.line(None, at(start, 1.0), 2_000_000),
            "checking  2.0 MB  2.0 MB/s"
        );
        stage.total = Some(5);
        assert!(!stage.line(None, at(start, 1.0), 2_000_000).contains('%'));
    }

    #[test]
    fn the_rate_forgets_the_past() {
        let start = Instant::now();
        let mut stage = Stage::new("streaming", None, start);
        for tick in 1..=100_u32 {
            let done = if tick <= 50 {
                1_000_000
            } else {
                u64::from(tick) * 1_000_000
            };
            stage.look(at(start, f64::from(tick) * 0.1), done);
        }
        assert!(stage.looks.len() <= 33, "{}", stage.looks.len());
        assert!(
            (stage.rate() - 10_000_000.0).abs() < 500_000.0,
            "{}",
            stage.rate()
        );
    }

    #[test]
    fn json_has_the_keys_that_help_promises() {
        let start = Instant::now();
        let mut stage = Stage::new("checking", Some(10), start);
        stage.look(at(start, 2.0), 10);
        assert_eq!(
            stage.json(None, at(start, 2.0), 10, true),
            r#"{"stage":"checking","bytes":10,"total":10,"elapsed":2.0,"rate":5,"finished":true}"#
        );
    }

    #[test]
    fn bytes_are_counted_from_many_threads_and_stages_start_at_zero() {
        let progress = Progress::with_style(Style::Quiet, None);
        progress.stage("hashing", None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| progress.advance(3)));
            }
        });
        assert_eq!(progress.done.load(Relaxed), 12_000);
        progress.stage("hashing", None);
        assert_eq!(progress.done.load(Relaxed), 0);
        let began = progress.now().began;
        progress.stage("hashing", None);
        assert_eq!(progress.now().began, began, "the same stage");
        progress.stage("hashing", Some(1));
        assert_ne!(progress.now().began, began);
    }
}
