//! What the user points at, found out by content: a snapshot, a raw copy, a data dir, an archive,
//! a compressed file, standard input.

mod unpack;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};

use self::unpack::{Unpacking, judge, refuse_foreign};
use crate::archive::{Archive, Compression};
use crate::catalogue::latest::{Latest, latest};
use crate::datadir;
use crate::error::{Error, Result};
use crate::io::lock::{self, Shared};
use crate::io::{Image, spool};
use crate::limits::Limits;
use crate::observe::Observer;

/// INPUT as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file or a directory.
    Path(PathBuf),
    /// `DIR --latest`: the newest verified backup in a directory of them.
    Latest(PathBuf),
    /// `-`
    Stdin,
}

/// What a command reads, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As it was typed.
    pub input: Input,
    /// `--raw`: a db without SHA-256 trailer will do, and one that a running etcd holds.
    pub raw: bool,
    /// Where standard input may be kept if it cannot seek, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
}

/// Where an image came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file: a snapshot, or a copy of a db.
    File(PathBuf),
    /// The db of a data dir.
    DataDir {
        /// The db file inside.
        db: PathBuf,
        /// The directory of its WAL, if there is one where etcd puts it.
        wal: Option<PathBuf>,
    },
    /// Standard input.
    Stdin,
}

/// Bytes that were found. Nothing is known of them yet but that they can be read.
#[derive(Debug)]
pub struct Candidate {
    /// The bytes.
    pub image: Image,
    /// Where they are from.
    pub origin: Origin,
    /// A running etcd holds the file: what is read may change under our hands.
    pub live: bool,
    /// What they were packed in, if they were.
    pub container: Option<Container>,
    /// What that was compressed with once more.
    pub outer: Option<Compression>,
}

/// What the bytes were packed in.
#[derive(Clone, Debug)]
pub enum Container {
    /// Frames of zstd that are decompressed when they are asked for.
    Archive(Archive),
    /// Compressed in one piece: they were unpacked into a temporary file.
    Stream(Compression),
}

impl Candidate {
    /// Bytes that are not packed and that nobody holds.
    pub fn plain(image: Image, origin: Origin) -> Candidate {
        Candidate {
            image,
            origin,
            live: false,
            container: None,
            outer: None,
        }
    }

    /// `what` it was found to be, and what that was compressed with once more.
    pub fn called(&self, what: &str) -> String {
        match self.outer {
            Some(outer) => format!("{what}, {}-compressed", outer.word()),
            None => what.into(),
        }
    }

    /// The archive that they are in.
    pub fn archive(&self) -> Option<&Archive> {
        match &self.container {
            Some(Container::Archive(archive)) => Some(archive),
            _ => None,
        }
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Input::Path(path) | Input::Latest(path) => path.display().fmt(f),
            Input::Stdin => f.write_str("-"),
        }
    }
}

impl Source {
    /// Makes `DIR --latest` the file that it is now, so that answers, errors and commands to type name
    /// that one. Errors: `Refused` when nothing in it is verified, `Usage` when it is no directory.
    pub fn settle(&mut self, limits: &Limits, observer: &dyn Observer) -> Result<()> {
        let Input::Latest(dir) = &self.input else {
            return Ok(());
        };
        if std::fs::metadata(dir).is_ok_and(|found| !found.is_dir()) {
            let what = format!(
                "{} is a file, and --latest looks into a directory",
                dir.display()
            );
            return Err(Error::usage(what).hint("leave --latest out to read this very file"));
        }
        let Latest { path, doubts } = latest(dir, Timestamp::now(), limits)?;
        observer.notice(&format!("the newest verified backup is {}", path.display()));
        doubts.iter().for_each(|why| observer.warn(why));
        self.input = Input::Path(path);
        Ok(())
    }

    /// Opens it, read-only. Errors: `Failed` when it can't be read, `Refused` when a running etcd holds it.
    pub fn open(&self, limits: &Limits, observer: &dyn Observer) -> Result<Candidate> {
        let spool_dirs = &self.spool_dirs;
        let candidate = match &self.input {
            Input::Stdin => open_stdin(spool_dirs, observer)?,
            Input::Path(path) => open_path(path, spool_dirs, observer)?,
            Input::Latest(_) => {
                let mut found = self.clone();
                found.settle(limits, observer)?;
                return found.open(limits, observer);
            }
        };
        let file = match &self.input {
            Input::Stdin => FILE.to_owned(),
            _ => candidate.image.name().to_owned(),
        };
        refuse_foreign(&candidate.image, candidate.image.name(), &file)?;
        let candidate = guard_against_running_etcd(candidate, self.raw, observer)?;
        let unpacking = Unpacking {
            file: &file,
            spool_dirs,
            limits,
            observer,
        };
        unpacking.unpack(candidate)
    }
}

/// What commands to type call something that has no name.
const FILE: &str = "FILE";

/// A file that is open already, and that nobody else has.
pub fn of_file(
    file: File,
    name: &str,
    spool_dirs: &[PathBuf],
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Candidate> {
    let image = Image::from_file(file, name)?;
    let origin = Origin::File(PathBuf::from(name));
    let unpacking = Unpacking {
        file: name,
        spool_dirs,
        limits,
        observer,
    };
    unpacking.unpack(Candidate::plain(image, origin))
}

fn open_stdin(spool_dirs: &[PathBuf], observer: &dyn Observer) -> Result<Candidate> {
    let stdin = std::io::stdin();
    let file = stdin.as_fd().try_clone_to_owned().map(File::from);
    let file = file.map_err(|e| Error::failed("cannot read standard input").because(e))?;
    from_file(file, Origin::Stdin, "standard input", spool_dirs, observer)
}

fn open_path(path: &Path, spool_dirs: &[PathBuf], observer: &dyn Observer) -> Result<Candidate> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io("open", path, e))?;
    let (path, origin) = match metadata.is_dir() {
        true => {
            let found = datadir::find(path).map_err(|e| hint_at_backups(e, path))?;
            let (db, wal) = (found.db, found.wal_dir);
            (db.clone(), Origin::DataDir { db, wal })
        }
        // Whoever names the db of a member would lose what only its WAL has, as whoever names the directory.
        false => match datadir::wal_of(path) {
            Some(wal) => {
                let (db, wal) = (path.to_owned(), Some(wal));
                (path.to_owned(), Origin::DataDir { db, wal })
            }
            None => (path.to_owned(), Origin::File(path.to_owned())),
        },
    };
    // Opening a pipe would wait for a writer, deaf to signals; waiting for its bytes is not.
    let flags = match metadata.file_type().is_fifo() {
        true => OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        false => OFlags::RDONLY | OFlags::CLOEXEC,
    };
    let file = rustix::fs::open(&path, flags, Mode::empty());
    let file = file.map_err(|e| Error::io("open", &path, e.into()))?;
    from_file(
        file.into(),
        origin,
        &path.display().to_string(),
        spool_dirs,
        observer,
    )
}

/// Whoever names a directory of backups means one of them.
fn hint_at_backups(error: Error, dir: &Path) -> Error {
    let is_archive = |entry: std::fs::DirEntry| {
        Path::new(&entry.file_name()).extension() == Some("zst".as_ref())
    };
    let archives = std::fs::read_dir(dir)
        .is_ok_and(|entries| entries.filter_map(std::result::Result::ok).any(is_archive));
    match archives {
        true => error.hint(
            "there are archives in it: --latest takes the newest verified one, or name a file",
        ),
        false => error,
    }
}

/// Anything that cannot seek is kept in an unnamed file first.
fn from_file(
    file: File,
    origin: Origin,
    name: &str,
    spool_dirs: &[PathBuf],
    observer: &dyn Observer,
) -> Result<Candidate> {
    let metadata = file
        .metadata()
        .map_err(|e| Error::failed(format!("cannot read {name}")).because(e))?;
    let kind = metadata.file_type();
    let file = match kind.is_file() || kind.is_block_device() || kind.is_dir() {
        true => file,
        false => spool::spool(file, name, spool_dirs, observer, |head| {
            judge(head, name, FILE, None)
        })?,
    };
    let image = Image::from_file(file, name)?;
    Ok(Candidate::plain(image, origin))
}

/// A shared lock keeps etcd from starting on the db while it is read; if etcd has it already, what is
/// read is not one state of the db but several.
fn guard_against_running_etcd(
    mut candidate: Candidate,
    raw: bool,
    observer: &dyn Observer,
) -> Result<Candidate> {
    let Some(file) = candidate.image.file() else {
        return Ok(candidate);
    };
    if let Shared::HeldBy(pids) = lock::try_shared(file) {
        let name = candidate.image.name();
        let holder = lock::name_holders(&pids);
        if !raw {
            let who = match lock::may_be_etcd(&pids) {
                true => "a running etcd is writing to it",
                false => "whoever has the lock of a db may be writing to it",
            };
            return Err(Error::refused(format!("{name} is in use by {holder}: {who}"))
                .hint("use `etcd-rescue save` while etcd runs, or stop etcd; --raw reads it all the same, at your risk"));
        }
        observer.warn(&format!(
            "{name} is in use by {holder}: pages of different ages may be read, and the result may be wrong even where no damage is found"
        ));
        candidate.live = true;
    }
    Ok(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::observe::Unobserved;

    fn open_input(input: &Input, raw: bool) -> Result<Candidate> {
        let source = Source {
            input: input.clone(),
            raw,
            spool_dirs: Vec::new(),
        };
        source.open(&Limits::default(), &Unobserved)
    }

    fn open_bytes(bytes: &[u8]) -> Result<Candidate> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        open_input(&Input::Path(path), false)
    }

    #[test]
    fn content_decides() {
        assert!(open_bytes(b"").is_ok());
        assert!(open_bytes(b"hello, world").is_ok());
        let zip = open_bytes(b"PK\x03\x04").unwrap_err();
        assert!(zip.hint_text().unwrap().contains("unzip"), "{zip}");
    }

    #[test]
    fn a_data_dir_is_found_from_each_of_its_levels() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("member/snap")).unwrap();
        let error = open_input(&Input::Path(dir.path().into()), false).unwrap_err();
        assert!(error.to_string().contains("is not a data dir"), "{error}");
        std::fs::write(dir.path().join("a.db.zst"), b"x").unwrap();
        let error = open_input(&Input::Path(dir.path().into()), false).unwrap_err();
        assert!(error.hint_text().unwrap().contains("--latest"), "{error}");
        let db = dir.path().join("member/snap/db");
        std::fs::write(&db, b"x").unwrap();
        for level in ["", "member", "member/snap"] {
            let input = Input::Path(dir.path().join(level));
            let found = open_input(&input, false).unwrap();
            assert_eq!(
                found.origin,
                Origin::DataDir {
                    db: db.clone(),
                    wal: None
                }
            );
        }
        let wal = dir.path().join("member/wal");
        std::fs::create_dir(&wal).unwrap();
        let found = open_input(&Input::Path(db.clone()), false).unwrap();
        let wal = Some(wal);
        assert_eq!(found.origin, Origin::DataDir { db, wal });
    }

    #[test]
    fn a_db_in_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        std::fs::write(&path, b"x").unwrap();
        let holder = File::open(&path).unwrap();
        holder.lock().unwrap();
        let input = Input::Path(path);
        assert_eq!(open_input(&input, false).unwrap_err().kind(), Kind::Refused);
        assert!(open_input(&input, true).unwrap().live);
    }
}
