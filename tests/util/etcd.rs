//! Real etcd servers on loopback: one process per `Etcd`, in a directory of its own, ended by its own
//! process id.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::api::Api;
use super::builder::Builder;
use super::process::{self, Output};
use super::tls::Tls;
use super::tools;
use super::versions::Version;

/// A file name in etcd's own form of a unix socket URL, which demands HOST:PORT.
pub(super) const SOCKET: &str = "localhost:2379";

/// A running (or stopped) server.
pub struct Etcd {
    pub(super) version: Version,
    pub(super) dir: TempDir,
    pub(super) data_dir: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) envs: Vec<(String, String)>,
    pub(super) port: u16,
    pub(super) tls: Option<(Tls, u16)>,
    pub(super) unix: bool,
    pub(super) peer_url: String,
    pub(super) user: Option<(String, String)>,
    pub(super) patience: Duration,
    pub(super) child: Option<Child>,
}

impl Etcd {
    /// Prepares a server of a minor version such as `3.5`.
    #[allow(clippy::new_ret_no_self)] // reads as what it is for: Etcd::new("3.5").start()
    pub fn new(minor: &str) -> Builder {
        Builder::new(minor)
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Waits until everything is in the db file, and nothing more is written into it. Writes are gathered for 100 ms.
    pub fn settle(&self) {
        let mut before = Vec::new();
        process::eventually("the db file stays as it is", || {
            std::thread::sleep(Duration::from_millis(300));
            let now = std::fs::read(self.db()).unwrap();
            now == std::mem::replace(&mut before, now.clone())
        });
    }

    /// The db file of this member.
    pub fn db(&self) -> PathBuf {
        self.data_dir.join("member/snap/db")
    }

    /// The directory it runs in; a place for a test's files too.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// The plaintext client URL. Every server has one, also one with TLS.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL that a user of this server would give: https with TLS, else plaintext.
    pub fn endpoint(&self) -> String {
        match &self.tls {
            Some((_, port)) => format!("https://127.0.0.1:{port}"),
            None => self.url(),
        }
    }

    /// The port of `endpoint`.
    pub fn port(&self) -> u16 {
        self.tls.as_ref().map_or(self.port, |(_, port)| *port)
    }

    /// The unix socket it listens on besides, if the builder asked for one.
    pub fn socket(&self) -> PathBuf {
        assert!(self.unix, "this server was built without unix()");
        self.dir.path().join(SOCKET)
    }

    pub fn peer_url(&self) -> &str {
        &self.peer_url
    }

    /// From now on every call logs in as this user: for a server whose auth was just turned on.
    pub fn set_user(&mut self, name: &str, password: &str) {
        self.user = Some((name.to_owned(), password.to_owned()));
    }

    /// A client on the plaintext listener.
    #[track_caller]
    pub fn api(&self) -> Api {
        Api::connect(&self.url(), self.user.as_ref()).unwrap_or_else(|err| {
            panic!(
                "cannot connect to {}: {err}\n{}",
                self.url(),
                self.log_tail()
            )
        })
    }

    /// Runs this version's own etcdctl against `endpoint`: its stdout; a failure fails the test.
    #[track_caller]
    pub fn etcdctl<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> String {
        self.try_etcdctl(args).ok().stdout_str()
    }

    /// Runs this version's own etcdctl, which may fail.
    #[track_caller]
    pub fn try_etcdctl<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Output {
        let mut command = tools::command(&self.version.etcdctl());
        command
            .current_dir(self.dir.path())
            .arg(format!("--endpoints={}", self.endpoint()));
        if let Some((tls, _)) = &self.tls {
            command.args(tls.ctl_flags(&self.data_dir));
        }
        if let Some((name, password)) = &self.user {
            command.arg(format!("--user={name}:{password}"));
        }
        command.args(args);
        let mut output = process::run(command, None, tools::TIMEOUT);
        output.context = self.log_tail();
        output
    }

    /// `etcdctl snapshot save` into the server's own directory.
    #[track_caller]
    pub fn snapshot_save(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        self.etcdctl([OsStr::new("snapshot"), OsStr::new("save"), path.as_os_str()]);
        path
    }

    /// Waits until a server of 3.6 or later has written its storage version, some seconds after a
    /// new cluster started: until then its files look like those of 3.5.
    #[track_caller]
    pub fn wait_storage_version(&self) -> String {
        assert!(
            self.version.at_least("3.6"),
            "{:?} has no storage version",
            self.version
        );
        // Before that, the status is what the buckets look like: 3.5.0.
        let expected = format!("{}.0", self.version.minor);
        let mut api = self.api();
        let deadline = Instant::now() + self.patience;
        loop {
            let found = api.status().storage_version().to_owned();
            if found == expected {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "storage version is still {found:?}\n{}",
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Asks it to end (SIGTERM) and waits for that. Does nothing to a stopped server.
    #[track_caller]
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        process::send(&child, Signal::TERM);
        if process::wait(&mut child, self.patience).is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!(
                "{:?} did not end on SIGTERM\n{}",
                self.version,
                self.log_tail()
            );
        }
    }

    /// Ends it as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Lets it stand still (SIGSTOP) or go on (SIGCONT). Returns when every thread stands still: one that
    /// runs on for a moment may still answer.
    #[track_caller]
    pub fn freeze(&self, frozen: bool) {
        let child = self.child.as_ref().expect("a running server");
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        process::send(child, signal);
        let start = Instant::now();
        while frozen && !process::stands_still(child.id()) {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "a server that does not stop"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts a stopped server again, on the same ports and data.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "restart of a running server");
        self.spawn();
        if let Err(why) = self.wait_ready() {
            panic!("{why}");
        }
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The end of its log, for failure messages.
    pub fn log_tail(&self) -> String {
        process::tail(&self.log_path(), 40)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.version.etcd());
        command
            .env_clear()
            .envs(self.envs.iter().map(|(n, v)| (n, v)))
            .args(&self.args)
            .current_dir(self.dir.path());
        command
    }

    #[track_caller]
    pub(super) fn spawn(&mut self) {
        // A socket file that a killed server left behind would stop the next one.
        let _ = std::fs::remove_file(self.dir.path().join(SOCKET));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|err| panic!("cannot start {:?}: {err}", self.version));
        self.child = Some(child);
    }

    /// Waits until it serves: it knows its cluster's version and has a leader.
    pub(super) fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(status) = self.ended() {
                return Err(self.failure(&format!("ended at its start: {status}")));
            }
            let missing = match self.progress() {
                Ok(()) => return Ok(()),
                Err(missing) => missing,
            };
            if Instant::now() >= deadline {
                let why = format!("does not serve after {:?}: {missing}", self.patience);
                return Err(self.failure(&why));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is still missing before it serves.
    fn progress(&self) -> Result<(), String> {
        let version = http_version(self.port)?;
        if version.contains("not_decided") || !version.contains(self.version.exact) {
            return Err(format!("GET /version answers {version:?}"));
        }
        let mut api =
            Api::connect(&self.url(), self.user.as_ref()).map_err(|err| err.to_string())?;
        let status = api
            .try_call(async |c| c.status().await)
            .map_err(|err| err.to_string())?;
        if status.leader() == 0 {
            return Err("no leader".to_owned());
        }
        Ok(())
    }

    /// The status of a process that is not running any more.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    fn failure(&self, why: &str) -> String {
        let command = process::describe(&self.command());
        format!(
            "{:?} {why}\ncommand: {command}\n{}",
            self.version,
            self.log_tail()
        )
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "{:?} of the failed test:\n{}",
                self.version,
                self.log_tail()
            );
        }
    }
}

/// GET /version on a plaintext client port.
fn http_version(port: u16) -> Result<String, String> {
    let limit = Duration::from_secs(2);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream
            .write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().map_err(|err: std::io::Error| format!("{address}: {err}"))
}
