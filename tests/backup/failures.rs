//! A run that fails changes nothing but its report and the metrics.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::site::{CATALOGUE, Site, failed, text, with_one};
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script, Step, good, image};
use crate::util::ports::free_url;
use crate::util::process::eventually;
use crate::util::run::Rescue;
use crate::util::temp_dir;
use crate::util::tools::TIMEOUT;
use crate::util::tree::Tree;

/// The report and the metrics still say when the last good one was.
#[track_caller]
fn tells_the_last_good_one(site: &Site, file: &str) {
    let report = site.report();
    assert_eq!(report["lastGood"]["file"], file, "{report:#}");
    let at: jiff::Timestamp = text(&report["lastGood"]["at"]).parse().unwrap();
    let told = site.metric("last_success_timestamp_seconds");
    assert_eq!(told, Some(at.as_second() as f64));
    assert_eq!(report["backups"]["verified"], 1);
}

#[test]
fn a_server_that_is_down() {
    let (site, _server, file) = with_one();
    let before = site.tree();
    let output = site.backup(&free_url()).run();
    failed(&site, &before, output, 5, "save").stderr_has("connection refused");
    assert_eq!(site.report()["error"]["kind"], "unreachable");
    tells_the_last_good_one(&site, &file);
}

#[test]
fn the_first_backup_of_all_fails() {
    let site = Site::new();
    let before = site.tree();
    let output = site.backup(&free_url()).run();
    failed(&site, &before, output, 5, "save");
    let report = site.report();
    assert_eq!(
        (&report["lastGood"], &report["backups"]["verified"]),
        (&Value::Null, &0.into())
    );
    // Unknown is not 1970.
    assert_eq!(site.metric("last_success_timestamp_seconds"), None);
}

#[test]
fn a_server_that_stalls() {
    let (site, _server, file) = with_one();
    let before = site.tree();
    let stalling = Fake::sending(vec![good(&image())[0].clone(), Step::Stall]);
    let patient = [
        "--idle-timeout=60s",
        "--command-timeout=60s",
        "--timeout=2s",
    ];
    let output = site.backup(&stalling.endpoint()).args(patient).run();
    let output = output.within(Duration::from_secs(4));
    failed(&site, &before, output, 5, "save")
        .stderr_has("not done within 2s")
        .stderr_has("hint: give --timeout more time");
    tells_the_last_good_one(&site, &file);
    // Without a deadline of its own, the stream has one.
    let output = site
        .backup(&stalling.endpoint())
        .arg("--idle-timeout=1s")
        .run();
    failed(&site, &before, output, 5, "save").stderr_has("nothing came for 1s");
}

#[test]
fn a_server_that_sends_what_is_no_database() {
    let (site, _server, file) = with_one();
    let before = site.tree();
    let noise = Fake::start(Script::default());
    let output = site.backup(&noise.endpoint()).run();
    failed(&site, &before, output, 3, "save").stderr_has("damaged all the same");
    tells_the_last_good_one(&site, &file);
}

#[test]
fn a_signal_in_the_middle() {
    let (site, _server, file) = with_one();
    let stalling = Fake::sending(vec![good(&image())[0].clone(), Step::Stall]);
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2)] {
        let before = site.tree();
        let running = site
            .backup(&stalling.endpoint())
            .arg("--idle-timeout=60s")
            .spawn();
        let fds = format!("/proc/{}/fd", running.pid());
        eventually("it writes", || {
            let open = std::fs::read_dir(&fds).into_iter().flatten().flatten();
            open.filter_map(|fd| fd.path().read_link().ok())
                .any(|file| file.starts_with(site.dir()) && file.to_str().unwrap().contains('#'))
        });
        running.send(signal);
        running
            .wait(TIMEOUT)
            .signal(number)
            .within(Duration::from_secs(10));
        before.assert_unchanged(&site.tree(), "an interrupted backup");
        let report = site.report();
        assert_eq!(report["error"]["kind"], "interrupted");
        assert_eq!(report["stage"], "save");
        tells_the_last_good_one(&site, &file);
    }
}

#[test]
fn hints_can_be_pasted_whatever_the_directory_is_called() {
    let dir = temp_dir();
    let said = |verb: &[&str]| Rescue::new(verb.iter().copied()).cwd(dir.path()).run();
    said(&["backup", "my dir"])
        .code(4)
        .stderr_has("hint: mkdir -m 700 -p 'my dir'\n");
    std::fs::create_dir(dir.path().join("my dir")).unwrap();
    said(&["verify", "my dir", "--latest"])
        .code(4)
        .stderr_has("hint: etcd-rescue list 'my dir' shows");
    said(&["check", "my dir"])
        .code(6)
        .stderr_has("hint: etcd-rescue list 'my dir' shows");
    said(&["save", "new dir/a.db"])
        .code(1)
        .stderr_has("hint: make it first: mkdir -p 'new dir'\n");
}

#[test]
fn a_directory_that_is_missing() {
    let server = Etcd::new("3.7").start();
    let site = Site::new();
    std::fs::remove_dir(site.dir()).unwrap();
    let output = site.backup(&server.url()).run().code(4);
    output
        .stderr_has("is not a directory")
        .stderr_has("hint: mkdir -m 700 -p ");
    assert!(!site.dir().exists(), "it could be on the wrong disk");
    let report = site.report();
    assert_eq!(
        (&report["stage"], &report["exitCode"]),
        (&"lock".into(), &4.into())
    );
    assert_eq!(report["backups"], Value::Null);
    assert_eq!(site.metric("last_run_success"), Some(0.0));
    assert_eq!(site.metric("backups"), None);
}

#[test]
fn a_catalogue_of_a_newer_format_stops_it_at_once() {
    let (site, server, _) = with_one();
    std::fs::write(site.at(CATALOGUE), r#"{"format": 2, "records": []}"#).unwrap();
    let before = site.tree();
    let output = site.backup(&server.url()).run();
    failed(&site, &before, output, 4, "clean").stderr_has("has format 2");
    // Nothing was fetched for nothing.
    for (verb, rest) in [("check", "--full"), ("prune", "--keep-last=1")] {
        site.verb(verb).arg(rest).run();
    }
    before.assert_unchanged(&site.tree(), "other verbs");
    site.verb("check").run().code(6);
}

#[test]
fn a_broken_catalogue_costs_proofs_and_no_backup() {
    let (site, server, old) = with_one();
    std::fs::write(site.at(CATALOGUE), b"{\"format\": 1, \"rec").unwrap();
    let before = site.tree();
    let output = site.backup(&free_url()).run();
    failed(&site, &before, output, 5, "save").stderr_has("cannot be read");
    site.verb("check")
        .run()
        .code(6)
        .stderr_has("cannot be read");
    let output = site.backup(&server.url()).arg("--keep-last=1").run().ok();
    output.stderr_has("warning: ").stderr_has("cannot be read");
    // What nobody has proved is not pruned; what was broken is kept for whoever wants to look.
    assert_eq!(site.files().len(), 2);
    assert!(site.files().contains(&old));
    assert!(site.leftovers()[0].starts_with(&format!("{CATALOGUE}.broken-20")));
    site.verb("check").arg("--full").run().ok();
    assert_eq!(site.list()["totals"]["verified"], 2);
}

#[test]
fn a_catalogue_that_cannot_be_read_at_all() {
    let (site, server, _) = with_one();
    std::fs::remove_file(site.at(CATALOGUE)).unwrap();
    std::fs::create_dir(site.at(CATALOGUE)).unwrap();
    let before = site.tree();
    let output = site.backup(&server.url()).run();
    failed(&site, &before, output, 1, "clean").stderr_has(CATALOGUE);
}

#[test]
fn report_and_metrics_are_replaced_as_a_whole() {
    let (site, server, _) = with_one();
    let (report, metrics) = (site.beside("report.json"), site.beside("etcd.prom"));
    let inode = |path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let before = [inode(&report), inode(&metrics)];
    // Whoever has the old one open reads all of it.
    let held = [
        std::fs::File::open(&report).unwrap(),
        std::fs::File::open(&metrics).unwrap(),
    ];
    site.backup(&server.url()).run().ok();
    let after = [inode(&report), inode(&metrics)];
    assert!(before[0] != after[0] && before[1] != after[1]);
    drop(held);
    let root = site.dir().parent().unwrap();
    let there: Vec<String> = crate::util::tree::names(root);
    assert_eq!(there, ["backups", "etcd.prom", "report.json"]);
    let _ = Tree::of(root);
}

/// No name is taken but the one that the backup gets in the end.
#[test]
fn files_of_others_are_not_in_the_way() {
    let (site, server, _) = with_one();
    for name in ["backup.db.zst", "etcd.db.zst", "notes"] {
        std::fs::write(site.at(name), "mine").unwrap();
    }
    site.backup(&server.url()).arg("--keep-last=1").run().ok();
    for name in ["backup.db.zst", "etcd.db.zst", "notes"] {
        assert_eq!(std::fs::read(site.at(name)).unwrap(), b"mine");
    }
    assert_eq!(site.files().len(), 1);
}
