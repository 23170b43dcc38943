//! What lies in a directory of backups, from the ends of the files: no data is read, and no name is believed.
//!
//! Two files with the same archive id are one backup with two names. What looks like a backup and is none is a
//! [`Stranger`], with the reason; it is never counted and never removed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::lock::{self, DirLock};
use super::records;
use crate::archive::{self, Archive, Compression, Manifest};
use crate::error::{Error, Kind, Result};
use crate::io::{Image, dirs, staged};
use crate::limits::Limits;

/// Files looked at at the same time.
const THREADS: usize = 8;

/// What a file is: a backup, nothing that would be taken for one, or why it is none.
type Looked = std::result::Result<Option<Backup>, Reject>;

/// What is in a directory.
#[derive(Debug, Default)]
pub struct Scan {
    /// Archives of this program, newest first; ids are unique.
    pub backups: Vec<Backup>,
    /// What looks like a backup and is none, by path.
    pub strangers: Vec<Stranger>,
    /// What is on its way to its name, or was left by a run that was killed, by path.
    pub partials: Vec<PathBuf>,
}

/// An archive of this program.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// Other names of the same archive in this directory.
    pub copies: Vec<PathBuf>,
    /// Archive id.
    pub id: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// When its snapshot was taken.
    pub at: Timestamp,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What is wrong with its container, as far as its end and its length tell.
    pub flaw: Option<String>,
}

impl Backup {
    /// Its name in the directory; what is not UTF-8 is replaced.
    pub fn file_name(&self) -> String {
        file_name(&self.path)
    }

    /// Made by the verb `backup`: only these are ever pruned.
    pub fn by_backup(&self) -> bool {
        self.manifest.made.by == "backup"
    }

    /// The time in its manifest is that of the snapshot. Of one that was packed later nobody knows how old it is.
    pub fn dated(&self) -> bool {
        self.manifest.made.by != "pack"
    }

    /// All of its names.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let copies = self.copies.iter().map(PathBuf::as_path);
        std::iter::once(self.path.as_path()).chain(copies)
    }
}

/// What looks like a backup and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is none.
    pub why: String,
    /// What that says of it.
    pub kind: Strange,
}

/// What can be said of a [`Stranger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strange {
    /// It never was an archive: a link, a directory.
    Foreign,
    /// It is a file, and what the disk has of it is no archive.
    Unsound,
    /// Nobody can tell: it may not be read, or this machine or this program cannot do it.
    Unread,
}

impl Stranger {
    /// Its name in the directory; what is not UTF-8 is replaced.
    pub fn file_name(&self) -> String {
        file_name(&self.path)
    }

    /// It is named as `backup` names them.
    pub fn named_by_backup(&self) -> bool {
        named_by_backup(&self.file_name())
    }
}

/// Why a file is no backup.
struct Reject {
    why: String,
    kind: Strange,
}

/// Looks at every file of a directory. `Error::failed` when the directory cannot be read; a file that cannot
/// be read is a stranger.
pub fn scan(dir: &Path, limits: &Limits) -> Result<Scan> {
    let failed = |e| Error::io("read the directory", dir, e);
    let mut found = Scan::default();
    let mut by_id: BTreeMap<String, Backup> = BTreeMap::new();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.retain(|path| !is_own(path.file_name().unwrap_or_default()));
    let staged = |path: &PathBuf| path.file_name().and_then(staged::staged_for).is_some();
    (found.partials, paths) = paths.into_iter().partition(staged);
    found.partials.sort();
    paths.sort();
    for (path, looked) in paths.iter().zip(look_at_all(&paths, limits)) {
        match looked {
            Ok(Some(backup)) => add(&mut by_id, backup),
            Ok(None) => {}
            Err(Reject { why, kind }) => {
                let path = path.clone();
                found.strangers.push(Stranger { path, why, kind });
            }
        }
    }
    found.backups = by_id.into_values().collect();
    found
        .backups
        .sort_by(|a, b| (b.at, &a.path).cmp(&(a.at, &b.path)));
    Ok(found)
}

/// Removes what killed runs left on the way to a name that is an archive's or one of ours, and nothing else: no
/// directory, for one. `tried` hears how each removal ended.
pub fn remove_stale(lock: &DirLock, tried: &mut dyn FnMut(&Path, Result<()>)) {
    let wanted = |name: &OsStr, found: &Metadata| {
        found.is_file() && (is_own(name) || name.as_encoded_bytes().ends_with(b".zst"))
    };
    staged::remove_stale_where(lock.dir(), &wanted, tried);
}

/// Removes a backup under the name `path`, which is one of its own, and syncs the directory; copies stay.
/// `Error::refused`, and nothing is removed, when it was not made by `backup`, or when something else has the
/// name by now.
pub fn remove(lock: &DirLock, backup: &Backup, path: &Path, limits: &Limits) -> Result<()> {
    let refuse = |why: &str| Err(Error::refused(format!("{} stays: {why}", path.display())));
    if !backup.by_backup() {
        return refuse("it was not made by backup");
    }
    if path.parent() != Some(lock.dir()) {
        return refuse("it is in another directory");
    }
    match look(path, limits) {
        Ok(Some(now)) if now.id == backup.id => {}
        // Somebody was faster.
        _ if path.symlink_metadata().is_err() => return Ok(()),
        _ => return refuse("it is not the archive that it was"),
    }
    std::fs::remove_file(path).map_err(|e| Error::io("remove", path, e))?;
    dirs::sync_dir(lock.dir())
}

/// Whether a name is of the form that `backup` gives: `…-20261123T050000Z-rev4711.db.zst`, perhaps with a number
/// behind the revision.
pub fn named_by_backup(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((stem, revision)) = name
        .strip_suffix(".db.zst")
        .and_then(|stem| stem.rsplit_once("-rev"))
    else {
        return false;
    };
    let Some((_, time)) = stem.rsplit_once('-') else {
        return false;
    };
    let time = time.strip_suffix('Z').and_then(|time| time.split_once('T'));
    let dated = time.is_some_and(|(date, time)| {
        digits(date) && digits(time) && (date.len(), time.len()) == (8, 6)
    });
    dated && revision.split('-').count() <= 2 && revision.split('-').all(digits)
}

/// A disk that cannot give back what it has is damage; a file that may not be read, or no memory to read it, is none.
pub fn is_damage(error: &Error) -> bool {
    let disk = rustix::io::Errno::IO.raw_os_error();
    let code = error.io_source().and_then(std::io::Error::raw_os_error);
    error.kind() == Kind::Damaged || code == Some(disk)
}

/// The name of a file in its directory; what is not UTF-8 is replaced.
pub fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A second file with the same id is a copy; the one without a flaw is the backup.
fn add(by_id: &mut BTreeMap<String, Backup>, mut new: Backup) {
    match by_id.get_mut(&new.id) {
        Some(old) => {
            if old.flaw.is_some() && new.flaw.is_none() {
                std::mem::swap(old, &mut new);
            }
            old.copies.push(new.path);
            old.copies.append(&mut new.copies);
            old.copies.sort();
        }
        None => {
            by_id.insert(new.id.clone(), new);
        }
    }
}

/// The files that this program keeps beside the backups.
fn is_own(name: &OsStr) -> bool {
    let broken = format!("{}.broken-", records::NAME);
    name == lock::NAME
        || name == records::NAME
        || name == records::OLD
        || name.as_encoded_bytes().starts_with(broken.as_bytes())
}

/// Whether a person would take it for a backup.
fn looks_like_one(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let endings = [".zst", ".db", ".db.gz", ".db.part"];
    endings
        .iter()
        .any(|ending| name.ends_with(ending.as_bytes()))
}

/// Some at once: a disk that is cold answers several questions in the time of one.
fn look_at_all(paths: &[PathBuf], limits: &Limits) -> Vec<Looked> {
    let part = paths.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        let look_at = |part: &[PathBuf]| part.iter().map(|path| look(path, limits)).collect();
        let parts: Vec<_> = paths
            .chunks(part)
            .map(|part| scope.spawn(move || -> Vec<Looked> { look_at(part) }))
            .collect();
        let looked = parts.into_iter().map(|part| part.join());
        looked
            .flat_map(|looked| looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What a file is: a backup, nothing that would be taken for one, or why it is none.
fn look(path: &Path, limits: &Limits) -> Looked {
    let suspect = looks_like_one(path);
    let reject = |why: String, kind| match suspect {
        true => Err(Reject { why, kind }),
        false => Ok(None),
    };
    let none = |why: String| reject(why, Strange::Foreign);
    let unsound = |why: String| reject(why, Strange::Unsound);
    let failed = |e: Error| match is_damage(&e) {
        true => unsound(e.to_string()),
        false => reject(e.to_string(), Strange::Unread),
    };
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => {}
        Ok(found) if found.is_symlink() => return none("a symbolic link".into()),
        Ok(_) => return none("no file".into()),
        Err(e) => return none(e.to_string()),
    }
    let opened = Image::open(path).and_then(|image| {
        let compression = archive::detect(&image)?;
        Ok((image, compression))
    });
    let image = match opened {
        Ok((image, Some(Compression::Zstd))) => image,
        Ok((image, _)) if image.is_empty() => return unsound("empty".into()),
        Ok(_) => return unsound("not an archive of this program".into()),
        Err(e) => return failed(e),
    };
    let bytes = image.len();
    let archive = match Archive::open(image, limits) {
        Ok(archive) => archive,
        Err(e) => return failed(e),
    };
    let findings = archive.findings();
    // A backup that rots is one to look at, even where the rot can be done without.
    let flaw = (findings.total() > 0).then(|| {
        let first = findings.listed().first();
        first.map_or_else(|| "damaged".to_owned(), ToString::to_string)
    });
    let (Some(manifest), Some(id)) = (archive.manifest(), archive.id()) else {
        return unsound(match flaw {
            Some(flaw) => format!("no manifest that can be read: {flaw}"),
            None => "zstd without a manifest".to_owned(),
        });
    };
    let at = match manifest.made.at.parse() {
        Ok(at) => at,
        Err(_) => {
            return Err(Reject {
                why: "its manifest has no time that can be read".into(),
                kind: Strange::Unsound,
            });
        }
    };
    Ok(Some(Backup {
        path: path.to_owned(),
        copies: Vec::new(),
        id: id.to_owned(),
        bytes,
        at,
        manifest: manifest.clone(),
        flaw,
    }))
}
