//! The program itself over hostile files: exit codes, words, time and memory; inputs and targets untouched.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::bombs::BOMBS;
use super::cases::{self, Case, Expect};
use super::craft::{File, meta};
use super::flips::snapshots;
use crate::util::process::Output;
use crate::util::run::Rescue;
use crate::util::{measured, temp_dir};

/// A place for one input, and for the directories that a restore must leave alone.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let dir = temp_dir();
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        std::fs::write(dir.path().join("taken/keep"), "me").unwrap();
        Lab { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the program; it may take only so much time and memory, and must end by itself.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        measured::run(self.dir.path(), args, None)
    }

    /// verify, verify --raw, status and restore of the file `input`; then everything is as it was.
    #[track_caller]
    fn all_commands(&self, expected: Expected) {
        let before = Seen::of(self.dir.path());
        let verify = self.run(&["verify", "input"]).code(expected.verify);
        let raw = self
            .run(&["verify", "--raw", "-w", "json", "input"])
            .code(expected.verify);
        let raw = raw.stdout_has(expected.told); // notes are told here, too
        assert!(raw.json().is_object(), "{raw}");
        let status = self.run(&["status", "input"]).code(expected.status);
        tame(&verify);
        tame(&status);
        for format in ["table", "fields", "json"] {
            tame(
                &self
                    .run(&["verify", "-w", format, "input"])
                    .code(expected.verify),
            );
            tame(
                &self
                    .run(&["status", "-w", format, "input"])
                    .code(expected.status),
            );
        }
        for target in ["new", "taken"] {
            let args = ["restore", "input", "--data-dir", target, "--dry-run"];
            tame(&self.run(&args).code(expected.restore));
            assert_eq!(
                Seen::of(self.dir.path()),
                before,
                "a dry run changed something"
            );
            if expected.restore != 0 {
                let restore = self.run(&args[..4]).code(expected.restore);
                assert_eq!(Seen::of(self.dir.path()), before, "changed by\n{restore}");
            }
        }
        verify.stdout_has(expected.verdict);
    }
}

/// Names in a file are not to play with the terminal. JSON is for programs: it escapes what it must.
#[track_caller]
fn tame(output: &Output) {
    let said = output.stdout_str() + &output.stderr;
    let is_json = said.starts_with('{');
    let turns = |c: char| !is_json && ('\u{202a}'..='\u{202e}').contains(&c);
    let wild = |c: char| c.is_control() && c != '\n' || turns(c);
    assert!(!said.contains(wild), "control characters in {said:?}");
}

/// What is expected of the commands.
struct Expected {
    verify: i32,
    status: i32,
    restore: i32,
    verdict: &'static str,
    told: &'static str,
}

impl From<Expect> for Expected {
    fn from(expect: Expect) -> Expected {
        let (code, restore, verdict, told) = match expect {
            Expect::Structure(text) | Expect::Meaning(text) | Expect::NotBolt(text) => {
                (3, 3, "DAMAGED", text)
            }
            Expect::Remark(text) => (0, 0, "GOOD", text),
            Expect::Nothing => (0, 0, "GOOD", ""),
            Expect::Unrestorable(_) => (0, 4, "GOOD", ""),
        };
        Expected {
            verify: code,
            status: code,
            restore,
            verdict,
            told,
        }
    }
}

/// Everything below a directory: names and modes; times, sizes and CRC-32C of files. A directory in which
/// something was made and removed again has another time.
#[derive(Debug, PartialEq, Eq)]
struct Seen(Vec<(PathBuf, u32, Option<[i64; 4]>)>);

impl Seen {
    fn of(dir: &Path) -> Seen {
        let mut seen = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let file = metadata.is_file().then(|| {
                    let content = crc32c::crc32c(&std::fs::read(&path).unwrap()).into();
                    [
                        metadata.mtime(),
                        metadata.mtime_nsec(),
                        metadata.size().cast_signed(),
                        content,
                    ]
                });
                seen.push((path.clone(), metadata.mode(), file));
                if metadata.is_dir() {
                    dirs.push(path);
                }
            }
        }
        seen.sort();
        Seen(seen)
    }
}

/// Several lists at once, so that the machine is not idle while a process starts.
fn in_threads<T: Sync>(items: &[T], run: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let failures = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) =
                    items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let run = std::panic::AssertUnwindSafe(|| run(item));
                    if std::panic::catch_unwind(run).is_err() {
                        failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(failures.into_inner(), 0, "failures, told above");
}

#[test]
fn every_case() {
    let cases: Vec<&Case> = cases::all().collect();
    in_threads(&cases, |case| {
        println!("{}", case.name);
        let lab = Lab::new();
        std::fs::write(lab.path("input"), case.bytes(4096)).unwrap();
        lab.all_commands(case.expect.into());
    });
}

#[test]
fn bombs() {
    in_threads(BOMBS, |bomb| {
        println!("{}", bomb.name);
        let lab = Lab::new();
        std::fs::write(lab.path("input"), (bomb.make)()).unwrap();
        let code = if bomb.good { 0 } else { 3 };
        let before = Seen::of(lab.dir.path());
        for args in [
            &["verify", "input"][..],
            &["verify", "-w", "json", "input"],
            &["status", "input"],
        ] {
            lab.run(args).code(code);
        }
        let restore = lab.run(&["restore", "input", "--data-dir", "new"]);
        if restore.code != Some(0) {
            let restore = restore.code(3);
            assert_eq!(Seen::of(lab.dir.path()), before, "changed by\n{restore}");
        } else {
            assert!(bomb.good, "{restore}");
        }
    });
}

/// A file that is longer than any memory, with nothing in it, and metas that claim all of it.
#[test]
fn a_sparse_file_that_claims_what_it_has() {
    for (page_size, freelist) in [(4096, false), (512, false), (512, true)] {
        let lab = Lab::new();
        let mut file = File::new(page_size);
        let list = match freelist {
            true => file.freelist(&[], true),
            false => super::craft::NO_FREELIST,
        };
        let root = file.leaf(&[]);
        file.metas(root, list);
        let length = 512 << 20;
        file.both_metas(meta::MARK, length / page_size as u64);
        std::fs::write(lab.path("input"), &file.bytes).unwrap();
        let input = std::fs::File::options()
            .write(true)
            .open(lab.path("input"))
            .unwrap();
        input.set_len(length).unwrap();
        let told = if freelist {
            "pages from here on neither reachable"
        } else {
            "bucket key is missing"
        };
        lab.run(&["verify", "--raw", "input"])
            .code(3)
            .stderr_has(told);
        lab.run(&["restore", "--raw", "input", "--data-dir", "new"])
            .code(3);
        assert!(!lab.path("new").exists());
    }
}

/// What is not a snapshot at all is named, in a word that helps.
#[test]
fn foreign_files() {
    let house = super::house::House::new(4096).file;
    let text = b"apiVersion: v1\nkind: ConfigMap\n".repeat(300);
    let elf = std::fs::read(Rescue::new(["x"]).command().get_program()).unwrap();
    let big_endian = [&[0; 16][..], &[0xed, 0x0c, 0xda, 0xed], &[0; 8192]].concat();
    let files: &[(&str, &[u8], i32, &str)] = &[
        ("empty", b"", 3, "empty"),
        ("one-byte", b"x", 3, "not an etcd snapshot"),
        ("thirty-two-zeros", &[0; 32], 3, "not an etcd snapshot"),
        ("a-page-of-zeros", &[0; 4096], 3, "not an etcd snapshot"),
        ("text", &text, 3, "not an etcd snapshot"),
        ("elf", &elf[..1 << 20], 3, "not an etcd snapshot"),
        ("big-endian", &big_endian, 3, "big-endian machine (s390x)"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03garbage", 3, "gzip"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04garbage", 3, "zstd"),
        ("zip", b"PK\x03\x04garbage", 1, "zip"),
        ("metas-alone", &house.bytes[..8192], 3, "bytes are missing"),
        (
            "first-meta-alone",
            &house.bytes[..80],
            3,
            "meta page unusable",
        ),
        (
            "a-byte-less-than-a-meta",
            &house.bytes[..79],
            3,
            "not an etcd snapshot",
        ),
    ];
    for (name, bytes, code, told) in files {
        println!("{name}");
        let lab = Lab::new();
        std::fs::write(lab.path("input"), bytes).unwrap();
        let before = Seen::of(lab.dir.path());
        for args in [
            &["verify", "input"][..],
            &["verify", "--raw", "input"],
            &["status", "input"],
            &["restore", "input", "--data-dir", "new"],
            &["restore", "--skip-hash-check", "input", "--data-dir", "new"],
        ] {
            let output = lab.run(args).code(*code);
            let said = output.stdout_str() + &output.stderr;
            assert!(said.contains(told), "expected {told:?}\n{output}");
        }
        assert_eq!(Seen::of(lab.dir.path()), before);
    }
}

/// Devices, pipes and directories.
#[test]
fn inputs_that_are_no_files() {
    let lab = Lab::new();
    let (_, snapshot) = snapshots().remove(0);
    std::fs::write(lab.path("snapshot"), &snapshot).unwrap();
    lab.run(&["verify", "/dev/null"])
        .code(3)
        .stdout_has("empty");
    lab.run(&["verify", "taken"])
        .code(1)
        .stderr_has("--data-dir");
    lab.run(&["verify", "nowhere"])
        .code(1)
        .stderr_has("No such file");
    lab.run(&["verify", "snapshot/x"])
        .code(1)
        .stderr_has("Not a directory");
    lab.run(&["restore", "taken", "--data-dir", "new"])
        .code(1)
        .stderr_has("--data-dir");
    assert!(!lab.path("new").exists());

    // Endless, and no snapshot: told before it fills the disk.
    lab.run(&["verify", "/dev/zero"])
        .code(3)
        .stderr_has("not an etcd snapshot");
    lab.run(&["restore", "/dev/urandom", "--data-dir", "new"])
        .code(3);
    assert!(!lab.path("new").exists());

    let fifo = lab.path("fifo");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    for (bytes, code) in [(&snapshot[..], 0), (&snapshot[..9000], 3), (b"", 3)] {
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&fifo, bytes).unwrap());
            lab.run(&["verify", "fifo"]).code(code);
        });
    }
    let stdin = |bytes: &[u8]| {
        Rescue::new(["verify", "-"])
            .cwd(lab.dir.path())
            .stdin(bytes)
            .run()
    };
    stdin(&snapshot).code(0).stdout_has("GOOD");
    stdin(&snapshot[..20_000]).code(3);
    stdin(b"").code(3);
}

/// A data dir whose db is good, and whose WAL is nonsense: the db is judged, the WAL is told.
#[test]
fn data_dirs_with_a_hostile_wal() {
    const SEGMENT: &str = "0000000000000000-0000000000000000.wal";
    let lab = Lab::new();
    let (_, snapshot) = snapshots().remove(0);
    std::fs::write(lab.path("snapshot"), &snapshot).unwrap();
    lab.run(&["restore", "snapshot", "--data-dir", "dir"])
        .code(0);
    let segment = lab.path("dir/member/wal").join(SEGMENT);
    let verify = || lab.run(&["verify", "--raw", "-w", "json", "dir"]).code(0);
    let sound = std::fs::read(&segment).unwrap();
    verify().stdout_has("GOOD");
    let told = "whether the WAL has more than the db cannot be told";

    let length = |len: u64| [&len.to_le_bytes()[..], &[0; 64]].concat();
    for bytes in [vec![], vec![0xff; 4096]] {
        std::fs::write(&segment, &bytes).unwrap();
        verify().stdout_has(told);
    }
    // A first record that is longer than the file is a torn tail.
    for len in [u64::MAX, 500 << 20, 1 << 62] {
        std::fs::write(&segment, length(len)).unwrap();
        verify();
    }
    // A sparse file that has all that its first record claims.
    std::fs::write(&segment, length(400 << 20)).unwrap();
    let sparse = std::fs::File::options().write(true).open(&segment).unwrap();
    sparse.set_len(500 << 20).unwrap();
    verify().stdout_has(told);

    std::fs::remove_file(&segment).unwrap();
    std::fs::create_dir(&segment).unwrap();
    verify().stdout_has(told);
    std::fs::remove_dir(&segment).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &segment, rustix::fs::Mode::RUSR).unwrap();
    verify().stdout_has(told);
    std::fs::remove_file(&segment).unwrap();
    std::os::unix::fs::symlink(&segment, &segment).unwrap();
    verify().stdout_has(told);
    std::fs::remove_file(&segment).unwrap();
    verify();
    std::fs::write(&segment, sound).unwrap();
    verify().stdout_has("GOOD");

    // The db itself.
    let db = lab.path("dir/member/snap/db");
    std::fs::remove_file(&db).unwrap();
    std::os::unix::fs::symlink(&db, &db).unwrap();
    lab.run(&["verify", "--raw", "dir"]).code(1);
    std::fs::remove_file(&db).unwrap();
    std::fs::create_dir(&db).unwrap();
    lab.run(&["verify", "--raw", "dir"]).code(1);
    std::fs::remove_dir(&db).unwrap();
    std::fs::write(&db, b"").unwrap();
    lab.run(&["verify", "--raw", "dir"]).code(3);
}

/// Every page of a real snapshot, as it would be if the file was cut there.
#[test]
fn cut_at_every_page() {
    for (name, bytes) in snapshots().into_iter().take(2) {
        let lab = Lab::new();
        for len in (0..bytes.len()).step_by(4096) {
            std::fs::write(lab.path("input"), &bytes[..len]).unwrap();
            println!("{name} cut to {len}");
            let image_is_whole = len + 32 == bytes.len();
            let verdict = if image_is_whole {
                "UNPROVEN"
            } else {
                "DAMAGED"
            };
            lab.run(&["verify", "input"]).code(3).stdout_has(verdict);
            lab.run(&["restore", "input", "--data-dir", "new"]).code(3);
            lab.run(&["status", "input"])
                .code(if image_is_whole { 0 } else { 3 });
            assert!(!lab.path("new").exists());
        }
    }
}
