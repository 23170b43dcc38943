//! The only file that writes to standard output and standard error. The rules:
//!
//! - Standard output is the answer, and nothing else; if whoever reads it has heard enough (EPIPE),
//!   that is fine.
//! - Standard error is everything else. A line begins with what it is: `error:`, `warning:`, `note:`,
//!   `hint:`, `debug:`. No capital at its start, no full stop at its end.
//! - `error:` says what and where, with what was found and expected; `hint:` is the next thing to type.
//! - Colour only on a terminal, and not with NO_COLOR set or a TERM of `dumb`. Only the word that says
//!   what a line is has a colour, so nothing is lost without it.
//! - The progress line is the last line of a terminal; whatever is printed wipes it first.
//! - Text that others chose (paths, names in snapshots, words of servers) is tamed before it is printed.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};
use serde::Serialize;

use super::humanize::tame;
use super::render::finding_text;
use crate::error::{Error, Result};
use crate::report::{Finding, Report, Severity};

/// Whether the progress line stands on the terminal.
static LINE_STANDS: Mutex<bool> = Mutex::new(false);

/// Whether lines on standard error are objects.
static LOG_JSON: AtomicBool = AtomicBool::new(false);

/// `--log-format json`
pub fn log_json(yes: bool) {
    LOG_JSON.store(yes, Ordering::Relaxed);
}

/// Prints the answer.
pub fn answer(text: &str) -> Result<()> {
    wipe();
    // Not through the library's own buffer, to which a descriptor that cannot be written is a success.
    match stdout_for_bytes()?.write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::failed("cannot write to standard output").because(error)),
        Ok(()) => Ok(()),
    }
}

/// Standard output for bytes that are no text: unbuffered, and EPIPE is an error like any other.
pub fn stdout_for_bytes() -> Result<File> {
    let fd = io::stdout().as_fd().try_clone_to_owned();
    fd.map(File::from)
        .map_err(|error| Error::failed("cannot write to standard output").because(error))
}

/// Prints the answer to standard error, because standard output has something else on it.
pub fn answer_aside(text: &str) {
    match LOG_JSON.load(Ordering::Relaxed) {
        true => note(text.trim_end()),
        false => tell(text),
    }
}

/// An error and its hint.
pub fn error(error: &Error) {
    let paint = Paint::for_stderr();
    line(&paint.red("error:"), &tame(&error.to_string()));
    if let Some(text) = error.hint_text() {
        hint(text);
    }
}

/// The next thing to type.
pub fn hint(text: &str) {
    line(&Paint::for_stderr().cyan("hint:"), &tame(text));
}

/// Odd, but the work goes on.
pub fn warning(text: &str) {
    line(&Paint::for_stderr().yellow("warning:"), &tame(text));
}

/// Worth knowing.
pub fn note(text: &str) {
    line("note:", &tame(text));
}

/// Asked for with `--debug`.
pub fn debug(text: &str) {
    line("debug:", &tame(text));
}

/// The last words after a signal.
pub fn interrupted(signal: &str) {
    line(
        &Paint::for_stderr().red("error:"),
        &format!("interrupted by {signal}"),
    );
}

fn finding(input: &str, finding: &Finding) {
    let text = finding_text(finding);
    let named_already = text.starts_with(input);
    let text = if named_already {
        text
    } else {
        format!("{input}: {text}")
    };
    match finding.severity {
        Severity::Error => line(&Paint::for_stderr().red("error:"), &tame(&text)),
        Severity::Warning => warning(&text),
        Severity::Note => note(&text),
    }
}

/// What a check found that is at least this bad, and how much of it is not listed.
pub fn findings(input: &str, report: &Report, least: Severity) {
    let telling = |found: &&Finding| found.severity >= least;
    for found in report.listed().iter().filter(telling) {
        finding(input, found);
    }
    if report.unlisted() > 0 {
        note(&format!("{input}: {} more findings", report.unlisted()));
    }
}

/// One line of JSON for a program that shows progress.
pub fn progress_json(json: &str) {
    tell(&format!("{json}\n"));
}

/// Draws the progress line, or draws it anew.
pub fn progress_line(text: &str) {
    // Serial consoles have a size of 0, which is none.
    let columns = match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).max(20),
        _ => 80,
    };
    let text: String = tame(text).chars().take(columns - 1).collect();
    let mut stands = LINE_STANDS.lock().unwrap_or_else(PoisonError::into_inner);
    *stands = true;
    put(&format!("\r{text}\x1b[K"));
}

/// Wipes the progress line, if it stands.
pub fn wipe() {
    let mut stands = LINE_STANDS.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *stands) {
        put("\r\x1b[K");
    }
}

/// Whether standard input is a terminal.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether standard output is a terminal.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard output was closed when the program began: Rust's runtime then opens /dev/null in its place, for
/// reading and writing (`rust-lang/rust library/std/src/sys/pal/unix/mod.rs`, 1.95). A shell opens it for writing alone.
pub fn stdout_is_closed() -> bool {
    let stdout = io::stdout();
    let both = fcntl_getfl(&stdout).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    let is_null = fstat(&stdout).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
    });
    both && is_null
}

/// Whether a progress line can be drawn on standard error.
pub fn stderr_takes_a_line() -> bool {
    io::stderr().is_terminal() && !dumb()
}

fn line(what: &str, text: &str) {
    if LOG_JSON.load(Ordering::Relaxed) {
        return tell(&logged(what, text));
    }
    tell(&format!("{what} {text}\n"));
}

/// One object: time, level and message.
fn logged(what: &str, text: &str) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        level: &'a str,
        message: &'a str,
    }
    let level = ["error", "warning", "note", "hint", "debug"];
    let level = level.into_iter().find(|level| what.contains(level));
    let line = Line {
        time: format!("{:.0}", jiff::Timestamp::now()),
        level: level.unwrap_or("note"),
        message: text,
    };
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

fn tell(text: &str) {
    wipe();
    put(text);
}

/// Nobody can be told that standard error does not work.
fn put(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub const PLAIN: Paint = Paint(false);

    /// Colours if standard output takes them.
    pub fn for_stdout() -> Paint {
        Paint(io::stdout().is_terminal() && colour_is_wanted())
    }

    /// Colours if standard error takes them.
    pub fn for_stderr() -> Paint {
        Paint(io::stderr().is_terminal() && colour_is_wanted())
    }

    /// Something is wrong.
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Something is good.
    pub fn green(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    /// Something is odd.
    pub fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// Something to do.
    pub fn cyan(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }
}

fn colour_is_wanted() -> bool {
    // https://no-color.org: present and not empty.
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !dumb()
}

fn dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}
