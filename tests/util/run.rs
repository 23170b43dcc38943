//! Running the program under test: a clean environment, a deadline, and failures that explain themselves.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::process::{self, Output, Running};

/// How long any run may take unless the test says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs `etcd-rescue ARGS` to its end.
#[track_caller]
pub fn rescue<I>(args: I) -> Output
where
    I: IntoIterator<Item: AsRef<OsStr>>,
{
    Rescue::new(args).run()
}

/// A run of the program, to be adjusted before it starts.
#[derive(Clone)]
pub struct Rescue {
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
}

impl Rescue {
    pub fn new<I>(args: I) -> Self
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        Self {
            args: args.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            envs: Vec::new(),
            cwd: None,
            stdin: None,
            timeout: TIMEOUT,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        let timeout = self.timeout;
        self.spawn().wait(timeout)
    }

    /// Starts it: for tests that signal or kill it.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let mut command = self.command();
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        process::spawn(command, self.stdin)
    }

    /// The bare command, for tests that wrap it in another or need streams of their own.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-rescue"));
        // Nothing of the developer's shell decides a test: no ETCDCTL_*, no proxy, no locale.
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .envs(self.envs.iter().map(|(n, v)| (n, v)))
            .args(&self.args);
        command
    }
}
