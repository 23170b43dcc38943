//! What is whole and odd: kept, told, and nothing is pruned for it until a person has looked.

use etcd_client::DeleteOptions;
use serde_json::Value;

use super::site::{CATALOGUE, OLD_CATALOGUE, Site, text};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::process::Output;
use crate::util::run::rescue;

/// A server whose three backups are in the site.
#[track_caller]
fn with_three() -> (Site, Etcd) {
    let server = Etcd::new("3.7").start();
    let site = Site::new();
    for round in 0..3 {
        fill::bulk(&mut server.api(), &format!("key-{round}/"), 40, 100);
        site.made(&server.url());
    }
    (site, server)
}

/// A backup that is kept and told to be suspicious for these reasons; its file.
#[track_caller]
fn odd(site: &Site, output: Output, reasons: &[&str]) -> String {
    let mut output = output.code(3).stdout_is("");
    for reason in reasons {
        output = output
            .stderr_has("warning: the new backup is suspicious: ")
            .stderr_has(reason);
    }
    let report = site.report();
    assert_eq!(
        (&report["outcome"], &report["exitCode"]),
        (&"suspicious".into(), &3.into())
    );
    assert_eq!(
        (&report["stage"], &report["error"]),
        (&"done".into(), &Value::Null)
    );
    assert_eq!(
        report["suspicious"].as_array().unwrap().len(),
        reasons.len(),
        "{output}"
    );
    assert_eq!(report["pruned"]["skipped"], "the new backup is suspicious");
    assert_eq!(report["pruned"]["removed"], serde_json::json!([]));
    assert_eq!(site.metric("last_run_suspicious"), Some(1.0));
    assert_eq!(site.metric("last_run_success"), Some(0.0));
    let file = text(&report["saved"]["file"]);
    let listed = site.listed(&file);
    assert!(
        listed["tags"].to_string().contains("suspicious"),
        "{listed}"
    );
    assert_eq!(listed["verifiedHow"], "backup");
    let accept = format!("etcd-rescue unpin {}", site.at(&file).display());
    output.stderr_has(&accept);
    file
}

/// A server on what this snapshot has, in the place of the old one.
#[track_caller]
fn restored(site: &Site, snapshot: &str, old: &mut Etcd) -> Etcd {
    old.stop();
    let data = site.beside("restored");
    let peer = format!("default={}", old.peer_url());
    rescue(
        [
            "restore",
            snapshot,
            "--initial-cluster",
            &peer,
            "--name=default",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([
            "--initial-advertise-peer-urls".into(),
            old.peer_url().into(),
        ])
        .chain(["--data-dir".into(), data.to_str().unwrap().into()]),
    )
    .ok();
    Etcd::new("3.7")
        .data_dir(data)
        .peer_url(old.peer_url())
        .start()
}

#[test]
fn an_older_snapshot_behind_the_same_endpoint() {
    let (site, mut server) = with_three();
    let all = site.files();
    assert!(all[2].ends_with("-rev2.db.zst"), "{all:?}");
    let oldest = site.at(&all[2]);
    let server = restored(&site, oldest.to_str().unwrap(), &mut server);
    let output = site.backup(&server.url()).arg("--keep-last=1").run();
    let file = odd(
        &site,
        output,
        &[
            "the revision went back from 4 to 2",
            "from 120 to 40",
            "the cluster id changed",
        ],
    );
    assert_eq!(site.files().len(), 4, "nothing was pruned");
    // It counts as verified: restore and check may have it.
    site.verb("check").run().ok();
    site.verb("check")
        .arg("--nagios")
        .run()
        .code(1)
        .stdout_has("1 backup suspicious");

    // The next one is like the one before it; what was there before the odd one stays until somebody has looked.
    let output = site.backup(&server.url()).arg("--keep-last=1").run().ok();
    output.stderr_is("").stdout_is("");
    assert_eq!(site.report()["outcome"], "saved");
    let left = site.files();
    assert!(left.contains(&file) && left.contains(&all[0]), "{left:?}");
    assert!(
        !left.contains(&all[1]) && !left.contains(&all[2]),
        "{left:?}"
    );
    let why = site
        .verb("prune")
        .args(["--keep-last=1", "--dry-run"])
        .run()
        .ok();
    why.stdout_has("suspicious")
        .stdout_has("would remove 0 backups");

    site.pin("unpin", &file);
    assert!(
        !site.listed(&file)["tags"]
            .to_string()
            .contains("suspicious")
    );
    site.verb("check").arg("--nagios").run().code(0);
    site.verb("prune").arg("--keep-last=1").run().ok();
    assert_eq!(site.files(), [text(&site.report()["saved"]["file"])]);
}

#[test]
fn another_cluster_behind_the_same_endpoint() {
    let (site, _server) = with_three();
    let other = Etcd::new("3.7").start();
    for round in 0..5 {
        fill::bulk(&mut other.api(), &format!("other-{round}/"), 40, 100);
    }
    let output = site.backup(&other.url()).arg("--keep-last=1").run();
    odd(&site, output, &["the cluster id changed from "]);
    assert_eq!(site.files().len(), 4);
}

#[test]
fn nothing_in_it() {
    let site = Site::new();
    let empty = Etcd::new("3.7").start();
    let output = site.backup(&empty.url()).run();
    odd(&site, output, &["there are no keys in it"]);
    // As odd the second time.
    let output = site.backup(&empty.url()).run();
    odd(&site, output, &["there are no keys in it"]);
}

#[test]
fn more_than_half_of_the_keys_are_gone() {
    let (site, server) = with_three();
    let delete = |from: &str, to: &str| {
        let options = DeleteOptions::new().with_range(to);
        let all = server
            .api()
            .call(async |c| c.delete(from, Some(options)).await);
        all.deleted()
    };
    // Exactly half are not more than half.
    assert_eq!(delete("key-0/", "key-1/000020"), 60);
    site.backup(&server.url()).run().ok().stderr_is("");
    assert_eq!(delete("key-1/", "key-2/000011"), 31);
    let output = site.backup(&server.url()).arg("--keep-last=1").run();
    odd(
        &site,
        output,
        &["live keys fell by more than half, from 60 to 29"],
    );
    assert_eq!(site.files().len(), 5);
}

/// A catalogue that was made anew knows no backup that was made: the archives say what was in them.
#[test]
fn a_lost_catalogue_does_not_hide_it() {
    let (site, _server) = with_three();
    for name in [CATALOGUE, OLD_CATALOGUE] {
        std::fs::remove_file(site.at(name)).unwrap();
    }
    site.verb("check").arg("--full").run().ok();
    let other = Etcd::new("3.7").start();
    fill::bulk(&mut other.api(), "key/", 400, 100);
    let output = site.backup(&other.url()).run();
    odd(&site, output, &["the cluster id changed from "]);
}
