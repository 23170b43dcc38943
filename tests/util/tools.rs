//! Programs that the tests ask for a second opinion: the tools that come with etcd, for files (a server's
//! own etcdctl is `Etcd::etcdctl`), restic, promtool.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{self, Output};
use super::versions::{self, Version};

/// Long enough for a big file on a busy machine, short enough to tell a hang from work.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// Runs `version`'s etcdutl.
#[track_caller]
pub fn etcdutl<I: IntoIterator<Item: AsRef<OsStr>>>(version: Version, args: I) -> Output {
    let mut command = command(&version.etcdutl());
    command.args(args);
    process::run(command, None, TIMEOUT)
}

/// Runs `snapshot ARGS` of the tool that has it in `version`: etcdctl in 3.4, etcdutl since.
#[track_caller]
pub fn snapshot<I: IntoIterator<Item: AsRef<OsStr>>>(version: Version, args: I) -> Output {
    let mut command = command(&version.snapshot_tool());
    command.arg("snapshot").args(args);
    process::run(command, None, TIMEOUT)
}

/// Runs bbolt's own command.
#[track_caller]
pub fn bbolt<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Output {
    let mut command = command(&versions::bbolt());
    command.args(args);
    process::run(command, None, TIMEOUT)
}

/// restic, which `tests/setup.sh oracles` unpacked.
#[track_caller]
pub fn restic() -> Command {
    command(&unpacked("restic/usr/bin/restic"))
}

/// promtool of Prometheus, which `tests/setup.sh oracles` unpacked.
#[track_caller]
pub fn promtool() -> Command {
    command(&unpacked("prometheus/usr/bin/promtool"))
}

/// The root of Debian's cron, which `tests/setup.sh dist` unpacked: its files where they would be installed.
#[track_caller]
pub fn debian_cron() -> PathBuf {
    let daemon = unpacked("cron/usr/sbin/cron");
    daemon.ancestors().nth(3).unwrap().to_owned()
}

/// Where programs are that `tests/setup.sh oracles` unpacked, for a PATH.
#[track_caller]
pub fn unpacked_dirs() -> Vec<PathBuf> {
    let programs = [
        "restic/usr/bin/restic",
        "age/usr/bin/age",
        "rclone/usr/bin/rclone",
    ];
    let dir = |program: &str| unpacked(program).parent().unwrap().to_owned();
    programs.map(dir).into()
}

/// What promtool has to say about metrics.
#[track_caller]
pub fn check_metrics(text: &str) -> Output {
    let mut command = promtool();
    command.args(["check", "metrics"]);
    process::run(command, Some(text.as_bytes().to_vec()), TIMEOUT)
}

#[track_caller]
fn unpacked(program: &str) -> PathBuf {
    let path = super::target_dir().join("tools/debian").join(program);
    assert!(
        path.is_file(),
        "this test needs {}: run tests/setup.sh",
        path.display()
    );
    path
}

/// A command with nothing of the developer's environment. (`ETCDCTL_API=3` is the default from 3.4 on,
/// and later tools warn of it.)
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}
