//! What is known of each archive beyond its manifest: when it was proved, what is odd about it, whether a
//! person wants it kept, whether it was found damaged.
//!
//! `.etcd-rescue-catalogue.json` in the directory, 0600, replaced as a whole. Records go by archive id, so
//! renaming a file changes nothing. Losing the file costs proofs, never backups: what has no record counts as
//! not verified, and is never removed. The one before stays as `.etcd-rescue-catalogue.old.json`: what persons
//! said (pins, what they accepted) and what is odd is taken from there when the newer one is lost, and no proof.
//!
//! ```json
//! {
//!   "format": 1,
//!   "records": {
//!     "0123456789abcdef0123456789abcdef": {
//!       "order": 17,
//!       "file": "etcd-20261123T050000Z-rev4711.db.zst",
//!       "vitals": {"cluster_id": "cdf818194e3a8c32", "revision": 4711, "live_keys": 900},
//!       "verified": {"at": "2026-11-23T05:00:07Z", "how": "backup"},
//!       "suspicious": ["live keys fell by more than half, from 900 to 12"],
//!       "accepted": "2026-11-23T09:00:00Z",
//!       "pinned": "2026-11-23T09:00:00Z",
//!       "damaged": {"at": "2026-12-01T05:00:00Z", "what": "frame 3: …"}
//!     }
//!   }
//! }
//! ```
//!
//! Fields that are not known here are kept. A record that cannot be read is kept as it is, and counts as none.
//! A file that cannot be read at all is told, moved aside before a new one is written, and never replaced. One of
//! a newer format is left alone: then nothing can be recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::compare::Vitals;
use super::lock::DirLock;
pub use super::record::{Damaged, How, Record, Verified};
use crate::error::{Error, Result};
use crate::io::staged::{self, StagedFile};

/// Name of the file in the directory.
pub const NAME: &str = ".etcd-rescue-catalogue.json";

/// Name of the one before it.
pub const OLD: &str = ".etcd-rescue-catalogue.old.json";

/// The format that is written, and the newest one that is read.
const FORMAT: u64 = 1;

/// A record takes 200 bytes: this is a directory of 300,000 archives.
const SIZE_MAX: u64 = 64 << 20;

/// A record outlives its archive by this much: the disk may be away, or the file in another place for a while.
const OUTLIVES: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What is known of the archives of one directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// By archive id.
    records: BTreeMap<String, Record>,
    /// Records that cannot be read, as they are.
    unread: BTreeMap<String, Value>,
    /// Fields of other versions.
    extra: Map<String, Value>,
    state: State,
}

/// What was found on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Readable,
    /// Why not, and whether the one before could be read.
    Broken { why: String, old: bool },
    /// Its format.
    Newer(u64),
}

/// The file, as far as any version has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u64,
    records: BTreeMap<String, Value>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Catalogue {
    /// Reads the catalogue of a directory; none is an empty one, and so is a broken one, see
    /// [`Catalogue::problem`]. `Error::failed` when the file is there and cannot be read: to go on as if it were
    /// empty would forget what it says.
    pub fn load(dir: &Path) -> Result<Catalogue> {
        let why = match read(&dir.join(NAME))? {
            Some(bytes) => {
                let read = Catalogue::decode(&bytes);
                let State::Broken { why, .. } = read.state else {
                    return Ok(read);
                };
                Some(why)
            }
            None => None,
        };
        // Nobody wrote one yet, or it is lost.
        let old = match read(&dir.join(OLD)) {
            Ok(Some(bytes)) => Some(Catalogue::decode(&bytes)).filter(Catalogue::is_readable),
            Ok(None) | Err(_) => None,
        };
        let why = match (why, &old) {
            (None, None) => return Ok(Catalogue::default()),
            (why, _) => why.unwrap_or_else(|| "it is gone".into()),
        };
        Ok(Catalogue::instead(old, why))
    }

    /// What is still known when the catalogue is broken.
    fn instead(old: Option<Catalogue>, why: String) -> Catalogue {
        let state = State::Broken {
            why,
            old: old.is_some(),
        };
        let old = old.unwrap_or_default();
        let records = old.records.into_iter();
        Catalogue {
            records: records
                .map(|(id, record)| (id, record.without_proof()))
                .collect(),
            state,
            ..Catalogue::default()
        }
    }

    /// Decodes the bytes of the file; never fails, see [`Catalogue::problem`].
    pub fn decode(bytes: &[u8]) -> Catalogue {
        let broken = |why: String| Catalogue::instead(None, why);
        if bytes.len() as u64 > SIZE_MAX {
            return broken(format!("it has more than {SIZE_MAX} bytes"));
        }
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        match serde_json::from_slice(bytes) {
            Ok(Version { format }) if format > FORMAT => {
                return Catalogue {
                    state: State::Newer(format),
                    ..Catalogue::default()
                };
            }
            Ok(Version { format }) if format < FORMAT => {
                return broken(format!("it has format {format}, expected {FORMAT}"));
            }
            _ => {}
        }
        let stored: Stored = match serde_json::from_slice(bytes) {
            Ok(stored) => stored,
            Err(e) => return broken(e.to_string()),
        };
        let mut read = Catalogue {
            extra: stored.extra,
            ..Catalogue::default()
        };
        for (id, value) in stored.records {
            match Record::deserialize(&value) {
                Ok(record) => read.records.insert(id, record).is_some(),
                Err(_) => read.unread.insert(id, value).is_some(),
            };
        }
        read
    }

    /// There was no file, or it could be read, all or some records of it.
    pub fn is_readable(&self) -> bool {
        self.state == State::Readable
    }

    /// What a person should hear about the file, if anything is wrong with it. What it says counts as nothing.
    pub fn problem(&self) -> Option<String> {
        match &self.state {
            State::Broken { why, old } => Some(format!(
                "{NAME} cannot be read ({why}), so nothing counts as verified and nothing is pruned until `check DIR --full` has proved it again; \
                 {}; what is there of it is kept as {NAME}.broken-TIME",
                match old {
                    true => "pins and what was accepted are as they were before its last change",
                    false => "pins and what was accepted are lost",
                }
            )),
            State::Newer(format) => Some(format!(
                "{NAME} has format {format}, this program reads up to {FORMAT}: nothing counts as verified"
            )),
            State::Readable if !self.unread.is_empty() => Some(format!(
                "{} records of {NAME} cannot be read; these archives count as not verified",
                self.unread.len()
            )),
            State::Readable => None,
        }
    }

    /// What is known of an archive; nothing says that it is not verified.
    pub fn get(&self, id: &str) -> Option<&Record> {
        self.records.get(id)
    }

    /// The record of an archive, to write to. One that could not be read is replaced.
    pub fn entry(&mut self, id: &str) -> &mut Record {
        self.unread.remove(id);
        self.records.entry(id.to_owned()).or_default()
    }

    /// A backup was made, and proved by reading it back; `suspicious` is what is odd about it.
    pub fn made(
        &mut self,
        (id, file): (&str, &str),
        vitals: Vitals,
        at: Timestamp,
        suspicious: Vec<String>,
    ) {
        let last = self
            .records
            .values()
            .filter_map(|record| record.order)
            .max();
        let record = self.entry(id);
        record.order = Some(last.map_or(1, |last| last.saturating_add(1)));
        record.file = Some(file.into());
        record.vitals = Some(vitals);
        record.suspicious = suspicious;
        record.found_good(at, How::Backup);
    }

    /// What the backup that was made last looked like, whatever has become of it since.
    pub fn last_vitals(&self) -> Option<&Vitals> {
        let made = self
            .records
            .values()
            .filter(|record| record.order.is_some());
        made.max_by_key(|record| record.order)?.vitals.as_ref()
    }

    /// The archive whose name this was when it was last seen.
    pub fn named(&self, file: &str) -> Option<&str> {
        let mut records = self.records.iter();
        let (id, _) = records.find(|(_, record)| record.file.as_deref() == Some(file))?;
        Some(id)
    }

    /// Archives that should be there and are not among `present`: proved or pinned, and not removed by us.
    pub fn absent<'c>(
        &'c self,
        present: &'c BTreeSet<String>,
    ) -> impl Iterator<Item = (&'c str, &'c Record)> {
        let records = self.records.iter();
        let wanted = |record: &Record| record.verified.is_some() || record.pinned.is_some();
        records
            .filter(move |(id, record)| {
                wanted(record) && record.removed.is_none() && !present.contains(*id)
            })
            .map(|(id, record)| (id.as_str(), record))
    }

    /// The archive is gone for good.
    pub fn forget(&mut self, id: &str) {
        self.records.remove(id);
        self.unread.remove(id);
    }

    /// Forgets archives that are not there and were last proved three months ago or earlier. Pinned ones stay.
    pub fn tidy(&mut self, present: &BTreeSet<String>, now: Timestamp) {
        self.records.retain(|id, record| {
            let looked = record.verified.as_ref().map(|verified| verified.at);
            let looked = looked.max(record.damaged.as_ref().map(|damaged| damaged.at));
            let recent = looked.is_some_and(|at| now.duration_since(at) < OUTLIVES);
            present.contains(id) || record.pinned.is_some() || recent
        });
    }

    /// `Error::refused` if what is in `dir` is of a newer format: for work that would be in vain without a record.
    pub fn can_be_written(&self, dir: &Path) -> Result<()> {
        match self.state {
            State::Newer(format) => Err(Error::refused(format!(
                "{} has format {format}, this program writes {FORMAT}",
                dir.join(NAME).display()
            ))
            .hint("use the newer etcd-rescue that wrote it")),
            _ => Ok(()),
        }
    }

    /// Writes it into the directory that `lock` holds, synced. A broken one is first given the name `NAME.broken-TIME`,
    /// which is returned. `Error::refused` if what is there is of a newer format.
    pub fn save(&mut self, lock: &DirLock, now: Timestamp) -> Result<Option<PathBuf>> {
        self.can_be_written(lock.dir())?;
        let path = lock.dir().join(NAME);
        let aside = match self.state {
            State::Broken { .. } if path.symlink_metadata().is_ok() => {
                Some(move_aside(&path, now)?)
            }
            State::Broken { .. } => None,
            State::Readable | State::Newer(_) => keep_old(lock.dir()).map(|()| None)?,
        };
        // From here on the broken one is out of the way, even if the rest fails.
        self.state = State::Readable;
        let bytes = self.encode()?;
        let mut file = StagedFile::create(&path, true)?;
        file.write_all(&bytes).map_err(|e| file.write_error(e))?;
        file.commit()?;
        Ok(aside)
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let failed = |e| Error::failed("cannot encode the catalogue").because(e);
        let mut records = self.unread.clone();
        for (id, record) in &self.records {
            records.insert(id.clone(), serde_json::to_value(record).map_err(failed)?);
        }
        let stored = Stored {
            format: FORMAT,
            records,
            extra: self.extra.clone(),
        };
        let mut bytes = serde_json::to_vec_pretty(&stored).map_err(failed)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// The bytes of a catalogue, if there is one.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", path, e)),
    };
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read", path, e))?;
    Ok(Some(bytes))
}

/// What is about to be replaced gets a second name, under which it stays.
fn keep_old(dir: &Path) -> Result<()> {
    let (path, old) = (dir.join(NAME), dir.join(OLD));
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    match std::fs::remove_file(&old) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("replace", &old, e)),
        _ => {}
    }
    if std::fs::hard_link(&path, &old).is_ok() {
        return Ok(());
    }
    // A file system without links.
    let bytes = read(&path)?.unwrap_or_default();
    let mut file = StagedFile::create(&old, true)?;
    file.write_all(&bytes).map_err(|e| file.write_error(e))?;
    file.commit()
}

/// Gives the file a name that nothing has yet.
fn move_aside(path: &Path, now: Timestamp) -> Result<PathBuf> {
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut last = None;
    for nth in 0..100_u32 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".broken-{stamp}"));
        if nth > 0 {
            name.push(format!("-{nth}"));
        }
        let aside = PathBuf::from(name);
        match staged::move_to_free_name(path, &aside) {
            Ok(()) => return Ok(aside),
            Err(e) if aside.symlink_metadata().is_ok() => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| Error::failed(format!("cannot move {} aside", path.display()))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::super::lock::{Attempt, Holder};
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T05:00:00Z".parse().unwrap()
    }

    fn vitals(revision: i64) -> Vitals {
        Vitals {
            cluster_id: Some("c".into()),
            revision,
            live_keys: 7,
        }
    }

    fn lock(dir: &Path) -> DirLock {
        let me = Holder::this_process("test", now());
        match DirLock::attempt(dir, &me).unwrap() {
            Attempt::Locked(lock) => lock,
            Attempt::HeldBy(holder) => panic!("held by {holder:?}"),
        }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock(dir.path());
        let mut catalogue = Catalogue::load(dir.path()).unwrap();
        assert_eq!(catalogue, Catalogue::default());
        catalogue.made(("a", "a.db.zst"), vitals(5), now(), Vec::new());
        catalogue.entry("a").pin(now());
        catalogue.made(("b", "b.db.zst"), vitals(9), now(), vec!["no keys".into()]);
        assert_eq!(catalogue.get("b").unwrap().order, Some(2));
        catalogue.entry("b").found_damaged(now(), "frame 3");
        assert_eq!(catalogue.save(&lock, now()).unwrap(), None);
        let loaded = Catalogue::load(dir.path()).unwrap();
        assert_eq!(loaded, catalogue);
        assert_eq!(loaded.last_vitals(), Some(&vitals(9)));
        assert_eq!(loaded.named("a.db.zst"), Some("a"));
        let present = BTreeSet::from(["b".to_owned()]);
        let absent: Vec<_> = loaded.absent(&present).map(|(id, _)| id).collect();
        assert_eq!(absent, ["a"]);
        assert_eq!(loaded.problem(), None);
        let mode = dir
            .path()
            .join(NAME)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
        let mut record = loaded.get("b").unwrap().clone();
        assert!(record.is_suspicious());
        record.unpin(now());
        record.found_good(now(), How::Check);
        assert!(!record.is_suspicious() && record.damaged.is_none());
    }

    #[test]
    fn what_other_versions_say_is_kept() {
        let text = serde_json::json!({
            "format": 1, "novel": [1],
            "records": {
                "a": {"verified": {"at": "2026-11-23T05:00:00Z", "how": "prayer", "by": 7}, "colour": "red"},
                "b": {"verified": "yes"},
            },
        });
        let read = Catalogue::decode(text.to_string().as_bytes());
        assert!(read.problem().unwrap().starts_with("1 records"));
        assert_eq!(read.get("b"), None);
        let how = &read.get("a").unwrap().verified.as_ref().unwrap().how;
        assert_eq!(how, &How::Other("prayer".into()));
        let written: Value = serde_json::from_slice(&read.encode().unwrap()).unwrap();
        assert_eq!(written, text);
    }

    #[test]
    fn a_broken_one_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock(dir.path());
        let path = dir.path().join(NAME);
        let whole = Catalogue::default().encode().unwrap();
        for cut in 0..whole.len() - 2 {
            let read = Catalogue::decode(&whole[..cut]);
            assert!(read.problem().is_some(), "cut at {cut}");
        }
        for (nth, broken) in [&b""[..], b"{}", b"[1]", b"{\"format\":0,\"records\":{}}"]
            .into_iter()
            .enumerate()
        {
            std::fs::write(&path, broken).unwrap();
            let mut catalogue = Catalogue::load(dir.path()).unwrap();
            assert!(catalogue.problem().unwrap().contains("cannot be read"));
            catalogue.entry("a").pin(now());
            let aside = catalogue.save(&lock, now()).unwrap().unwrap();
            assert_eq!(std::fs::read(&aside).unwrap(), broken);
            assert_eq!(aside.to_str().unwrap().ends_with("Z"), nth == 0);
            assert_eq!(catalogue.problem(), None);
            assert_eq!(catalogue.save(&lock, now()).unwrap(), None);
        }
    }

    #[test]
    fn what_persons_said_survives_the_loss_of_the_catalogue_and_proofs_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock(dir.path());
        let path = dir.path().join(NAME);
        let mut catalogue = Catalogue::default();
        catalogue.made(("a", "a.db.zst"), vitals(5), now(), vec!["odd".into()]);
        catalogue.entry("a").pin(now());
        catalogue.save(&lock, now()).unwrap();
        catalogue.made(("b", "b.db.zst"), vitals(9), now(), Vec::new());
        catalogue.save(&lock, now()).unwrap();
        for lost in [None, Some(&b"{"[..])] {
            match lost {
                None => std::fs::remove_file(&path).unwrap(),
                Some(broken) => std::fs::write(&path, broken).unwrap(),
            }
            let mut read = Catalogue::load(dir.path()).unwrap();
            let problem = read.problem().unwrap();
            assert!(problem.contains("as they were before"), "{problem}");
            let record = read.get("a").unwrap().clone();
            assert!(record.pinned.is_some() && record.is_suspicious());
            assert_eq!((record.verified, read.get("b")), (None, None));
            assert_eq!(read.last_vitals(), Some(&vitals(5)));
            let aside = read.save(&lock, now()).unwrap();
            assert_eq!(aside.is_some(), lost.is_some());
            assert!(Catalogue::load(dir.path()).unwrap().is_readable());
            read.save(&lock, now()).unwrap();
        }
        // Both are lost.
        std::fs::write(&path, "{").unwrap();
        std::fs::write(dir.path().join(OLD), "{").unwrap();
        let read = Catalogue::load(dir.path()).unwrap();
        assert!(read.problem().unwrap().contains("are lost"));
        assert_eq!(read.get("a"), None);
    }

    #[test]
    fn a_newer_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let newer = br#"{"format":2,"everything":"else"}"#;
        std::fs::write(dir.path().join(NAME), newer).unwrap();
        let mut catalogue = Catalogue::load(dir.path()).unwrap();
        assert!(catalogue.problem().unwrap().contains("format 2"));
        let error = catalogue.save(&lock(dir.path()), now()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert_eq!(std::fs::read(dir.path().join(NAME)).unwrap(), newer);
    }

    #[test]
    fn what_is_no_file_is_an_error_and_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(NAME)).unwrap();
        assert!(Catalogue::load(dir.path()).is_err());
    }

    #[test]
    fn records_outlive_their_archives_for_a_while() {
        let mut catalogue = Catalogue::default();
        let long_ago = now() - SignedDuration::from_hours(91 * 24);
        catalogue.entry("there").found_good(long_ago, How::Backup);
        catalogue.entry("gone").found_good(long_ago, How::Backup);
        catalogue.entry("away").found_good(now(), How::Backup);
        catalogue.entry("pinned").pin(long_ago);
        catalogue.tidy(&BTreeSet::from(["there".to_owned()]), now());
        let left: Vec<_> = catalogue.records.keys().collect();
        assert_eq!(left, ["away", "pinned", "there"]);
        catalogue.forget("away");
        assert_eq!(catalogue.get("away"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Catalogue::decode(&bytes).problem();
        }

        #[test]
        fn damaged_text_never_proves_what_was_not(at in 0_usize..10_000, byte in any::<u8>()) {
            let mut catalogue = Catalogue::default();
            catalogue.entry("aaaa").found_good(now(), How::Backup);
            catalogue.entry("bbbb").found_damaged(now(), "x");
            let mut bytes = catalogue.encode().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let read = Catalogue::decode(&bytes);
            let verified = read.records.iter().filter(|(_, record)| record.verified.is_some());
            prop_assert!(verified.count() <= 1);
            prop_assert!(read.get("bbbb").is_none_or(|record| record.verified.is_none()));
        }
    }
}
