//! Two programs in one directory.

use std::process::Command;
use std::time::Duration;

use etcd_rescue::catalogue::lock::{Attempt, DirLock, Holder, NAME};
use etcd_rescue::error::Kind;

use crate::util::process::{self, eventually};
use crate::util::run::Rescue;
use crate::util::strace;
use crate::util::tools::TIMEOUT;
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

/// It opened the file, and somebody removed that before it had the lock: two would hold two files of one name.
#[test]
fn a_file_that_is_not_in_its_place_any_more_is_no_lock() {
    let dir = temp_dir();
    let lock = dir.path().join(NAME);
    let prune = Rescue::new(["prune", "--keep-last=1"]).arg(dir.path());
    let slow = ["inject=flock:delay_enter=5000000:when=1".to_owned()];
    let late = strace::inject_and_spawn(&prune, &slow);
    eventually("it has opened the file", || lock.exists());
    std::fs::remove_file(&lock).unwrap();
    let Attempt::Locked(_first) = attempt(dir.path()) else {
        panic!("it was too fast");
    };
    let held = format!("is in use by pid {} on ", std::process::id());
    late.wait(TIMEOUT).code(4).stderr_has(&held);
}

/// Without locks of the kernel the note is all there is; with them it may be missing.
#[test]
fn a_note_that_cannot_be_written_is_no_lock() {
    let dir = temp_dir();
    let lock = dir.path().join(NAME);
    let prune = Rescue::new(["prune", "--keep-last=1"]).arg(dir.path());
    let (output, calls) = strace::trace(&prune, "write", &[]);
    output.ok();
    let note = calls.iter().find(|call| call.mentions(&lock)).unwrap();
    let (full, without) = (note.inject("error=ENOSPC"), "inject=flock:error=ENOLCK");
    strace::inject(&prune, std::slice::from_ref(&full)).ok();
    strace::inject(&prune, &[full, without.to_owned()])
        .code(1)
        .stderr_has("cannot write")
        .stderr_has(NAME);
}
