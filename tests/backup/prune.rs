//! Retention through the program: what goes, what never goes, and why.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::site::{CATALOGUE, Site, text};
use crate::util::etcd::Etcd;
use crate::util::run::rescue;
use crate::util::strace::{self, Call};

/// One of now, and the same of 1 to `days` days ago, all proved.
#[track_caller]
fn of_days(days: i64) -> (Site, Etcd, String) {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let site = Site::new();
    let file = site.made(&server.url());
    for day in 1..=days {
        let at = Timestamp::now() - SignedDuration::from_hours(24 * day);
        site.redated(&file, &format!("day-{day}.db.zst"), at);
    }
    let total = format!("{} good, 0 damaged", days + 1);
    site.verb("check")
        .arg("--full")
        .run()
        .ok()
        .stdout_has(&total);
    (site, server, file)
}

/// What `-w json` says of each: kept or not, and the reasons.
fn decisions(document: &Value) -> Vec<(String, bool, String)> {
    let decision = |each: &Value| {
        let reasons = each["reasons"].as_array().unwrap().iter();
        let reasons: Vec<String> = reasons.map(text).collect();
        (
            text(&each["file"]),
            each["keep"] == true,
            reasons.join(", "),
        )
    };
    let all = document["decisions"].as_array().unwrap();
    all.iter().map(decision).collect()
}

#[test]
fn a_rehearsal_says_what_the_real_run_does() {
    let (site, _server, file) = of_days(6);
    let before = site.tree();
    let rules = ["--keep-last=2", "--keep-daily=3"];
    let dry = site.verb("prune").args(rules).arg("--dry-run");
    let table = dry.clone().arg("-w=table").run().ok().stderr_is("");
    table
        .stdout_has("last verified, last, daily")
        .stdout_has("no rule keeps it")
        .stdout_has("would remove 4 backups");
    let document = dry.arg("-w=json").run().ok().json();
    before.assert_unchanged(&site.tree(), "a rehearsal");
    let expected = [
        (file.as_str(), true, "last verified, last, daily"),
        ("day-1.db.zst", true, "last, daily"),
        ("day-2.db.zst", true, "daily"),
        ("day-3.db.zst", false, "no rule keeps it"),
        ("day-4.db.zst", false, "no rule keeps it"),
        ("day-5.db.zst", false, "no rule keeps it"),
        ("day-6.db.zst", false, "no rule keeps it"),
    ]
    .map(|(file, keep, why)| (file.to_owned(), keep, why.to_owned()));
    assert_eq!(decisions(&document), expected);
    let real = site
        .verb("prune")
        .args(rules)
        .arg("-w=json")
        .run()
        .ok()
        .json();
    assert_eq!(real["decisions"], document["decisions"]);
    assert_eq!(real["pruned"], document["pruned"]);
    assert_eq!(site.files(), [&file, "day-1.db.zst", "day-2.db.zst"]);
    let records = std::fs::read_to_string(site.at(CATALOGUE)).unwrap();
    assert_eq!(records.matches("\"verified\"").count(), 3, "{records}");
}

#[test]
fn a_backup_prunes_in_the_same_run() {
    let (site, server, file) = of_days(4);
    site.backup(&server.url())
        .arg("--keep-last=3")
        .run()
        .ok()
        .stdout_is("")
        .stderr_is("");
    let report = site.report();
    let removed = report["pruned"]["removed"].as_array().unwrap();
    let names: Vec<String> = removed.iter().map(|each| text(&each["file"])).collect();
    assert_eq!(names, ["day-4.db.zst", "day-3.db.zst", "day-2.db.zst"]);
    assert_eq!(site.metric("last_run_pruned_backups"), Some(3.0));
    let new = text(&report["saved"]["file"]);
    assert_eq!(site.files(), [&new, &file, "day-1.db.zst"]);
}

#[test]
fn nothing_goes_without_a_rule() {
    let (site, server, _) = of_days(3);
    let before = site.tree();
    let output = site.verb("prune").run().ok();
    output
        .stdout_has("removed 0 backups")
        .stdout_has("no keep rule given");
    before.assert_unchanged(&site.tree(), "prune without a rule");
    site.backup(&server.url()).run().ok();
    assert_eq!(site.files().len(), 5);
}

#[test]
fn only_what_backup_made_and_somebody_proved() {
    let (site, server, file) = of_days(3);
    let snapshot = server.snapshot_save("snapshot.db");
    let by_hand = site.at("by-hand.db.zst");
    rescue([
        "pack",
        snapshot.to_str().unwrap(),
        by_hand.to_str().unwrap(),
    ])
    .ok();
    let saved = site.at("saved.db.zst");
    rescue([
        "save",
        saved.to_str().unwrap(),
        "--endpoints",
        &server.url(),
    ])
    .ok();
    std::fs::copy(&snapshot, site.at("plain.db")).unwrap();
    std::fs::write(site.at("etcd-20200101T000000Z-rev1.db.zst"), "not one").unwrap();
    std::fs::write(site.at("notes.txt"), "keep out").unwrap();
    // Proved or not: what a person made is a person's to remove.
    site.verb("check")
        .arg("--full")
        .run()
        .code(3)
        .stdout_has("6 good, 1 damaged");
    let old = Timestamp::now() - SignedDuration::from_hours(24 * 400);
    site.redated(&file, "nobody-proved-it.db.zst", old);
    site.pin("pin", "day-3.db.zst");
    let unreal = site.list()["strangers"].to_string();
    for name in ["plain.db", "etcd-20200101T000000Z-rev1.db.zst"] {
        assert!(unreal.contains(name), "{name} in {unreal}");
    }

    let output = site
        .verb("prune")
        .args(["--keep-last=1", "--max-size=1"])
        .run()
        .ok();
    output
        .stdout_has("not made by backup")
        .stdout_has("not verified")
        .stdout_has("pinned")
        .stdout_has("removed 2 backups");
    let mut left = site.files();
    left.sort();
    let mut expected = [
        "by-hand.db.zst",
        "saved.db.zst",
        "nobody-proved-it.db.zst",
        "day-3.db.zst",
        &file,
    ];
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert!(site.leftovers().contains(&"notes.txt".to_owned()));
    assert!(site.at("plain.db").exists());
    assert!(site.at("etcd-20200101T000000Z-rev1.db.zst").exists());

    site.pin("unpin", "day-3.db.zst");
    site.verb("prune").arg("--keep-last=1").run().ok();
    assert!(!site.at("day-3.db.zst").exists());
}

#[test]
fn a_lost_catalogue_costs_no_backup() {
    let (site, _server, file) = of_days(3);
    std::fs::remove_file(site.at(CATALOGUE)).unwrap();
    let output = site.verb("prune").arg("--keep-last=1").run().ok();
    output
        .stdout_has("removed 0 backups")
        .stdout_has("not verified")
        .stderr_has(CATALOGUE);
    assert_eq!(site.files().len(), 4);
    site.verb("check")
        .run()
        .code(6)
        .stderr_has("none of 4 archives");
    site.verb("check").arg("--full").run().ok();
    site.verb("prune").arg("--keep-last=1").run().ok();
    assert_eq!(site.files(), [file]);
}

#[test]
fn a_size_that_nothing_fits_stops_at_the_last_one() {
    let (site, _server, file) = of_days(4);
    let size = site.at(&file).metadata().unwrap().len();
    let two = format!("--max-size={}", 2 * size + size / 2);
    let output = site.verb("prune").arg(&two).run().ok();
    output
        .stdout_has("no room in --max-size")
        .stdout_has("removed 3 backups");
    assert_eq!(site.files(), [&file, "day-1.db.zst"]);
    let output = site.verb("prune").arg("--max-size=1").run().ok();
    output
        .stdout_has("removed 1 backup")
        .stdout_has("more than --max-size");
    assert_eq!(site.files(), [file]);
}

#[test]
fn the_last_that_is_proved_stays_whatever_is_newer() {
    let (site, _server, file) = of_days(3);
    // The newest is damaged, the one before is renamed, and what is said to be of tomorrow proves nothing.
    let mut bytes = std::fs::read(site.at(&file)).unwrap();
    bytes[200] ^= 1;
    std::fs::write(site.at(&file), bytes).unwrap();
    let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
    site.redated("day-3.db.zst", "tomorrow.db.zst", tomorrow);
    std::fs::rename(site.at("day-1.db.zst"), site.at("zzz.db.zst")).unwrap();
    site.verb("check").arg("--full").run().code(3);
    site.verb("prune")
        .args(["--keep-last=1", "--max-size=1"])
        .run()
        .ok();
    let left = site.files();
    assert_eq!(left, ["tomorrow.db.zst", &file, "zzz.db.zst"], "{left:?}");
}

/// Otherwise a power cut could bring it back, and nobody would know any more whose it is.
#[test]
fn a_removal_is_on_the_disk_before_the_record_goes() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let site = Site::new();
    let old = site.at(&site.made(&server.url()));
    server.api().put("key", "another");
    site.made(&server.url());
    let prune = site.verb("prune").arg("--keep-last=1");
    let (output, calls) = strace::trace(&prune, strace::CHANGING, &[]);
    output.ok().stdout_has("removed 1 backup");
    let place = |what: &dyn Fn(&Call) -> bool| calls.iter().position(what).unwrap();
    let removed = place(&|call| call.name.starts_with("unlink") && call.mentions(&old));
    let recorded =
        place(&|call| call.name.starts_with("rename") && call.mentions(&site.at(CATALOGUE)));
    let synced = calls[removed..recorded].iter().any(|call| {
        call.is("fsync") && call.worked() && call.open_file().as_deref() == Some(site.dir())
    });
    assert!(synced, "{:?}", &calls[removed..recorded]);
}

/// What went is told, and so is that nobody wrote it down.
#[test]
fn a_removal_that_cannot_be_recorded_is_told() {
    let (site, _server, file) = of_days(2);
    let prune = site.verb("prune").args(["--keep-last=1", "-w=json"]);
    let full = ["inject=rename,renameat,renameat2:error=EIO".to_owned()];
    let output = strace::inject(&prune, &full).code(1);
    output
        .stderr_has(CATALOGUE)
        .stderr_has("Input/output error");
    assert_eq!(site.files(), [file]);
}
