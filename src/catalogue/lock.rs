//! One run at a time in a directory: flock on `.etcd-rescue.lock`, with a note in it that says who holds it.
//!
//! The kernel frees the lock when its holder dies, however that happens; the note is for the message alone. The
//! file stays where it is: removing it would let two runs lock two files of the same name. Where the file system
//! has no locks, the note is the lock, as far as a note can be, and [`DirLock::warning`] says so.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::io::fault::create_error;
use crate::observe::{self, Observer};
use crate::report::printable;

/// Name of the lock file in the directory.
pub const NAME: &str = ".etcd-rescue.lock";

/// A note is a few hundred bytes; a longer file is none of ours.
const NOTE_MAX: u64 = 16 << 10;

/// Who holds a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id, in its own process namespace.
    pub pid: u32,
    /// Its host name.
    pub host: String,
    /// What it does, without anything secret: `backup /var/backups/etcd`.
    pub command: String,
    /// Since when.
    pub since: Timestamp,
    /// When the process began, in the kernel's ticks since boot, so that another process with the same id is
    /// not taken for it. 0 if it could not be found out.
    #[serde(default)]
    started: u64,
}

impl Holder {
    /// This process. `command` must not have anything secret in it: others read it.
    pub fn this_process(command: impl Into<String>, now: Timestamp) -> Holder {
        let pid = std::process::id();
        Holder {
            pid,
            host: this_host(),
            command: command.into(),
            since: now,
            started: started(pid).unwrap_or_default(),
        }
    }

    /// It runs on this host, as far as can be seen from here.
    fn lives_here(&self) -> bool {
        self.host == this_host() && started(self.pid).is_some_and(|at| at == self.started)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (host, command) = (self.host.as_bytes(), self.command.as_bytes());
        write!(
            f,
            "pid {} on {} ({}), since {:.0}",
            self.pid,
            printable(host),
            printable(command),
            self.since
        )
    }
}

/// What a try for the lock showed.
#[derive(Debug)]
pub enum Attempt {
    /// The directory is ours until the value is dropped.
    Locked(DirLock),
    /// Somebody else works on it. Who, if the note can be read.
    HeldBy(Option<Holder>),
}

/// A directory of backups that nobody else works on.
#[derive(Debug)]
pub struct DirLock {
    dir: PathBuf,
    file: File,
    /// What the kernel guards; false where the file system has no locks.
    guarded: bool,
}

impl DirLock {
    /// Tries once. `Error::failed` or `Error::refused` (read-only file system) when the lock file cannot be
    /// written.
    pub fn attempt(dir: &Path, me: &Holder) -> Result<Attempt> {
        let path = dir.join(NAME);
        // A file that is removed or exchanged between opening and locking is not the one to hold.
        for _ in 0..16 {
            let mut file = open(&path)?;
            let guarded = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => return Ok(Attempt::HeldBy(read_note(&mut file))),
                Err(TryLockError::Error(_)) => false,
            };
            if !is_at(&file, &path) {
                continue;
            }
            let note = read_note(&mut file);
            if let Some(holder) = note.filter(|holder| !guarded && holder.lives_here()) {
                return Ok(Attempt::HeldBy(Some(holder)));
            }
            if let Err(e) = write_note(&mut file, me) {
                let _ = file.set_len(0);
                // On a full disk, too, there must be a way to prune: the kernel needs no note.
                if !guarded {
                    return Err(Error::io("write", &path, e));
                }
            }
            let dir = dir.to_owned();
            return Ok(Attempt::Locked(DirLock { dir, file, guarded }));
        }
        Err(Error::failed(format!(
            "{} does not stay in its place",
            path.display()
        )))
    }

    /// Tries until it is ours. After each try in vain `wait` is told who holds it; it sleeps, and gives false when
    /// the time is up, or an error to stop at once. `Error::refused` names the holder.
    pub fn acquire(
        dir: &Path,
        me: &Holder,
        wait: &mut dyn FnMut(Option<&Holder>) -> Result<bool>,
    ) -> Result<DirLock> {
        loop {
            match DirLock::attempt(dir, me)? {
                Attempt::Locked(lock) => return Ok(lock),
                Attempt::HeldBy(holder) => {
                    if !wait(holder.as_ref())? {
                        return Err(held(dir, holder.as_ref()));
                    }
                }
            }
        }
    }

    /// Tries for as long as `wait`; `command` is what others are told, see [`Holder::this_process`]. When the observer
    /// ends the wait, other than by a signal, that is `Error::refused` with the holder as well.
    pub fn hold(
        dir: &Path,
        command: String,
        now: Timestamp,
        wait: Duration,
        observer: &dyn Observer,
    ) -> Result<DirLock> {
        let me = Holder::this_process(command, now);
        let mut patience = observe::patience(wait, observer);
        DirLock::acquire(dir, &me, &mut |holder| match patience() {
            Err(error) if error.kind() != Kind::Interrupted => Err(held(dir, holder).hint(
                format!("{error}: give --timeout more time than --lock-wait"),
            )),
            other => other,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What to tell where the lock is worth less than it seems.
    pub fn warning(&self) -> Option<String> {
        (!self.guarded).then(|| {
            format!(
                "the file system of {} has no locks: a second run on another host would not be noticed; let only one host write there",
                self.dir.display()
            )
        })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// The error of somebody who does not wait any longer.
fn held(dir: &Path, holder: Option<&Holder>) -> Error {
    let who = holder.map_or_else(|| "another process".to_owned(), Holder::to_string);
    Error::refused(format!("{} is in use by {who}", dir.display()))
        .hint("wait for it with --lock-wait 10m; a lock whose process has died is free by itself")
}

fn open(path: &Path) -> Result<File> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let file = file
        .map(File::from)
        .map_err(|e| create_error(path, e.into()))?;
    match file.metadata().is_ok_and(|found| found.is_file()) {
        true => Ok(file),
        false => Err(Error::refused(format!(
            "{} is no file to lock",
            path.display()
        ))),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: std::io::Result<std::fs::Metadata>| found.ok().map(|m| (m.dev(), m.ino()));
    place(file.metadata()) == place(path.symlink_metadata())
}

/// A note that is cut short, or is none, says nothing.
fn read_note(file: &mut File) -> Option<Holder> {
    let mut note = Vec::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(NOTE_MAX).read_to_end(&mut note).ok()?;
    serde_json::from_slice(&note).ok()
}

fn write_note(file: &mut File, me: &Holder) -> std::io::Result<()> {
    let mut note = serde_json::to_vec(me)?;
    note.push(b'\n');
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&note)
}

fn this_host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Field 22 of /proc/PID/stat, behind the command in parentheses, which may have any characters in it.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(command: &str) -> Holder {
        Holder::this_process(command, "2026-11-23T05:00:00Z".parse().unwrap())
    }

    fn locked(dir: &Path) -> DirLock {
        match DirLock::attempt(dir, &me("backup /b")).unwrap() {
            Attempt::Locked(lock) => lock,
            Attempt::HeldBy(holder) => panic!("held by {holder:?}"),
        }
    }

    #[test]
    fn the_second_one_hears_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = locked(dir.path());
        assert_eq!(first.warning(), None);
        let mut tries = 0;
        let error = DirLock::acquire(dir.path(), &me("prune /b"), &mut |holder| {
            assert_eq!(holder, Some(&me("backup /b")));
            tries += 1;
            Ok(tries < 3)
        })
        .unwrap_err();
        assert_eq!((error.kind(), tries), (Kind::Refused, 3));
        let said = error.to_string();
        let expected = format!("pid {} on ", std::process::id());
        assert!(said.contains(&expected), "{said}");
        assert!(
            said.ends_with("(backup /b), since 2026-11-23T05:00:00Z"),
            "{said}"
        );
        drop(first);
        let mut waited = DirLock::acquire(dir.path(), &me("prune /b"), &mut |_| Ok(false)).unwrap();
        assert_eq!(read_note(&mut waited.file), Some(me("prune /b")));
    }

    #[test]
    fn what_a_dead_one_left_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for left in [
            &b""[..],
            b"{\"pid\":1,",
            b"\xff\xfe",
            &serde_json::to_vec(&me("backup")).unwrap(),
        ] {
            std::fs::write(&path, left).unwrap();
            drop(locked(dir.path()));
        }
    }

    #[test]
    fn a_wait_can_be_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let _first = locked(dir.path());
        let stop = &mut |_: Option<&Holder>| Err(Error::interrupted());
        let error = DirLock::acquire(dir.path(), &me("prune"), stop).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
    }

    #[test]
    fn what_is_no_file_is_not_locked() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join(NAME)).unwrap();
        assert!(DirLock::attempt(dir.path(), &me("backup")).is_err());
        // Nor is a file made where a planted link leads to.
        let (planted, elsewhere) = (tempfile::tempdir().unwrap(), dir.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, planted.path().join(NAME)).unwrap();
        assert!(DirLock::attempt(planted.path(), &me("backup")).is_err());
        assert!(!elsewhere.exists());
        assert!(DirLock::attempt(&dir.path().join("missing"), &me("backup")).is_err());
    }

    #[test]
    fn a_lock_that_the_kernel_does_not_guard_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = locked(dir.path());
        lock.guarded = false;
        let said = lock.warning().unwrap();
        assert!(said.contains(dir.path().to_str().unwrap()), "{said}");
        assert!(said.contains("has no locks"), "{said}");
    }

    #[test]
    fn a_note_alone_holds_for_the_living() {
        assert!(me("backup").lives_here());
        let mut reused = me("backup");
        reused.started += 1;
        assert!(!reused.lives_here());
        let mut elsewhere = me("backup");
        elsewhere.host = "elsewhere".into();
        assert!(!elsewhere.lives_here());
        let wild = Holder {
            command: "a\u{1b}[2J".into(),
            ..me("")
        };
        assert!(!wild.to_string().contains('\u{1b}'), "{wild}");
    }
}
