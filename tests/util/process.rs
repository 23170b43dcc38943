//! Running a command to its end, bounded in time, with everything in view when it fails.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a command ended and what it said. The assertions chain, and a failing one prints the
/// command, its directory, that directory's listing, the status and both streams.
pub struct Output {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub took: Duration,
    command: String,
    cwd: PathBuf,
    /// What else belongs into a failure message, such as the end of a server's log.
    pub context: String,
}

impl Output {
    /// The command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// The command exited with this code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        let found = self.code;
        self.expect(found == Some(expected), &format!("exit code {expected}"))
    }

    /// The command was ended by this signal.
    #[track_caller]
    pub fn signal(self, expected: i32) -> Self {
        let found = self.signal;
        self.expect(
            found == Some(expected),
            &format!("end by signal {expected}"),
        )
    }

    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Self {
        let found = self.stdout_str().contains(text);
        self.expect(found, &format!("{text:?} in stdout"))
    }

    #[track_caller]
    pub fn stdout_is(self, text: &str) -> Self {
        let equal = self.stdout == text.as_bytes();
        self.expect(equal, &format!("stdout to be {text:?}"))
    }

    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Self {
        let found = self.stderr.contains(text);
        self.expect(found, &format!("{text:?} in stderr"))
    }

    #[track_caller]
    pub fn stderr_lacks(self, text: &str) -> Self {
        let found = self.stderr.contains(text);
        self.expect(!found, &format!("no {text:?} in stderr"))
    }

    #[track_caller]
    pub fn stderr_is(self, text: &str) -> Self {
        let equal = self.stderr == text;
        self.expect(equal, &format!("stderr to be {text:?}"))
    }

    #[track_caller]
    pub fn within(self, limit: Duration) -> Self {
        let took = self.took;
        self.expect(took <= limit, &format!("an end within {limit:?}"))
    }

    /// Any other condition, with its name.
    #[track_caller]
    pub fn expect(self, holds: bool, what: &str) -> Self {
        assert!(holds, "expected {what}\n{self}");
        self
    }

    /// stdout as text; bytes that are not UTF-8 are replaced.
    pub fn stdout_str(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|err| panic!("expected JSON on stdout: {err}\n{self}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        };
        writeln!(f, "command: {}", self.command)?;
        writeln!(f, "cwd:     {}", self.cwd.display())?;
        writeln!(f, "status:  {status} after {:?}", self.took)?;
        writeln!(f, "--- stdout\n{}", clip(&self.stdout_str()))?;
        writeln!(f, "--- stderr\n{}", clip(&self.stderr))?;
        writeln!(f, "--- files in cwd\n{}", listing(&self.cwd))?;
        write!(f, "{}", self.context)
    }
}

/// A command that is running. Dropping it kills it.
pub struct Running {
    child: Child,
    command: String,
    cwd: PathBuf,
    started: Instant,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// Starts `command` with `stdin` (none: /dev/null) and both streams captured.
#[track_caller]
pub fn spawn(mut command: Command, stdin: Option<Vec<u8>>) -> Running {
    let text = describe(&command);
    let cwd = match command.get_current_dir() {
        Some(dir) => dir.to_path_buf(),
        None => std::env::current_dir().unwrap(),
    };
    command.stdin(if stdin.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("cannot start {text}\nin {}: {err}", cwd.display()));
    if let Some(bytes) = stdin {
        let mut pipe = child.stdin.take().unwrap();
        // A command may end without reading all of it; that is for its status to tell.
        std::thread::spawn(move || pipe.write_all(&bytes));
    }
    Running {
        stdout: child.stdout.take().map(collect),
        stderr: child.stderr.take().map(collect),
        child,
        command: text,
        cwd,
        started: Instant::now(),
    }
}

/// Runs `command` to its end. One that takes longer than `timeout` is killed, and the test fails.
#[track_caller]
pub fn run(command: Command, stdin: Option<Vec<u8>>, timeout: Duration) -> Output {
    spawn(command, stdin).wait(timeout)
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    #[track_caller]
    pub fn send(&self, signal: rustix::process::Signal) {
        send(&self.child, signal);
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    #[track_caller]
    pub fn wait(mut self, timeout: Duration) -> Output {
        match wait(
            &mut self.child,
            timeout.saturating_sub(self.started.elapsed()),
        ) {
            Some(status) => self.output(Some(status)),
            None => {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                let output = self.output(None);
                panic!("killed: still running after {timeout:?}\n{output}");
            }
        }
    }

    fn output(&mut self, status: Option<ExitStatus>) -> Output {
        let mut streams = [self.stdout.take(), self.stderr.take()].map(|stream| {
            stream
                .map(|thread| thread.join().unwrap())
                .unwrap_or_default()
        });
        Output {
            code: status.and_then(|s| s.code()),
            signal: status.and_then(|s| s.signal()),
            stdout: std::mem::take(&mut streams[0]),
            stderr: String::from_utf8_lossy(&streams[1]).into_owned(),
            took: self.started.elapsed(),
            command: self.command.clone(),
            cwd: self.cwd.clone(),
            context: String::new(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to do about a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to our own child; one that has ended is fine.
#[track_caller]
pub fn send(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(err) => panic!("cannot send {signal:?} to process {pid:?}: {err}"),
    }
}

/// Waits for the end of a child: none when it still runs after `timeout`.
pub fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Stops a run as it stands once it has begun what `begun` looks for; false if it was over before.
#[track_caller]
pub fn freeze(running: &mut Running, mut begun: impl FnMut() -> bool) -> bool {
    eventually("it has begun", || begun() || !running.is_alive());
    running.send(rustix::process::Signal::STOP);
    let pid = running.pid();
    eventually("it stands still", || {
        !running.is_alive() || stands_still(pid)
    });
    running.is_alive()
}

/// Waits until something holds; fails if it never does.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether every thread of the process is stopped (state T in /proc).
pub fn stands_still(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default();
        state.trim_start().starts_with('T')
    })
}

/// The command as one would type it, with the variables that were set for it.
pub fn describe(command: &Command) -> String {
    let quote = |text: &std::ffi::OsStr| {
        let text = text.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let mut pair = OsString::from(name);
            pair.push("=");
            pair.push(value);
            words.push(quote(&pair));
        }
    }
    words.push(quote(command.get_program()));
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

/// The last part of a log file, for failure messages.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let skipped = all.len().saturating_sub(lines);
    let mut out = format!(
        "--- {} (last {lines} of {} lines)\n",
        path.display(),
        all.len()
    );
    for line in &all[skipped..] {
        // A server that logs a megabyte value must not bury the message.
        out.extend(line.chars().take(1000));
        out.push('\n');
    }
    out
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn clip(text: &str) -> String {
    const MOST: usize = 20_000;
    if text.len() <= MOST {
        return text.to_owned();
    }
    let head: String = text.chars().take(MOST).collect();
    format!("{head}\n... ({} bytes in all)", text.len())
}

fn listing(dir: &Path) -> String {
    let mut lines = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else {
        return "(unreadable)".to_owned();
    };
    for entry in entries.flatten() {
        let size = entry.metadata().map_or(0, |m| m.len());
        let slash = if entry.path().is_dir() { "/" } else { "" };
        lines.push(format!(
            "{size:>12}  {}{slash}",
            entry.file_name().to_string_lossy()
        ));
    }
    lines.sort();
    lines.truncate(60);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn soon(script: &str, stdin: Option<Vec<u8>>) -> Output {
        run(sh(script), stdin, Duration::from_secs(20))
    }

    #[test]
    fn an_output_has_all_that_came_out() {
        soon("cat; echo oops >&2; exit 3", Some(b"in".to_vec()))
            .code(3)
            .stdout_is("in")
            .stderr_is("oops\n");
        soon("kill -9 $$", None).signal(9);
        // More than a pipe holds, on both streams at once, and a stdin that nobody reads.
        let much = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
        let output = soon(much, Some(vec![0; 300_000])).ok();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
    }

    #[test]
    #[should_panic(expected = "command: sh -c 'echo said; exit 1'")]
    fn a_failure_shows_the_command() {
        soon("echo said; exit 1", None).ok();
    }

    #[test]
    #[should_panic(expected = "--- stdout\nsaid")]
    fn a_failure_shows_what_was_said() {
        soon("echo said; exit 1", None).ok();
    }

    #[test]
    #[should_panic(expected = "killed: still running after 100ms")]
    fn a_command_that_hangs_fails_its_test() {
        run(sh("exec sleep 60"), None, Duration::from_millis(100));
    }
}
