//! What time and people do to a directory: archives rot, are cut, copied, moved away; the catalogue breaks.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::site::{CATALOGUE, OLD_CATALOGUE, Site};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::mount::Namespace;
use crate::util::run::rescue;
use crate::util::strace;

fn server() -> Etcd {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "key/", 60, 100);
    server
}

/// Two backups of different revisions; their files, the newer one last.
#[track_caller]
fn two(site: &Site, server: &Etcd) -> [String; 2] {
    let first = site.made(&server.url());
    server.api().put("more", "value");
    [first, site.made(&server.url())]
}

/// What is done to a file.
type Harm = fn(&Path);

/// Ways to lose the manifest.
const WAYS: [(&str, Harm); 3] = [
    ("flipped", |path| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(9).rposition(|it| it == b"\"format\":");
        bytes[at.unwrap() + 1] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }),
    ("cut", |path| {
        let half = path.metadata().unwrap().len() / 2;
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(half).unwrap();
    }),
    ("empty", |path| std::fs::write(path, "").unwrap()),
];

#[test]
fn an_archive_that_became_none_is_damage() {
    let server = server();
    for (way, harm) in WAYS {
        let site = Site::new();
        let [first, second] = two(&site, &server);
        harm(&site.at(&first));
        let check = site.verb("check").args(["--full", "--max-age=1h"]).run();
        let check = check.expect(true, way).code(3);
        check
            .stdout_has(&format!("DAMAGED             {first}"))
            .stdout_has("2, 1 good, 1 damaged")
            .stderr_has("1 backup damaged");
        let nagios = site.verb("check").arg("--nagios").run().code(1);
        nagios.stdout_has("WARNING").stdout_has("damaged=1");
        // A person is told even where nobody looks at tables.
        site.verb("list")
            .run()
            .ok()
            .stdout_has(&second)
            .stderr_has(&format!("damaged: {first}"));
        let stranger = &site.list()["strangers"][0];
        assert_eq!(
            (&stranger["file"], &stranger["damaged"]),
            (&first.as_str().into(), &true.into())
        );
        let report = {
            site.made(&server.url());
            site.report()
        };
        assert!(
            report["warnings"].to_string().contains(&first),
            "{report:#}"
        );
        // A new name hides it from the pattern and not from the catalogue.
        harm(&site.at(&second));
        std::fs::remove_file(site.at(&first)).unwrap();
        site.verb("check")
            .arg("--full")
            .run()
            .code(3)
            .stdout_has(&second);
    }
}

#[test]
fn the_next_backup_is_compared_with_one_that_is_lost() {
    let server = server();
    let other = Etcd::new("3.7").start();
    other.api().put("alone", "key");
    for (way, harm) in WAYS {
        let site = Site::new();
        let file = site.made(&server.url());
        harm(&site.at(&file));
        site.backup(&other.url())
            .arg("--keep-last=1")
            .run()
            .expect(true, way)
            .code(3)
            .stderr_has("the cluster id changed")
            .stderr_has("live keys fell by more than half");
        assert!(site.at(&file).exists());
    }
}

#[test]
fn pins_outlive_the_catalogue() {
    let server = server();
    let site = Site::new();
    let [first, second] = two(&site, &server);
    site.pin("pin", &first);
    // What it says now becomes the one before.
    site.verb("check").arg("--sample=1").run().ok();
    let catalogue = site.at(CATALOGUE);
    let bytes = std::fs::read(&catalogue).unwrap();
    for lost in [true, false] {
        match lost {
            true => std::fs::remove_file(&catalogue).unwrap(),
            false => std::fs::write(&catalogue, &bytes[..bytes.len() - 10]).unwrap(),
        }
        site.verb("check").run().code(6).stderr_has(CATALOGUE);
        site.verb("check")
            .arg("--full")
            .run()
            .ok()
            .stderr_has(&format!("warning: {CATALOGUE} cannot be read"))
            .stderr_has("pins and what was accepted are as they were");
        let prune = site.verb("prune").arg("--keep-last=1").run().ok();
        prune.stdout_has("removed 0 backups").stdout_has("pinned");
        site.verb("check").run().ok().stderr_is("");
    }
    // Nor does it take a file system with links to keep the one before.
    let before = std::fs::read(&catalogue).unwrap();
    let sample = site.verb("check").arg("--sample=1");
    strace::inject(&sample, &["inject=link,linkat:error=EPERM".to_owned()]).ok();
    assert_ne!(std::fs::read(&catalogue).unwrap(), before);
    assert_eq!(std::fs::read(site.at(OLD_CATALOGUE)).unwrap(), before);
    // Without both of them a person is told what is gone.
    for name in [CATALOGUE, OLD_CATALOGUE] {
        std::fs::write(site.at(name), "{").unwrap();
    }
    site.verb("check")
        .arg("--full")
        .run()
        .ok()
        .stderr_has("pins and what was accepted are lost");
    site.verb("prune")
        .arg("--keep-last=1")
        .run()
        .ok()
        .stdout_has("removed 1 backup");
    assert_eq!(site.files(), [second]);
}

#[test]
fn a_pinned_archive_that_is_gone_is_missed_until_it_is_unpinned() {
    let server = server();
    let site = Site::new();
    let [first, second] = two(&site, &server);
    site.pin("pin", &first);
    std::fs::remove_file(site.at(&first)).unwrap();
    let missed = format!("pinned, and not there any more: {first}");
    site.verb("check").run().ok().stderr_has(&missed);
    site.verb("list").run().ok().stderr_has(&missed);
    site.backup(&server.url()).run().ok();
    assert!(site.report()["warnings"].to_string().contains(&missed));
    site.pin("unpin", &first);
    site.verb("check").run().ok().stderr_is("");
    // Others are told once, to those who look at everything.
    std::fs::remove_file(site.at(&second)).unwrap();
    site.verb("check").run().ok().stderr_is("");
    let full = || site.verb("check").arg("--full").run().ok();
    full()
        .stderr_has("verified once, and not there any more: ")
        .stderr_has(&first)
        .stderr_has(&second);
    full().stderr_is("");
}

#[test]
fn an_emptied_directory_is_told_once() {
    let server = server();
    let site = Site::new();
    let files = two(&site, &server);
    for file in &files {
        std::fs::remove_file(site.at(file)).unwrap();
    }
    let full = || site.verb("check").arg("--full").run().code(6);
    full().stderr_has("verified once, and not there any more");
    full().stderr_lacks("not there any more");
}

/// Years of backups leave no more records than archives, and those of the last three months.
#[test]
fn what_is_gone_for_long_is_forgotten() {
    let server = server();
    let site = Site::new();
    site.made(&server.url());
    let path = site.at(CATALOGUE);
    let mut catalogue: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let now = Timestamp::now();
    for (id, days) in [("aa", 100), ("bb", 50)] {
        let at = now - SignedDuration::from_hours(24 * days);
        catalogue["records"][id] = json!({"verified": {"at": at.to_string(), "how": "backup"}});
    }
    std::fs::write(&path, catalogue.to_string()).unwrap();
    site.made(&server.url());
    let catalogue: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let records = catalogue["records"].as_object().unwrap();
    assert!(
        !records.contains_key("aa") && records.contains_key("bb"),
        "{catalogue:#}"
    );
}

#[test]
fn copies_that_people_made_stay() {
    let server = server();
    let site = Site::new();
    let [first, second] = two(&site, &server);
    let copies = ["before-upgrade.db.zst", "a copy"];
    for copy in copies {
        std::fs::copy(site.at(&first), site.at(copy)).unwrap();
    }
    std::fs::hard_link(site.at(&first), site.at("linked.bak")).unwrap();
    let prune = || site.verb("prune").args(["--keep-last=1", "-w=json"]);
    let told = prune().arg("--dry-run").run().ok().json();
    let document = prune().run().ok().json();
    assert_eq!(told["pruned"], document["pruned"]);
    let removed = document["pruned"]["removed"].as_array().unwrap();
    assert_eq!(
        (removed.len(), &removed[0]["file"]),
        (1, &first.as_str().into())
    );
    assert!(!site.at(&first).exists());
    // Ours is gone; what is left of it is theirs, for good.
    for _ in 0..2 {
        for copy in copies.iter().chain(&["linked.bak"]) {
            assert!(site.at(copy).exists(), "{copy}");
        }
        site.verb("prune")
            .arg("--keep-last=1")
            .run()
            .ok()
            .stdout_has("removed 0 backups");
        site.verb("check")
            .arg("--full")
            .run()
            .ok()
            .stdout_has("2 good");
    }
    assert!(site.at(&second).exists());
}

#[test]
fn what_was_packed_by_hand_has_no_date() {
    let server = server();
    let site = Site::new();
    let old = server.snapshot_save("old.db");
    let packed = site.at("packed.db.zst");
    rescue(["pack", old.to_str().unwrap(), packed.to_str().unwrap()]).ok();
    site.verb("check")
        .arg("--full")
        .run()
        .code(6)
        .stdout_has("1 good")
        .stderr_has("pack made them");
    site.verb("verify")
        .arg("--latest")
        .run()
        .code(4)
        .stderr_has("pack");
    let file = site.made(&server.url());
    let latest = site.verb("status").arg("--latest").run().ok();
    latest.stderr_has(&file);
    assert_eq!(site.list()["latest"], site.listed(&file)["id"]);
}

#[test]
fn what_is_suspicious_is_told_to_whoever_takes_the_latest() {
    let server = server();
    let other = Etcd::new("3.7").start();
    other.api().put("alone", "key");
    let site = Site::new();
    let good = site.made(&server.url());
    site.backup(&other.url()).run().code(3);
    let odd = site.files()[0].clone();
    let latest = || site.verb("verify").arg("--latest").run().ok();
    latest()
        .stderr_has("warning: it is suspicious: the cluster id changed")
        .stderr_has(&good);
    site.verb("check")
        .run()
        .ok()
        .stderr_has("suspicious until `unpin FILE` accepts it");
    other.api().put("another", "key");
    site.made(&other.url());
    latest().stderr_has(&format!("warning: {odd} is suspicious"));
    site.pin("unpin", &odd);
    latest().stderr_lacks("suspicious");
    site.verb("check").run().ok().stderr_is("");
}

/// A copy of the directory whose catalogue did not come along with every new archive, for one.
#[test]
fn newer_ones_that_do_not_count_are_told_to_whoever_takes_the_latest() {
    let server = server();
    let site = Site::new();
    let first = site.made(&server.url());
    let known = std::fs::read(site.at(CATALOGUE)).unwrap();
    // Manifests have seconds, and the catalogue forgets which of two in one was the later.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = site.made(&server.url());
    std::fs::write(site.at(CATALOGUE), known).unwrap();
    let latest = || site.verb("verify").arg("--latest").run().ok();
    latest().stderr_has(&first).stderr_has(&format!(
        "warning: newer, but not verified: {second}; etcd-rescue check {} --full verifies",
        site.dir().display()
    ));
    site.verb("check").arg("--full").run().ok();
    latest().stderr_has(&second).stderr_lacks("warning");

    let mut bytes = std::fs::read(site.at(&second)).unwrap();
    bytes[60] ^= 1;
    std::fs::write(site.at(&second), &bytes).unwrap();
    // Nobody has noticed yet: the hint gets at the one before it.
    site.verb("verify").arg("--latest").run().code(3);
    let data = site.beside("data");
    let restore = || {
        site.verb("restore")
            .args(["--latest", "--data-dir"])
            .arg(&data)
    };
    restore().run().code(3).stderr_has(&format!(
        "hint: etcd-rescue check {} --full verifies every backup, and --latest then takes the newest good one",
        site.dir().display()
    ));
    site.verb("check").arg("--full").run().code(3);
    let restored = restore().run().ok().stderr_has(&first);
    restored.stderr_has(&format!("warning: newer, but damaged: {second}"));

    std::fs::write(site.at(&second), &bytes[..bytes.len() / 2]).unwrap();
    let cut = format!("warning: no archives any more: {second}");
    latest().stderr_has(&first).stderr_has(&cut);
}

/// A mount point cannot be removed.
#[test]
fn one_that_cannot_be_removed_does_not_keep_the_others() {
    let server = server();
    let site = Site::new();
    let files: Vec<String> = (0..4)
        .map(|round| {
            server.api().put("round", round.to_string());
            site.made(&server.url())
        })
        .collect();
    let stuck = site.at(&files[1]);
    let namespace = Namespace::new(&format!("mount --bind '{0}' '{0}'", stuck.display()));
    let backup = site.backup(&server.url()).arg("--keep-last=2");
    namespace.run(&backup).code(1).stderr_has(&files[1]);
    let report = site.report();
    let removed = report["pruned"]["removed"].as_array().unwrap();
    let removed: Vec<&str> = removed
        .iter()
        .map(|it| it["file"].as_str().unwrap())
        .collect();
    assert_eq!(removed, [&files[0], &files[2]]);
    for (file, there) in files.iter().zip([false, true, false, true]) {
        assert_eq!(site.at(file).exists(), there, "{file}");
    }
    let prune = site.verb("prune").arg("--keep-last=1");
    namespace
        .run(&prune)
        .code(1)
        .stdout_has("removed 1 backup")
        .stderr_has("error: cannot remove");
}

#[test]
fn a_copy_that_cannot_be_written_to_can_be_checked() {
    let server = server();
    let site = Site::new();
    two(&site, &server);
    let namespace = Namespace::new(&format!(
        "mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}'",
        site.dir().display()
    ));
    let full = site.verb("check").arg("--full");
    namespace
        .run(&full)
        .ok()
        .stdout_has("2, 2 good, 0 damaged")
        .stderr_has("cannot be recorded");

    // What was found now counts, whatever the catalogue says for ever: that one is damaged, and that one good.
    std::fs::remove_file(site.at(CATALOGUE)).unwrap();
    let bare = namespace.run(&full);
    bare.ok().stdout_has("2 verified");
    namespace.run(&site.verb("check")).code(6);
    for file in site.files() {
        let mut bytes = std::fs::read(site.at(&file)).unwrap();
        bytes[60] ^= 1;
        std::fs::write(site.at(&file), bytes).unwrap();
    }
    namespace
        .run(&full)
        .code(6)
        .stdout_has("0 verified, 2 damaged")
        .stderr_has("none of 2 archives is a verified backup");
    namespace
        .run(&full.arg("--nagios"))
        .code(2)
        .stdout_has("CRITICAL");
}
