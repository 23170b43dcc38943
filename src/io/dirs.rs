//! Directories: making and unmaking them, making them last, and the room that is left in them.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};

use super::fault::create_error;
use crate::error::{Error, Result};

/// `mkdir -p`, 0700; returns what had to be made.
pub fn make_dirs(dir: &Path) -> Result<Vec<PathBuf>> {
    let missing: Vec<_> = dir
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .map(Path::to_owned)
        .collect();
    let mut made = UndoDirs(Vec::new());
    for dir in missing.into_iter().rev() {
        match make_dir(&dir) {
            Ok(()) => made.0.push(dir),
            // Another run has made it meanwhile.
            Err(e) if e.io_kind() == Some(ErrorKind::AlreadyExists) && dir.is_dir() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(made.keep())
}

/// `mkdir`, 0700.
pub fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|e| create_error(path, e))
}

/// Removes directories that were made, unless something is in them by now.
pub struct UndoDirs(pub Vec<PathBuf>);

impl UndoDirs {
    /// They stay.
    pub fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for UndoDirs {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Whether another file system, or another part of one, is mounted at `path`. Kernels before 5.8 do not say; then
/// only a file system of its own shows.
pub fn is_mount_point(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let Ok(found) = rustix::fs::statx(CWD, path, flags, StatxFlags::BASIC_STATS) else {
        return false;
    };
    if found
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT)
    {
        return found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    }
    let above = rustix::fs::statx(
        CWD,
        parent_of(path),
        AtFlags::empty(),
        StatxFlags::BASIC_STATS,
    );
    let device = |found: rustix::fs::Statx| (found.stx_dev_major, found.stx_dev_minor);
    above.is_ok_and(|above| device(above) != device(found))
}

/// Syncs every file and directory below `dir`, and `dir` itself.
pub fn sync_tree(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io("read", dir, e))? {
        let path = entry.map_err(|e| Error::io("read", dir, e))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
            file.sync_all().map_err(|e| Error::io("sync", &path, e))?;
        }
    }
    sync_dir(dir)
}

/// The directory that `path` is in.
pub fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Syncs a directory, so that names in it survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| Error::io("sync the directory", dir, e))
}

/// Bytes that this process may still write in the file system of `path`, or of the nearest directory above it that exists.
pub fn free_space(path: &Path) -> Result<u64> {
    let existing = nearest(path);
    let stat = rustix::fs::statvfs(existing)
        .map_err(|e| Error::io("find the free space of", existing, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether two paths are, or would be, in one file system.
pub fn share_a_file_system(one: &Path, other: &Path) -> bool {
    let device = |path| nearest(path).metadata().ok().map(|found| found.dev());
    device(one) == device(other)
}

/// `path`, or the nearest directory above it that exists.
pub fn nearest(path: &Path) -> &Path {
    match path.ancestors().find(|dir| dir.exists()) {
        Some(found) => found,
        None if path.is_absolute() => Path::new("/"),
        None => Path::new("."),
    }
}

/// The path from the root on, without dots and slashes that mean nothing; links are not followed. One path has one
/// such name.
pub fn absolute(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    full.components().collect()
}
