//! Staged names: `.NAME.partial-PID-RANDOM`, locked with flock while their process lives. What carries
//! such a name and no lock was left by a process that was killed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

/// What is in every staged name.
pub const PARTIAL: &str = ".partial-";

/// Removes what carries a staged name and no lock: its process is gone.
pub fn remove_stale(dir: &Path, name: &OsStr, removed: &mut dyn FnMut(&Path)) -> Result<()> {
    let mut result = Ok(());
    remove_stale_where(
        dir,
        &|staged_for, _| staged_for == name,
        &mut |path, gone| match gone {
            Ok(()) => removed(path),
            Err(e) if result.is_ok() => result = Err(e),
            Err(_) => {}
        },
    );
    result
}

/// The same for every name that `wanted` wants: it is asked about the name that the file should have got, and what
/// it is. `tried` hears how each removal ended.
pub fn remove_stale_where(
    dir: &Path,
    wanted: &dyn Fn(&OsStr, &Metadata) -> bool,
    tried: &mut dyn FnMut(&Path, Result<()>),
) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = staged_for(&name) else {
            continue;
        };
        let path = entry.path();
        // What we make is never a link or a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()).map(File::from) else {
            continue;
        };
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        let ours = (metadata.is_dir() || metadata.is_file()) && wanted(name, &metadata);
        if ours && file.try_lock().is_ok() {
            let gone = match metadata.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            match gone {
                // Another run was faster.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                gone => tried(
                    &path,
                    gone.map_err(|e| Error::io("remove the leftover", &path, e)),
                ),
            }
        }
    }
}

/// Makes a staged name and locks it. A run that starts at the same time may take what is not locked
/// yet for a leftover: then try again under another name. `make` gives nothing if that happened to it.
pub fn claim_new(
    dir: &Path,
    name: &OsStr,
    make: impl Fn(&Path) -> Result<Option<File>>,
) -> Result<(File, PathBuf)> {
    use std::os::unix::fs::MetadataExt;
    for _ in 0..16 {
        let path = dir.join(staged_name(name));
        let Some(file) = make(&path)? else {
            continue;
        };
        // Where there are no locks nothing is ever taken for a leftover.
        let locked = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        let inode = |metadata: std::io::Result<std::fs::Metadata>| metadata.ok().map(|m| m.ino());
        if locked && inode(path.metadata()) == inode(file.metadata()) {
            return Ok((file, path));
        }
    }
    Err(Error::failed(format!(
        "cannot keep a temporary name in {}",
        dir.display()
    )))
}

/// `.NAME.partial-`
fn staged_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(PARTIAL);
    prefix
}

/// `.NAME.partial-PID-RANDOM`
pub fn staged_name(name: &OsStr) -> OsString {
    let mut random = [0; 4];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    let mut staged = staged_prefix(name);
    staged.push(format!(
        "{}-{:08x}",
        std::process::id(),
        u32::from_be_bytes(random)
    ));
    staged
}

/// The name that `staged_name` has made `found` of, to the letter: names that people choose are none.
pub fn staged_for(found: &OsStr) -> Option<&OsStr> {
    let bytes = found.as_encoded_bytes().strip_prefix(b".")?;
    let partial = PARTIAL.as_bytes();
    let at = bytes
        .windows(partial.len())
        .rposition(|window| window == partial)?;
    let (name, rest) = bytes.split_at_checked(at)?;
    let rest = str::from_utf8(rest.strip_prefix(partial)?).ok()?;
    let (pid, random) = rest.split_once('-')?;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let ours = !name.is_empty()
        && !pid.is_empty()
        && pid.chars().all(|c| c.is_ascii_digit())
        && random.len() == 8
        && random.chars().all(hex);
    ours.then_some(OsStr::from_bytes(name))
}
