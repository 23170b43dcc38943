//! The units under a systemd that is booted for this, on a node that install.sh has installed them on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{alarms, text};
use crate::util::certs::Ca;
use crate::util::mount::is_root;
use crate::util::run::rescue;
use crate::util::{must_have, process, temp_dir, versions};

#[test]
fn the_units_do_their_work_under_a_real_systemd() {
    assert!(is_root(), "this test boots systemd: run it as root");
    for program in ["/lib/systemd/systemd", "/usr/bin/ip", "/usr/bin/unshare"] {
        must_have(program);
    }
    let (dir, pki) = (temp_dir(), temp_dir());
    let ca = Ca::new("the test CA");
    let (server, client) = (ca.server(), ca.client("root"));
    for (from, to) in [
        (ca.cert(), "ca.crt"),
        (&server.cert, "server.crt"),
        (&server.key, "server.key"),
        (&client.cert, "healthcheck-client.crt"),
        (&client.key, "healthcheck-client.key"),
    ] {
        fs::copy(from, pki.path().join(to)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dist/boot.sh");
    let mut command = Command::new(script);
    command.arg(env!("CARGO_BIN_EXE_etcd-rescue"));
    command.arg(versions::version("3.7").etcd().parent().unwrap());
    command.arg(pki.path()).arg(dir.path());
    process::run(command, None, Duration::from_secs(120)).ok();

    let report = text(&dir.path().join("report"));
    let said: Vec<_> = report.lines().collect();
    let user = said.iter().find_map(|line| {
        line.strip_prefix("with credentials: ")
            .filter(|rest| rest.parse::<u32>().is_ok())
    });
    let user = user.expect("the uid of the unit");
    assert_ne!(user, "0", "{report}");
    let with = |what: &str| format!("with credentials: {what}");
    let without = |what: &str| format!("without etcd: {what}");
    let expected = [
        // Uid 0 and not one capability; it writes into its own two places, and the private /tmp.
        "as installed: success, 1 backups".to_owned(),
        "as installed: 0".to_owned(),
        "as installed: 0000000000000000".to_owned(),
        "as installed: may write /tmp".to_owned(),
        "as installed: may write /var/lib/etcd-rescue".to_owned(),
        "as installed: may write /var/lib/node_exporter".to_owned(),
        // A user that exists only meanwhile; what root had backed up is its own now.
        with("success, 2 backups"),
        with(user),
        with("0000000000000000"),
        with("may write /tmp"),
        with("may write /var/lib/etcd-rescue"),
        with("may write /var/lib/node_exporter"),
        without("exit-code, 2 backups"),
        without(user),
        without("0000000000000000"),
        without("may write /tmp"),
        without("may write /var/lib/etcd-rescue"),
        without("may write /var/lib/node_exporter"),
        "word of it: 1 times".to_owned(),
        "etcd-rescue-backup.timer: active".to_owned(),
        "etcd-rescue-check.timer: active".to_owned(),
    ];
    let log = dir.path().join("kmsg");
    assert_eq!(said, expected, "{}", process::tail(&log, 60));

    // Until the program has `backup`, a stand-in is in its place, and it writes no metrics: boot.sh, `choose`.
    if rescue(["help", "backup"]).code == Some(0) {
        let written = text(&dir.path().join("etcd_rescue.prom"));
        alarms::assert_all_metrics_are_in(&written);
    }
}
