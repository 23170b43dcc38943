//! Outputs that are whole under their name, or are not there at all.
//!
//! A [`StagedFile`] has no name until [`StagedFile::commit`]: `O_TMPFILE` and a link, where the file
//! system and /proc allow it; otherwise a name with `.partial-` in it, which is unlinked on failure. A
//! [`StagedDir`] has such a name always. Both are synced, file and directory, around the rename.
//!
//! A staged name is locked with flock while its process lives. What carries such a name and no lock was
//! left by a process that was killed: the next run removes it, and nothing else.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::spool::open_tmpfile;
use crate::error::{Error, Kind, Result};

/// What is in every staged name.
pub const PARTIAL: &str = ".partial-";

/// Bytes between two requests to the kernel to start writing what it has: the disk works while the
/// network and the hash do, and the last fsync finds little left to do.
const WRITEBACK: u64 = 8 << 20;

/// A file on its way to its name.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    target: PathBuf,
    dir: PathBuf,
    /// Its `.partial-` name, if the file system gave it no choice.
    partial: Option<PathBuf>,
    written: u64,
    requested: u64,
    force: bool,
}

impl StagedFile {
    /// Prepares `target`. It must not exist unless `force`; its directory must.
    pub fn create(target: &Path, force: bool) -> Result<StagedFile> {
        let dir = parent_of(target);
        let name = file_name(target)?;
        check_target(target, force)?;
        remove_stale(&dir, name, &mut |_| {})?;
        let (file, partial) = match anonymous(&dir) {
            Some(file) => (file, None),
            None => {
                let (file, path) = claim_new(&dir, name, |path| {
                    File::options()
                        .read(true)
                        .write(true)
                        .create_new(true)
                        .mode(0o600)
                        .open(path)
                        .map_err(|e| create_error(path, e))
                })?;
                (file, Some(path))
            }
        };
        Ok(StagedFile {
            file,
            target: target.to_owned(),
            dir,
            partial,
            written: 0,
            requested: 0,
            force,
        })
    }

    /// The file, for reading back what was written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The directory it will be in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// An error about writing it.
    pub fn write_error(&self, source: std::io::Error) -> Error {
        write_error(&self.target, source)
    }

    /// Gives the synced file its name, and syncs the directory.
    pub fn commit(mut self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|e| Error::io("sync", &self.target, e))?;
        if self.force {
            self.name_temporarily()?;
        }
        let named = match &self.partial {
            None => link(&self.file, &self.target),
            Some(partial) if self.force => rustix::fs::rename(partial, &self.target),
            Some(partial) => rename_new(partial, &self.target),
        };
        named.map_err(|e| name_error(&self.target, e))?;
        self.partial = None;
        sync_dir(&self.dir)
    }

    /// An unnamed file cannot replace one; it needs a name that can be renamed.
    fn name_temporarily(&mut self) -> Result<()> {
        if self.partial.is_none() {
            let path = self.dir.join(staged_name(file_name(&self.target)?));
            let _ = self.file.try_lock();
            link(&self.file, &path).map_err(|e| name_error(&path, e))?;
            self.partial = Some(path);
        }
        Ok(())
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.written += len as u64;
        self.requested = start_writeback(&self.file, self.requested, self.written);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}

/// Writes front to back into any file, in large pieces, starting writeback early; the start may be
/// rewritten at the end.
#[derive(Debug)]
pub struct Steady<'f>(BufWriter<Flow<'f>>);

/// Bytes gathered before they are written: a page with a large value comes in three pieces or more.
const PIECE: usize = 256 << 10;

#[derive(Debug)]
struct Flow<'f> {
    file: &'f File,
    at: u64,
    requested: u64,
}

impl<'f> Steady<'f> {
    /// A writer at the start of `file`.
    pub fn new(file: &'f File) -> Steady<'f> {
        Steady(BufWriter::with_capacity(
            PIECE,
            Flow {
                file,
                at: 0,
                requested: 0,
            },
        ))
    }
}

impl Write for Steady<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Steady<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

impl Write for Flow<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.at += len as u64;
        self.requested = start_writeback(self.file, self.requested, self.at);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Flow<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

/// `POSIX_FADV_DONTNEED` on pages that are dirty starts writing them and drops none: the one way to do
/// what sync_file_range does without a system call that our libraries lack. Advice that is not taken
/// costs time, not data.
fn start_writeback(file: &File, requested: u64, written: u64) -> u64 {
    if written.saturating_sub(requested) < WRITEBACK {
        return requested;
    }
    let len = std::num::NonZeroU64::new(written - requested);
    let _ = rustix::fs::fadvise(file, requested, len, Advice::DontNeed);
    written
}

/// A directory on its way to its name. It is removed, with all that is in it, unless it is committed.
#[derive(Debug)]
pub struct StagedDir {
    path: PathBuf,
    target: PathBuf,
    parent: PathBuf,
    /// Holds the lock that says that we live.
    lock: File,
    committed: bool,
    /// Directories above it that had to be made, outermost first.
    made: Vec<PathBuf>,
}

impl StagedDir {
    /// Prepares `target`, making the directories above it, 0700. What an earlier run that was killed
    /// left for the same target is removed, and told to `removed`.
    pub fn create(target: &Path, removed: &mut dyn FnMut(&Path)) -> Result<StagedDir> {
        let parent = parent_of(target);
        let name = file_name(target)?;
        let made = make_dirs(&parent)?;
        let undo = UndoDirs(made);
        remove_stale(&parent, name, removed)?;
        let (lock, path) = claim_new(&parent, name, |path| {
            make_dir(path)?;
            File::open(path).map_err(|e| Error::io("open", path, e))
        })?;
        Ok(StagedDir {
            path,
            target: target.to_owned(),
            parent,
            lock,
            committed: false,
            made: undo.keep(),
        })
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Directories above the target that had to be made, outermost first.
    pub fn made(&self) -> &[PathBuf] {
        &self.made
    }

    /// Makes a directory inside, 0700.
    pub fn dir(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path.join(name);
        make_dir(&path)?;
        Ok(path)
    }

    /// Makes a file inside, 0600, open for reading and writing.
    pub fn file(&self, name: impl AsRef<Path>) -> Result<(File, PathBuf)> {
        let path = self.path.join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        Ok((file.map_err(|e| create_error(&path, e))?, path))
    }

    /// Gives it its name, which must be free; everything inside has been synced by [`sync_tree`].
    pub fn commit(mut self) -> Result<()> {
        rename_new(&self.path, &self.target).map_err(|e| name_error(&self.target, e))?;
        self.committed = true;
        sync_dir(&self.parent)?;
        for made in self.made.iter().rev() {
            sync_dir(&parent_of(made))?;
        }
        Ok(())
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_dir_all(&self.path);
            UndoDirs(std::mem::take(&mut self.made));
        }
        let _ = self.lock.unlock();
    }
}

/// Removes directories that were made, unless something is in them by now.
struct UndoDirs(Vec<PathBuf>);

impl UndoDirs {
    fn keep(mut self) -> Vec<PathBuf> {
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

/// Renames where nothing may be replaced, and syncs the directories.
pub fn move_to_free_name(from: &Path, to: &Path) -> Result<()> {
    rename_new(from, to).map_err(|e| name_error(to, e))?;
    sync_dir(&parent_of(to))
}

/// Bytes that this process may still write in the file system of `path`, or of the nearest directory above it that exists.
pub fn free_space(path: &Path) -> Result<u64> {
    let existing = path
        .ancestors()
        .find(|dir| dir.exists())
        .unwrap_or(Path::new("/"));
    let existing = if existing.as_os_str().is_empty() {
        Path::new(".")
    } else {
        existing
    };
    let stat = rustix::fs::statvfs(existing)
        .map_err(|e| Error::io("find the free space of", existing, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
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

/// Errors of writing: a full disk is named as one.
pub fn write_error(path: &Path, source: std::io::Error) -> Error {
    let full = matches!(
        source.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    );
    let error = Error::io("write", path, source);
    match full {
        true => error.hint(
            "the disk is full; nothing was left behind: free some space, or choose another place",
        ),
        false => error,
    }
}

/// Refuses a target that exists (dangling links included) unless `force`, and one that is a directory.
pub fn check_target(target: &Path, force: bool) -> Result<()> {
    let dir = parent_of(target);
    std::fs::metadata(&dir).map_err(|e| {
        Error::io("write into", &dir, e).hint(format!("make it first: mkdir -p {}", dir.display()))
    })?;
    match target.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => Err(Error::refused(format!(
            "{} is a directory",
            target.display()
        ))
        .hint("name a file in it")),
        Ok(_) if !force => Err(name_error(target, Errno::EXIST)
            .hint("choose another name, or replace it in one step with --force")),
        _ => Ok(()),
    }
}

/// A file without a name that can be given one later: needs `O_TMPFILE`, and /proc to link it by.
fn anonymous(dir: &Path) -> Option<File> {
    let file = open_tmpfile(dir).ok()?;
    std::fs::metadata(fd_path(&file)).is_ok().then_some(file)
}

fn fd_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

fn link(file: &File, target: &Path) -> rustix::io::Result<()> {
    rustix::fs::linkat(CWD, fd_path(file), CWD, target, AtFlags::SYMLINK_FOLLOW)
}

/// Rename that fails where `to` exists; for files on file systems that cannot do that, link and unlink.
fn rename_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) if from.is_dir() => match to.symlink_metadata() {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => rustix::fs::rename(from, to),
        },
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::link(from, to)?;
            rustix::fs::unlink(from)
        }
        other => other,
    }
}

/// Removes what carries a staged name and no lock: its process is gone.
fn remove_stale(dir: &Path, name: &OsStr, removed: &mut dyn FnMut(&Path)) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if !is_staged_name(&entry.file_name(), name) {
            continue;
        }
        let path = entry.path();
        // What we make is never a link or a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()).map(File::from) else {
            continue;
        };
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        if (metadata.is_dir() || metadata.is_file()) && file.try_lock().is_ok() {
            let gone = match metadata.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            gone.map_err(|e| Error::io("remove the leftover", &path, e))?;
            removed(&path);
        }
    }
    Ok(())
}

/// Makes a staged name and locks it. A run that starts at the same time may take what is not locked
/// yet for a leftover: then try again under another name.
fn claim_new(
    dir: &Path,
    name: &OsStr,
    make: impl Fn(&Path) -> Result<File>,
) -> Result<(File, PathBuf)> {
    use std::os::unix::fs::MetadataExt;
    for _ in 0..16 {
        let path = dir.join(staged_name(name));
        let file = make(&path)?;
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
fn staged_name(name: &OsStr) -> OsString {
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

/// Whether `found` is what [`staged_name`] makes of `name`, to the letter: names that people choose are not.
fn is_staged_name(found: &OsStr, name: &OsStr) -> bool {
    let prefix = staged_prefix(name);
    let rest = found
        .as_encoded_bytes()
        .strip_prefix(prefix.as_encoded_bytes())
        .and_then(|rest| str::from_utf8(rest).ok());
    let Some((pid, random)) = rest.and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    !pid.is_empty()
        && pid.chars().all(|c| c.is_ascii_digit())
        && random.len() == 8
        && random.chars().all(hex)
}

fn file_name(path: &Path) -> Result<&OsStr> {
    path.file_name().ok_or_else(|| {
        Error::usage(format!(
            "{} does not name a file or directory to make",
            path.display()
        ))
    })
}

/// `mkdir -p`, 0700; returns what had to be made.
fn make_dirs(dir: &Path) -> Result<Vec<PathBuf>> {
    let missing: Vec<_> = dir
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .map(Path::to_owned)
        .collect();
    let mut made = UndoDirs(Vec::new());
    for dir in missing.into_iter().rev() {
        make_dir(&dir)?;
        made.0.push(dir);
    }
    Ok(made.keep())
}

fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|e| create_error(path, e))
}

fn create_error(path: &Path, source: std::io::Error) -> Error {
    let kind = source.kind();
    let error = Error::io("create", path, source);
    match kind {
        std::io::ErrorKind::ReadOnlyFilesystem => error
            .with_kind(Kind::Refused)
            .hint("the file system is mounted read-only; remount it, or choose another place"),
        std::io::ErrorKind::PermissionDenied => {
            error.hint("run it as root, or choose another place")
        }
        std::io::ErrorKind::StorageFull => error.hint("the disk is full; nothing was left behind"),
        _ => error,
    }
}

fn name_error(target: &Path, source: Errno) -> Error {
    match source {
        Errno::EXIST | Errno::NOTEMPTY => {
            Error::refused(format!("{} exists already", target.display()))
                .hint("choose another name, or move it away first")
        }
        other => Error::io("give the finished file the name", target, other.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.db");
        let mut staged = StagedFile::create(&target, false).unwrap();
        staged.write_all(b"half").unwrap();
        drop(staged);
        assert!(names(dir.path()).is_empty());
        let mut staged = StagedFile::create(&target, false).unwrap();
        staged.write_all(b"whole").unwrap();
        assert!(!target.exists());
        staged.commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        assert_eq!(
            target.metadata().unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(names(dir.path()), ["out.db"]);
    }

    #[test]
    fn an_existing_file_is_refused_even_when_it_comes_late() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.db");
        let mut staged = StagedFile::create(&target, false).unwrap();
        staged.write_all(b"new").unwrap();
        std::fs::write(&target, b"old").unwrap();
        assert_eq!(
            StagedFile::create(&target, false).unwrap_err().kind(),
            Kind::Refused
        );
        assert_eq!(staged.commit().unwrap_err().kind(), Kind::Refused);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        let mut staged = StagedFile::create(&target, true).unwrap();
        staged.write_all(b"new").unwrap();
        staged.commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out.db"]);
    }

    #[test]
    fn leftovers_of_the_dead_are_removed_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data/member");
        let mine = StagedDir::create(&target, &mut |_| {}).unwrap();
        let parent = dir.path().join("data");
        std::fs::create_dir(parent.join(".member.partial-1-0000dead")).unwrap();
        let kept = [
            ".member.partial-1-0000dead.tar",
            ".member.partial-mine",
            ".other.partial-1-0000dead",
        ];
        for name in kept {
            std::fs::create_dir(parent.join(name)).unwrap();
        }
        // Neither a link, nor what it leads to; nor a pipe, which would have to be waited for.
        std::os::unix::fs::symlink(
            parent.join(kept[0]),
            parent.join(".member.partial-1-00001111"),
        )
        .unwrap();
        let pipe = parent.join(".member.partial-1-00002222");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut removed = 0;
        let second = StagedDir::create(&target, &mut |_| removed += 1).unwrap();
        assert_eq!(removed, 1);
        assert!(mine.path().exists());
        second.file("x").unwrap();
        sync_tree(second.path()).unwrap();
        second.commit().unwrap();
        assert_eq!(mine.commit().unwrap_err().kind(), Kind::Refused);
        let links = [".member.partial-1-00001111", ".member.partial-1-00002222"];
        let mut all = [&kept[..], &links, &["member"]].concat();
        all.sort();
        assert_eq!(names(&parent), all);
    }

    #[test]
    fn directories_made_on_the_way_go_too() {
        let dir = tempfile::tempdir().unwrap();
        let staged = StagedDir::create(&dir.path().join("a/b/member"), &mut |_| {}).unwrap();
        assert_eq!(staged.made().len(), 2);
        drop(staged);
        assert!(names(dir.path()).is_empty());
    }
}
