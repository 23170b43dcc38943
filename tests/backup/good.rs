//! What a good run leaves, for every version of etcd.

use std::os::unix::fs::PermissionsExt;

use super::site::{CATALOGUE, LOCK, Site, text};
use crate::util::api::assert_same;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::run::rescue;
use crate::util::tree::names;

per_version! { a_backup_and_what_can_be_done_with_it }

fn a_backup_and_what_can_be_done_with_it(minor: &str) {
    let server = Etcd::new(minor).name("cp.1").start();
    let filled = fill::plain(&server);
    let header = server.api().status();
    let cluster = format!("{:x}", header.header().unwrap().cluster_id());
    let member = format!("{:x}", header.header().unwrap().member_id());
    let site = Site::new();
    let endpoint = server.url();
    site.backup(&endpoint)
        .arg("--name=k8s-{host}-{member}-{cluster}")
        .run()
        .ok()
        .stdout_is("")
        .stderr_is("");

    let host = rustix::system::uname();
    let host = host.nodename().to_str().unwrap().replace(['.', ' '], "_");
    let files = site.files();
    assert_eq!(files.len(), 1);
    let start = format!("k8s-{host}-cp_1-{cluster}-");
    let end = format!("-rev{}.db.zst", filled.revision);
    let time = files[0]
        .strip_prefix(&start)
        .and_then(|rest| rest.strip_suffix(&end));
    let time = time.unwrap_or_else(|| panic!("{start}TIME{end}, not {}", files[0]));
    let digits = time.len() == 16 && time.starts_with("20") && time.ends_with('Z');
    assert!(digits && time.as_bytes()[8] == b'T', "{time}");
    assert_eq!(names(site.dir()), [CATALOGUE, LOCK, &files[0]]);
    for name in [CATALOGUE, &files[0]] {
        let mode = site.at(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }

    let listed = site.listed(&files[0]);
    let source = &listed["manifest"]["source"];
    for (key, expected) in [
        ("endpoint", endpoint.as_str()),
        ("cluster_id", &cluster),
        ("member_id", &member),
        ("member_name", "cp.1"),
        ("server_version", server.version().exact),
        ("role", "leader"),
    ] {
        assert_eq!(source[key], expected, "{key} in {source}");
    }
    assert!(
        source["raft_applied_index"].as_u64() > Some(100),
        "{source}"
    );
    let etcd = &listed["manifest"]["etcd"];
    assert_eq!(etcd["revision"], filled.revision);
    assert_eq!(etcd["compacted_revision"], filled.compacted);
    assert_eq!(etcd["live_keys"], filled.dump.len());
    assert_eq!(listed["manifest"]["made"]["by"], "backup");
    assert_eq!(listed["verifiedHow"], "backup");
    assert_eq!(listed["tags"], serde_json::json!(["latest"]));

    let report = site.report();
    assert_eq!(
        (&report["outcome"], &report["stage"]),
        (&"saved".into(), &"done".into())
    );
    assert_eq!(report["saved"], report["lastGood"]);
    assert_eq!(site.metric("last_run_success"), Some(1.0));
    assert_eq!(
        site.metric("snapshot_live_keys"),
        Some(filled.dump.len() as f64)
    );

    site.verb("check").run().ok().stdout_has("1 verified");
    let dir = site.dir().to_str().unwrap();
    rescue(["verify", dir, "--latest"]).ok().stdout_has("GOOD");
    rescue(["status", dir, "--latest", "-w=json"]).ok();
    let again = site.boots(minor, &[dir, "--latest"], "data");
    assert_same(
        &filled.dump,
        &again.api().dump(),
        "restored from DIR --latest",
    );
}

#[test]
fn a_person_and_a_program_are_told_what_was_made() {
    let server = Etcd::new("3.6").start();
    server.api().put("key", "value");
    let site = Site::new();
    let first = site
        .backup(&server.url())
        .arg("-w=json")
        .run()
        .ok()
        .stderr_is("");
    assert_eq!(first.json(), site.report());
    let name = text(&site.report()["saved"]["file"]);
    assert!(name.starts_with("etcd-"), "{name}");
    let table = site.backup(&server.url()).arg("-w=table").run().ok();
    table
        .stdout_has("read back from the disk")
        .stdout_has("2 verified");
    // Names that a second backup in the same second, at the same revision, would share.
    let third = site.made(&server.url());
    assert_eq!(site.files().len(), 3, "{third}");
}
