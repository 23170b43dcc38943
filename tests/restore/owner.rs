//! Whose the restored files are. As root, the only one who can give files away; what everybody else gets is tested as
//! `nobody`.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use super::{Place, SNAPSHOT};
use crate::util::copy_program;
use crate::util::etcd::Etcd;
use crate::util::mount::is_root;
use crate::util::process;
use crate::util::run::Rescue;
use crate::util::tools::TIMEOUT;
use crate::util::tree::{Tree, names};

const NOBODY: u32 = 65534;

/// Everything below has this owner.
#[track_caller]
fn belongs_to(dir: &Path, owner: (u32, u32)) {
    for (path, node) in Tree::of(dir).nodes() {
        assert_eq!(node.owner, owner, "{}/{}", dir.display(), path.display());
    }
}

/// An entry of /etc/passwd with a group of the same name, that is not root.
fn somebody() -> (String, (u32, u32)) {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let group = std::fs::read_to_string("/etc/group").unwrap();
    let id = |text: &str, name: &str| -> Option<u32> {
        let line = text
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    };
    let names = passwd.lines().filter_map(|line| line.split(':').next());
    let mut users = names.filter_map(|name| {
        let ids = (id(&passwd, name)?, id(&group, name)?);
        (ids.0 != 0).then(|| (name.to_owned(), ids))
    });
    users.next().expect("a user with a group of its own")
}

#[test]
fn is_who_was_asked_for() {
    assert!(is_root(), "this test gives files away: run it as root");
    let (name, ids) = somebody();
    for (owner, ids) in [
        (format!("{name}:{name}"), ids),
        (format!("{}:{}", ids.0, ids.1), ids),
        (name.clone(), ids),
        ("4321:8765".to_owned(), (4321, 8765)),
        ("4321".to_owned(), (4321, 4321)),
    ] {
        let place = Place::new();
        let wal = place.root().join("logs/deep/wal").display().to_string();
        let deep = place.root().join("data/deep");
        let restore = Rescue::new(["restore", SNAPSHOT, "-w", "json", "--data-dir"]).arg(&deep);
        let output = restore.args(["--owner", &owner, "--wal-dir", &wal]).run();
        let json = output.ok().stderr_is("").json();
        assert_eq!(json["plan"]["owner"], format!("{}:{}", ids.0, ids.1));
        assert_eq!(json["plan"]["ownerFrom"], "--owner");
        // And every directory that had to be made above them, or etcd could not get there.
        belongs_to(&place.root().join("data"), ids);
        belongs_to(&place.root().join("logs"), ids);
    }
}

#[test]
fn is_who_it_was_before() {
    assert!(is_root(), "this test gives files away: run it as root");
    let place = Place::new();
    place.write("data/member/snap/db", "old");
    chown(place.member(), Some(4321), Some(8765)).unwrap();
    let json = place
        .restore(&["--move-aside", "-w", "json"])
        .run()
        .ok()
        .json();
    assert_eq!(json["plan"]["owner"], "4321:8765");
    assert_eq!(
        json["plan"]["ownerFrom"],
        place.member().display().to_string()
    );
    belongs_to(&place.member(), (4321, 8765));
    assert_eq!(place.data().metadata().unwrap().uid(), 0);

    // Without a member it is the data dir that tells.
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    chown(place.data(), Some(1234), Some(5678)).unwrap();
    place.restore(&[]).run().ok().stdout_has("1234:5678 (from ");
    belongs_to(&place.data(), (1234, 5678));
    // And --owner beats both.
    place
        .restore(&["--move-aside", "--owner", "7:8"])
        .run()
        .ok();
    belongs_to(&place.member(), (7, 8));
}

/// A place that `nobody` may write to, with a program and a snapshot they can read.
fn nobodys_place() -> (tempfile::TempDir, Rescue) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for path in [dir.path(), &data] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_etcd-rescue");
    copy_program(program, dir.path().join("program"));
    std::fs::copy(SNAPSHOT, dir.path().join("input.db")).unwrap();
    let restore = Rescue::new(["restore"]).arg(dir.path().join("input.db"));
    (dir, restore.arg("--data-dir").arg(data))
}

#[test]
fn cannot_be_given_away_by_everybody() {
    assert!(is_root(), "this test becomes somebody else: run it as root");
    let (dir, restore) = nobodys_place();
    let program = dir.path().join("program");
    let in_place = |run: &Rescue| {
        let command = run.command();
        let mut copy = Command::new("setpriv");
        copy.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        copy.arg(&program).args(command.get_args());
        process::run(copy, None, TIMEOUT)
    };
    let data = dir.path().join("data");
    let before = Tree::of(&data);
    in_place(&restore.clone().args(["--owner", "0:0"]))
        .code(1)
        .stdout_is("")
        .stderr_has("cannot set the owner of")
        .stderr_has("hint: run it as root");
    before.assert_unchanged(&Tree::of(&data), "an owner that cannot be");
    // One's own is fine; so is an old owner that cannot be had again, but it is said.
    in_place(&restore.clone().args(["--owner", "65534:65534"]))
        .ok()
        .stderr_lacks("owner");
    belongs_to(&data, (NOBODY, NOBODY));
    chown(data.join("member"), Some(0), Some(0)).unwrap();
    in_place(&restore.clone().arg("--move-aside"))
        .ok()
        .stderr_has("cannot set the owner of")
        .stderr_has("chown -R before etcd starts");
    assert_eq!(names(&data).len(), 2);
    // Where one may not write at all, one is told so.
    chown(&data, Some(0), Some(0)).unwrap();
    std::fs::remove_dir_all(data.join("member")).unwrap();
    in_place(&restore)
        .code(1)
        .stderr_has("Permission denied")
        .stderr_has("hint: run it as root");
}

#[test]
fn is_who_etcd_runs_as() {
    assert!(is_root(), "this test gives files away: run it as root");
    let place = Place::new();
    place.restore(&["--owner", "65534:65534"]).run().ok();
    // The test's directories are for root alone; what counts is what is inside.
    let server = Etcd::new("3.7").data_dir(place.data()).start();
    assert!(server.api().dump().len() > 200);
}
