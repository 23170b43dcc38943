//! What is not done at all: not a byte and not a time of what was there changes.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::{Place, SNAPSHOT};
use crate::util::copy_program;
use crate::util::etcd::Etcd;
use crate::util::mount::is_root;
use crate::util::process::{self, Output};
use crate::util::run::Rescue;
use crate::util::temp_dir;
use crate::util::tools::TIMEOUT;
use crate::util::tree::{Tree, names};

/// Runs it, and as a rehearsal, and with the snapshot on standard input; nothing may change.
#[track_caller]
fn changes_nothing(place: &Place, flags: &[&str], code: i32) -> Output {
    let before = Tree::exactly(place.root());
    let bytes = std::fs::read(SNAPSHOT).unwrap();
    let rehearsal = place.restore(flags).arg("--dry-run").run().code(code);
    let piped = place.restore_of("-", flags).stdin(bytes).run().code(code);
    let output = place.restore(flags).run().code(code).stdout_is("");
    assert_eq!(rehearsal.stderr, output.stderr);
    assert_eq!(piped.stderr, output.stderr);
    before.assert_unchanged(&Tree::exactly(place.root()), &output.to_string());
    output
}

#[test]
fn what_is_in_the_way() {
    type Make = fn(&Place);
    let make: [(&str, Make, &str); 6] = [
        (
            "a member",
            |place| place.write("data/member/snap/db", "x"),
            "data/member exists",
        ),
        (
            "an empty member",
            |place| std::fs::create_dir_all(place.member()).unwrap(),
            "data/member exists",
        ),
        (
            "a file",
            |place| place.write("data/member", "x"),
            "data/member exists",
        ),
        (
            "a link to nowhere",
            |place| {
                std::fs::create_dir_all(place.data()).unwrap();
                symlink("nowhere", place.member()).unwrap();
            },
            "data/member exists",
        ),
        (
            "a file for a data dir",
            |place| place.write("data", "x"),
            "data is not a directory",
        ),
        (
            "a broken link for a data dir",
            |place| symlink("nowhere", place.data()).unwrap(),
            "data is not a directory",
        ),
    ];
    for (what, make, says) in make {
        let place = Place::new();
        make(&place);
        let output = changes_nothing(&place, &[], 4).stderr_has(says);
        let hinted = output.stderr.contains("hint: --move-aside renames it");
        output.expect(hinted == says.contains("exists"), what);
    }
    let place = Place::new();
    place.write("wal/0.wal", "x");
    let wal = place.root().join("wal").display().to_string();
    changes_nothing(&place, &["--wal-dir", &wal], 4).stderr_has("wal exists already");
}

#[test]
fn a_data_dir_inside_a_member() {
    let make: [(&str, &[&str]); 5] = [
        ("member", &["member/snap/db"]),
        (
            "member",
            &["member/wal/0000000000000000-0000000000000000.wal"],
        ),
        ("member/snap", &["member/snap/db"]),
        (
            "member/wal",
            &["member/wal/0000000000000000-0000000000000000.wal"],
        ),
        ("member/snap/new/one", &["member/snap/db"]),
    ];
    for (inside, files) in make {
        let place = Place::new();
        for file in files {
            place.write(&format!("data/{file}"), "x");
        }
        let before = Tree::exactly(place.root());
        let inside = place.data().join(inside);
        for flags in [&[][..], &["--move-aside"], &["--dry-run"]] {
            let restore = Rescue::new(["restore", SNAPSHOT, "--data-dir"]).arg(&inside);
            restore
                .args(flags)
                .run()
                .code(4)
                .stdout_is("")
                .stderr_has(&format!(
                    "--data-dir {} is inside a member",
                    inside.display()
                ))
                .stderr_has(&format!("probably {}\n", place.data().display()));
        }
        before.assert_unchanged(&Tree::exactly(place.root()), "a refusal");
    }
}

/// As where the WAL has a disk of its own: neither taken for a member, nor for a place to restore to.
#[test]
fn a_wal_dir_beside_the_member() {
    let place = Place::new();
    let wal = place.data().join("wal").display().to_string();
    let flags = ["--wal-dir", &wal, "--move-aside"];
    for _ in 0..2 {
        place.restore(&flags).run().ok();
    }
    place.restore(&["--dry-run", "--move-aside"]).run().ok();
    let before = Tree::exactly(place.root());
    let restore = Rescue::new(["restore", SNAPSHOT, "--data-dir", &wal]);
    restore
        .run()
        .code(4)
        .stderr_has(&format!("--data-dir {wal} is the WAL dir of a member"));
    before.assert_unchanged(&Tree::exactly(place.root()), "a refusal");
}

#[test]
fn an_etcd_that_runs() {
    for minor in ["3.5", "3.7"] {
        let server = Etcd::new(minor).start();
        server.api().put("key", "value");
        let pid = format!("member/snap/db is in use by pid {} (etcd)", server.pid());
        let before = names(server.data_dir());
        for flags in [
            &[][..],
            &["--move-aside"],
            &["--move-aside", "--dry-run"],
            &["--raw"],
        ] {
            let restore = Rescue::new(["restore", SNAPSHOT, "--data-dir"]).arg(server.data_dir());
            restore
                .args(flags)
                .run()
                .code(4)
                .stdout_is("")
                .stderr_has(&pid)
                .stderr_has("hint: stop etcd first");
            assert_eq!(names(server.data_dir()), before);
        }
        assert_eq!(server.api().put("key", "again"), 3);
    }
}

/// Whoever it is, it is named for what it is.
#[test]
fn a_lock_that_etcd_does_not_have() {
    let place = Place::new();
    place.write("data/member/snap/db", "x");
    let db = std::fs::File::open(place.member().join("snap/db")).unwrap();
    db.lock().unwrap();
    let locked = "whoever has the lock of a db may be writing to it";
    let data = place.data().display().to_string();
    let status = Rescue::new(["status", &data]).run().code(4);
    let restore = changes_nothing(&place, &["--move-aside"], 4);
    for output in [status, restore] {
        let pid = format!("pid {} (", std::process::id());
        output
            .stderr_has(locked)
            .stderr_has(&pid)
            .stderr_lacks("a running etcd");
    }
}

#[test]
fn who_may_not_read_is_told_who_may() {
    assert!(is_root(), "this test becomes somebody else: run it as root");
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    copy_program(env!("CARGO_BIN_EXE_etcd-rescue"), &program);
    let closed = dir.path().join("closed");
    std::fs::create_dir_all(closed.join("member/snap")).unwrap();
    std::fs::copy(SNAPSHOT, closed.join("member/snap/db")).unwrap();
    std::fs::copy(SNAPSHOT, dir.path().join("x.db")).unwrap();
    for (path, mode) in [("x.db", 0o600), ("closed/member", 0o700), ("", 0o755)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(dir.path().join(path), mode).unwrap();
    }
    let file = dir.path().join("x.db").display().to_string();
    let data = closed.display().to_string();
    for args in [
        &["verify", &file][..],
        &["status", &file],
        &["restore", &file, "--data-dir", "/nowhere"],
        &["verify", "--raw", &data],
        &["status", &data],
    ] {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        nobody.arg(&program).args(args);
        process::run(nobody, None, TIMEOUT)
            .code(1)
            .stderr_has("Permission denied")
            .stderr_has("hint: run it as root");
    }
}

#[test]
fn a_cluster_that_makes_no_sense() {
    let place = Place::new();
    place.write("data/keep", "x");
    let data = place.data().display().to_string();
    let member = place.member().display().to_string();
    let (wal, below) = (format!("{member}/wal2"), format!("{member}/wal/x"));
    let around = place.root().display().to_string();
    for (flags, says) in [
        (
            &[
                "--name",
                "m9",
                "--initial-cluster",
                "m1=http://10.0.0.1:2380",
            ][..],
            "m9",
        ),
        (&["--initial-cluster", "default"], "--initial-cluster"),
        (
            &["--initial-cluster", "default=10.0.0.1:2380"],
            "10.0.0.1:2380",
        ),
        (&["--initial-cluster", "default=http://10.0.0.1"], "port"),
        (
            &["--initial-cluster", "default=http://h:1,other=http://h:1"],
            "http://h:1",
        ),
        (
            &[
                "--initial-cluster",
                "default=http://h:1",
                "--initial-advertise-peer-urls",
                "http://h:2",
            ],
            "http://h:2",
        ),
        (&["--initial-advertise-peer-urls", "ftp://h:2"], "ftp"),
        (&["--mark-compacted"], "--bump-revision"),
        (&["--bump-revision", "5", "--no-bump"], "which one"),
        (&["--bump-revision", "-5"], "--bump-revision"),
        (
            &["--owner", "nobody-here:nobody"],
            "no user \"nobody-here\"",
        ),
        (
            &["--owner", "0:no-such-group"],
            "no group \"no-such-group\"",
        ),
        (&["--wal-dir", &wal], "a directory of its own"),
        (&["--wal-dir", &below], "a directory of its own"),
        (&["--wal-dir", &data], "a directory of its own"),
        (
            &["--wal-dir", &around, "--move-aside"],
            "a directory of its own",
        ),
    ] {
        changes_nothing(&place, flags, 2).stderr_has(says);
    }
    // More than a revision can be, and so much that a server would soon be at the end.
    let before = Tree::of(place.root());
    for most in [i64::MAX, 9_223_372_036_854_775_000, i64::MAX - (1 << 50)] {
        let most = most.to_string();
        let restore = place.restore(&["--bump-revision", &most]);
        for run in [restore.clone().arg("--dry-run"), restore] {
            run.run()
                .code(4)
                .stderr_has(&most)
                .stderr_has("hint: --bump-revision 1000000000");
        }
    }
    before.assert_unchanged(&Tree::of(place.root()), "a bump that is too high");
}

#[test]
fn inputs_that_do_not_prove_good() {
    let dir = temp_dir();
    let good = std::fs::read(SNAPSHOT).unwrap();
    let mut flipped = good.clone();
    flipped[200_000] ^= 0x40;
    let mut unhashed = flipped[..flipped.len() - 32].to_vec();
    unhashed[4096 * 5 + 10] ^= 0xff;
    let gzip = [&[0x1f, 0x8b, 8, 0], &good[..1000]].concat();
    for (name, bytes, flags, code, says) in [
        (
            "flipped",
            flipped.as_slice(),
            &[][..],
            3,
            "is DAMAGED; nothing was written",
        ),
        (
            "cut",
            &good[..150_000],
            &[],
            3,
            "bytes are missing at the end",
        ),
        (
            "raw",
            &good[..good.len() - 32],
            &[],
            3,
            "is UNPROVEN; nothing was written",
        ),
        ("raw-damaged", &unhashed, &["--raw"], 3, "is DAMAGED"),
        (
            "flipped-raw",
            &flipped,
            &["--skip-hash-check"],
            3,
            "is DAMAGED",
        ),
        ("empty", b"", &[], 3, "empty"),
        ("text", b"not a snapshot", &["--raw"], 3, "error: "),
        ("gzip", &gzip, &[], 3, "gzip"),
    ] {
        let input = dir.path().join(name);
        std::fs::write(&input, bytes).unwrap();
        for existing in [false, true] {
            let place = Place::new();
            if existing {
                place.write("data/member/snap/db", "the only copy");
            }
            let before = Tree::of(place.root());
            for more in [&["--move-aside"][..], &["--move-aside", "--dry-run"]] {
                let run = place.restore_of(input.to_str().unwrap(), flags);
                let output = run
                    .args(more)
                    .run()
                    .code(code)
                    .stdout_is("")
                    .stderr_has(says);
                before.assert_unchanged(&Tree::of(place.root()), &output.to_string());
            }
        }
    }
    let place = Place::new();
    let missing = place.restore_of("/no/such/file", &[]).run();
    missing.code(1).stderr_has("cannot open /no/such/file");
    assert!(names(place.root()).is_empty());
    let raw = dir.path().join("raw");
    place
        .restore_of(raw.to_str().unwrap(), &["--raw"])
        .run()
        .ok();
    assert!(Path::new(&place.member()).exists());
}
