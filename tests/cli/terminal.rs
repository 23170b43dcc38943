//! Terminals and signals: colour, layout, passwords, and how the process ends.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{PROGRAM, files, shell, typed};
use crate::util::fake::{self, Fake, Step};
use crate::util::temp_dir;

/// What a terminal shows of a command: both streams, on a pseudo terminal.
fn on_a_terminal(dir: &Path, line: &str, env: &[(&str, &str)]) -> String {
    let script = format!("script -qec '{PROGRAM} {line}' /dev/null");
    shell(dir, &script, env).stdout_str()
}

#[test]
fn colour_and_layout_follow_the_terminal() {
    let dir = files();
    let show = |line: &str, env: &[(&str, &str)]| on_a_terminal(dir.path(), line, env);
    let xterm = ("TERM", "xterm");

    let plain = show("verify good.db", &[xterm]);
    assert!(plain.contains("\x1b[1;32mGOOD\x1b[0m  good.db"), "{plain}");
    assert!(
        plain.contains("  transport  "),
        "a terminal gets the details: {plain}"
    );
    let failed = show("verify nowhere.db", &[xterm]);
    assert!(
        failed.contains("\x1b[1;31merror:\x1b[0m cannot open"),
        "{failed}"
    );

    for env in [&[xterm, ("NO_COLOR", "1")][..], &[("TERM", "dumb")], &[]] {
        let text = show("verify good.db nowhere.db", env);
        assert!(!text.contains('\x1b'), "{env:?}: {text:?}");
        assert!(text.contains("GOOD  good.db"), "{env:?}: {text}");
    }
    // NO_COLOR counts only when it says something: https://no-color.org
    assert!(show("verify good.db", &[xterm, ("NO_COLOR", "")]).contains("\x1b[1;32m"));
    assert!(show("status good.db", &[xterm]).contains("┌──────────┬"));
    assert!(show("status -w simple good.db", &[xterm]).contains("2ea5aecf, 308"));

    // Elsewhere: a line, no colour, whatever TERM says.
    let output = typed(dir.path(), "verify good.db")
        .env("TERM", "xterm")
        .run()
        .ok();
    output
        .stdout_is("GOOD      good.db  snapshot, revision 308, 275 live keys, 295 kB\n")
        .stderr_is("");
    // And the other way round: a terminal for errors only.
    let script =
        "script -qec 'PROGRAM verify nowhere.db >/dev/null' /dev/null".replace("PROGRAM", PROGRAM);
    let text = shell(dir.path(), &script, &[xterm]).stdout_str();
    assert!(text.contains("\x1b[1;31merror:"), "{text}");
}

#[test]
fn a_terminal_without_a_size_shows_the_whole_line() {
    let dir = temp_dir();
    let half = [&fake::good(&fake::image())[..3], &[Step::Stall]].concat();
    let server = Fake::sending(half);
    let line = format!(
        "save --idle-timeout 1s --endpoints {} out.db",
        server.endpoint()
    );
    // A serial console, and `script` without a terminal of its own, have no size.
    let script = format!("script -qec '{PROGRAM} {line}' /dev/null </dev/null");
    let text = shell(dir.path(), &script, &[("TERM", "xterm")]).stdout_str();
    assert!(text.contains("streaming  98 kB of 200 kB  49%"), "{text:?}");
}

/// A server that takes connections and says nothing.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    (listener, endpoint)
}

#[test]
fn a_signal_ends_the_process_by_that_signal_and_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = temp_dir();
        let (_listener, endpoint) = silent_server();
        let line = format!("save --dial-timeout 50s --endpoints {endpoint} out.db");
        let running = typed(dir.path(), &line).spawn();
        wait_until_signals_are_caught(running.pid());
        running.send(signal);
        let output = running
            .wait(Duration::from_secs(10))
            .signal(signal.as_raw());
        output
            .stderr_has("error: interrupted by SIG")
            .within(Duration::from_secs(5));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn nohup_is_respected() {
    let dir = temp_dir();
    let (_listener, endpoint) = silent_server();
    let mut command = Command::new("sh");
    let line = format!(
        "trap '' HUP; exec {PROGRAM} save --dial-timeout 50s --endpoints {endpoint} out.db"
    );
    command.args(["-c", &line]).current_dir(dir.path());
    let mut running = crate::util::process::spawn(command, None);
    wait_until_signals_are_caught(running.pid());
    running.send(Signal::HUP);
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        running.is_alive(),
        "SIGHUP was ignored by the parent, and ends the child"
    );
    running.send(Signal::TERM);
    running
        .wait(Duration::from_secs(10))
        .signal(Signal::TERM.as_raw());
}

#[test]
fn a_pipe_that_says_nothing_does_not_hold_up_a_signal() {
    let dir = temp_dir();
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut command = typed(dir.path(), "verify -").command();
    command.stdin(reader).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_until_signals_are_caught(child.id());
    crate::util::process::send(&child, Signal::TERM);
    let status = crate::util::process::wait(&mut child, Duration::from_secs(10));
    let status = status.expect("an end within ten seconds");
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status:?}");
}

/// Until SIGTERM has a handler: before that, any program would die of it.
fn wait_until_signals_are_caught(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let term = 1_u64 << (Signal::TERM.as_raw() - 1);
    while Instant::now() < deadline {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        if mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & term != 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("process {pid} does not catch SIGTERM");
}

/// A program on a pseudo terminal, to type at.
struct Typist {
    child: Child,
    seen: Vec<u8>,
}

impl Typist {
    fn at(dir: &Path, line: &str) -> Typist {
        let mut command = Command::new("script");
        command
            .args(["-qec", &format!("{PROGRAM} {line}"), "/dev/null"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        Typist {
            child,
            seen: Vec::new(),
        }
    }

    fn read_until(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            assert_eq!(
                stdout.read(&mut byte).unwrap(),
                1,
                "no {text:?} in {:?}",
                self.text()
            );
            self.seen.push(byte[0]);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn end(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.child
            .stdout
            .as_mut()
            .unwrap()
            .read_to_end(&mut rest)
            .unwrap();
        self.seen.extend(rest);
        (self.child.wait().unwrap().code().unwrap(), self.text())
    }
}

#[test]
fn a_password_is_asked_for_without_echo() {
    let dir = temp_dir();
    let mut typist = Typist::at(
        dir.path(),
        "save --user root --endpoints 127.0.0.1:1 out.db",
    );
    typist.read_until("Password of root: ");
    typist.type_in("wrong\x15s3crex\x7ft\r");
    let (code, text) = typist.end();
    assert_eq!(code, 5, "{text}");
    assert!(!text.contains("s3cre") && !text.contains("wrong"), "{text}");

    let mut typist = Typist::at(
        dir.path(),
        "save --user root --endpoints 127.0.0.1:1 out.db",
    );
    typist.read_until("Password of root: ");
    typist.type_in("\x03");
    let (code, text) = typist.end();
    assert_eq!(code, 128 + 2, "{text}");
    assert!(text.contains("interrupted by SIGINT"), "{text}");
}

/// `timeout` runs its command there: to ask would stop the process, and the signal that should end it would, too.
#[test]
fn nobody_is_asked_for_a_password_from_the_background() {
    let dir = temp_dir();
    let line = format!("timeout -k 2 5 {PROGRAM} save --user root --endpoints 127.0.0.1:1 out.db");
    let began = Instant::now();
    let text = shell(
        dir.path(),
        &format!("script -qc '{line}; echo code $?' /dev/null"),
        &[],
    );
    let text = text.stdout_str();
    assert!(text.contains("code 2"), "{text}");
    assert!(text.contains("from the background"), "{text}");
    assert!(text.contains("--password-file FILE"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(5), "{text}");
}

#[test]
fn without_a_terminal_a_password_comes_from_elsewhere() {
    let dir = temp_dir();
    // setsid: the developer's terminal is not for tests.
    let ask =
        format!("setsid -w {PROGRAM} save --user root --endpoints 127.0.0.1:1 out.db </dev/null");
    shell(dir.path(), &ask, &[])
        .code(2)
        .stderr_has("error: --user root: no password, and no terminal to ask on")
        .stderr_has("hint: --user root --password-file FILE");
    std::fs::write(dir.path().join("password"), "secret\n").unwrap();
    typed(
        dir.path(),
        "save --user root --password-file password --endpoints 127.0.0.1:1 out.db --debug",
    )
    .run()
    .code(5)
    .stderr_has("127.0.0.1:1")
    .stderr_lacks("secret");
}
