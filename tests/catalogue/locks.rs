//! Two programs in one directory.

use std::process::Command;
use std::time::Duration;

use etcd_rescue::catalogue::lock::{Attempt, DirLock, Holder, NAME};
use etcd_rescue::error::Kind;

use crate::util::process::{self, eventually};
use crate::util::{must_have, temp_dir};

fn attempt(dir: &std::path::Path) -> Attempt {
    let now = "2026-11-23T05:00:00Z".parse().unwrap();
    DirLock::attempt(dir, &Holder::this_process("backup /b", now)).unwrap()
}

/// flock of util-linux holds the lock, and knows nothing of notes; what is in the file is from a run before.
#[test]
fn the_kernel_decides_and_not_the_note() {
    let dir = temp_dir();
    drop(attempt(dir.path()));
    let lock = dir.path().join(NAME);
    let mut flock = Command::new(must_have("/usr/bin/flock"));
    flock.arg("--no-fork").arg(&lock).args(["sleep", "600"]);
    let mut other = process::spawn(flock, None);
    eventually("the other one has it", || {
        assert!(other.is_alive());
        matches!(attempt(dir.path()), Attempt::HeldBy(None))
    });
    let wait = &mut |_: Option<&Holder>| Ok(false);
    let now = "2026-11-23T05:00:00Z".parse().unwrap();
    let me = Holder::this_process("prune /b", now);
    let error = DirLock::acquire(dir.path(), &me, wait).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    // Nothing was written over whatever the holder may have written.
    assert_eq!(std::fs::read(&lock).unwrap(), b"");
    other.send(rustix::process::Signal::KILL);
    other.wait(Duration::from_secs(10));
    eventually("it is free", || {
        matches!(attempt(dir.path()), Attempt::Locked(_))
    });
}
