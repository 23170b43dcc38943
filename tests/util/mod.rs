//! What tests are built from: servers of every version, certificates, filled databases, and the
//! program itself under a clean environment. Every failure prints what is needed to understand it.

pub mod api;
pub mod archives;
pub mod builder;
pub mod certs;
pub mod cluster;
pub mod etcd;
pub mod fake;
pub mod fill;
pub mod measured;
pub mod mount;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod run;
pub mod strace;
pub mod tls;
pub mod tools;
pub mod tree;
#[macro_use]
pub mod versions;
pub mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

/// A new empty directory under the target directory, gone with the value.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("it-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a temporary directory under target/tmp")
}

/// The cargo target directory this binary was built in.
pub fn target_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target/tmp has a parent")
        .to_path_buf()
}

/// Copies a program that will be run. Not by this process: what it has open for writing is inherited by every child
/// that another test starts at that moment, and nobody can run it until the last of them is gone ("Text file busy").
#[track_caller]
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let mut copy = Command::new("install");
    copy.args(["-m", "755"]).arg(from.as_ref()).arg(to.as_ref());
    process::run(copy, None, Duration::from_secs(60)).ok();
}

/// A program of this machine that a test cannot do without.
pub fn must_have(program: &str) -> PathBuf {
    let path = PathBuf::from(program);
    assert!(
        path.is_file(),
        "this test needs {program}: run tests/setup.sh"
    );
    path
}
