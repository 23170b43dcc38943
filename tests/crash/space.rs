//! Disks that are full, fill up or cannot be written: refused early where that can be known, and nothing is left.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use super::SNAPSHOT;
use super::kill::server_with;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::mount::Namespace;
use crate::util::process::{Output, freeze};
use crate::util::run::Rescue;
use crate::util::temp_dir;
use crate::util::tools::TIMEOUT;
use crate::util::tree::{Tree, names};

/// A small disk.
struct Disk {
    namespace: Namespace,
    dir: TempDir,
}

impl Disk {
    #[track_caller]
    fn of(size: &str) -> Disk {
        let dir = temp_dir();
        Disk {
            namespace: Namespace::tmpfs(dir.path(), size),
            dir,
        }
    }

    /// As the program sees it.
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As the test sees it.
    fn seen(&self, name: &str) -> PathBuf {
        self.namespace.outside(&self.at(name))
    }

    fn root(&self) -> PathBuf {
        self.namespace.outside(self.dir.path())
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.root()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    fn restore(&self, snapshot: &Path) -> Rescue {
        let run = Rescue::new(["restore", "--move-aside"]).arg(snapshot);
        run.arg("--data-dir").arg(self.at("data"))
    }

    /// A member that must survive.
    fn with_old_member(self) -> Disk {
        std::fs::create_dir_all(self.seen("data/member/snap")).unwrap();
        std::fs::write(self.seen("data/member/snap/db"), "the only copy").unwrap();
        self
    }

    fn save(&self, server: &Etcd) -> Rescue {
        Rescue::new(["save", "--endpoints", &server.url()]).arg(self.at("out.db"))
    }

    /// Takes all room there is.
    #[track_caller]
    fn fill(&self) {
        let mut size = self.free();
        while size >= 4096 {
            let mut options = std::fs::File::options();
            let file = options.create(true).append(true).open(self.seen("filler"));
            let written = std::io::Write::write_all(&mut file.unwrap(), &vec![1; size as usize]);
            size = if written.is_ok() { 0 } else { size / 2 };
        }
        assert!(self.free() < 64 << 10, "{} bytes are free", self.free());
    }
}

/// A disk that was filled while a run stood still that had begun to write to it and had not finished.
#[track_caller]
fn filled_under(prepare: impl Fn() -> Disk, run: impl Fn(&Disk) -> Rescue) -> (Disk, Output) {
    for _ in 0..20 {
        let disk = prepare();
        let free = disk.free();
        let mut running = disk.namespace.spawn(&run(&disk));
        let begun = || disk.free() < free - (1 << 20);
        // The last thing that either of them writes is small.
        if freeze(&mut running, begun) && disk.free() > free - (40 << 20) {
            disk.fill();
            running.send(Signal::CONT);
            return (disk, running.wait(TIMEOUT));
        }
    }
    panic!("every run was too fast to be stopped half way");
}

/// It says how much is needed and how much there is, both in bytes.
#[track_caller]
fn refused_for_space(output: Output, least: u64, free: u64) {
    let output = output
        .code(4)
        .stdout_is("")
        .stderr_has("not enough space in");
    // Behind the path, which may have numbers of its own.
    let mut lines = output.stderr.lines();
    let line = lines.find(|line| line.contains("not enough space in"));
    let (_, told) = line
        .and_then(|line| line.split_once(": ")?.1.split_once(": "))
        .unwrap();
    let numbers: Vec<u64> = told
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .filter(|number| *number > 99_999)
        .collect();
    let fits = matches!(*numbers, [needed, said] if needed >= least && said == free);
    output.expect(
        fits,
        &format!("at least {least} needed, {free} free: {numbers:?}"),
    );
}

#[test]
fn a_restore_is_refused_before_anything_is_written() {
    let wal = 64_000_000;
    for (size, fits) in [("1m", false), ("10m", false), ("61m", false), ("70m", true)] {
        let disk = Disk::of(size).with_old_member();
        let before = Tree::exactly(&disk.root());
        let free = disk.free();
        let dry = disk.restore(Path::new(SNAPSHOT)).arg("--dry-run");
        for run in [dry, disk.restore(Path::new(SNAPSHOT))] {
            before.assert_unchanged(&Tree::exactly(&disk.root()), "a rehearsal or a refusal");
            let output = disk.namespace.run(&run);
            match fits {
                true => drop(output.ok()),
                false => refused_for_space(output, wal + 290_000, free),
            }
        }
        if !fits {
            before.assert_unchanged(&Tree::exactly(&disk.root()), "a refusal");
        }
    }
}

#[test]
fn pages_that_are_not_in_use_need_no_room() {
    let server = server_with(20);
    let mut api = server.api();
    let all = etcd_client::DeleteOptions::new().with_prefix();
    let deleted = api.call(async |c| c.delete("bulk/", Some(all)).await);
    fill::compact(&mut api, deleted.header().unwrap().revision());
    api.put("left", "over");
    let snapshot = server.snapshot_save("snapshot.db");
    let length = snapshot.metadata().unwrap().len();
    let disk = Disk::of("70m");
    assert!(length + 64_000_000 > disk.free(), "{length}");
    disk.namespace.run(&disk.restore(&snapshot)).ok();
    assert!(disk.seen("data/member/snap/db").metadata().unwrap().len() < 1 << 20);
}

#[test]
fn the_wal_dir_has_room_of_its_own() {
    let small = Disk::of("10m");
    let before = Tree::exactly(&small.root());
    let data = temp_dir();
    let wal = small.at("wal");
    let restore = Rescue::new(["restore", SNAPSHOT, "--wal-dir"]).arg(&wal);
    let restore = restore.arg("--data-dir").arg(data.path().join("data"));
    refused_for_space(small.namespace.run(&restore), 64_000_000, small.free());
    before.assert_unchanged(&Tree::exactly(&small.root()), "a refusal");
    assert!(names(data.path()).is_empty());

    let large = Disk::of("66m");
    let restore = Rescue::new(["restore", SNAPSHOT, "--wal-dir"]).arg(large.at("wal"));
    let restore = restore.arg("--data-dir").arg(data.path().join("data"));
    large.namespace.run(&restore).ok();
    let segment = large.seen("wal/0000000000000000-0000000000000000.wal");
    assert_eq!(segment.metadata().unwrap().len(), 64_000_000);
}

#[test]
fn a_disk_fills_up_under_a_restore() {
    let server = server_with(60);
    let snapshot = server.snapshot_save("snapshot.db");
    let prepare = || Disk::of("200m").with_old_member();
    let (disk, output) = filled_under(prepare, |disk| disk.restore(&snapshot));
    output
        .code(1)
        .stdout_is("")
        .stderr_has("error: ")
        .stderr_has("No space left on device")
        .stderr_has("hint: the disk is full; nothing was left behind");
    let old = Disk::of("1m").with_old_member();
    let before = Tree::timeless(&old.seen("data"));
    before.assert_unchanged(&Tree::timeless(&disk.seen("data")), "a full disk");
    assert_eq!(names(&disk.root()), ["data", "filler"]);
}

#[test]
fn a_save_is_refused_or_fails_and_leaves_nothing() {
    let server = server_with(60);
    for force in [false, true] {
        let disk = Disk::of("10m");
        let mut save = disk.save(&server);
        if force {
            std::fs::write(disk.seen("out.db"), "old").unwrap();
            save = save.arg("--force");
        }
        let before = Tree::of(&disk.root());
        let free = disk.free();
        refused_for_space(disk.namespace.run(&save), 60_000_000, free);
        before.assert_unchanged(&Tree::of(&disk.root()), "a refusal");

        let prepare = || {
            let disk = Disk::of("100m");
            if force {
                std::fs::write(disk.seen("out.db"), "old").unwrap();
            }
            disk
        };
        let save = |disk: &Disk| match force {
            true => disk.save(&server).arg("--force"),
            false => disk.save(&server),
        };
        let (disk, output) = filled_under(prepare, save);
        output
            .code(1)
            .stdout_is("")
            .stderr_has("error: cannot write ")
            .stderr_has("No space left on device")
            .stderr_has("hint: the disk is full; nothing was left behind");
        let expected: &[&str] = if force {
            &["filler", "out.db"]
        } else {
            &["filler"]
        };
        assert_eq!(names(&disk.root()), expected);
        if force {
            assert_eq!(std::fs::read(disk.seen("out.db")).unwrap(), b"old");
        }
    }
}

/// How large an archive will be is not known: the disk fills up while it is written.
#[test]
fn archives_on_a_small_disk() {
    let server = server_with(20);
    let plain = server.snapshot_save("plain.db");
    let packed = server.dir().join("packed.zst");
    Rescue::new(["pack"]).args([&plain, &packed]).run().ok();
    for force in [false, true] {
        let disk = Disk::of("8m");
        if force {
            std::fs::write(disk.seen("out.db.zst"), "old").unwrap();
        }
        let before = Tree::of(&disk.root());
        let to_disk = |run: Rescue| match force {
            true => run.arg("--force").arg(disk.at("out.db.zst")),
            false => run.arg(disk.at("out.db.zst")),
        };
        for run in [
            Rescue::new(["save", "--endpoints", &server.url()]),
            Rescue::new(["pack"]).arg(&plain),
            Rescue::new(["pack"]).arg(&packed),
            Rescue::new(["unpack"]).arg(&packed),
        ] {
            disk.namespace
                .run(&to_disk(run))
                .code(1)
                .stdout_is("")
                .stderr_has("error: cannot write ")
                .stderr_has("No space left on device")
                .stderr_has("hint: the disk is full; nothing was left behind");
            before.assert_unchanged(&Tree::of(&disk.root()), "a full disk");
        }
        // What goes to a pipe is kept here first.
        for run in [
            Rescue::new(["pack"]).arg(&plain),
            Rescue::new(["unpack"]).arg(&packed),
        ] {
            let run = run.arg("-").env("TMPDIR", disk.dir.path());
            disk.namespace
                .run(&run)
                .code(1)
                .stdout_is("")
                .stderr_has("No space left on device")
                .stderr_has("hint: point TMPDIR at a directory with more room");
            before.assert_unchanged(&Tree::of(&disk.root()), "a full disk");
        }
    }
}

#[test]
fn a_read_only_file_system_is_refused() {
    let server = Etcd::new("3.7").start();
    let disk = Disk::of("100m").with_old_member();
    std::fs::write(disk.seen("out.db"), "old").unwrap();
    let mount = disk.dir.path().display().to_string();
    disk.namespace
        .shell(&format!("mount -o remount,ro '{mount}'"));
    let before = Tree::exactly(&disk.root());
    let snapshot = Path::new(SNAPSHOT);
    let elsewhere = Rescue::new(["save", "--endpoints", &server.url()]).arg(disk.at("new.db"));
    for run in [
        disk.restore(snapshot),
        disk.restore(snapshot).arg("--dry-run"),
        Rescue::new(["restore", SNAPSHOT, "--data-dir"]).arg(disk.at("new")),
        disk.save(&server).arg("--force"),
        elsewhere,
    ] {
        disk.namespace
            .run(&run)
            .code(4)
            .stdout_is("")
            .stderr_has(&mount)
            .stderr_has("hint: the file system is mounted read-only");
    }
    before.assert_unchanged(&Tree::exactly(&disk.root()), "a refusal");
}

#[test]
fn standard_input_needs_room_too() {
    let disk = Disk::of("100k");
    let bytes = std::fs::read(SNAPSHOT).unwrap();
    for command in ["verify", "status", "restore"] {
        let mut run = Rescue::new([command, "-"]).env("TMPDIR", disk.dir.path());
        let data = temp_dir();
        if command == "restore" {
            run = run.arg("--data-dir").arg(data.path().join("data"));
        }
        disk.namespace
            .run_with(&run, bytes.clone())
            .code(1)
            .stdout_is("")
            .stderr_has("No space left on device")
            .stderr_has("hint: point TMPDIR at a directory with more room");
        assert!(names(&disk.root()).is_empty() && names(data.path()).is_empty());
    }
}
