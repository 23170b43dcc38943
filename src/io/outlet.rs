//! Where bytes go that nobody may see before they are proved: a file on its way to its name, or one without
//! a name that is sent to standard output at the end.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::staged::{self, StagedFile};
use super::{dirs, sendout, spool};
use crate::error::{Error, Result};
use crate::observe::Observer;

/// Open for writing; what was written is gone unless it is finished.
#[derive(Debug)]
pub enum Outlet {
    /// It will have a name.
    File(StagedFile),
    /// It will go to standard output; until then it lies in `dir`.
    Stdout {
        /// It has no name.
        file: File,
        /// One of `dirs`.
        dir: PathBuf,
        /// Where it may lie, in order of preference.
        dirs: Vec<PathBuf>,
    },
}

impl Outlet {
    /// Refuses a target that exists, unless `force`; nothing is made yet.
    pub fn check(target: Option<&Path>, force: bool) -> Result<()> {
        match target {
            Some(path) => staged::check_target(path, force),
            None => Ok(()),
        }
    }

    /// A file on its way to `target`, or one in the first of `spool_dirs` that takes it.
    pub fn create(target: Option<&Path>, force: bool, spool_dirs: &[PathBuf]) -> Result<Outlet> {
        Ok(match target {
            Some(path) => Outlet::File(StagedFile::create(path, force)?),
            None => {
                let (file, dir) = spool::unnamed(spool_dirs)?;
                let dirs = spool_dirs.to_vec();
                Outlet::Stdout { file, dir, dirs }
            }
        })
    }

    /// What messages call it.
    pub fn name(&self) -> PathBuf {
        match self {
            Outlet::File(staged) => staged.target().to_owned(),
            Outlet::Stdout { .. } => "standard output".into(),
        }
    }

    /// Refuses what does not fit, before anything is written. What goes to standard output may lie in another directory
    /// for that.
    pub fn reserve(&mut self, bytes: u64) -> Result<()> {
        let mut free = dirs::free_space(self.dir())?;
        if let Outlet::Stdout { file, dir, dirs } = self
            && bytes > free
        {
            (*file, *dir) = spool::unnamed(&spool::roomy_first(dirs, bytes))?;
            free = dirs::free_space(dir)?;
        }
        if bytes <= free {
            return Ok(());
        }
        let what = format!(
            "not enough space in {}: {bytes} bytes needed, {free} free",
            self.dir().display()
        );
        Err(Error::refused(what).hint(match self {
            Outlet::File(_) => "free some space, or save to another place",
            Outlet::Stdout { .. } => spool::MORE_ROOM,
        }))
    }

    /// Where its bytes lie.
    pub fn dir(&self) -> &Path {
        match self {
            Outlet::File(staged) => staged.dir(),
            Outlet::Stdout { dir, .. } => dir,
        }
    }

    /// The same file, to read back what was written.
    pub fn reader(&self) -> Result<File> {
        let file = match self {
            Outlet::File(staged) => staged.file(),
            Outlet::Stdout { file, .. } => file,
        };
        let read = file.try_clone();
        read.map_err(|e| Error::io("read back", &self.name(), e))
    }

    /// All is proved: it gets its name, or its `bytes` go to `stdout`.
    pub fn finish(self, bytes: u64, stdout: &File, observer: &dyn Observer) -> Result<()> {
        match self {
            Outlet::File(staged) => {
                observer.stage("syncing", None);
                staged.commit()
            }
            Outlet::Stdout { file, .. } => sendout::send(&file, bytes, stdout, observer),
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Outlet::File(staged) => staged.write(bytes),
            Outlet::Stdout { file, dir, .. } => file.write(bytes).map_err(|e| {
                let name = "what goes to standard output";
                std::io::Error::other(spool::not_kept(name, dir, e))
            }),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Outlet::File(staged) => staged.flush(),
            Outlet::Stdout { file, .. } => file.flush(),
        }
    }
}
