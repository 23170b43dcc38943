//! Where a run that will be disturbed does its work, and what must be found there afterwards.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::util::etcd::Etcd;
use crate::util::run::{Rescue, rescue};
use crate::util::strace::{self, CHANGING};
use crate::util::temp_dir;
use crate::util::tree::{Tree, names};

/// The ways to restore that change different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into a data dir that does not exist yet.
    Fresh,
    /// Into one with other things in it, and an old member/ that has to go aside.
    Aside,
    /// The WAL in a directory of its own.
    WalDir,
    /// The same, and it is there, and empty.
    WalDirVacant,
    /// Both have to go aside.
    WalDirAside,
}

pub const WAYS: [Way; 5] = [
    Way::Fresh,
    Way::Aside,
    Way::WalDir,
    Way::WalDirVacant,
    Way::WalDirAside,
];

/// Things that look like ours and are not.
const FOREIGN: [&str; 4] = [
    ".member.partial-notes",
    ".member.partial-1-01234567.d",
    ".other.partial-1-01234567",
    ".member.partial-",
];

/// What is under the names that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The old one, or none.
    Before,
    /// The new one, whole.
    Done,
}

/// For restores.
pub struct Site {
    pub dir: TempDir,
    pub way: Way,
    snapshot: PathBuf,
    /// What was there before.
    old_member: Option<Tree>,
    old_wal: Option<Tree>,
    /// What a restore makes that nobody disturbs.
    new_member: Tree,
    new_wal: Option<Tree>,
}

impl Site {
    #[track_caller]
    pub fn new(way: Way, snapshot: &Path) -> Site {
        Site::at(temp_dir(), way, snapshot)
    }

    #[track_caller]
    pub fn at(dir: TempDir, way: Way, snapshot: &Path) -> Site {
        let mut site = Site {
            new_member: Tree::of(dir.path()),
            dir,
            way,
            snapshot: snapshot.to_owned(),
            old_member: None,
            old_wal: None,
            new_wal: None,
        };
        site.prepare();
        site.old_member = site.has_old().then(|| Tree::of(&site.member()));
        site.old_wal = site.wal().exists().then(|| Tree::of(&site.wal()));
        site.restore().run().ok();
        site.new_member = Tree::timeless(&site.member());
        site.new_wal = site.has_wal_dir().then(|| Tree::timeless(&site.wal()));
        let db = site.member().join("snap/db");
        let verify = rescue(["verify", "--raw", db.to_str().unwrap()]);
        verify.ok().stdout_has("GOOD");
        site.reset();
        site
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn member(&self) -> PathBuf {
        self.data().join("member")
    }

    pub fn wal(&self) -> PathBuf {
        self.dir.path().join("elsewhere/wal")
    }

    pub fn has_wal_dir(&self) -> bool {
        matches!(self.way, Way::WalDir | Way::WalDirVacant | Way::WalDirAside)
    }

    pub fn has_old(&self) -> bool {
        matches!(self.way, Way::Aside | Way::WalDirAside)
    }

    /// The run that is to be disturbed.
    pub fn restore(&self) -> Rescue {
        let mut run = Rescue::new(["restore"]).arg(&self.snapshot);
        run = run.arg("--data-dir").arg(self.data());
        // Without it there is something to be said of every restore.
        run = run.args(["--initial-cluster", "default=http://10.0.0.1:2380"]);
        if self.has_wal_dir() {
            run = run.arg("--wal-dir").arg(self.wal());
        }
        match self.has_old() {
            true => run.arg("--move-aside"),
            false => run,
        }
    }

    /// Everything away, and as it was before.
    pub fn reset(&self) {
        for name in names(self.dir.path()) {
            std::fs::remove_dir_all(self.dir.path().join(name)).unwrap();
        }
        self.prepare();
    }

    fn prepare(&self) {
        if self.way == Way::Fresh {
            return;
        }
        std::fs::create_dir(self.data()).unwrap();
        for (number, name) in FOREIGN.into_iter().enumerate() {
            let path = self.data().join(name);
            match number % 2 {
                0 => std::fs::write(path, name).unwrap(),
                _ => std::fs::create_dir(path).unwrap(),
            }
        }
        if self.has_wal_dir() {
            std::fs::create_dir(self.dir.path().join("elsewhere")).unwrap();
        }
        if self.has_old() {
            std::fs::create_dir_all(self.member().join("snap")).unwrap();
            write_old(&self.member().join("snap/db"), "the only copy");
        }
        if matches!(self.way, Way::WalDirVacant | Way::WalDirAside) {
            std::fs::create_dir(self.wal()).unwrap();
        }
        if self.way == Way::WalDirAside {
            write_old(&self.wal().join("0.wal"), "the only log");
        }
    }

    /// Old and new are where they may be, whole.
    #[track_caller]
    pub fn check(&self, when: &str) -> State {
        let member = self.member();
        let mut state = State::Before;
        if member.exists() && !is(&member, self.old_member.as_ref()) {
            let what = format!("{} is not whole: the run {when}", member.display());
            self.new_member
                .assert_unchanged(&Tree::timeless(&member), &what);
            state = State::Done;
        }
        if let Some(new_wal) = &self.new_wal {
            let wal = self.wal();
            let must_be_new = state == State::Done || wal.exists();
            if must_be_new && !(state == State::Before && is(&wal, self.old_wal.as_ref())) {
                let what = format!("{} is not whole: the run {when}", wal.display());
                new_wal.assert_unchanged(&Tree::timeless(&wal), &what);
            }
        }
        self.assert_kept(&member, self.old_member.as_ref(), when);
        // An empty directory is no loss.
        if self.way == Way::WalDirAside {
            self.assert_kept(&self.wal(), self.old_wal.as_ref(), when);
        }
        if self.way != Way::Fresh {
            let there = names(&self.data());
            let all = FOREIGN
                .iter()
                .all(|name| there.contains(&(*name).to_owned()));
            assert!(all, "{FOREIGN:?} do not all exist {when}: {there:?}");
        }
        state
    }

    /// Under its own name, or under one that says that it was moved.
    #[track_caller]
    fn assert_kept(&self, path: &Path, old: Option<&Tree>, when: &str) {
        if old.is_none() {
            return;
        }
        let dir = path.parent().unwrap();
        let moved = format!("{}.before-", path.file_name().unwrap().to_str().unwrap());
        let mut places = names(dir);
        places.retain(|name| name.starts_with(&moved) || dir.join(name) == path);
        places.retain(|name| is(&dir.join(name), old));
        assert_eq!(places.len(), 1, "old {} {when}: {places:?}", path.display());
    }

    /// Something was moved aside.
    pub fn has_moved(&self) -> bool {
        self.moved() > 0
    }

    /// How many things were moved aside.
    pub fn moved(&self) -> usize {
        let moved = |name: &String| name.contains(".before-");
        let names = self.dirs().into_iter().flat_map(|dir| names(&dir));
        names.filter(moved).count()
    }

    /// Names that a run made and that are no result.
    pub fn leftovers(&self) -> Vec<String> {
        let ours = |name: &String| name.starts_with('.') && !FOREIGN.contains(&name.as_str());
        let dirs = self.dirs();
        dirs.iter()
            .flat_map(|dir| names(dir))
            .filter(ours)
            .collect()
    }

    fn dirs(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.data(), self.dir.path().join("elsewhere")];
        dirs.retain(|dir| dir.is_dir());
        dirs
    }
}

/// What makes one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    Save,
    SaveArchive,
    Pack,
    Unpack,
}

/// For saves, and for all that makes one file as they do.
pub struct SaveSite<'s> {
    server: &'s Etcd,
    pub making: Making,
    /// What is packed or unpacked.
    input: TempDir,
    pub dir: TempDir,
    /// OUT exists and is to be replaced.
    pub force: bool,
    /// Injected into every run: the file system has no unnamed files.
    pub always: Vec<String>,
}

impl<'s> SaveSite<'s> {
    #[track_caller]
    pub fn new(server: &'s Etcd, force: bool, named: bool) -> SaveSite<'s> {
        SaveSite::making(Making::Save, server, force, named)
    }

    /// One of each kind.
    #[track_caller]
    pub fn all(server: &'s Etcd) -> impl Iterator<Item = SaveSite<'s>> {
        let plain =
            [(true, false), (false, true)].map(|(force, named)| (Making::Save, force, named));
        let each = [
            Making::Save,
            Making::SaveArchive,
            Making::Pack,
            Making::Unpack,
        ];
        let both = each
            .into_iter()
            .flat_map(|making| [(making, false, false), (making, true, true)]);
        let rows = both.chain(plain);
        rows.map(|(making, force, named)| SaveSite::making(making, server, force, named))
    }

    #[track_caller]
    pub fn making(making: Making, server: &'s Etcd, force: bool, named: bool) -> SaveSite<'s> {
        let input = temp_dir();
        if making == Making::Unpack {
            let archive = input.path().join("in.zst");
            Rescue::new(["pack", super::SNAPSHOT])
                .arg(archive)
                .run()
                .ok();
        }
        let mut site = SaveSite {
            server,
            making,
            input,
            dir: temp_dir(),
            force,
            always: Vec::new(),
        };
        site.reset();
        if named {
            let (output, calls) = strace::trace(&site.save(), CHANGING, &site.always);
            output.ok();
            let unnamed = calls.iter().find(|call| call.args.contains("O_TMPFILE"));
            let unnamed = unnamed.expect("a try to open an unnamed file");
            site.always.push(unnamed.inject("error=EOPNOTSUPP"));
            site.reset();
        }
        site
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join(self.name())
    }

    /// That of the archive decides what `save` makes.
    fn name(&self) -> &'static str {
        match self.making {
            Making::SaveArchive => "out.db.zst",
            _ => "out.db",
        }
    }

    pub fn save(&self) -> Rescue {
        let run = match self.making {
            Making::Save | Making::SaveArchive => {
                Rescue::new(["save", "--endpoints", &self.server.url()])
            }
            Making::Pack => Rescue::new(["pack", super::SNAPSHOT]),
            Making::Unpack => Rescue::new(["unpack"]).arg(self.input.path().join("in.zst")),
        };
        let run = run.arg(self.out());
        match self.force {
            true => run.arg("--force"),
            false => run,
        }
    }

    /// What is not whole yet has a name.
    pub fn named(&self) -> bool {
        !self.always.is_empty()
    }

    /// With what is injected always, and more.
    pub fn injections(&self, more: String) -> Vec<String> {
        self.always.iter().cloned().chain([more]).collect()
    }

    pub fn reset(&self) {
        for name in names(self.dir.path()) {
            std::fs::remove_file(self.dir.path().join(name)).unwrap();
        }
        for name in FOREIGN_TO_SAVE {
            std::fs::write(self.dir.path().join(name), name).unwrap();
        }
        if self.force {
            std::fs::write(self.out(), "old").unwrap();
        }
    }

    /// OUT is what it was or a good snapshot.
    #[track_caller]
    pub fn check(&self, when: &str) -> State {
        let there = names(self.dir.path());
        for name in FOREIGN_TO_SAVE {
            assert!(there.contains(&name.to_owned()), "{name} {when}: {there:?}");
        }
        match std::fs::read(self.out()) {
            Err(_) if !self.force => State::Before,
            Err(_) => panic!("the old file is lost {when}: {there:?}"),
            Ok(old) if self.force && old == b"old" => State::Before,
            Ok(_) => {
                let verify = rescue(["verify", self.out().to_str().unwrap()]);
                verify.expect(true, when).ok().stdout_has("GOOD");
                State::Done
            }
        }
    }

    pub fn leftovers(&self) -> Vec<String> {
        let mut names = names(self.dir.path());
        names.retain(|name| name != self.name() && !FOREIGN_TO_SAVE.contains(&name.as_str()));
        names
    }
}

/// Things that look like ours and are not.
const FOREIGN_TO_SAVE: [&str; 3] = [
    ".other.db.partial-1-01234567",
    ".out.db.partial-1-01234567.gz",
    ".out.db.partial-of-mine",
];

/// A file with the same time each time it is written.
fn write_old(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    file.set_modified(time).unwrap();
}

fn is(path: &Path, tree: Option<&Tree>) -> bool {
    path.exists() && tree.is_some_and(|tree| Tree::of(path) == *tree)
}
