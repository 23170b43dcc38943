//! What goes wrong when the new backup is made already: it is told, and the backup counts.

use std::time::Duration;

use super::site::{Site, text};
use crate::util::etcd::Etcd;
use crate::util::mount::Namespace;
use crate::util::process::Output;
use crate::util::strace;

/// A site with three backups, oldest first, and the server they came from.
#[track_caller]
fn with_three() -> (Site, Etcd, Vec<String>) {
    let server = Etcd::new("3.7").start();
    let site = Site::new();
    let made = |n: i64| {
        server.api().put("key", n.to_string());
        let file = site.made(&server.url());
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(n);
        // Their times are those of their snapshots, and these were taken within a second.
        let old = format!("{n}-hours-old.db.zst");
        site.redated(&file, &old, at);
        std::fs::remove_file(site.at(&file)).unwrap();
        old
    };
    let files = [3, 2, 1].map(made).to_vec();
    site.verb("check").arg("--full").run().ok();
    (site, server, files)
}

/// The new backup is there, and what is told of the run agrees.
#[track_caller]
fn made_and_told(
    site: &Site,
    output: Output,
    removed: &[&String],
    remaining: &[&String],
) -> Output {
    let output = output.code(1).stdout_is("");
    let report = site.report();
    assert_eq!(
        (&report["outcome"], &report["stage"], &report["exitCode"]),
        (&"saved".into(), &"prune".into(), &1.into()),
        "{report:#}"
    );
    let saved = text(&report["saved"]["file"]);
    assert_eq!(report["lastGood"]["file"], saved.as_str());
    assert_eq!(report["error"]["kind"], "failed");
    let message = text(&report["error"]["message"]);
    assert!(
        message.starts_with(&format!("{saved} is made, and ")),
        "{message}"
    );
    assert!(output.stderr.contains(&message), "{output}");
    let gone: Vec<String> = report["pruned"]["removed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| text(&each["file"]))
        .collect();
    assert_eq!(gone.iter().collect::<Vec<_>>(), removed);
    assert_eq!(report["pruned"]["remaining"], serde_json::json!(remaining));
    let number = |files: &[&String]| Some(files.len() as f64);
    assert_eq!(site.metric("last_run_success"), Some(1.0));
    assert_eq!(site.metric("last_run_exit_code"), Some(1.0));
    assert_eq!(site.metric("last_run_pruned_backups"), number(removed));
    assert_eq!(site.metric("last_run_remaining_backups"), number(remaining));
    output.stderr_has("hint: ")
}

#[test]
fn a_backup_that_cannot_be_removed() {
    let (site, server, files) = with_three();
    // Of what retention lets go, the second one is held by the system.
    let held = site.at(&files[1]).display().to_string();
    let namespace = Namespace::new(&format!("mount --bind '{held}' '{held}'"));
    let run = site.backup(&server.url()).arg("--keep-last=1");
    let output = namespace.run(&run);
    drop(namespace);
    // It does not keep the others.
    made_and_told(&site, output, &[&files[0], &files[2]], &[&files[1]])
        .stderr_has("cannot remove ")
        .stderr_has("the new backup is whole and counts");
    // Nothing is lost: the next run does the rest.
    site.backup(&server.url()).arg("--keep-last=1").run().ok();
    assert_eq!(site.files().len(), 1);
    assert_eq!(site.metric("last_run_remaining_backups"), Some(0.0));
}

#[test]
fn the_time_is_up_when_only_pruning_is_left() {
    let (site, server, files) = with_three();
    let run = site
        .backup(&server.url())
        .args(["--keep-last=1", "--timeout=4s"]);
    // The first removal of a backup takes until then; before it goes the catalogue's old generation.
    let slow = ["inject=unlink,unlinkat:delay_enter=5000000:when=2".to_owned()];
    let output = strace::inject(&run, &slow).within(Duration::from_secs(30));
    made_and_told(&site, output, &[&files[0]], &[&files[1], &files[2]])
        .stderr_has("not done within 4s")
        .stderr_has("the next run prunes what is left")
        .stderr_lacks("as it was before");
}
