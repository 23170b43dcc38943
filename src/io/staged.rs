//! Outputs that are whole under their name, or are not there at all.
//!
//! A [`StagedFile`] has no name until [`StagedFile::commit`]: `O_TMPFILE` and a link, where the file
//! system and /proc allow it; otherwise a name with `.partial-` in it, which is unlinked on failure. A
//! [`StagedDir`] has such a name always. Both are synced, file and directory, around the rename.
//!
//! A staged name is locked with flock while its process lives. What carries such a name and no lock was
//! left by a process that was killed: the next run removes it, and nothing else.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use super::claim::{claim_new, remove_stale, staged_name};
pub use super::claim::{remove_stale_where, staged_for};
use super::dirs::{UndoDirs, make_dir, make_dirs, parent_of, sync_dir};
use super::fault::{create_error, name_error, write_error};
use super::spool::open_tmpfile;
use super::steady::start_writeback;
pub use super::target::check_target;
use crate::error::{Error, Result};

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
                let (file, path) = claim_file(&dir, name)?;
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

    /// Chooses another name in the same directory.
    pub fn rename_to(&mut self, target: PathBuf) {
        self.target = target;
    }

    /// The directory it will be in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// An error about writing it.
    pub fn write_error(&self, source: std::io::Error) -> Error {
        write_error(&self.target, source)
    }

    /// Gives the synced file its name, and syncs the directory. A new name is taken back if even that fails.
    pub fn commit(mut self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|e| Error::io("sync", &self.target, e))?;
        // An unnamed file cannot replace one; it needs a name that can be renamed.
        if self.partial.is_some() || self.force || !self.link(&self.target.clone())? {
            self.rename()?;
        }
        sync_dir(&self.dir).map_err(|error| match self.force {
            true => error.hint(format!(
                "{} is new and whole, and may be the old one again after a power cut",
                self.target.display()
            )),
            false => {
                let _ = std::fs::remove_file(&self.target);
                error
            }
        })
    }

    fn rename(&mut self) -> Result<()> {
        if self.partial.is_none() {
            let path = self.dir.join(staged_name(file_name(&self.target)?));
            let _ = self.file.try_lock();
            match self.link(&path)? {
                true => self.partial = Some(path),
                false => self.copy()?,
            }
        }
        let Some(partial) = &self.partial else {
            return Ok(());
        };
        let named = match self.force {
            true => rustix::fs::rename(partial, &self.target),
            false => rename_new(partial, &self.target),
        };
        named.map_err(|e| name_error(&self.target, e))?;
        self.partial = None;
        Ok(())
    }

    /// Gives the unnamed file a name; false where the machine does not let it have one.
    fn link(&self, name: &Path) -> Result<bool> {
        let fd = fd_path(&self.file);
        match rustix::fs::linkat(CWD, fd, CWD, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(
                Errno::NOENT
                | Errno::PERM
                | Errno::ACCESS
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::INVAL
                | Errno::XDEV,
            ) => Ok(false),
            Err(other) => Err(name_error(name, other)),
        }
    }

    /// What cannot get a name is written again to a file that has one.
    fn copy(&mut self) -> Result<()> {
        let (mut file, path) = claim_file(&self.dir, file_name(&self.target)?)?;
        self.partial = Some(path);
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| std::io::copy(&mut self.file, &mut file))
            .and_then(|_| file.sync_all())
            .map_err(|e| write_error(&self.target, e))?;
        self.file = file;
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

/// A directory on its way to its name. It is removed, with all that is in it, unless it is kept.
#[derive(Debug)]
pub struct StagedDir {
    path: PathBuf,
    target: PathBuf,
    parent: PathBuf,
    /// Holds the lock that says that we live.
    lock: File,
    named: bool,
    kept: bool,
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
            match File::open(path) {
                Ok(dir) => Ok(Some(dir)),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => {
                    let _ = std::fs::remove_dir(path);
                    Err(Error::io("open", path, e))
                }
            }
        })?;
        Ok(StagedDir {
            path,
            target: target.to_owned(),
            parent,
            lock,
            named: false,
            kept: false,
            made: undo.keep(),
        })
    }

    /// Where it is until it has its name.
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
        Ok((new_file(&path)?, path))
    }

    /// Gives it its name, which must be free; everything inside has been synced by [`super::dirs::sync_tree`].
    /// It loses the name again unless it is kept.
    pub fn name(&mut self) -> Result<()> {
        rename_new(&self.path, &self.target).map_err(|e| name_error(&self.target, e))?;
        self.named = true;
        sync_dir(&self.parent)?;
        for made in self.made.iter().rev() {
            sync_dir(&parent_of(made))?;
        }
        Ok(())
    }

    /// It stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.kept {
            // It must not be seen half removed under its name.
            if !self.named || rename_new(&self.target, &self.path).is_ok() {
                let _ = std::fs::remove_dir_all(&self.path);
            }
            UndoDirs(std::mem::take(&mut self.made));
        }
        let _ = self.lock.unlock();
    }
}

/// Renames where nothing may be replaced; the caller syncs the directory.
pub fn move_to_free_name(from: &Path, to: &Path) -> Result<()> {
    rename_new(from, to).map_err(|e| name_error(to, e))
}

/// Removes a directory so that it is never seen half removed under its name.
pub fn remove_whole(dir: &Path) -> Result<()> {
    let staged = parent_of(dir).join(staged_name(file_name(dir)?));
    rename_new(dir, &staged)
        .map_err(std::io::Error::from)
        .and_then(|()| std::fs::remove_dir_all(&staged))
        .map_err(|e| Error::io("remove the leftover", dir, e))
}

/// A file without a name that can be given one later: needs `O_TMPFILE`, and /proc to link it by.
fn anonymous(dir: &Path) -> Option<File> {
    let file = open_tmpfile(dir).ok()?;
    std::fs::metadata(fd_path(&file)).is_ok().then_some(file)
}

fn fd_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

fn claim_file(dir: &Path, name: &OsStr) -> Result<(File, PathBuf)> {
    claim_new(dir, name, |path| new_file(path).map(Some))
}

/// 0600, open for reading and writing.
fn new_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|e| create_error(path, e))
}

/// Rename that fails where `to` exists; on file systems that cannot do that, link and unlink, or look and rename.
fn rename_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        other => return other,
    }
    // Directories have no links, and some file systems have none at all.
    match rustix::fs::link(from, to) {
        Ok(()) => rustix::fs::unlink(from),
        Err(Errno::EXIST) => Err(Errno::EXIST),
        Err(_) if to.symlink_metadata().is_ok() => Err(Errno::EXIST),
        Err(_) => rustix::fs::rename(from, to),
    }
}

fn file_name(path: &Path) -> Result<&OsStr> {
    path.file_name().ok_or_else(|| {
        Error::usage(format!(
            "{} does not name a file or directory to make",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::Mode;

    use super::*;
    use crate::error::Kind;

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
        let mut mine = StagedDir::create(&target, &mut |_| {}).unwrap();
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
        let mut second = StagedDir::create(&target, &mut |_| removed += 1).unwrap();
        assert_eq!(removed, 1);
        assert!(mine.path().exists());
        second.file("x").unwrap();
        second.name().unwrap();
        second.keep();
        assert_eq!(mine.name().unwrap_err().kind(), Kind::Refused);
        drop(mine);
        let links = [".member.partial-1-00001111", ".member.partial-1-00002222"];
        let mut all = [&kept[..], &links, &["member"]].concat();
        all.sort();
        assert_eq!(names(&parent), all);
    }

    #[test]
    fn a_directory_that_is_not_kept_loses_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data/member");
        let mut staged = StagedDir::create(&target, &mut |_| {}).unwrap();
        staged.file("x").unwrap();
        staged.name().unwrap();
        assert!(target.join("x").exists());
        drop(staged);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn force_replaces_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        for target in [
            Path::new("/dev/null"),
            Path::new("/dev/stdout"),
            &link,
            dir.path(),
        ] {
            let error = check_target(target, true).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{error}");
        }
        std::os::unix::fs::symlink("nothing", dir.path().join("dangling")).unwrap();
        check_target(&dir.path().join("dangling"), true).unwrap();
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
