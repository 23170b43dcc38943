//! The program and real servers of every version, in both directions: what one wrote the others read,
//! and every restored member serves what was saved.

mod bump;
mod cluster;
mod flags;
mod inputs;
mod matrix;
mod runbook;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::util::api::{Api, Lease};
use crate::util::builder::Builder;
use crate::util::etcd::Etcd;
use crate::util::process::Output;
use crate::util::run::Rescue;
use crate::util::versions::version;

/// `etcd-rescue save` from the plaintext port, which must succeed: its JSON document.
#[track_caller]
fn save(server: &Etcd, to: &Path) -> Value {
    let run = Rescue::new(["save", "-w", "json", "--endpoints", &server.url()]).arg(to);
    run.run().ok().json()
}

/// `etcd-rescue restore`, which must succeed: its JSON document.
#[track_caller]
fn restore(input: &Path, data_dir: &Path, flags: &[&str]) -> Value {
    try_restore(input, data_dir, flags).ok().json()
}

/// `etcd-rescue restore`, which may fail.
#[track_caller]
fn try_restore(input: &Path, data_dir: &Path, flags: &[&str]) -> Output {
    let run = Rescue::new(["restore", "-w", "json", "--data-dir"]);
    run.arg(data_dir).args(flags).arg(input).run()
}

/// A server on a restored data dir that checks its own state when it ends.
fn on(minor: &str, data_dir: &Path) -> Builder {
    Etcd::new(minor)
        .data_dir(data_dir)
        .env("ETCD_VERIFY", "all")
}

/// Stops a server of `on`, which must be content with what it leaves. No client may be connected: the
/// server would wait five seconds for its end.
#[track_caller]
fn stop_content(server: &mut Etcd) {
    server.stop();
    let log = server.log();
    // 3.4.23 does not know this check yet.
    if server.version().at_least("3.5") {
        assert!(
            log.contains("verification of persisted state successful"),
            "{:?} did not find its state verified\n{}",
            server.version(),
            server.log_tail()
        );
    }
    assert!(!log.contains("panic"), "{}", server.log_tail());
}

/// An id as the program prints it.
#[track_caller]
fn id(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no id in {value}"));
    u64::from_str_radix(text, 16).unwrap_or_else(|err| panic!("{text}: {err}"))
}

/// The server is a member of exactly the cluster that was restored.
#[track_caller]
fn assert_members(api: &mut Api, plan: &Value) {
    let status = api.status();
    let header = status.header().unwrap();
    assert_eq!(header.cluster_id(), id(&plan["clusterId"]), "cluster id");
    assert_eq!(header.member_id(), id(&plan["memberId"]), "member id");
    let described = |id: u64, urls: Vec<String>, learner: bool| (id, (urls, learner));
    let found: BTreeMap<u64, _> = api
        .members()
        .iter()
        .map(|m| described(m.id(), m.peer_urls().to_vec(), m.is_learner()))
        .collect();
    let expected: BTreeMap<u64, _> = plan["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let urls = serde_json::from_value(m["peerUrls"].clone()).unwrap();
            described(id(&m["id"]), urls, false)
        })
        .collect();
    assert_eq!(found, expected, "the members");
}

/// What of a lease survives a restart: all but the time that remains.
fn granted(leases: &BTreeMap<i64, Lease>) -> BTreeMap<i64, (i64, Vec<Vec<u8>>)> {
    let leases = leases.iter();
    leases
        .map(|(id, lease)| (*id, (lease.granted, lease.keys.clone())))
        .collect()
}

/// The storage version that a server of this version writes; 3.6 was the first.
fn storage_version(minor: &str) -> Option<String> {
    version(minor).at_least("3.6").then(|| format!("{minor}.0"))
}
