//! Where bytes go that nobody may see before they are proved: a file on its way to its name, or one without
//! a name that is sent to standard output at the end.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::staged::{self, StagedFile};
use super::{sendout, spool};
use crate::error::{Error, Result};
use crate::observe::Observer;

/// Open for writing; what was written is gone unless it is finished.
#[derive(Debug)]
pub enum Outlet {
    /// It will have a name.
    File(StagedFile),
    /// It will go to standard output; until then it lies in this directory.
    Stdout(File, PathBuf),
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
                Outlet::Stdout(file, dir)
            }
        })
    }

    /// What messages call it.
    pub fn name(&self) -> PathBuf {
        match self {
            Outlet::File(staged) => staged.target().to_owned(),
            Outlet::Stdout(..) => "standard output".into(),
        }
    }

    /// Where its bytes lie.
    pub fn dir(&self) -> &Path {
        match self {
            Outlet::File(staged) => staged.dir(),
            Outlet::Stdout(_, dir) => dir,
        }
    }

    /// The same file, to read back what was written.
    pub fn reader(&self) -> Result<File> {
        let file = match self {
            Outlet::File(staged) => staged.file(),
            Outlet::Stdout(file, _) => file,
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
            Outlet::Stdout(file, _) => sendout::send(&file, bytes, stdout, observer),
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Outlet::File(staged) => staged.write(bytes),
            Outlet::Stdout(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Outlet::File(staged) => staged.flush(),
            Outlet::Stdout(file, _) => file.flush(),
        }
    }
}
