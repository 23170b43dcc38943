//! Where the member goes: what is there already, who holds it, and whether there is room.

use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::datadir;
use crate::error::{Error, Result};
use crate::io::lock::{self, Shared};
use crate::io::staged::{self, StagedDir, StagedFile};
use crate::io::{dirs, fault};
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
    /// An empty directory is where the WAL goes; the new one takes its place.
    pub vacant_wal: bool,
}

impl Target {
    /// Looks at the target. Refuses what exists unless `move_aside`, and what a running etcd holds in any case.
    pub fn look(data_dir: &Path, wal_dir: Option<&Path>, move_aside: bool) -> Result<Target> {
        let member = data_dir.join("member");
        let wal = match wal_dir {
            Some(dir) => place_for_wal(dir, data_dir, &member)?,
            None => None,
        };
        refuse_inside(data_dir, wal_dir)?;
        refuse_held(&member)?;
        let mut aside = Vec::new();
        let mut vacant_wal = false;
        for path in [Some(&member), wal.as_ref()].into_iter().flatten() {
            if path.symlink_metadata().is_err() || is_own_leftover(data_dir, path) {
                continue;
            }
            refuse_mount_point(path)?;
            if wal.as_ref() == Some(path) && is_vacant(path) {
                vacant_wal = true;
                continue;
            }
            if !move_aside {
                return Err(Error::refused(format!("{} exists already", path.display()))
                    .hint("--move-aside renames it to a name ending in .before-<UTC time> and touches nothing in it"));
            }
            aside.push((path.clone(), name_aside(path)));
        }
        if !data_dir.is_dir() && data_dir.symlink_metadata().is_ok() {
            return Err(Error::refused(format!(
                "--data-dir {} is not a directory",
                data_dir.display()
            )));
        }
        for dir in [Some(data_dir), wal.as_deref()].into_iter().flatten() {
            fault::refuse_read_only(dir)?;
        }
        Ok(Target {
            data_dir: data_dir.to_owned(),
            member,
            wal,
            aside,
            vacant_wal,
        })
    }

    /// Bytes needed for a db of `db` bytes, and bytes free, where the db goes.
    pub fn room(&self, db: u64) -> Result<(u64, u64)> {
        let wal = match self.distant_wal() {
            Some(_) => 0,
            None => wal::SEGMENT_SIZE,
        };
        let needed = db.saturating_add(wal + SLACK);
        Ok((needed, dirs::free_space(&self.data_dir)?))
    }

    /// Refuses when there is not enough room for a db of `db` bytes.
    pub fn refuse_full(&self, db: u64) -> Result<()> {
        let refuse = |dir: &Path, needed, free| {
            Err(Error::refused(format!(
                "not enough space in {}: {needed} bytes needed, {free} free",
                dir.display()
            ))
            .hint("free some space, or restore to another --data-dir and move it"))
        };
        let (needed, free) = self.room(db)?;
        if needed > free {
            return refuse(&self.data_dir, needed, free);
        }
        if let Some(wal) = self.distant_wal() {
            let (needed, free) = (wal::SEGMENT_SIZE + SLACK, dirs::free_space(wal)?);
            if needed > free {
                return refuse(wal, needed, free);
            }
        }
        Ok(())
    }

    /// The WAL dir, if it is in a file system of its own.
    fn distant_wal(&self) -> Option<&Path> {
        let wal = self.wal.as_deref()?;
        (!dirs::share_a_file_system(wal, &self.data_dir)).then_some(wal)
    }
}

/// The WAL dir, if it is not where the WAL goes anyway. One below the other could not be named one after the other.
fn place_for_wal(wal: &Path, data_dir: &Path, member: &Path) -> Result<Option<PathBuf>> {
    let [at, data_dir, member] = [wal, data_dir, member].map(dirs::absolute);
    if at == member.join("wal") {
        return Ok(None);
    }
    if at.starts_with(&member) || data_dir.starts_with(&at) {
        return Err(Error::usage(format!(
            "--wal-dir {}: the WAL needs a directory of its own, neither in {} nor around it",
            wal.display(),
            member.display()
        )));
    }
    Ok(Some(wal.to_owned()))
}

/// `PATH.before-<UTC time>`, with a number behind it if that exists.
fn name_aside(path: &Path) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let named = |number: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".before-{now}{number}"));
        PathBuf::from(name)
    };
    std::iter::once(String::new())
        .chain((2..).map(|number: u32| format!("-{number}")))
        .map(|number| named(&number))
        .find(|name| name.symlink_metadata().is_err())
        .unwrap_or_else(|| named(""))
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

    /// The directories that are being built.
    pub fn dirs(&self) -> impl Iterator<Item = &StagedDir> {
        std::iter::once(&self.member).chain(&self.wal)
    }

    /// Syncs everything, moves what is there aside, and gives the new directories their names, `member` last.
    /// Whatever fails, all names are then as they were before.
    pub fn commit(self, target: &Target) -> Result<()> {
        for dir in self.dirs() {
            dirs::sync_tree(dir.path())?;
        }
        // Dropped last: what is new must be out of the way before what is old can move back.
        let mut moved = Moved::default();
        if !target.aside.is_empty() {
            refuse_held(&target.member)?;
        }
        for (from, to) in &target.aside {
            moved.go(from, to)?;
        }
        let vacated = match (&target.wal, target.vacant_wal) {
            (Some(wal), true) => Some(Vacated::remove(wal)?),
            _ => None,
        };
        let Staging { mut member, wal } = self;
        // Gone before the member is, which takes the directories that it made with it, if they are empty.
        let promise = match &wal {
            Some(wal) => Some(Promise::give(target, wal)?),
            None => None,
        };
        match wal {
            None => member.name()?,
            Some(mut wal) => {
                wal.name()?;
                member.name()?;
                wal.keep();
            }
        }
        member.keep();
        drop(promise);
        if let Some(vacated) = vacated {
            vacated.keep();
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
        dirs::sync_dir(&dirs::parent_of(to))
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        for (from, to) in self.0.iter().rev() {
            let _ = staged::move_to_free_name(to, from);
            let _ = dirs::sync_dir(&dirs::parent_of(from));
        }
    }
}

/// An empty directory that made room, and comes back unless the new one stays.
struct Vacated(Option<(PathBuf, Metadata)>);

impl Vacated {
    fn remove(dir: &Path) -> Result<Vacated> {
        let failed = |e| Error::io("take the place of", dir, e);
        let found = dir.metadata().map_err(failed)?;
        std::fs::remove_dir(dir).map_err(failed)?;
        Ok(Vacated(Some((dir.to_owned(), found))))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Vacated {
    fn drop(&mut self) {
        if let Some((dir, found)) = self.0.take() {
            let _ = std::fs::create_dir(&dir);
            let _ = chown(&dir, Some(found.uid()), Some(found.gid()));
            let _ = std::fs::set_permissions(&dir, found.permissions());
        }
    }
}

/// Two names cannot change at once. Between the rename of the WAL dir and that of `member/`, this file
/// says that a WAL dir without a member is ours to remove.
const PROMISE: &str = ".member.wal-dir-of-unfinished-restore";

/// The file, for as long as it is true.
struct Promise(PathBuf);

impl Promise {
    fn give(target: &Target, wal: &StagedDir) -> Result<Promise> {
        let path = target.data_dir.join(PROMISE);
        let mut file = StagedFile::create(&path, true)?;
        let promise = Promise(path);
        let text = describe(wal.target(), wal.path());
        file.write_all(text.unwrap_or_default().as_bytes())
            .map_err(|e| file.write_error(e))?;
        file.commit()?;
        Ok(promise)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // One that stays promises nothing: a member is there, or no such WAL dir.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A WAL dir so exactly that one in which etcd has written since is another: its name, its inode, and the inode
/// and change time of the one segment in it. `None` if there is more in it, or less.
fn describe(name: &Path, dir: &Path) -> Option<String> {
    let parent = dirs::parent_of(name).canonicalize().ok()?;
    let name = parent.join(name.file_name()?);
    let mut entries = std::fs::read_dir(dir).ok()?;
    let segment = entries.next()?.ok()?.metadata().ok()?;
    if entries.next().is_some() {
        return None;
    }
    Some(format!(
        "{}\n{}\n{} {} {}.{:09}\n",
        name.display(),
        dir.metadata().ok()?.ino(),
        segment.ino(),
        segment.len(),
        segment.ctime(),
        segment.ctime_nsec()
    ))
}

/// A WAL dir that a killed run finished, whose `member/` never got its name. One that lives has it locked.
fn is_own_leftover(data_dir: &Path, path: &Path) -> bool {
    let promise = std::fs::read_to_string(data_dir.join(PROMISE)).ok();
    data_dir.join("member").symlink_metadata().is_err()
        && promise.is_some()
        && promise == describe(path, path)
        && File::open(path).is_ok_and(|dir| dir.try_lock().is_ok())
}

fn clear_own_leftovers(target: &Target, removed: &mut dyn FnMut(&Path)) -> Result<()> {
    let promise = target.data_dir.join(PROMISE);
    if !promise.exists() {
        return Ok(());
    }
    let wal = target.wal.as_deref();
    if let Some(wal) = wal.filter(|wal| is_own_leftover(&target.data_dir, wal)) {
        staged::remove_whole(wal)?;
        removed(wal);
    }
    std::fs::remove_file(&promise).map_err(|e| Error::io("remove the leftover", &promise, e))
}

/// Whoever names a member's own directory, or one in it, means the one above it: a member inside a member helps
/// nobody, and an etcd that runs on the outer one would not be noticed. A WAL dir elsewhere is nothing else's either.
fn refuse_inside(data_dir: &Path, wal_dir: Option<&Path>) -> Result<()> {
    let full = dirs::absolute(data_dir);
    let has_wal = |dir: &Path| datadir::wal_segments(dir).is_ok_and(|found| !found.is_empty());
    // The WAL may also lie beside the member, as its --wal-dir.
    let beside = |dir: &Path, wal: &Path| {
        wal_dir.is_some_and(|given| dirs::absolute(given) == wal) || dir.join("member").is_dir()
    };
    let is_member = |dir: &&Path| {
        let wal = dir.join("wal");
        dir.join("snap/db").is_file() || has_wal(&wal) && !beside(dir, &wal)
    };
    let given = data_dir.display();
    match full.ancestors().find(is_member) {
        Some(member) => Err(Error::refused(format!(
            "--data-dir {given} is inside a member's data dir: the db and the WAL of one are in it"
        ))
        .hint(format!(
            "name the directory that etcd has as --data-dir, probably {}",
            member.parent().unwrap_or(member).display()
        ))),
        None if has_wal(&full) => Err(Error::refused(format!(
            "--data-dir {given} is the WAL dir of a member"
        ))
        .hint("name the directory that etcd has as --data-dir; this one is its --wal-dir")),
        None => Ok(()),
    }
}

/// A mount point can neither be renamed nor take another's name.
fn refuse_mount_point(path: &Path) -> Result<()> {
    match dirs::is_mount_point(path) {
        false => Ok(()),
        true => Err(Error::refused(format!(
            "{} is a mount point: a new directory cannot take its name",
            path.display()
        ))
        .hint(format!(
            "name a directory below the mount point ({}), or unmount it",
            path.join("etcd").display()
        ))),
    }
}

fn is_vacant(path: &Path) -> bool {
    let is_dir = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    is_dir && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Even with `--move-aside`: a running etcd goes on writing to what was moved, and would be believed.
fn refuse_held(member: &Path) -> Result<()> {
    let db = member.join("snap/db");
    let Ok(file) = File::open(&db) else {
        return Ok(());
    };
    match lock::try_shared(&file) {
        Shared::HeldBy(pids) => {
            let (db, holder) = (db.display(), lock::name_holders(&pids));
            Err(match lock::may_be_etcd(&pids) {
                true => Error::refused(format!(
                    "{db} is in use by {holder}: a running etcd owns this data dir"
                ))
                .hint("stop etcd first: move its static pod manifest away, or systemctl stop etcd"),
                false => Error::refused(format!(
                    "{db} is locked by {holder}: whoever has the lock of a db may be writing to it"
                ))
                .hint("wait for that process, or end it"),
            })
        }
        Shared::Locked | Shared::Unsupported => Ok(()),
    }
}
