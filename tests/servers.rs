//! The harness against every real server: what all other tests stand on.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::AlarmType;

use crate::util::api::{Lease, assert_same};
use crate::util::certs::{Algorithm, Ca, Spec};
use crate::util::cluster::Cluster;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::tls::Tls;
use crate::util::tools;

per_version! {
    a_filled_server_is_the_same_after_a_restart
    its_own_tools_save_and_restore_it
    every_kind_of_listener_answers_etcdctl
}

fn a_filled_server_is_the_same_after_a_restart(minor: &str) {
    let mut server = Etcd::new(minor).start();
    let filled = fill::rich(&mut server);
    assert!(filled.dump.len() > 400, "{} keys", filled.dump.len());
    assert!(filled.dump.values().any(|e| e.value.len() == fill::BIGGEST));
    assert!(filled.dump.keys().any(|key| key.len() > fill::BIGGEST));
    assert!(filled.dump.contains_key([0].as_slice()));
    let keys = |id: i64| filled.leases[&id].keys.len();
    assert_eq!(fill::LEASES.map(keys), [10, 1, 0, 0]);

    let mut api = server.api();
    let learner = api
        .members()
        .into_iter()
        .find(|m| m.is_learner())
        .map(|m| m.id());
    assert_eq!(learner, filled.learner);
    let alarms = api.alarms();
    assert_eq!((alarms.len(), alarms[0].1), (1, AlarmType::Nospace));
    assert_eq!(api.watch_refused(1), Some(filled.compacted));
    assert_eq!(api.watch_refused(filled.compacted + 1), None);
    let hash = api.hash_kv(0);
    assert_eq!(hash.compacted, filled.compacted);

    drop(api); // A server waits five seconds for its clients to go.
    server.stop();
    tools::bbolt(["check".as_ref(), server.db().as_os_str()])
        .ok()
        .stdout_has("OK");
    server.restart();
    let mut api = server.api();
    assert_same(&filled.dump, &api.dump(), "after a restart");
    assert_eq!(granted(&api.leases()), granted(&filled.leases));
    assert_eq!(api.hash_kv(0), hash);
}

fn its_own_tools_save_and_restore_it(minor: &str) {
    let server = Etcd::new(minor).start();
    let filled = fill::plain(&server);
    let snapshot = server.snapshot_save("snapshot.db");
    let snapshot = snapshot.to_str().unwrap();
    let status = tools::snapshot(server.version(), ["status", snapshot, "--write-out=json"]).ok();
    assert_eq!(status.json()["revision"], filled.revision);

    let data_dir = server.dir().join("restored");
    let into = format!("--data-dir={}", data_dir.display());
    tools::snapshot(server.version(), ["restore", snapshot, &into]).ok();
    let restored = Etcd::new(minor).data_dir(data_dir).start();
    assert_same(
        &filled.dump,
        &restored.api().dump(),
        "restored by etcd's own tool",
    );
}

fn every_kind_of_listener_answers_etcdctl(minor: &str) {
    let ca = Ca::new("the test CA");
    let client = ca.client("root");
    let server_cert = ca.server();
    let mutual = Tls::mutual(&server_cert, ca.cert(), ca.cert(), &client);
    for tls in [
        mutual,
        Tls::server_only(&server_cert, ca.cert()),
        Tls::auto(),
    ] {
        let server = Etcd::new(minor).tls(tls).unix().start();
        server.api().put("key", "value");
        assert_eq!(
            server.etcdctl(["get", "key", "--print-value-only"]),
            "value\n"
        );
        assert!(server.socket().exists());
    }
}

#[test]
fn certificates_of_every_kind_serve() {
    let ca = Ca::with_algorithm("a P-521 CA", Algorithm::P521);
    for algorithm in [
        Algorithm::Rsa,
        Algorithm::P384,
        Algorithm::P521,
        Algorithm::Ed25519,
    ] {
        let spec = Spec::server(&["127.0.0.1"]).algorithm(algorithm);
        let pair = ca.issue(&format!("{algorithm:?}"), &spec);
        let server = Etcd::new("3.7")
            .tls(Tls::server_only(&pair, ca.cert()))
            .start();
        server.etcdctl(["put", "key", "value"]);
    }
    let own = Spec::server(&["127.0.0.1"])
        .ca()
        .self_signed(ca.dir(), "own");
    let server = Etcd::new("3.7")
        .tls(Tls::server_only(&own, &own.cert))
        .start();
    server.etcdctl(["put", "key", "value"]);
}

#[test]
fn bad_certificates_are_refused_by_etcdctl() {
    let ca = Ca::new("the test CA");
    let other = Ca::new("another CA");
    let sans = ["127.0.0.1"];
    let expired = ca.issue("expired", &Spec::server(&sans).expired());
    let misnamed = ca.issue("misnamed", &Spec::server(&["10.0.0.1", "etcd.example"]));
    for (pair, trusted, why) in [
        (&expired, ca.cert(), "certificate has expired"),
        (&misnamed, ca.cert(), "certificate is valid for 10.0.0.1"),
        (
            &ca.server(),
            other.cert(),
            "certificate signed by unknown authority",
        ),
    ] {
        let server = Etcd::new("3.7")
            .tls(Tls::server_only(pair, trusted))
            .start();
        server
            .try_etcdctl(["get", "key", "--command-timeout=2s"])
            .code(1)
            .stderr_has(why);
    }
    let failure = Etcd::new("3.7")
        .tls(Tls::server_only(&ca.server().with_wrong_key(), ca.cert()))
        .try_start()
        .err()
        .unwrap();
    assert!(failure.contains("private key does not match"), "{failure}");
}

#[test]
fn a_quota_raises_the_alarm() {
    let server = Etcd::new("3.7").quota(4 << 20).start();
    let mut api = server.api();
    fill::until_quota(&mut api);
    assert_eq!(api.alarms().len(), 1);
}

#[test]
fn three_members_share_their_keys() {
    let mut cluster = Cluster::start("3.7", 3);
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    cluster.members[leader].api().put("key", "value");
    let dump = cluster.members[follower].api().dump();
    assert_eq!(dump[b"key".as_slice()].value, b"value");

    cluster.members[leader].kill();
    let found = cluster.members[follower].etcdctl(["get", "key", "--print-value-only"]);
    assert_eq!(found, "value\n");
}

#[test]
fn a_new_server_of_36_and_later_writes_its_storage_version() {
    for minor in ["3.6", "3.7", "3.8"] {
        let server = Etcd::new(minor).start();
        assert_eq!(server.wait_storage_version(), format!("{minor}.0"));
    }
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let failure = Etcd::new("3.5")
        .flag("--no-such-flag")
        .try_start()
        .err()
        .unwrap();
    for part in [
        "etcd 3.5.33 ended at its start",
        "command: ",
        "no-such-flag",
    ] {
        assert!(failure.contains(part), "no {part:?} in: {failure}");
    }
    let failure = Etcd::new("3.5")
        .initial_cluster("default=http://127.0.0.1:1,other=http://127.0.0.1:2")
        .peer_url("http://127.0.0.1:1")
        .patience(Duration::from_secs(2))
        .try_start();
    assert!(failure.is_err());
}

fn granted(leases: &BTreeMap<i64, Lease>) -> Vec<(i64, i64)> {
    leases
        .iter()
        .map(|(id, lease)| (*id, lease.granted))
        .collect()
}
