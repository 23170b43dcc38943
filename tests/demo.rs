//! dist/demo.sh does what it says, and leaves nothing behind whether it succeeds or not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::util::process::{self, Output};
use crate::util::target_dir;

/// It starts a server twice and runs etcdctl some fifty times.
const TIMEOUT: Duration = Duration::from_secs(300);

fn demo(binary: &str) -> Output {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/demo.sh"));
    command
        .args(["--binary", binary])
        .env("CARGO_TARGET_DIR", target_dir())
        .env("ETCDCTL_ENDPOINTS", "http://127.0.0.1:1"); // the caller's own etcd is left alone
    process::run(command, None, TIMEOUT)
}

#[test]
fn the_demo_proves_what_it_promises() {
    let output = demo(env!("CARGO_BIN_EXE_etcd-rescue"))
        .ok()
        .stdout_has("$ etcd-rescue save --endpoints https://127.0.0.1:")
        .stdout_has("\n# Proved\n- A snapshot of etcd 3.7.1 over mutual TLS")
        .stdout_has("keys of that revision are back, byte for byte");
    assert_nothing_is_left(&output);
}

#[test]
fn the_demo_fails_with_its_first_failing_step() {
    let output = demo("/bin/false").code(1);
    let last = output
        .stdout_str()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    let failed = last.starts_with("$ etcd-rescue save ");
    let output = output
        .expect(failed, "save to be the last step")
        .stderr_has("error: exit code 1: etcd-rescue save");
    assert_nothing_is_left(&output);
}

/// Neither its directory nor a process that works in it.
fn assert_nothing_is_left(output: &Output) {
    let stdout = output.stdout_str();
    let workspace = stdout.lines().find_map(|line| line.strip_prefix("# in "));
    let workspace = PathBuf::from(workspace.expect("where it works"));
    assert!(!workspace.exists(), "{} is left", workspace.display());
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        // Most entries are no process, or not ours to look at.
        let Ok(cwd) = std::fs::read_link(process.path().join("cwd")) else {
            continue;
        };
        let left = cwd
            .to_string_lossy()
            .contains(&*workspace.to_string_lossy());
        assert!(
            !left,
            "{} still works in {}",
            process.path().display(),
            cwd.display()
        );
    }
}
