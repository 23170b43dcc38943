//! The units under a systemd that is booted for this, on a node that install.sh has installed them on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{alarms, text};
use crate::util::certs::Ca;
use crate::util::mount::is_root;
use crate::util::{must_have, process, temp_dir, tools, versions};

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

    let seen = Seen {
        out: dir.path(),
        report: text(&dir.path().join("report")),
    };
    // Uid 0 and not one capability; it writes into its own two places, and the private /tmp.
    let root = ["0", "0000000000000000"];
    let backup = [
        "may write /tmp",
        "may write /var/lib/etcd-rescue",
        "may write /var/lib/node_exporter",
    ];
    let check = &backup[..2];
    for (step, backups) in [("first", 1), ("second", 2)] {
        seen.succeeds(step, &[&root[..], &backup[..]].concat());
        seen.backups(step, backups, 0);
        seen.metrics(step, true);
    }
    let report = [
        "newest verified",
        "age",
        "read from the disk  2, 2 good, 0 damaged",
        "there               2 verified",
    ];
    seen.succeeds("green", &[&root[..], check, &report].concat());

    // A user that exists only meanwhile; what root had backed up is its own now.
    let user = seen.said("credentials").nth(1).expect("its uid").to_owned();
    assert!(user.parse::<u32>().unwrap() > 0, "{user}");
    let user = [user.as_str(), "0000000000000000"];
    seen.succeeds("credentials", &[&user[..], &backup[..]].concat());
    seen.backups("credentials", 3, 0);
    seen.metrics("credentials", true);

    let confined = [&user[..], &backup[..]].concat();
    seen.fails(
        "unreachable",
        5,
        &confined,
        "error: https://127.0.0.1:2379: connection refused",
    );
    seen.backups("unreachable", 3, 0);
    seen.metrics("unreachable", false);
    let confined = [&user[..], check].concat();
    seen.fails("rotten", 3, &confined, "DAMAGED ");
    seen.backups("rotten", 2, 1);
    seen.fails(
        "old",
        6,
        &confined,
        "error: /var/lib/etcd-rescue/backups: the newest verified backup is ",
    );

    let next: Vec<_> = seen.said("next").collect();
    let expected = [
        "did systemctl daemon-reload && systemctl start etcd-rescue-backup.timer etcd-rescue-check.timer",
        "systemctl start etcd-rescue-backup.service",
        "did /usr/local/bin/etcd-rescue list /var/lib/etcd-rescue/backups",
        "journalctl -u etcd-rescue-backup.service -n 30",
        "did systemctl list-timers 'etcd-rescue-*'",
        "did cat /var/lib/node_exporter/etcd_rescue.prom",
    ];
    assert_eq!(next, expected, "{}", seen.log());
    let timers: Vec<_> = seen.report.lines().rev().take(2).collect();
    let active = ["check", "backup"].map(|unit| format!("etcd-rescue-{unit}.timer: active"));
    assert_eq!(timers, active);
    let words = text(&dir.path().join("word"));
    let words: Vec<_> = words.lines().collect();
    assert_eq!(words.len(), 3);
    for (word, unit) in words.iter().zip(["backup", "check", "check"]) {
        let start = format!("<2>etcd-rescue-{unit}.service failed on ");
        let end = format!("See: journalctl -u etcd-rescue-{unit}.service");
        assert!(word.starts_with(&start) && word.ends_with(&end), "{word}");
    }
}

/// What boot.sh brought back.
struct Seen<'a> {
    out: &'a Path,
    report: String,
}

impl Seen<'_> {
    /// The lines of a step: its result; the uid, the capabilities, what it may write and what the program says;
    /// how many words of failure there were.
    fn said(&self, step: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{step}: ");
        let lines = self.report.lines();
        lines.filter_map(move |line| line.strip_prefix(&prefix))
    }

    /// With these lines between its result and the end, as far as they are given, and no others.
    #[track_caller]
    fn succeeds(&self, step: &str, lines: &[&str]) {
        let mut expected = vec!["success, exit code 0"];
        expected.extend(lines);
        expected.push("0 words of failure");
        let said: Vec<_> = self.said(step).collect();
        let same = said.iter().zip(&expected).all(|(s, e)| s.starts_with(e));
        assert!(
            same && said.len() == expected.len(),
            "{step}: expected {expected:#?} in {}",
            self.log()
        );
    }

    /// With this exit code, a line that begins like this, and one word of it.
    #[track_caller]
    fn fails(&self, step: &str, code: i32, confined: &[&str], error: &str) {
        let said: Vec<_> = self.said(step).collect();
        let result = format!("exit-code, exit code {code}");
        assert_eq!(said.first(), Some(&result.as_str()), "{}", self.log());
        let (begin, rest) = said[1..].split_at(confined.len());
        assert_eq!(begin, confined, "{step}");
        let erred = rest.iter().any(|line| line.starts_with(error));
        assert!(erred, "{step}: no {error:?} in {rest:?}");
        assert_eq!(rest.last(), Some(&"1 words of failure"), "{step}");
    }

    /// What `list` said afterwards.
    #[track_caller]
    fn backups(&self, step: &str, verified: u64, damaged: u64) {
        let list = text(&self.out.join(step).join("list.json"));
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let totals = &list["totals"];
        assert_eq!(totals["verified"], verified, "{step}: {list:#}");
        assert_eq!(totals["damaged"], damaged, "{step}: {list:#}");
        assert_eq!(totals["suspicious"], 0, "{step}: {list:#}");
        let number = list["backups"].as_array().unwrap().len() as u64;
        assert_eq!(number, verified + damaged, "{step}: {list:#}");
    }

    /// The file that node_exporter reads is complete, and says how it went; so does the report.
    #[track_caller]
    fn metrics(&self, step: &str, success: bool) {
        let written = text(&self.out.join(step).join("etcd_rescue.prom"));
        tools::check_metrics(&written).ok().stdout_is("");
        alarms::assert_all_metrics_are_in(&written);
        let flag = format!(
            "etcd_rescue_last_run_success{{directory=\"/var/lib/etcd-rescue/backups\"}} {}\n",
            u8::from(success)
        );
        assert!(written.contains(&flag), "{step}: no {flag} in\n{written}");
        let report = text(&self.out.join(step).join("report.json"));
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let outcome = if success { "saved" } else { "failed" };
        assert_eq!(report["outcome"], outcome, "{step}: {report:#}");
    }

    fn log(&self) -> String {
        let log = process::tail(&self.out.join("kmsg"), 60);
        format!("{}\n{log}", self.report)
    }
}
