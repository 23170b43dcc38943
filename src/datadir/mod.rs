//! Names and places under a data dir.
//!
//! ```text
//! DATA_DIR 0700
//! +-- member 0700
//!     +-- snap 0700
//!     |   +-- db 0600                                     the bbolt file
//!     |   +-- 0000000000000001-0000000000000003.snap      term, index of a raft snapshot
//!     |   +-- 00000000000186a5.snap.db                    a db that a leader sent, for that index
//!     +-- wal 0700                                        elsewhere with --wal-dir
//!         +-- 0000000000000000-0000000000000000.wal 0600  sequence number, index of the first entry
//!         +-- 0.tmp                                       the next segment, preallocated
//! ```
//!
//! [etcd v3.7.1 server/config/config.go, server/storage/datadir/datadir.go, server/storage/wal/util.go,
//! server/etcdserver/api/snap/snapshotter.go, db.go]

pub mod boot;
pub mod tail;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::io::dirs;

/// Mode of every directory; servers warn about any other.
pub const DIR_MODE: u32 = 0o700;

/// Mode of every file.
pub const FILE_MODE: u32 = 0o600;

/// `DATA_DIR/member`.
pub fn member_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member")
}

/// `DATA_DIR/member/snap`.
pub fn snap_dir(data_dir: &Path) -> PathBuf {
    member_dir(data_dir).join("snap")
}

/// `DATA_DIR/member/snap/db`.
pub fn db(data_dir: &Path) -> PathBuf {
    snap_dir(data_dir).join("db")
}

/// `DATA_DIR/member/wal`, where the WAL is unless etcd was given `--wal-dir`.
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    member_dir(data_dir).join("wal")
}

/// Name of a WAL segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalName {
    /// Sequence number; consecutive within one log, 0 for the first.
    pub seq: u64,
    /// Index of the first entry the segment may hold.
    pub index: u64,
}

/// Name of a .snap file. Mind the order: term first, as the greatest name is the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapName {
    /// Raft term of the snapshot.
    pub term: u64,
    /// Raft index of the snapshot.
    pub index: u64,
}

/// Name of a db that a leader sent, before it takes the place of `db`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapDbName {
    /// Raft index of the snapshot it belongs to.
    pub index: u64,
}

/// A name that is none of these; readers pass over such files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherName;

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.seq, self.index)
    }
}

impl fmt::Display for SnapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.snap", self.term, self.index)
    }
}

impl fmt::Display for SnapDbName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.snap.db", self.index)
    }
}

impl FromStr for WalName {
    type Err = OtherName;

    fn from_str(name: &str) -> std::result::Result<WalName, OtherName> {
        let (seq, index) = two_numbers(name, ".wal")?;
        exactly(WalName { seq, index }, name)
    }
}

impl FromStr for SnapName {
    type Err = OtherName;

    fn from_str(name: &str) -> std::result::Result<SnapName, OtherName> {
        let (term, index) = two_numbers(name, ".snap")?;
        exactly(SnapName { term, index }, name)
    }
}

impl FromStr for SnapDbName {
    type Err = OtherName;

    fn from_str(name: &str) -> std::result::Result<SnapDbName, OtherName> {
        let index = number(name.strip_suffix(".snap.db"))?;
        exactly(SnapDbName { index }, name)
    }
}

fn two_numbers(name: &str, suffix: &str) -> std::result::Result<(u64, u64), OtherName> {
    let stem = name.strip_suffix(suffix).ok_or(OtherName)?;
    let (one, other) = stem.split_once('-').ok_or(OtherName)?;
    Ok((number(Some(one))?, number(Some(other))?))
}

fn number(hex: Option<&str>) -> std::result::Result<u64, OtherName> {
    hex.and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or(OtherName)
}

/// Only a name that would be written this way is one: 16 digits, lower case, no sign.
fn exactly<N: fmt::Display>(parsed: N, name: &str) -> std::result::Result<N, OtherName> {
    match parsed.to_string() == name {
        true => Ok(parsed),
        false => Err(OtherName),
    }
}

/// The WAL segments in a directory, in order; other files are passed over.
pub fn wal_segments(wal_dir: &Path) -> Result<Vec<(WalName, PathBuf)>> {
    named(wal_dir)
}

/// The .snap files in a directory, newest first; other files are passed over.
pub fn snaps(snap_dir: &Path) -> Result<Vec<(SnapName, PathBuf)>> {
    let mut snaps = named(snap_dir)?;
    snaps.reverse();
    Ok(snaps)
}

fn named<N: FromStr + Ord>(dir: &Path) -> Result<Vec<(N, PathBuf)>> {
    let failed = |e| Error::io("list", dir, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(Ok(name)) = entry.file_name().to_str().map(str::parse) {
            found.push((name, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A stopped member's files, found from whatever directory of it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The bbolt file.
    pub db: PathBuf,
    /// `member/snap`.
    pub snap_dir: PathBuf,
    /// `member/wal`, if it is there.
    pub wal_dir: Option<PathBuf>,
}

/// Finds the db of a data dir, of its `member`, or of its `snap`: the first of the three that has one.
///
/// `Error::failed` lists where it was looked for.
pub fn find(dir: &Path) -> Result<Found> {
    let snap_dirs = [snap_dir(dir), dir.join("snap"), dir.to_owned()];
    for snap_dir in &snap_dirs {
        let db = snap_dir.join("db");
        if exists(&db, false)? {
            let wal_dir = sibling(snap_dir, "wal");
            return Ok(Found {
                db,
                snap_dir: snap_dir.clone(),
                wal_dir: exists(&wal_dir, true)?.then_some(wal_dir),
            });
        }
    }
    let looked: Vec<_> = snap_dirs
        .iter()
        .map(|dir| dir.join("db").display().to_string())
        .collect();
    Err(Error::failed(format!(
        "{} is not a data dir: no {}",
        dir.display(),
        looked.join(", no ")
    ))
    .hint("name the directory that etcd had as --data-dir, or a snapshot file"))
}

/// The WAL dir of the member that this db is in, if it is the `snap/db` of one whose WAL lies where etcd puts it.
pub fn wal_of(db: &Path) -> Option<PathBuf> {
    let db = dirs::absolute(db);
    let snap_dir = db.parent()?;
    let wal_dir = sibling(snap_dir, "wal");
    (db.ends_with("snap/db") && wal_dir.is_dir()).then_some(wal_dir)
}

/// The directory next to `dir`; `..` when `dir` has no name to take off.
fn sibling(dir: &Path, name: &str) -> PathBuf {
    match (dir.file_name(), dir.parent()) {
        (Some(_), Some(parent)) => parent.join(name),
        _ => dir.join("..").join(name),
    }
}

/// Whether there is such a directory, or anything but a directory. What cannot be told is an error.
fn exists(path: &Path, directory: bool) -> Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir() == directory),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(Error::io("look at", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_are_written_and_read() {
        let wal = WalName {
            seq: 1,
            index: 0x45,
        };
        assert_eq!(wal.to_string(), "0000000000000001-0000000000000045.wal");
        assert_eq!(wal.to_string().parse(), Ok(wal));
        let snap = SnapName { term: 1, index: 3 };
        assert_eq!(snap.to_string(), "0000000000000001-0000000000000003.snap");
        assert_eq!(snap.to_string().parse(), Ok(snap));
        let snap_db = SnapDbName { index: 0x186a5 };
        assert_eq!(snap_db.to_string(), "00000000000186a5.snap.db");
        assert_eq!(snap_db.to_string().parse(), Ok(snap_db));
        let largest = WalName {
            seq: u64::MAX,
            index: u64::MAX,
        };
        assert_eq!(largest.to_string().parse(), Ok(largest));
    }

    #[test]
    fn other_names_are_passed_over() {
        for name in [
            "0.tmp",
            "0000000000000000-0000000000000000.wal.broken",
            "0000000000000000-0000000000000000.snap",
            "0-0.wal",
            "000000000000000A-0000000000000000.wal",
            "+000000000000000-0000000000000000.wal",
            "00000000000000000-0000000000000000.wal",
            "0000000000000000.wal",
            ".wal",
            "",
        ] {
            assert_eq!(name.parse::<WalName>(), Err(OtherName), "{name}");
        }
        assert!("db".parse::<SnapDbName>().is_err());
        assert!("186a5.snap.db".parse::<SnapDbName>().is_err());
        assert!("0000000000000001.snap".parse::<SnapName>().is_err());
    }

    #[test]
    fn files_come_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let later = WalName { seq: 10, index: 5 };
        let first = WalName { seq: 9, index: 7 };
        for name in [later.to_string(), first.to_string(), "0.tmp".into()] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names: Vec<_> = wal_segments(dir.path())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, [first, later]);
        let newest = SnapName { term: 2, index: 1 };
        let oldest = SnapName { term: 1, index: 9 };
        for name in [oldest, newest] {
            fs::write(dir.path().join(name.to_string()), "").unwrap();
        }
        let found = snaps(dir.path()).unwrap();
        assert_eq!(found[0], (newest, dir.path().join(newest.to_string())));
        assert_eq!(found.len(), 2);
        assert!(wal_segments(&dir.path().join("none")).is_err());
    }

    #[test]
    fn the_db_is_found_from_any_of_its_directories() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = root.path();
        fs::create_dir_all(snap_dir(data_dir)).unwrap();
        let error = find(data_dir).unwrap_err();
        let places = error.to_string().matches("db").count();
        assert!(places >= 3 && error.hint_text().is_some(), "{error}");
        fs::write(db(data_dir), "").unwrap();
        let from_top = find(data_dir).unwrap();
        assert_eq!(from_top.db, db(data_dir));
        assert_eq!(from_top.wal_dir, None);
        fs::create_dir(wal_dir(data_dir)).unwrap();
        for dir in [
            data_dir.to_owned(),
            member_dir(data_dir),
            snap_dir(data_dir),
        ] {
            let found = find(&dir).unwrap();
            assert_eq!(found.db, db(data_dir));
            assert_eq!(found.snap_dir, snap_dir(data_dir));
            assert_eq!(found.wal_dir, Some(wal_dir(data_dir)));
        }
        assert_eq!(sibling(Path::new("."), "wal"), Path::new("./../wal"));
        assert_eq!(sibling(Path::new("snap"), "wal"), Path::new("wal"));
        fs::remove_file(db(data_dir)).unwrap();
        fs::create_dir(db(data_dir)).unwrap();
        assert!(find(data_dir).is_err(), "a directory is not a db");
    }
}
