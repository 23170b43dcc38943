//! `promtool check metrics` over what monitoring gets to read.

use std::path::Path;
use std::time::Duration;

use etcd_rescue::catalogue::metrics;
use etcd_rescue::catalogue::run::{Backup, Failover, Outcome, Pruned, RunReport, Stage, Totals};
use etcd_rescue::error::Error;

use crate::util::tools;

/// promtool finds nothing to say.
#[track_caller]
fn check(text: &str) {
    let run = tools::check_metrics(text);
    run.expect(true, text).ok().stderr_is("").stdout_is("");
}

/// A run that went well, with words in it that need escaping.
fn saved() -> RunReport {
    let now = "2026-11-23T05:00:00Z".parse().unwrap();
    let some = |text: &str| Some(text.to_owned());
    let mut run = RunReport::begin("etcd-rescue 0.2.0", "cp1", Path::new("/var/\"b\\\nü"), now);
    run.end(now, Duration::from_millis(12_345));
    run.outcome = Outcome::Saved;
    run.stage = Stage::Done;
    run.failovers.push(Failover {
        endpoint: "https://127.0.0.2:2379".into(),
        error: "gone".into(),
    });
    run.last_good = Some(Backup {
        file: "etcd.db.zst".into(),
        id: "0".into(),
        at: now,
        verified_at: now,
        bytes: u64::MAX,
        snapshot_bytes: 1 << 40,
        revision: i64::MAX,
        live_keys: 0,
        db_size_bytes: 5,
        db_in_use_bytes: 4,
        cluster_id: some("cdf818194e3a8c32"),
        member_id: None,
        member_name: some("a\"},x{y=\"\\"),
        endpoint: some("unix:///tmp/\u{7}"),
        server_version: some("3.6.5"),
        role: some("leader"),
    });
    run.pruned = Some(Pruned::default());
    run.backups = Some(Totals {
        verified: 7,
        bytes: 99,
        ..Totals::default()
    });
    run
}

#[test]
fn promtool_is_content_with_every_kind_of_run() {
    let run = saved();
    let text = metrics::render(&run);
    assert!(
        text.contains(
            "etcd_rescue_backups{directory=\"/var/\\\"b\\\\\\nü\",state=\"verified\"} 7\n"
        )
    );
    assert!(text.contains("} 12.345\n"));
    check(&text);
    let now = run.started_at;
    let mut failed = RunReport::begin("t", "h", Path::new("/b"), now);
    failed.fail(Stage::Save, &Error::unreachable("gone"), 5);
    check(&metrics::render(&failed));
}

#[test]
fn promtool_is_not_content_with_anything() {
    for wrong in [
        "etcd_rescue_x 1\n",
        "# HELP a_total b\n# TYPE a_total gauge\na_total 1\n",
    ] {
        let run = tools::check_metrics(wrong);
        let found = run.code != Some(0);
        run.expect(found, "a complaint");
    }
}
