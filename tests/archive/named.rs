//! Whatever is said of an archive names its file, and says what to do next.

use serde_json::Value;

use super::site::{ARCHIVE, SMALL, Site, assemble, packed, parts};
use crate::util::archives::retold;

/// Bytes of [`ARCHIVE`] up to the middle of its third frame.
fn cut() -> Vec<u8> {
    let frames = parts(&ARCHIVE).1;
    let whole: usize = frames[..2].iter().map(Vec::len).sum();
    ARCHIVE[..whole + frames[2].len() / 2].to_vec()
}

#[test]
fn a_cut_archive_is_not_restored_and_the_verdict_says_why() {
    let site = Site::with("x-cut.zst", &cut());
    for more in [&[][..], &["--dry-run"]] {
        let restore = ["restore", "x-cut.zst", "--data-dir", "new"];
        site.run(&[&restore[..], more].concat())
            .code(3)
            .stderr_has("error: x-cut.zst: offset ")
            .stderr_has("error: x-cut.zst is DAMAGED; nothing was written")
            .stderr_has("hint: restore another snapshot");
    }
    let json = site
        .run(&["restore", "-w=json", "x-cut.zst", "--data-dir", "new"])
        .code(3)
        .json();
    assert_eq!(json["path"], "x-cut.zst");
    assert_eq!(json["verdict"]["packed"]["container"], "damaged");
    assert!(!site.has("new"));
}

/// The version is told where the archive tells it.
#[test]
fn a_newer_format_without_a_version() {
    for (needs, told) in [
        ("", "it needs a newer etcd-rescue\n"),
        ("7.0.0", "it needs etcd-rescue 7.0.0 or newer\n"),
    ] {
        let (mut manifest, frames) = parts(&packed(&SMALL));
        (manifest.format, manifest.needs) = (2, needs.into());
        let site = Site::with("x.zst", &assemble(manifest, &frames));
        let error = format!(
            "error: x.zst: the archive has format 2, this program reads up to 1: {told}hint: zstd -d "
        );
        for command in ["verify", "status"] {
            site.run(&[command, "x.zst"]).code(4).stderr_has(&error);
        }
    }
}

#[test]
fn a_directory_is_told_from_a_file() {
    let site = Site::with("x.zst", &packed(&SMALL));
    std::fs::create_dir(site.path("dir.zst")).unwrap();
    for command in ["pin", "unpin"] {
        site.run(&[command, "dir.zst"])
            .code(1)
            .stderr_has("cannot read dir.zst: it is a directory");
    }
    site.run(&["verify", "--latest", "x.zst"])
        .code(2)
        .stderr_has("x.zst is a file, and --latest looks into a directory")
        .stderr_has("hint: leave --latest out");
    site.run(&["verify", "--latest", "nowhere"])
        .code(1)
        .stderr_has("nowhere");
}

/// A directory `dir` with the verified backup `a.db.zst`.
fn with_latest() -> Site {
    let site = Site::with("x.db", &SMALL);
    std::fs::create_dir(site.path("dir")).unwrap();
    site.run(&["pack", "x.db", "packed.zst"]).ok();
    // What was packed by hand is never the latest.
    let saved = retold(&site.path("packed.zst"), |manifest| {
        manifest.made.by = "save".into();
    });
    site.write("dir/a.db.zst", &saved);
    site.run(&["check", "--full", "--max-age=1h", "dir"]).ok();
    site
}

/// `DIR --latest` is a file by the time it is read: answers, errors and commands to type name that one.
#[test]
fn the_newest_backup_is_called_by_its_name() {
    let site = with_latest();
    let json = |args: &[&str]| -> Value { site.run(&[args, &["-w=json"]].concat()).ok().json() };

    let verify = &json(&["verify", "dir", "--latest"])["results"][0];
    assert_eq!(verify["path"], "dir/a.db.zst");
    site.run(&["verify", "dir", "--latest"])
        .ok()
        .stdout_has("GOOD      dir/a.db.zst  archive of a snapshot");

    assert_eq!(json(&["status", "dir", "--latest"])["path"], "dir/a.db.zst");
    site.run(&["status", "-w=table", "dir", "--latest"])
        .ok()
        .stdout_has("not read; etcd-rescue status --full dir/a.db.zst does");

    let pack = ["pack", "--force", "dir", "--latest", "y.zst"];
    assert_eq!(json(&pack)["input"], "dir/a.db.zst");
    site.run(&pack)
        .ok()
        .stdout_has("Packed dir/a.db.zst into y.zst");

    let unpack = ["unpack", "--force", "dir", "--latest", "y.db"];
    assert_eq!(json(&unpack)["input"], "dir/a.db.zst");
    site.run(&unpack)
        .ok()
        .stdout_has("Unpacked dir/a.db.zst into y.db");

    let restore = ["restore", "--latest", "dir", "--data-dir", "new"];
    let planned = json(&[&restore[..], &["--dry-run"]].concat());
    assert_eq!(planned["path"], "dir/a.db.zst");
    let two = "--initial-cluster=default=http://localhost:2380,m2=http://m2:2380";
    site.run(&[&restore[..], &[two]].concat())
        .ok()
        .stdout_has("Restored dir/a.db.zst to new/member")
        .stdout_has("--initial-advertise-peer-urls http://m2:2380 dir/a.db.zst\n");
}

/// What is not good is called by its name, too.
#[test]
fn the_newest_backup_that_is_broken_is_called_by_its_name() {
    let site = with_latest();
    let mut bytes = site.read("dir/a.db.zst");
    bytes[5000] ^= 1;
    site.write("dir/a.db.zst", &bytes);
    for args in [
        &["verify", "dir", "--latest"][..],
        &["status", "--full", "dir", "--latest"],
        &["pack", "dir", "--latest", "y"],
        &["unpack", "dir", "--latest", "y"],
        &["restore", "dir", "--latest", "--data-dir", "y"],
    ] {
        site.run(args)
            .code(3)
            .stderr_has("error: dir/a.db.zst: ")
            .stderr_lacks("the newest backup in");
    }
}

/// `zstd` and `gunzip` stop at the first damage: no more than that is promised.
#[test]
fn what_others_can_read_of_it_is_not_overstated() {
    let site = Site::with("x.zst", &cut());
    site.run(&["unpack", "x.zst", "y"]).code(3).stderr_has(
        "zstd -dc or gunzip -c give what stands in front of the first damage, and stop there",
    );
}
