//! SIGINT, SIGTERM and SIGHUP: everything is cleared up, and the process ends by that signal, soon.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::SNAPSHOT;
use super::kill::worth_a_kill;
use super::site::{SaveSite, Site, State, WAYS};
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script, Step, good, image};
use crate::util::mount::Namespace;
use crate::util::process::{self, Running, eventually};
use crate::util::run::Rescue;
use crate::util::strace::{self, CHANGING, Call};
use crate::util::temp_dir;
use crate::util::tree::names;

const SIGNALS: [(Signal, &str, i32); 3] = [
    (Signal::INT, "INT", 2),
    (Signal::TERM, "TERM", 15),
    (Signal::HUP, "HUP", 1),
];

/// A second, and what a busy machine takes to start and end a process.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn at_every_call_of_a_restore() {
    let mut signals = SIGNALS.iter().cycle();
    for way in WAYS {
        let site = Site::new(way, Path::new(SNAPSHOT));
        let (output, calls) = strace::trace(&site.restore(), CHANGING, &[]);
        output.ok();
        site.reset();
        let mut interrupted = 0;
        for call in once(worth_a_kill(calls, site.dir.path())) {
            let (_, name, number) = signals.next().unwrap();
            let when = format!("SIG{name} at {}({} ({way:?})", call.name, call.args);
            let injection = call.inject(&format!("signal={name}"));
            let output = strace::inject(&site.restore(), &[injection]);
            let state = site.check(&when);
            let fits = match state {
                State::Before => {
                    interrupted += 1;
                    let told = format!("error: interrupted by SIG{name}\n");
                    output.signal == Some(*number) && output.stderr == told && !site.has_moved()
                }
                State::Done => output.code == Some(0),
            };
            output.expect(fits, &when);
            assert!(site.leftovers().is_empty(), "{:?} {when}", site.leftovers());
            site.reset();
        }
        assert!(interrupted > 3, "only {interrupted} were early enough");
    }
}

#[test]
fn at_every_call_of_a_save() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let mut signals = SIGNALS.iter().cycle();
    for site in SaveSite::all(&server) {
        let (output, calls) = strace::trace(&site.save(), CHANGING, &site.always);
        output.ok();
        site.reset();
        for call in once(worth_a_kill(calls, site.dir.path())) {
            let (_, name, number) = signals.next().unwrap();
            let when = format!(
                "SIG{name} at {}({} ({:?})",
                call.name, call.args, site.making
            );
            let injections = site.injections(call.inject(&format!("signal={name}")));
            let output = strace::inject(&site.save(), &injections);
            let fits = match site.check(&when) {
                State::Before => output.signal == Some(*number),
                State::Done => output.code == Some(0),
            };
            output.expect(fits, &when);
            assert!(site.leftovers().is_empty(), "{:?} {when}", site.leftovers());
            site.reset();
        }
    }
}

#[test]
fn in_the_middle_of_a_stream() {
    let trickle = Step::Trickle {
        every: Duration::from_millis(50),
        remaining: (image().len() - (32 << 10)) as u64,
    };
    let beginning = good(&image())[0].clone();
    let without_proc = Namespace::without_proc();
    for (then, hidden) in [(Step::Stall, false), (Step::Stall, true), (trickle, true)] {
        for (signal, _, number) in SIGNALS {
            let fake = Fake::start(Script {
                snapshot: vec![beginning.clone(), then.clone()],
                ..Script::default()
            });
            let dir = temp_dir();
            let out = dir.path().join("out.db");
            let save = Rescue::new(["save", "--endpoints", &fake.endpoint()]).arg(&out);
            let running = match hidden {
                true => without_proc.spawn(&save),
                false => save.spawn(),
            };
            eventually("the first bytes in the file", || match hidden {
                true => !names(dir.path()).is_empty(),
                false => has_open(&running, dir.path()),
            });
            end_by(running, signal, number);
            assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
        }
    }
}

#[test]
fn while_a_pipe_is_silent() {
    let dir = temp_dir();
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // Nobody ever opens the other end.
    for command in ["verify", "status", "restore"] {
        let mut run = Rescue::new([command]).arg(&pipe);
        if command == "restore" {
            run = run.arg("--data-dir").arg(dir.path().join("data"));
        }
        let running = run.spawn();
        eventually("signals are caught", || catches_signals(&running));
        std::thread::sleep(Duration::from_millis(100));
        end_by(running, Signal::TERM, 15);
        assert_eq!(names(dir.path()), ["pipe"]);
    }
}

#[test]
fn while_nobody_reads_what_is_saved() {
    let server = Etcd::new("3.7").start();
    crate::util::fill::bulk(&mut server.api(), "bulk/", 10, 100_000);
    let save = Rescue::new(["save", "--endpoints", &server.url(), "-"]);
    let mut command = save.command();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    // A pipe holds 64 KiB, and the snapshot is a megabyte.
    let pipe = child.stdout.take().unwrap();
    eventually("the pipe is full", || {
        rustix::io::ioctl_fionread(&pipe).unwrap() >= 60_000
    });
    let start = Instant::now();
    process::send(&child, Signal::TERM);
    let status = process::wait(&mut child, Duration::from_secs(20));
    let _ = child.kill();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(status.and_then(|status| status.signal()), Some(15));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// Without the calls that another thread makes, too: a second signal ends a process at once.
fn once(mut calls: Vec<Call>) -> Vec<Call> {
    calls.retain(|call| !(call.is("fsync") && call.nth == 1));
    calls
}

#[track_caller]
fn end_by(running: Running, signal: Signal, number: i32) {
    let start = Instant::now();
    running.send(signal);
    let output = running.wait(Duration::from_secs(30)).signal(number);
    let took = start.elapsed();
    output.expect(
        took < SOON,
        &format!("an end within {SOON:?}, not {took:?}"),
    );
}

/// The process has a file below `dir` open, named or not.
fn has_open(running: &Running, dir: &Path) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", running.pid()));
    fds.into_iter().flatten().flatten().any(|fd| {
        std::fs::read_link(fd.path()).is_ok_and(|file| file.starts_with(dir) && file != dir)
    })
}

/// A signal before that would end the process in any case, and prove nothing.
fn catches_signals(running: &Running) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid()));
    status.unwrap_or_default().lines().any(|line| {
        let mask = line.strip_prefix("SigCgt:").unwrap_or_default().trim();
        u64::from_str_radix(mask, 16).is_ok_and(|mask| mask >> (15 - 1) & 1 == 1)
    })
}
