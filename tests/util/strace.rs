//! Looking at system calls, failing one of them, or dying at one of them: strace around a run.
//!
//! A run does the same calls in the same order on its main thread each time, so a call that was seen in
//! one run can be singled out in the next by its name and number. (Other threads count for themselves.)

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{self, Output, Running};
use super::run::Rescue;

/// Tracing stops a process twice for each call, and the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// One system call of a run.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// Arguments as strace shows them, file descriptors with their paths.
    pub args: String,
    pub result: String,
    /// It was the process's first thread.
    pub main: bool,
    /// How many calls of this name its thread had made, this one included.
    pub nth: usize,
}

impl Call {
    /// For `-e inject=`: this call and no other of its thread (every thread counts for itself).
    pub fn inject(&self, what: &str) -> String {
        format!("inject={}:{what}:when={}", self.name, self.nth)
    }

    /// As [`Call::inject`], and all later ones of its thread: a disk that fails goes on failing.
    pub fn inject_from(&self, what: &str) -> String {
        self.inject(what) + "+"
    }

    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// It names this path, or a descriptor of it.
    pub fn mentions(&self, path: &Path) -> bool {
        self.args.contains(path.to_str().unwrap())
    }

    /// The path of the open file that is its first argument.
    pub fn open_file(&self) -> Option<PathBuf> {
        let (fd, rest) = self.args.split_once('<')?;
        let is_fd = fd.chars().all(|c| c.is_ascii_digit());
        is_fd.then(|| PathBuf::from(rest.split('>').next().unwrap_or_default()))
    }

    /// The paths that are its arguments.
    pub fn quoted(&self) -> Vec<PathBuf> {
        self.args
            .split('"')
            .skip(1)
            .step_by(2)
            .map(PathBuf::from)
            .collect()
    }

    /// It opens a file that was not there before.
    pub fn makes_a_file(&self) -> bool {
        self.args.contains("O_CREAT") || self.args.contains("O_TMPFILE")
    }

    /// It makes a file or a directory with a name.
    pub fn makes_a_name(&self) -> bool {
        self.args.contains("O_CREAT") || self.name.starts_with("mkdir")
    }

    /// The call did what it was asked for.
    pub fn worked(&self) -> bool {
        !self.result.starts_with('-')
    }
}

/// Calls that change a file system, or make what was changed durable.
pub const CHANGING: &str = "open,openat,mkdir,mkdirat,write,pwrite64,writev,fsync,fdatasync,fallocate,ftruncate,\
                            rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,chown,fchown,fchownat,flock";

/// Runs it to its end under strace; `trace` is what `-e trace=` takes, `injections` are as for [`inject`].
#[track_caller]
pub fn trace(run: &Rescue, trace: &str, injections: &[String]) -> (Output, Vec<Call>) {
    let dir = super::temp_dir();
    let log = dir.path().join("strace");
    let mut options: Vec<String> = ["-y", "-s0", "-e"].map(str::to_owned).into();
    options.push(format!("trace={trace}"));
    for injection in injections {
        options.extend(["-e".to_owned(), injection.clone()]);
    }
    let output = start(run, &log, &options).wait(TIMEOUT);
    let text = std::fs::read(&log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let calls = parse(&text);
    assert!(!calls.is_empty(), "strace saw nothing\n{output}\n{text}");
    (output, calls)
}

/// Runs it to its end with these injections, such as `inject=fsync:error=EIO:when=2`.
#[track_caller]
pub fn inject(run: &Rescue, injections: &[String]) -> Output {
    inject_and_spawn(run, injections).wait(TIMEOUT)
}

/// Starts it with these injections.
#[track_caller]
pub fn inject_and_spawn(run: &Rescue, injections: &[String]) -> Running {
    let calls: Vec<&str> = injections
        .iter()
        .map(|text| text.split([':', '=']).nth(1).expect("inject=CALLS:..."))
        .collect();
    let mut options = Vec::new();
    options.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    for injection in injections {
        options.extend(["-e".to_owned(), injection.clone()]);
    }
    start(run, Path::new("/dev/null"), &options)
}

#[track_caller]
fn start(run: &Rescue, log: &Path, options: &[String]) -> Running {
    let program = run.command();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(log).args(options);
    command.arg(program.get_program()).args(program.get_args());
    command.env_clear();
    let envs = program.get_envs();
    command.envs(envs.filter_map(|(name, value)| Some((name, value?))));
    let found = Command::new("strace").arg("--version").output();
    assert!(
        found.is_ok_and(|found| found.status.success()),
        "this test needs strace: run tests/setup.sh"
    );
    process::spawn(command, None)
}

/// `1234 fsync(5</x/y>) = 0`, one a line; a call that another thread interrupts has two lines.
fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<(&str, Call)> = Vec::new();
    let mut pending: Vec<(&str, usize)> = Vec::new();
    let main = text.split_whitespace().next().unwrap_or_default();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let rest = rest.trim_start();
        let result = |text: &str| text.rsplit_once(" = ").map(|(_, r)| r.trim().to_owned());
        if rest.starts_with("<...") {
            let begun = pending.iter().position(|(thread, _)| *thread == pid);
            if let Some(begun) = begun {
                let (_, index) = pending.swap_remove(begun);
                calls[index].1.result = result(rest).unwrap_or_default();
            }
            continue;
        }
        // Signals and ends have other lines.
        let Some((name, args)) = rest.split_once('(') else {
            continue;
        };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let before = calls.iter();
        let same = before.filter(|(thread, call)| *thread == pid && call.name == name);
        let call = Call {
            name: name.to_owned(),
            args: args.to_owned(),
            result: result(args).unwrap_or_default(),
            main: pid == main,
            nth: same.count() + 1,
        };
        if args.ends_with("<unfinished ...>") {
            pending.push((pid, calls.len()));
        }
        calls.push((pid, call));
    }
    calls.into_iter().map(|(_, call)| call).collect()
}

#[test]
fn calls_are_read_from_the_log() {
    let calls = parse(
        "10 openat(AT_FDCWD</x>, \"a\", O_RDONLY) = 3</x/a>\n\
         11 fsync(3</x/a> <unfinished ...>\n\
         10 fsync(4</x/b>) = -1 EIO (Input/output error) (INJECTED)\n\
         10 --- SIGCHLD {si_signo=SIGCHLD} ---\n\
         11 <... fsync resumed>) = 0\n\
         10 fsync(3</x/a>) = ?\n\
         10 +++ killed by SIGKILL +++\n",
    );
    let seen: Vec<_> = calls
        .iter()
        .map(|c| (c.name.as_str(), c.nth, c.main, c.result.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("openat", 1, true, "3</x/a>"),
            ("fsync", 1, false, "0"),
            ("fsync", 1, true, "-1 EIO (Input/output error) (INJECTED)"),
            ("fsync", 2, true, "?"),
        ]
    );
    assert!(calls[0].mentions(Path::new("/x")) && !calls[2].worked());
    assert_eq!(
        calls[3].inject("signal=KILL"),
        "inject=fsync:signal=KILL:when=2"
    );
}
