//! File systems of a test's own: a mount namespace that ends with the value, whatever becomes of the test.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::{self, Output, Running};
use super::run::Rescue;
use super::tools;

/// A mount namespace, held open by a process.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new one, in which this shell script has mounted things. A machine that allows no mounts, neither
    /// to root nor to a user with a namespace of their own, fails the test.
    #[track_caller]
    pub fn new(script: &str) -> Namespace {
        let mut command = Command::new("unshare");
        if !is_root() {
            command.arg("--map-root-user");
        }
        command
            .args(["--mount", "--propagation=private", "sh", "-c"])
            .arg(format!("set -e; {script}\necho ready; exec cat"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The end of the test's process, even by SIGKILL, closes the pipe that cat reads.
            .process_group(0);
        let mut holder = command
            .spawn()
            .unwrap_or_else(|err| panic!("this test needs unshare (util-linux): {err}"));
        let mut said = String::new();
        let stdout = holder.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        if said != "ready\n" {
            let mut why = String::new();
            let _ = holder.stderr.as_mut().unwrap().read_to_string(&mut why);
            let _ = holder.wait();
            panic!(
                "this test needs to mount file systems (root, or user namespaces): {script}\n{why}"
            );
        }
        Namespace { holder }
    }

    /// With a tmpfs of this size at `dir`, which must exist.
    #[track_caller]
    pub fn tmpfs(dir: &Path, size: &str) -> Namespace {
        Namespace::new(&format!(
            "mount -t tmpfs -o size={size},mode=700 tmpfs '{}'",
            dir.display()
        ))
    }

    /// Without /proc, as in a chroot or on a broken machine.
    #[track_caller]
    pub fn without_proc() -> Namespace {
        Namespace::new("mount -t tmpfs -o ro tmpfs /proc")
    }

    /// Where a path of the namespace is found from outside.
    pub fn outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// The program in it.
    #[track_caller]
    pub fn spawn(&self, run: &Rescue) -> Running {
        process::spawn(self.wrap(run.command()), None)
    }

    /// The same, to its end.
    #[track_caller]
    pub fn run(&self, run: &Rescue) -> Output {
        self.spawn(run).wait(tools::TIMEOUT)
    }

    /// The same with these bytes on standard input.
    #[track_caller]
    pub fn run_with(&self, run: &Rescue, stdin: Vec<u8>) -> Output {
        process::run(self.wrap(run.command()), Some(stdin), tools::TIMEOUT)
    }

    /// A shell script in it, which must succeed.
    #[track_caller]
    pub fn shell(&self, script: &str) {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-ec", script])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        process::run(self.wrap(command), None, tools::TIMEOUT).ok();
    }

    /// Any command, with absolute paths, in it.
    pub fn wrap(&self, command: Command) -> Command {
        let mut wrapped = Command::new("nsenter");
        wrapped.arg(format!("--target={}", self.holder.id()));
        if !is_root() {
            wrapped.args(["--user", "--preserve-credentials"]);
        }
        wrapped.arg("--mount").arg("--").arg(command.get_program());
        wrapped.args(command.get_args()).env_clear();
        let envs = command.get_envs();
        wrapped.envs(envs.filter_map(|(name, value)| Some((name, value?))));
        wrapped
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
