//! What is found in a directory, and what is removed from it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use etcd_rescue::archive::manifest::{Etcd, Frames, Made, Snapshot, Source};
use etcd_rescue::archive::{self, Manifest, Options, Writer};
use etcd_rescue::catalogue::compare::Vitals;
use etcd_rescue::catalogue::entry::{self, Freshness};
use etcd_rescue::catalogue::keep::{self, Count, Policy};
use etcd_rescue::catalogue::lock::{Attempt, DirLock, Holder};
use etcd_rescue::catalogue::records::{Catalogue, How};
use etcd_rescue::catalogue::scan::{self, Scan, Strange};
use etcd_rescue::error::Kind;
use etcd_rescue::limits::Limits;
use jiff::{SignedDuration, Timestamp};

use crate::util::temp_dir;

/// An archive of `revision`, made at that second after midnight.
fn archive(by: &str, revision: i64) -> Vec<u8> {
    let options = Options {
        piece: 1 << 16,
        level: 1,
        threads: 0,
    };
    let mut writer = Writer::new(Vec::new(), options).unwrap();
    let plain: Vec<u8> = (0..200_000_i64)
        .map(|n| ((n * n / 7 * revision) >> 3) as u8)
        .collect();
    writer.write_all(&plain).unwrap();
    let (mut bytes, written) = writer.finish_frames().unwrap();
    let manifest = manifest(by, revision, written.size, written.frames);
    bytes.extend(archive::tail(&manifest).unwrap());
    bytes
}

fn manifest(by: &str, revision: i64, size: u64, frames: Frames) -> Manifest {
    let made = Made {
        by: by.into(),
        tool: "etcd-rescue 0.2.0".into(),
        at: at(revision).to_string(),
        ..Made::default()
    };
    let snapshot = Snapshot {
        size,
        page_size: 4096,
        ..Snapshot::default()
    };
    let etcd = Etcd {
        revision,
        live_keys: 5,
        ..Etcd::default()
    };
    let mut manifest = Manifest::new(made, snapshot, etcd, frames);
    manifest.source = Some(Source {
        cluster_id: "cdf818194e3a8c32".into(),
        ..Source::default()
    });
    manifest
}

fn at(revision: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + revision).unwrap()
}

fn lock(dir: &Path) -> DirLock {
    match DirLock::attempt(dir, &Holder::this_process("test", at(0))).unwrap() {
        Attempt::Locked(lock) => lock,
        Attempt::HeldBy(holder) => panic!("held by {holder:?}"),
    }
}

fn scanned(dir: &Path) -> Scan {
    scan::scan(dir, &Limits::default()).unwrap()
}

fn names<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.into_iter().map(name).collect()
}

#[test]
fn names_mean_nothing_and_ends_everything() {
    let dir = temp_dir();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let whole = archive("backup", 7);
    put("etcd-rev7.db.zst", &archive("backup", 8));
    put("renamed to anything", &whole);
    put("a copy.db.zst", &whole);
    put("saved.db.zst", &archive("save", 6));
    // A hundred bytes are missing in the middle; the end is there.
    put(
        "shorter.db.zst",
        &[&archive("backup", 5)[..900], &archive("backup", 5)[1_000..]].concat(),
    );
    put("cut.db.zst", &whole[..whole.len() / 2]);
    put("empty.db.zst", b"");
    put("text.zst", b"hello, this is not zstd");
    put("plain.db", &[0; 8192]);
    put("README.md", b"keep out");
    put(".etcd-rescue-catalogue.json", b"{}");
    put(".etcd-rescue-catalogue.json.broken-20260101T000000Z", b"{");
    put(".etcd.db.zst.partial-12-0123abcd", &whole);
    put(".mine.db.zst.partial-old", &whole);
    std::fs::create_dir(dir.path().join("dir.zst")).unwrap();
    std::os::unix::fs::symlink("a copy.db.zst", dir.path().join("link.db.zst")).unwrap();
    let _lock = lock(dir.path());

    let found = scanned(dir.path());
    let backups: Vec<(i64, String)> = found
        .backups
        .iter()
        .map(|backup| (backup.manifest.etcd.revision, backup.file_name()))
        .collect();
    let expected = [
        (8, "etcd-rev7.db.zst"),
        (7, ".mine.db.zst.partial-old"),
        (6, "saved.db.zst"),
        (5, "shorter.db.zst"),
    ];
    assert_eq!(
        backups,
        expected.map(|(revision, name)| (revision, name.to_owned()))
    );
    assert_eq!(
        names(&found.backups[1].copies),
        ["a copy.db.zst", "renamed to anything"]
    );
    let flaws: Vec<bool> = found
        .backups
        .iter()
        .map(|backup| backup.flaw.is_some())
        .collect();
    assert_eq!(flaws, [false, false, false, true]);
    assert_eq!(names(&found.partials), [".etcd.db.zst.partial-12-0123abcd"]);
    let strangers: Vec<(String, &str)> = found
        .strangers
        .iter()
        .map(|stranger| (names([&stranger.path]).remove(0), stranger.why.as_str()))
        .collect();
    let expected = [
        ("cut.db.zst", "no manifest"),
        ("dir.zst", "no file"),
        ("empty.db.zst", "empty"),
        ("link.db.zst", "a symbolic link"),
        ("plain.db", "not an archive"),
        ("text.zst", "not an archive"),
    ];
    assert_eq!(strangers.len(), expected.len(), "{strangers:?}");
    for ((name, why), (expected_name, expected_why)) in strangers.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(why.contains(expected_why), "{name}: {why}");
    }
}

/// Of two files of one backup the whole one stands for it, whatever their names.
#[test]
fn a_copy_that_is_whole_stands_for_one_that_is_not() {
    let dir = temp_dir();
    let whole = archive("backup", 5);
    let broken = [&whole[..900], &whole[1_000..]].concat();
    for (name, bytes) in [("a.zst", &broken), ("b.zst", &whole), ("c.zst", &broken)] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let found = scanned(dir.path());
    let [backup] = &found.backups[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (backup.file_name(), &backup.flaw, backup.bytes),
        ("b.zst".into(), &None, whole.len() as u64)
    );
    assert_eq!(names(&backup.copies), ["a.zst", "c.zst"]);
}

/// This program cannot read it, and that says nothing of the disk.
#[test]
fn what_a_newer_program_made_is_no_damage() {
    let dir = temp_dir();
    let mut writer = Writer::new(Vec::new(), Options::default()).unwrap();
    writer.write_all(&[7; 9_000]).unwrap();
    let (mut bytes, written) = writer.finish_frames().unwrap();
    let mut manifest = manifest("backup", 5, written.size, written.frames);
    manifest.format += 1;
    bytes.extend(archive::tail(&manifest).unwrap());
    let name = "etcd-20260921T000005Z-rev5.db.zst";
    std::fs::write(dir.path().join(name), bytes).unwrap();
    let found = scanned(dir.path());
    let [stranger] = &found.strangers[..] else {
        panic!("{found:?}");
    };
    assert_eq!(stranger.kind, Strange::Unread);
    let mut catalogue = Catalogue::default();
    catalogue.entry("aa").file = Some(name.to_owned());
    catalogue.entry("aa").pin(at(1));
    assert_eq!(entry::unsound(&found, &catalogue), None);
    assert_eq!(entry::missing_pins(&found, &catalogue), None);
    let told = entry::unread(&found, &catalogue).unwrap();
    assert!(told.contains("this program reads up to"), "{told}");
    assert_eq!(entry::totals(&[], &found, &catalogue).damaged, 0);
}

/// People copy archives under names that look like ours; the one that goes is the one that was made.
#[test]
fn of_copies_that_look_like_backups_the_one_that_was_made_is_ours() {
    let dir = temp_dir();
    let whole = archive("backup", 5);
    let copies = ["a", "b", "c"].map(|name| format!("{name}-20260921T000005Z-rev5.db.zst"));
    for name in &copies {
        std::fs::write(dir.path().join(name), &whole).unwrap();
    }
    let found = scanned(dir.path());
    let backup = &found.backups[0];
    for made in &copies {
        let mut catalogue = Catalogue::default();
        let vitals = Vitals::of(&backup.manifest);
        catalogue.made((&backup.id, made), vitals, at(100), Vec::new());
        let entries = entry::entries(&found, &catalogue);
        assert_eq!(entries[0].own_path(), Some(&*dir.path().join(made)));
        let totals = entry::totals(&entries, &found, &catalogue);
        assert_eq!((totals.verified, totals.bytes), (1, 3 * whole.len() as u64));
    }
}

#[test]
fn what_is_known_goes_by_the_id_and_not_by_the_name() {
    let dir = temp_dir();
    for revision in 1..=3 {
        let path = dir.path().join(format!("{revision}.db.zst"));
        std::fs::write(path, archive("backup", revision)).unwrap();
    }
    let mut catalogue = Catalogue::default();
    let found = scanned(dir.path());
    for backup in &found.backups {
        let named = (backup.id.as_str(), &*backup.file_name());
        catalogue.made(named, Vitals::of(&backup.manifest), at(100), Vec::new());
    }
    catalogue
        .entry(&found.backups[0].id)
        .found_damaged(at(101), "frame 0");
    std::fs::rename(dir.path().join("2.db.zst"), dir.path().join("x")).unwrap();
    let found = scanned(dir.path());
    let entries = entry::entries(&found, &catalogue);
    let last = entry::last_verified(&entries, at(200)).unwrap();
    assert_eq!(last.backup.file_name(), "x");
    let report = last.report().unwrap();
    assert_eq!(
        (report.revision, report.cluster_id.as_deref()),
        (2, Some("cdf818194e3a8c32"))
    );
    assert_eq!(entries[0].report(), None);
    let totals = entry::totals(&entries, &found, &catalogue);
    assert_eq!(
        (totals.verified, totals.damaged, totals.unverified),
        (2, 1, 0)
    );
    let bytes: u64 = found.backups.iter().map(|backup| backup.bytes).sum();
    assert_eq!(totals.bytes, bytes);
}

#[test]
fn age_is_that_of_the_newest_proved_one() {
    let dir = temp_dir();
    for revision in 1..=3 {
        let path = dir.path().join(format!("{revision}.db.zst"));
        std::fs::write(path, archive("backup", revision)).unwrap();
    }
    let found = scanned(dir.path());
    let mut catalogue = Catalogue::default();
    let fresh = |catalogue: &Catalogue, now: i64, max_age: i64| {
        let max_age = SignedDuration::from_secs(max_age);
        entry::freshness(&entry::entries(&found, catalogue), max_age, at(now))
    };
    let secs = SignedDuration::from_secs;
    assert_eq!(fresh(&catalogue, 10, 99), Freshness::Missing);
    // Made in the order 3, 1, 2: the clock was set back.
    for revision in [3, 1, 2] {
        let mut backups = found.backups.iter();
        let made = backups.find(|backup| backup.manifest.etcd.revision == revision);
        let made = made.unwrap();
        let named = (made.id.as_str(), &*made.file_name());
        catalogue.made(named, Vitals::of(&made.manifest), at(0), Vec::new());
    }
    assert_eq!(fresh(&catalogue, 10, 7), Freshness::Fresh(secs(7)));
    assert_eq!(fresh(&catalogue, 10, 6), Freshness::TooOld(secs(7)));
    assert_eq!(fresh(&catalogue, 2, 6), Freshness::Fresh(secs(0)));
    assert_eq!(fresh(&catalogue, 0, 6), Freshness::Future);
    let entries = entry::entries(&found, &catalogue);
    let revision = |entry: Option<&entry::Entry>| entry.unwrap().backup.manifest.etcd.revision;
    assert_eq!(revision(entry::previous(&entries, at(10))), 2);
    assert_eq!(revision(entry::last_verified(&entries, at(10))), 3);
    catalogue
        .entry(&found.backups[0].id)
        .found_damaged(at(11), "frame 0");
    assert_eq!(fresh(&catalogue, 10, 6), Freshness::TooOld(secs(8)));
}

#[test]
fn only_what_was_looked_at_is_removed() {
    let dir = temp_dir();
    let lock = lock(dir.path());
    let limits = Limits::default();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    put("saved.db.zst", &archive("save", 1));
    put("old.db.zst", &archive("backup", 2));
    put("copy.db.zst", &archive("backup", 2));
    put("exchanged.db.zst", &archive("backup", 3));
    put("gone.db.zst", &archive("backup", 4));
    let found = scanned(dir.path());
    let of = |revision: i64| {
        let mut backups = found.backups.iter();
        backups
            .find(|backup| backup.manifest.etcd.revision == revision)
            .unwrap()
    };
    put("exchanged.db.zst", &archive("backup", 5));
    std::fs::remove_file(dir.path().join("gone.db.zst")).unwrap();
    let remove = |backup: &scan::Backup| scan::remove(&lock, backup, &backup.path, &limits);
    for refused in [1, 3] {
        let error = remove(of(refused)).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
    remove(of(2)).unwrap();
    remove(of(4)).unwrap();
    let left = scanned(dir.path());
    let left: Vec<String> = left
        .backups
        .iter()
        .map(|backup| backup.file_name())
        .collect();
    assert_eq!(left, ["exchanged.db.zst", "old.db.zst", "saved.db.zst"]);
    let elsewhere = temp_dir();
    let other = crate::catalogue::scan::lock(elsewhere.path());
    let backup = &scanned(dir.path()).backups[0];
    let error = scan::remove(&other, backup, &backup.path, &limits).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
}

#[test]
fn leftovers_of_our_own_go_and_nothing_else() {
    let dir = temp_dir();
    let lock = lock(dir.path());
    let ours = [
        ".etcd.db.zst.partial-1-0000dead",
        ".a.partial-1-00000000.zst.partial-1-0000dead",
        "..etcd-rescue-catalogue.json.partial-1-0000dead",
    ];
    let others = [
        ".etcd.db.partial-1-0000dead",
        ".etcd.db.zst.partial-1-0000DEAD",
        ".etcd.db.zst.partial-mine",
        ".etcd.db.zst.partial-2-0000beef",
        "etcd.db.zst.part",
        ".etcd.db.zst.partial-1-0000dea",
        ".etcd.db.zst.partial-1-0000deaf0",
    ];
    for name in ours.iter().chain(&others) {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    // Its process lives.
    let alive = File::open(dir.path().join(others[3])).unwrap();
    alive.lock().unwrap();
    let mut removed = Vec::new();
    scan::remove_stale(&lock, &mut |path, gone| {
        gone.unwrap();
        removed.push(path.to_owned());
    });
    removed.sort();
    let mut expected = ours.map(str::to_owned);
    expected.sort();
    assert_eq!(names(&removed), expected);
    for name in others {
        assert!(dir.path().join(name).exists(), "{name} is gone");
    }
}

/// Half a gigabyte each by their manifests; all of it holes: a frame that was read would be a flaw.
#[test]
fn a_thousand_archives_are_listed_without_reading_them() {
    let dir = temp_dir();
    let piece = 1_u64 << 20;
    let frames = Frames {
        piece,
        level: 1,
        list: vec![(900_000, 7); 512],
        ..Frames::default()
    };
    for revision in 0..1_000 {
        let manifest = manifest("backup", revision, 512 * piece, frames.clone());
        let file = File::create(dir.path().join(format!("{revision}.db.zst"))).unwrap();
        let tail = archive::tail(&manifest).unwrap();
        file.write_all_at(&tail, 900_000 * 512).unwrap();
        // A zstd frame's magic, as a whole file would have it.
        file.write_all_at(&0xfd2f_b528_u32.to_le_bytes(), 0)
            .unwrap();
    }
    let found = scanned(dir.path());
    assert_eq!((found.backups.len(), found.strangers.len()), (1_000, 0));
    assert!(found.backups.iter().all(|backup| backup.flaw.is_none()));
    let now = at(10_000);
    let mut catalogue = Catalogue::default();
    for backup in &found.backups {
        catalogue.entry(&backup.id).found_good(now, How::Check);
    }
    let entries = entry::entries(&found, &catalogue);
    let items: Vec<_> = entries.iter().map(entry::Entry::item).collect();
    let policy = Policy {
        last: Count::Newest(10),
        ..Policy::default()
    };
    assert_eq!(keep::decide(&items, &policy, now).removed().count(), 990);
}
