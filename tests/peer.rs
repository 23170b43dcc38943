//! Equal to the peer: on histories that nobody wrote by hand, etcdutl and bbolt see in every file what this
//! program sees, and find nothing wrong with the files that it writes.

mod history;
mod page_sizes;

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use crate::util::api::assert_same;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::process::Output;
use crate::util::run::{Rescue, rescue};
use crate::util::tools;
use crate::util::versions::version;

#[test]
fn random_histories_look_alike_3_5() {
    for seed in [1, 2] {
        random_history_looks_alike("3.5", seed);
    }
}

#[test]
fn random_histories_look_alike_3_7() {
    for seed in [3, 4] {
        random_history_looks_alike("3.7", seed);
    }
}

fn random_history_looks_alike(minor: &str, seed: u64) {
    println!("etcd {minor}, seed {seed}"); // shown when it fails
    let server = Etcd::new(minor).start();
    let mut history = history::History::new(seed);
    for step in 0..4 {
        history.go_on(&mut server.api(), 150);
        let snapshot = server.dir().join(format!("{step}.db"));
        let args = ["save", "--endpoints", &server.url()];
        Rescue::new(args).arg(&snapshot).run().ok();
        looks_alike(minor, &snapshot);
        for flags in [&["--no-bump"][..], &["--bump-revision", "7"]] {
            let data_dir = server.dir().join(format!("{step}{}", flags[0]));
            Rescue::new(["restore", "--data-dir"])
                .arg(&data_dir)
                .args(flags)
                .arg(&snapshot)
                .run()
                .ok();
            looks_alike(minor, &data_dir.join("member/snap/db"));
        }
    }
    let data_dir = server.dir().join("3--no-bump");
    let restored = Etcd::new(minor).data_dir(data_dir).start();
    let expected = server.api().dump();
    assert_same(&expected, &restored.api().dump(), "restored");
    assert_eq!(restored.api().hash_kv(0), server.api().hash_kv(0));
}

/// A snapshot near its quota must not come back above it: the server would raise the alarm at its first write.
#[test]
fn a_restored_db_needs_no_more_pages_than_a_defragmented_one() {
    let server = Etcd::new("3.7").start();
    let mut api = server.api();
    let lengths = [
        1..2000,
        2000..4000,
        4000..4200,
        4200..12_000,
        12_000..40_000,
    ];
    for (kind, lengths) in lengths.into_iter().enumerate() {
        let step = (lengths.len() / 150).max(1);
        for length in lengths.step_by(step) {
            api.put(format!("{kind}-{length}"), fill::noise(7, length));
        }
    }
    for n in 0..4 {
        api.put(format!("large-{n}"), fill::noise(7, 300_000 + n));
    }
    api.call(async |client| client.defragment().await);
    let snapshot = server.dir().join("snapshot.db");
    let args = ["save", "--endpoints", &server.url()];
    Rescue::new(args).arg(&snapshot).run().ok();
    let data_dir = server.dir().join("restored");
    let args = ["restore", "--no-bump", "--data-dir"];
    let run = Rescue::new(args).arg(&data_dir).arg(&snapshot).run();
    run.ok();
    let before = &looks_alike("3.7", &snapshot)["facts"]["inUse"];
    let after = &looks_alike("3.7", &data_dir.join("member/snap/db"))["totalSize"];
    // bbolt keeps a dozen small buckets inside of the root's page; here, each has a page.
    let (before, after) = (before.as_u64().unwrap(), after.as_u64().unwrap());
    assert!(after <= before + 12 * 4096, "{before} -> {after}");
}

/// This program, etcdutl of that version and bbolt agree on the file.
#[track_caller]
fn looks_alike(minor: &str, db: &Path) -> Value {
    bbolt("check", db).stdout_has("OK");
    let args = [OsStr::new("verify"), OsStr::new("--raw"), db.as_os_str()];
    rescue(args).ok().stdout_has("GOOD");

    let args = [
        "status".as_ref(),
        "-w".as_ref(),
        "json".as_ref(),
        db.as_os_str(),
    ];
    let ours = rescue::<[&OsStr; 4]>(args).ok().json();
    let args = ["status".as_ref(), "-w=json".as_ref(), db.as_os_str()];
    let theirs = tools::snapshot::<[&OsStr; 3]>(version(minor), args)
        .ok()
        .json();
    for key in ["hash", "revision", "totalSize"] {
        assert_eq!(ours[key], theirs[key], "{key} in {}", db.display());
    }
    let facts = &ours["facts"];
    let (live, all) = (&ours["totalKey"], &facts["totalEntries"]);
    let total = if version(minor).at_least("3.6") {
        live
    } else {
        all
    };
    assert_eq!(total, &theirs["totalKey"], "totalKey in {}", db.display());

    let pages = Pages::of(db);
    let page_size = facts["pageSize"].as_u64().unwrap();
    assert_eq!(
        facts["free"],
        pages.free * page_size,
        "free in {}",
        db.display()
    );
    assert_eq!(
        facts["inUse"],
        pages.in_use * page_size,
        "in use in {}",
        db.display()
    );
    let pairs = format!("Number of keys/value pairs: {}\n", all.as_u64().unwrap());
    bbolt("stats", db).stdout_has(&pairs);
    ours
}

/// What `bbolt pages` counts.
#[derive(Default)]
struct Pages {
    in_use: u64,
    free: u64,
}

impl Pages {
    /// Lines are `ID TYPE ITEMS OVERFLOW`, the last empty for none.
    #[track_caller]
    fn of(db: &Path) -> Self {
        let output = bbolt("pages", db);
        let mut pages = Self::default();
        for line in output.stdout_str().lines().skip(2) {
            match *line.split_whitespace().collect::<Vec<_>>() {
                [_, "free", ..] => pages.free += 1,
                [_, "meta" | "branch" | "leaf" | "freelist", _] => pages.in_use += 1,
                [_, _, _, overflow] => pages.in_use += 1 + overflow.parse::<u64>().unwrap(),
                _ => panic!("bbolt pages says {line:?}"),
            }
        }
        pages
    }
}

#[track_caller]
fn bbolt(command: &str, db: &Path) -> Output {
    tools::bbolt([OsStr::new(command), db.as_os_str()]).ok()
}
