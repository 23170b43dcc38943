//! Where the member goes: mount points, links, directories that are there already, and what is moved aside.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Place, SNAPSHOT};
use crate::util::etcd::Etcd;
use crate::util::mount::Namespace;
use crate::util::process;
use crate::util::run::Rescue;
use crate::util::strace;
use crate::util::temp_dir;
use crate::util::tools::TIMEOUT;
use crate::util::tree::{Tree, names};

#[test]
fn a_mount_point_will_do() {
    let dir = temp_dir();
    let disk = Namespace::tmpfs(dir.path(), "160m");
    let root = disk.outside(dir.path());
    std::fs::create_dir(root.join("lost+found")).unwrap();
    std::fs::set_permissions(root.join("lost+found"), PermissionsExt::from_mode(0o700)).unwrap();
    let restore = Rescue::new(["restore", SNAPSHOT, "--data-dir"]).arg(dir.path());
    disk.run(&restore).ok();
    assert_eq!(names(&root), ["lost+found", "member"]);
    disk.run(&restore.clone()).code(4);
    let wal = dir.path().join("wal");
    disk.run(&restore.arg("--move-aside").arg("--wal-dir").arg(wal))
        .ok();
    assert_eq!(names(&root).len(), 4, "{:?}", names(&root));
}

/// What was restored has another name by then: its old one is that of what was made of it.
#[test]
fn a_member_that_is_restored_in_its_place() {
    let place = Place::new();
    place.restore(&["--no-bump"]).run().ok();
    let cluster = "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380";
    for input in ["data", "data/member/snap/db"] {
        let restore = Rescue::new(["restore", "--raw", input, "--data-dir", "data"]);
        let restore = restore.args(["--move-aside", "--no-bump", "--name", "m1", "-w", "json"]);
        let restore = restore.args(["--initial-cluster", cluster]);
        let first = restore.cwd(place.root()).run().ok().json();
        let aside = first["plan"]["movedAside"].as_str().unwrap();
        let db = place.root().join(aside).join("snap/db");
        let command = first["otherMembers"][0]["command"].as_str().unwrap();
        let (rest, file) = command.rsplit_once(' ').unwrap();
        assert_eq!(Path::new(file), db, "{command}");
        let other = rest.split_once(' ').unwrap().1.split(' ');
        let other = Rescue::new(other)
            .arg(file)
            .args(["--dry-run", "-w", "json"]);
        let other = other.run().ok().json();
        assert_eq!(other["plan"]["clusterId"], first["plan"]["clusterId"]);
    }
}

/// Neither can take another's place, whatever is asked for; a rehearsal knows it too.
#[test]
fn a_mount_point_cannot_be_the_member_or_the_wal_dir() {
    let place = Place::new();
    let wal = place.root().join("wal");
    for at in [&wal, &place.member()] {
        std::fs::create_dir_all(at).unwrap();
        let disk = Namespace::tmpfs(at, "160m");
        for bound in [false, true] {
            if bound {
                let at = at.display();
                disk.shell(&format!("umount '{at}'; mount --bind '{at}' '{at}'"));
            }
            for flag in ["--dry-run", "--move-aside", "--no-bump"] {
                let run = place.restore(&["--wal-dir", wal.to_str().unwrap(), flag]);
                let below = format!(
                    "hint: name a directory below the mount point ({}/etcd)",
                    at.display()
                );
                disk.run(&run)
                    .code(4)
                    .stdout_is("")
                    .stderr_has(&format!("{} is a mount point", at.display()))
                    .stderr_has(&below);
            }
        }
        drop(disk);
        std::fs::remove_dir(at).unwrap();
    }
}

#[test]
fn an_empty_wal_dir_will_do() {
    let place = Place::new();
    let wal = place.root().join("wal");
    std::fs::create_dir(&wal).unwrap();
    let flags = ["--wal-dir", wal.to_str().unwrap()];
    let before = Tree::exactly(place.root());
    place.restore(&flags).arg("--dry-run").run().ok();
    before.assert_unchanged(&Tree::exactly(place.root()), "a rehearsal");
    place.restore(&flags).run().ok();
    assert_eq!(names(place.root()), ["data", "wal"]);
    assert_eq!(names(&wal).len(), 1);
}

#[test]
fn an_empty_wal_dir_comes_back_as_it_was() {
    let place = Place::new();
    let wal = place.root().join("wal");
    std::fs::create_dir(&wal).unwrap();
    chown(&wal, Some(998), Some(997)).unwrap();
    std::fs::set_permissions(&wal, PermissionsExt::from_mode(0o2750)).unwrap();
    let restore = place.restore(&["--wal-dir", wal.to_str().unwrap()]);
    let inject = "inject=renameat2:error=EIO:when=2".to_owned();
    strace::inject(&restore, &[inject])
        .code(1)
        .stderr_has("Input/output error");
    let found = wal.metadata().unwrap();
    let mode = found.permissions().mode() & 0o7777;
    assert_eq!((mode, found.uid(), found.gid()), (0o2750, 998, 997));
    assert_eq!(
        (names(place.root()), names(&wal).len()),
        (vec!["wal".into()], 0)
    );
}

#[test]
fn a_directory_that_is_there_stays_as_it_is() {
    for mode in [0o700, 0o755, 0o2770] {
        let place = Place::new();
        place.write("data/of-others/file", "x");
        let other = Tree::exactly(&place.data().join("of-others"));
        std::fs::set_permissions(place.data(), PermissionsExt::from_mode(mode)).unwrap();
        place.restore(&[]).run().ok();
        assert_eq!(names(&place.data()), ["member", "of-others"]);
        let now = Tree::exactly(&place.data().join("of-others"));
        other.assert_unchanged(&now, "a restore beside it");
        let found = place.data().metadata().unwrap().permissions().mode();
        assert_eq!(found & 0o7777, mode);
    }
    // Empty, by a link, relative, and with names that need quoting.
    let place = Place::new();
    std::fs::create_dir(place.root().join("empty dir")).unwrap();
    symlink("empty dir", place.data()).unwrap();
    place.restore(&[]).run().ok();
    assert_eq!(names(&place.root().join("empty dir")), ["member"]);
    let run = Rescue::new([
        "restore",
        SNAPSHOT,
        "--data-dir",
        "a/b c/d",
        "--wal-dir",
        "w",
    ]);
    run.cwd(place.root()).run().ok();
    assert_eq!(names(&place.root().join("a/b c/d/member")), ["snap"]);
    assert_eq!(names(&place.root().join("w")).len(), 1);
    let run = Rescue::new(["restore", SNAPSHOT, "--data-dir", "."]);
    let below = place.root().join("below");
    std::fs::create_dir(&below).unwrap();
    run.cwd(&below).run().ok();
    assert_eq!(names(&below), ["member"]);
}

#[test]
fn the_usual_wal_dir_may_be_said() {
    let place = Place::new();
    let wal = place.member().join("wal").display().to_string();
    let said = place.restore(&["-w", "json", "--wal-dir", &wal]).run().ok();
    assert_eq!(said.json()["plan"]["walDir"], *wal);
    assert_eq!(names(&place.member()), ["snap", "wal"]);
}

/// The undo command that was printed, which must be there.
fn undo_in(stdout: &str) -> &str {
    let (_, after) = stdout
        .split_once("To undo this:\n")
        .expect("an undo command");
    after.lines().next().unwrap().trim()
}

#[test]
fn what_is_moved_aside_comes_back_with_the_command_that_is_printed() {
    let place = Place::new();
    place.write("data/member/snap/db", "the only copy");
    place.write("data/member/odd name", "x");
    place.write("wal's dir/0.wal", "the only log");
    let wal = place.root().join("wal's dir").display().to_string();
    let before = Tree::of(place.root());
    let mut undone = Vec::new();
    for flags in [&["--move-aside"][..], &["--move-aside", "--wal-dir", &wal]] {
        let output = place.restore(flags).run().ok();
        assert!(place.member().join("snap/db").metadata().unwrap().len() > 100_000);
        let text = output.stdout_str();
        let mut shell = Command::new("sh");
        shell.args(["-c", undo_in(&text)]);
        process::run(shell, None, TIMEOUT).ok().stderr_is("");
        undone.push(place.member().with_extension("undone"));
        if flags.len() > 1 {
            undone.push(place.root().join("wal's dir.undone"));
        }
        for path in undone.drain(..) {
            std::fs::remove_dir_all(path).unwrap();
        }
        before.assert_unchanged(&Tree::of(place.root()), "restore and undo");
    }
    let json = place
        .restore(&["--move-aside", "-w", "json"])
        .run()
        .ok()
        .json();
    let moved = json["plan"]["movedAside"].as_str().unwrap();
    assert!(json["undo"].as_str().unwrap().contains(moved), "{json}");
    let name = Path::new(moved).file_name().unwrap().to_str().unwrap();
    let time = name.strip_prefix("member.before-").unwrap();
    assert!(
        time.len() == 16 && time.ends_with('Z') && time.contains('T'),
        "{name}"
    );
}

#[test]
fn moving_aside_again_and_again_loses_nothing() {
    let place = Place::new();
    for _ in 0..5 {
        place.restore(&["--move-aside"]).run().ok();
    }
    let all = names(&place.data());
    assert_eq!(all.len(), 5, "{all:?}");
    for name in all {
        assert!(place.data().join(&name).join("snap/db").exists(), "{name}");
    }
}

#[test]
fn a_wal_dir_in_which_etcd_has_written_is_never_a_leftover() {
    let place = Place::new();
    let wal = place.root().join("wal");
    let flags = ["--wal-dir", wal.to_str().unwrap()];
    place.restore(&flags).run().ok();
    // As after a kill between the two names: without member/ this WAL dir may be removed.
    let promise = place.data().join(".member.wal-dir-of-unfinished-restore");
    let segment = wal.join("0000000000000000-0000000000000000.wal");
    let promised = |place: &Place| {
        use std::os::unix::fs::MetadataExt;
        let (dir, file) = (wal.metadata().unwrap(), segment.metadata().unwrap());
        let text = format!(
            "{}\n{}\n{} {} {}.{:09}\n",
            wal.canonicalize().unwrap().display(),
            dir.ino(),
            file.ino(),
            file.len(),
            file.ctime(),
            file.ctime_nsec()
        );
        std::fs::write(&promise, text).unwrap();
        let bad = place.data().join("member.bad");
        std::fs::rename(place.member(), bad).unwrap();
    };
    promised(&place);
    place.restore(&flags).run().ok().stderr_has("removed ");
    assert!(!promise.exists());
    std::fs::remove_dir_all(place.data().join("member.bad")).unwrap();

    // Somebody has started etcd on it since.
    promised(&place);
    std::fs::rename(place.data().join("member.bad"), place.member()).unwrap();
    let flag = format!("--wal-dir={}", wal.display());
    Etcd::new("3.7")
        .data_dir(place.data())
        .flag(&flag)
        .start()
        .stop();
    std::fs::rename(place.member(), place.data().join("member.bad")).unwrap();
    let before = Tree::exactly(place.root());
    place
        .restore(&flags)
        .run()
        .code(4)
        .stderr_has("wal exists already");
    before.assert_unchanged(&Tree::exactly(place.root()), "a refusal");
}

#[test]
fn a_rehearsal_says_what_is_done_then() {
    let cluster = "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380";
    for flags in [
        &[][..],
        &["--no-bump"],
        &["--move-aside", "--bump-revision", "7"],
        &["--move-aside", "--name", "m2", "--initial-cluster", cluster],
        &[
            "--move-aside",
            "--initial-cluster-token",
            "t",
            "--owner",
            "0:0",
        ],
    ] {
        let place = Place::new();
        if flags.contains(&"--move-aside") {
            place.write("data/member/snap/db", "the only copy");
        }
        let before = Tree::exactly(place.root());
        let rehearsal = place.restore(flags).args(["--dry-run", "-w", "json"]).run();
        let rehearsal = rehearsal.ok().stderr_is("").json();
        before.assert_unchanged(&Tree::exactly(place.root()), "a rehearsal");
        let done = place.restore(flags).args(["-w", "json"]).run();
        let done = done.ok().stderr_is("").json();
        assert_eq!(
            (&rehearsal["dryRun"], &done["dryRun"]),
            (&true.into(), &false.into())
        );
        assert_eq!(
            (&rehearsal["restored"], &done["restored"]),
            (&false.into(), &true.into())
        );
        assert_eq!(plan(&rehearsal), plan(&done));
        assert_eq!(rehearsal["start"], done["start"]);
        assert_eq!(rehearsal["otherMembers"], done["otherMembers"]);
        assert_eq!(rehearsal["verdict"], done["verdict"]);
        assert_eq!(keys(&rehearsal), keys(&done));
    }
}

/// Without what changes from second to second.
fn plan(document: &Value) -> Value {
    let mut plan = document["plan"].clone();
    let plan_ = plan.as_object_mut().expect("a plan");
    plan_.remove("bytesFree").expect("the free bytes");
    let moved = plan_.get_mut("movedAside").expect("what is moved");
    if let Some(path) = moved.as_str() {
        *moved = path.split(".before-").next().into();
    }
    plan
}

fn keys(document: &Value) -> Vec<&String> {
    document.as_object().expect("an object").keys().collect()
}

#[test]
fn json_keys_are_stable() {
    let place = Place::new();
    let json = place
        .restore(&["--dry-run", "-w", "json"])
        .run()
        .ok()
        .json();
    let expected = "dbBytes dryRun otherMembers path plan remarks restored start undo verdict";
    let found: Vec<_> = keys(&json).into_iter().map(String::as_str).collect();
    assert_eq!(found.join(" "), expected);
    let expected = "alarmsDropped bump bytesFree bytesNeeded clusterId initialCluster memberDir memberId members \
                    movedAside name oldMembers owner ownerFrom revisionAfter revisionBefore storageVersionDropped token \
                    tokenDerived walDir walMovedAside";
    let found: Vec<_> = keys(&json["plan"])
        .into_iter()
        .map(String::as_str)
        .collect();
    assert_eq!(found.join(" "), expected);
    assert_eq!(json["plan"]["revisionBefore"], 308);
    assert_eq!(json["plan"]["revisionAfter"], 1_000_000_308);
}
