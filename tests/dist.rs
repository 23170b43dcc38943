//! What lies in dist/ for others to install: units, cron lines, manifests, the installer. Each is judged by
//! the program that will read it, as far as that can be had without a booted systemd and without a cluster.

mod alarms;
mod bare;
mod boot;
mod cron;
mod install;
mod kubernetes;
mod live;
mod node;
mod units;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::util::process::{self, Output};
use crate::util::{must_have, target_dir, tree};

/// A file of dist/.
fn dist(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("dist")
        .join(name)
}

#[track_caller]
fn text(path: &Path) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_else(|err| panic!("cannot read {}: {err}", path.display()))
}

/// What tests/dist/build.sh made.
#[track_caller]
fn tool(name: &str) -> PathBuf {
    let path = target_dir().join("dist-tools").join(name);
    assert!(
        path.exists(),
        "this test needs {}: run tests/setup.sh dist",
        path.display()
    );
    path
}

#[track_caller]
fn run<I: IntoIterator<Item: AsRef<OsStr>>>(program: &Path, args: I) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    process::run(command, None, Duration::from_secs(60))
}

#[test]
fn the_scripts_please_shellcheck() {
    let shellcheck = must_have("/usr/bin/shellcheck");
    for entry in tree::names(&dist("")) {
        if entry.ends_with(".sh") {
            let root = format!("--source-path={}", env!("CARGO_MANIFEST_DIR"));
            run(
                &shellcheck,
                [root.as_ref(), "-x".as_ref(), dist(&entry).as_os_str()],
            )
            .ok();
        }
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let scripts = [
        "setup.sh",
        "run.sh",
        "etcd/build.sh",
        "dist/build.sh",
        "dist/boot.sh",
    ];
    run(&shellcheck, scripts.map(|name| tests.join(name))).ok();
}
