//! The two lines that every runbook has, as they stand.

use super::stop_content;
use crate::util::api::assert_same;
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::run::{Rescue, rescue};
use crate::util::tls::Tls;

per_version! {
    the_lines_of_every_runbook_work
}

fn the_lines_of_every_runbook_work(minor: &str) {
    let ca = Ca::new("etcd-ca");
    let client = ca.client("root");
    let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &client);
    let server = Etcd::new(minor).tls(tls).start();
    let mut api = server.api();
    fill::kubernetes(&mut api, 60, 200);

    let snapshot = server.dir().join("snapshot-pre-boot.db");
    let snapshot = snapshot.to_str().unwrap();
    let line = ["snapshot", "save", "--cacert"];
    Rescue::new(line)
        .arg(ca.cert())
        .arg("--cert")
        .arg(&client.cert)
        .arg("--key")
        .arg(&client.key)
        .arg(snapshot)
        .env("ETCDCTL_API", "3")
        // On the node that the line is for it is the default, which no test may occupy.
        .env("ETCDCTL_ENDPOINTS", server.endpoint())
        .run()
        .ok()
        .stdout_has(&format!("Snapshot saved at {snapshot}\n"))
        .stderr_is("");

    let data_dir = server.dir().join("etcd-from-backup");
    let data_dir = data_dir.to_str().unwrap();
    let line = ["snapshot", "restore", "--data-dir", data_dir, snapshot];
    let restored = Rescue::new(line).env("ETCDCTL_API", "3").run().ok();
    let restored = restored
        .stdout_has("Restored ")
        .stderr_has("warning: the member's peer URL is http://localhost:2380, as none was given");
    // The runbook says nothing of the cluster, and hears of that; of nothing else.
    let lines = restored.stderr.lines().count();
    restored.expect(lines == 2, "one warning and its hint");
    rescue(["snapshot", "status", snapshot]).ok();

    let mut restored = Etcd::new(minor)
        .data_dir(data_dir)
        .env("ETCD_VERIFY", "all")
        .start();
    assert_same(
        &api.dump(),
        &restored.api().dump(),
        "restored by the runbook",
    );
    stop_content(&mut restored);
}
