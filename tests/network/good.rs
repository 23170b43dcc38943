//! What works: every version over every kind of connection.

use etcd_rescue::client::ConnectOptions;

use super::{save, sha256, to};
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::tls::{Tls, auto_cert};
use crate::util::tools;

per_version! {
    a_snapshot_over_mutual_tls_is_what_etcd_has
    every_kind_of_connection
}

fn a_snapshot_over_mutual_tls_is_what_etcd_has(minor: &str) {
    let ca = Ca::new("the test CA");
    let client = ca.client("root");
    let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &client);
    let server = Etcd::new(minor).name("etcd-a").tls(tls).start();
    let filled = fill::plain(&server);
    if server.version().at_least("3.6") {
        server.wait_storage_version();
    }
    let saved = save(ConnectOptions {
        cacert: Some(ca.cert().into()),
        cert: Some(client.cert.clone()),
        key: Some(client.key.clone()),
        ..to(&[&server.endpoint()])
    });

    assert_eq!(saved.notices, "");
    assert_eq!(sha256(&saved.image), saved.received.sha256);
    let version = saved.received.storage_version.as_deref();
    match server.version().at_least("3.6") {
        true => assert_eq!(version, Some(format!("{minor}.0").as_str())),
        false => assert_eq!(version, None),
    }
    let candidate = &saved.survey.candidates[0];
    let member = &candidate.member;
    assert_eq!(member.endpoint, server.endpoint());
    assert_eq!(member.name.as_deref(), Some("etcd-a"));
    assert_eq!(member.version, server.version().exact);
    assert!(member.is_leader() && member.revision == filled.revision);
    assert_eq!(
        candidate.because,
        format!(
            "leader, revision {}, the only endpoint given",
            filled.revision
        )
    );
    let status = server.api().status();
    let header = status.header().unwrap();
    assert_eq!(member.member_id, header.member_id());
    assert_eq!(member.cluster_id, header.cluster_id());

    let path = server.dir().join("ours.db");
    std::fs::write(&path, saved.file()).unwrap();
    let path = path.to_str().unwrap();
    let status = tools::snapshot(server.version(), ["status", path, "--write-out=json"]).ok();
    assert_eq!(status.json()["revision"], filled.revision);
    assert_eq!(status.json()["totalSize"], saved.received.image_bytes);
    let into = format!("--data-dir={}", server.dir().join("restored").display());
    tools::snapshot(server.version(), ["restore", path, &into]).ok();
}

fn every_kind_of_connection(minor: &str) {
    let server = Etcd::new(minor).tls(Tls::auto()).unix().start();
    server.api().put("key", "value");
    let https = server.endpoint();
    let bare = https.trim_start_matches("https://").to_owned();
    let unix = format!("unix://{}", server.socket().display());
    let auto = || Some(auto_cert(server.data_dir()));
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    for (endpoint, cacert, skip) in [
        (server.url(), None, false),
        (format!("localhost:{port}"), None, false),
        (unix.clone(), None, false),
        (unix.replace("unix://", "unix:"), None, false),
        (https.clone(), auto(), false),
        (bare.clone(), auto(), false),
        (https, None, true),
        (bare, None, true),
    ] {
        let saved = save(ConnectOptions {
            cacert,
            insecure_skip_tls_verify: skip,
            ..to(&[&endpoint])
        });
        assert_eq!(sha256(&saved.image), saved.received.sha256, "{endpoint}");
        assert_eq!(saved.survey.candidates[0].member.endpoint, endpoint);
    }
}
