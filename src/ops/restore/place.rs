//! Where the member goes: what is there already, who holds it, and whether there is room.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::lock::{self, Shared};
use crate::io::staged::{self, StagedDir, StagedFile};
use crate::observe::Observer;
use crate::wal;

/// Room for pages that a rebuilt db may have more than the old one, and for the .snap.
const SLACK: u64 = 1 << 20;

/// The target of a restore, looked at and not touched.
#[derive(Clone, Debug)]
pub struct Target {
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// `DATA_DIR/member`.
    pub member: PathBuf,
    /// `--wal-dir`, if the WAL does not go into `member/wal`.
    pub wal: Option<PathBuf>,
    /// What exists under these names and where it will go, `member` before `wal`.
    pub aside: Vec<(PathBuf, PathBuf)>,
}

impl Target {
    /// Looks at the target. Refuses what exists unless `move_aside`, and what a running etcd holds in any case.
    pub fn look(data_dir: &Path, wal_dir: Option<&Path>, move_aside: bool) -> Result<Target> {
        let member = data_dir.join("member");
        refuse_held(&member.join("snap/db"))?;
        let stamp = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let mut aside = Vec::new();
        for path in [Some(member.as_path()), wal_dir].into_iter().flatten() {
            if path.symlink_metadata().is_err() || is_own_leftover(data_dir, path) {
                continue;
            }
            if !move_aside {
                return Err(Error::refused(format!("{} exists already", path.display()))
                    .hint("--move-aside renames it to a name ending in .before-<UTC time> and touches nothing in it"));
            }
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".before-{stamp}"));
            aside.push((path.to_owned(), PathBuf::from(name)));
        }
        if !data_dir.is_dir() && data_dir.symlink_metadata().is_ok() {
            return Err(Error::refused(format!(
                "--data-dir {} is not a directory",
                data_dir.display()
            )));
        }
        Ok(Target {
            data_dir: data_dir.to_owned(),
            member,
            wal: wal_dir.map(Path::to_owned),
            aside,
        })
    }

    /// Bytes needed for a db of `db` bytes, and bytes free, where the db goes.
    pub fn room(&self, db: u64) -> Result<(u64, u64)> {
        let wal = if self.wal.is_some() {
            0
        } else {
            wal::SEGMENT_SIZE
        };
        Ok((db + wal + SLACK, staged::free_space(&self.data_dir)?))
    }

    /// Refuses when there is not enough room for a db of `db` bytes.
    pub fn refuse_full(&self, db: u64) -> Result<()> {
        let (needed, free) = self.room(db)?;
        if needed > free {
            return Err(Error::refused(format!(
                "not enough space in {}: {needed} bytes needed, {free} free",
                self.data_dir.display()
            ))
            .hint("free some space, or restore to another --data-dir and move it"));
        }
        Ok(())
    }
}

/// What is being built for a target.
pub struct Staging {
    /// `member/`, under its temporary name.
    pub member: StagedDir,
    /// `--wal-dir`, under its temporary name.
    pub wal: Option<StagedDir>,
}

impl Staging {
    /// Makes the temporary directories; removes those that a killed run left for the same target.
    pub fn create(target: &Target, observer: &dyn Observer) -> Result<Staging> {
        let mut removed = |path: &Path| {
            observer.notice(&format!(
                "removed {}, left by an earlier run",
                path.display()
            ))
        };
        clear_own_leftovers(target, &mut removed)?;
        let member = StagedDir::create(&target.member, &mut removed)?;
        let wal = target
            .wal
            .as_deref()
            .map(|wal| StagedDir::create(wal, &mut removed))
            .transpose()?;
        Ok(Staging { member, wal })
    }

    /// The directory that the WAL is written to.
    pub fn wal_dir(&self) -> Result<PathBuf> {
        match &self.wal {
            Some(wal) => Ok(wal.path().to_owned()),
            None => self.member.dir("wal"),
        }
    }

    /// Syncs everything, moves what is there aside, and gives the new directories their names, `member` last.
    pub fn commit(self, target: &Target) -> Result<()> {
        staged::sync_tree(self.member.path())?;
        if let Some(wal) = &self.wal {
            staged::sync_tree(wal.path())?;
        }
        let mut moved = Moved::default();
        for (from, to) in &target.aside {
            moved.go(from, to)?;
        }
        if let Some(wal) = self.wal {
            let promise = promise_path(target);
            let mut file = StagedFile::create(&promise, true)?;
            let text = promise_of(wal.target(), wal.path());
            std::io::Write::write_all(&mut file, &text).map_err(|e| file.write_error(e))?;
            file.commit()?;
            wal.commit()?;
            self.member.commit()?;
            std::fs::remove_file(&promise).map_err(|e| Error::io("remove", &promise, e))?;
        } else {
            self.member.commit()?;
        }
        moved.keep();
        Ok(())
    }
}

/// Renames that are undone unless they are kept.
#[derive(Default)]
struct Moved(Vec<(PathBuf, PathBuf)>);

impl Moved {
    fn go(&mut self, from: &Path, to: &Path) -> Result<()> {
        staged::move_to_free_name(from, to)?;
        self.0.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        for (from, to) in self.0.iter().rev() {
            let _ = staged::move_to_free_name(to, from);
        }
    }
}

/// Two names cannot change at once. Between the rename of the WAL dir and that of `member/`, this file
/// says that a WAL dir without a member is ours to remove: by its name and its inode.
const PROMISE: &str = ".member.wal-dir-of-unfinished-restore";

fn promise_path(target: &Target) -> PathBuf {
    target.data_dir.join(PROMISE)
}

fn promise_of(name: &Path, dir: &Path) -> Vec<u8> {
    let inode = dir.metadata().map(|metadata| metadata.ino()).unwrap_or(0);
    [
        name.as_os_str().as_encoded_bytes(),
        format!("\n{inode}").as_bytes(),
    ]
    .concat()
}

/// A WAL dir that a killed run finished, whose `member/` never got its name.
fn is_own_leftover(data_dir: &Path, path: &Path) -> bool {
    let promise = std::fs::read(data_dir.join(PROMISE));
    !data_dir.join("member").exists()
        && promise.is_ok_and(|promise| promise == promise_of(path, path))
}

fn clear_own_leftovers(target: &Target, removed: &mut dyn FnMut(&Path)) -> Result<()> {
    let promise = promise_path(target);
    if !promise.exists() {
        return Ok(());
    }
    if let Some(wal) = target
        .wal
        .as_deref()
        .filter(|wal| is_own_leftover(&target.data_dir, wal) && wal.exists())
    {
        std::fs::remove_dir_all(wal).map_err(|e| Error::io("remove the leftover", wal, e))?;
        removed(wal);
    }
    std::fs::remove_file(&promise).map_err(|e| Error::io("remove the leftover", &promise, e))
}

/// Even with `--move-aside`: a running etcd goes on writing to what was moved, and would be believed.
fn refuse_held(db: &Path) -> Result<()> {
    let Ok(file) = File::open(db) else {
        return Ok(());
    };
    match lock::try_shared(&file) {
        Shared::HeldBy(pids) => Err(Error::refused(format!(
            "{} is in use by {}: a running etcd owns this data dir",
            db.display(),
            lock::name_holders(&pids)
        ))
        .hint("stop etcd first: move its static pod manifest away, or systemctl stop etcd")),
        Shared::Locked | Shared::Unsupported => Ok(()),
    }
}
