//! `save OUT.zst` from real servers: what is inside is what plain `save` gives, and it boots.

use serde_json::Value;

use super::filter;
use super::site::{Site, parts};
use crate::util::etcd::Etcd;
use crate::util::tree::names;
use crate::util::versions::version;
use crate::util::{api, fill};

per_version! {
    an_archive_has_what_a_plain_save_has
}

fn an_archive_has_what_a_plain_save_has(minor: &str) {
    let mut server = Etcd::new(minor).name("cp-1").start();
    let filled = fill::rich(&mut server);
    let site = Site::new();
    let url = server.url();
    let save = |out: &str| {
        let args = [
            "save",
            "--endpoints",
            &url,
            "--user",
            fill::ROOT.0,
            "--password",
            fill::ROOT.1,
            "-w",
            "json",
            out,
        ];
        site.run(&args).ok().json()
    };
    let (plain, packed) = (save("plain.db"), save("packed.db.zst"));
    assert_eq!(names(site.dir()), ["packed.db.zst", "plain.db"]);

    let inside = filter("zstd", &["-d", "-c"], &site.read("packed.db.zst"));
    let trailer =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &inside[..inside.len() - 32]);
    assert_eq!(trailer.as_ref(), &inside[inside.len() - 32..]);
    site.write("inside.db", &inside);
    let facts = |name: &str| {
        let facts = &site.run(&["status", "-w", "json", name]).ok().json()["facts"];
        // Where pages lie, and what a log-in leaves in the bucket of the consistent index, may differ.
        let buckets = facts["buckets"].as_array().unwrap();
        let kept = buckets.iter().filter(|bucket| bucket["name"] != "meta");
        let names = [
            "revision",
            "liveKeys",
            "totalKeys",
            "records",
            "tombstones",
            "leases",
            "members",
            "alarms",
            "users",
            "roles",
            "storageVersion",
            "clusterVersion",
        ];
        let facts = names.map(|name| facts[name].clone());
        (facts, kept.cloned().collect::<Vec<_>>())
    };
    assert_eq!(facts("inside.db"), facts("plain.db"));

    let (manifest, _) = parts(&site.read("packed.db.zst"));
    assert_eq!(manifest.made.by, "save");
    assert_eq!(manifest.snapshot.size, inside.len() as u64);
    assert_eq!(manifest.etcd.revision, filled.revision);
    assert!(manifest.etcd.auth_enabled && manifest.snapshot.trailer);
    let source = manifest.source.unwrap();
    let mut api = server.api();
    let status = api.status();
    let header = status.header().unwrap();
    assert_eq!(source.endpoint, server.endpoint());
    assert_eq!(source.cluster_id, format!("{:x}", header.cluster_id()));
    assert_eq!(source.member_id, format!("{:x}", header.member_id()));
    assert_eq!(source.member_name.as_deref(), Some("cp-1"));
    assert_eq!(source.server_version, version(minor).exact);
    assert_eq!(source.role, "leader");
    let index = source.raft_applied_index;
    assert!(index > 0 && index <= status.raft_index(), "{index}");
    assert_eq!(source.alarms, [format!("NOSPACE {:x}", header.member_id())]);
    for (name, expected) in [
        ("memberName", "cp-1"),
        ("serverVersion", version(minor).exact),
    ] {
        assert_eq!(
            (&plain[name], &packed[name]),
            (&Value::from(expected), &Value::from(expected))
        );
    }
    let secrets = String::from_utf8_lossy(&site.read("packed.db.zst")).contains(fill::ROOT.1);
    assert!(!secrets, "no password is in the manifest");

    site.run(&["verify", "packed.db.zst"])
        .ok()
        .stderr_lacks("manifest");
    site.run(&["restore", "--no-bump", "packed.db.zst", "--data-dir", "new"])
        .ok();
    let restored = Etcd::new(minor)
        .data_dir(site.path("new"))
        .user(fill::ROOT.0, fill::ROOT.1)
        .start();
    api::assert_same(
        &filled.dump,
        &restored.api().dump(),
        "restored from an archive",
    );
}

/// To a pipe goes the plain snapshot, so that whatever comes next decides.
#[test]
fn a_save_to_a_pipe() {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "bulk/", 20, 100_000);
    let site = Site::new();
    let plain = site
        .run(&["save", "--endpoints", &server.url(), "-"])
        .ok()
        .stdout;
    site.pipe(&["verify", "-"], &plain).ok().stdout_has("GOOD");
    let archive = site.pipe(&["pack", "-", "-"], &plain).ok().stdout;
    assert!(filter("zstd", &["-d", "-c"], &archive) == plain);
    assert!(names(site.dir()).is_empty());
}
