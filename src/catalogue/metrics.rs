//! What monitoring reads: Prometheus' text format, for the textfile collector of node_exporter.
//!
//! A pure function of the report of a run. Every sample has the label `directory`, so that several directories
//! can have a file each: the collector refuses two samples that are the same. What is not known has no sample;
//! nothing is ever told as 0 that is not.
//!
//! Alarm on `time() - etcd_rescue_last_success_timestamp_seconds > 26 * 3600`, and, for the case that not even
//! the file is written, on `absent(etcd_rescue_last_success_timestamp_seconds)`. A run that made its backup and could
//! not do all of the rest (prune, write its report) is a success with an exit code:
//! `etcd_rescue_last_run_exit_code != 0`.

use std::fmt::{Display, Write as _};

use super::run::{Outcome, RunReport};

/// The metrics of a run.
pub fn render(run: &RunReport) -> String {
    let mut text = Text {
        text: String::new(),
        directory: label("directory", &run.directory),
    };
    let flag = |on: bool| Some(u8::from(on));
    text.gauge(
        "last_attempt_timestamp_seconds",
        "When the last run of etcd-rescue backup ended, well or not.",
        Some(run.ended_at.as_second()),
    );
    text.gauge(
        "last_success_timestamp_seconds",
        "When the snapshot in the newest verified backup was taken. Missing if there is none, or none that is not dated in the future.",
        // It would look young until that future has come.
        run.last_good
            .as_ref()
            .filter(|good| good.at <= run.ended_at)
            .map(|good| good.at.as_second()),
    );
    text.gauge(
        "last_run_success",
        "Whether the last run made a verified backup with nothing odd about it (1) or not (0).",
        flag(run.outcome == Outcome::Saved),
    );
    text.gauge(
        "last_run_suspicious",
        "Whether the last run made a verified backup that is odd beside the one before it.",
        flag(run.outcome == Outcome::Suspicious),
    );
    text.gauge(
        "last_run_exit_code",
        "What the last run exited with: 0 only if all of it went well, retention and reports included.",
        Some(run.exit_code),
    );
    text.gauge(
        "last_run_duration_seconds",
        "How long the last run took.",
        Some(run.duration_seconds),
    );
    text.gauge(
        "last_run_failovers",
        "Endpoints that the last run tried in vain.",
        Some(run.failovers.len()),
    );
    text.gauge(
        "last_run_pruned_backups",
        "Backups that the last run removed by the retention policy.",
        Some(run.pruned.as_ref().map_or(0, |pruned| pruned.removed.len())),
    );
    text.gauge(
        "last_run_remaining_backups",
        "Backups that the last run had to remove by the retention policy, and that are still there.",
        run.pruned.as_ref().map(|pruned| pruned.remaining.len()),
    );
    text.gauge(
        "last_run_etcd_alarms",
        "Alarms of etcd, NOSPACE for example, that were active when the last run asked it.",
        run.alarms.as_ref().map(Vec::len),
    );
    newest(&mut text, run);
    directory(&mut text, run);
    text.text
}

/// What is in the newest verified backup.
fn newest(text: &mut Text, run: &RunReport) {
    let good = run.last_good.as_ref();
    text.gauge(
        "snapshot_size_bytes",
        "Size of the snapshot in the newest verified backup.",
        good.map(|good| good.snapshot_bytes),
    );
    text.gauge(
        "archive_size_bytes",
        "Size of the newest verified backup on disk, compressed.",
        good.map(|good| good.bytes),
    );
    text.gauge(
        "snapshot_revision",
        "Revision of etcd in the newest verified backup.",
        good.map(|good| good.revision),
    );
    text.gauge(
        "snapshot_live_keys",
        "Live keys in the newest verified backup.",
        good.map(|good| good.live_keys),
    );
    text.gauge(
        "db_size_bytes",
        "Size of etcd's database in the newest verified backup.",
        good.map(|good| good.db_size_bytes),
    );
    text.gauge(
        "db_in_use_bytes",
        "Bytes in use of etcd's database in the newest verified backup.",
        good.map(|good| good.db_in_use_bytes),
    );
    let Some(good) = good else {
        return;
    };
    let labels = [
        ("endpoint", &good.endpoint),
        ("cluster_id", &good.cluster_id),
        ("member_id", &good.member_id),
        ("member_name", &good.member_name),
        ("server_version", &good.server_version),
        ("role", &good.role),
    ];
    let labels: Vec<String> = labels
        .into_iter()
        .filter_map(|(name, value)| Some(label(name, value.as_deref()?)))
        .collect();
    text.family(
        "snapshot_info",
        "The member that served the newest verified backup; always 1.",
    );
    text.sample("snapshot_info", &labels, 1);
}

/// What is in the directory.
fn directory(text: &mut Text, run: &RunReport) {
    let Some(found) = &run.backups else {
        return;
    };
    text.family(
        "backups",
        "Backups in the directory by state: one is verified, unverified or damaged; suspicious and pinned ones are among these.",
    );
    let states = [
        ("verified", found.verified),
        ("unverified", found.unverified),
        ("damaged", found.damaged),
        ("suspicious", found.suspicious),
        ("pinned", found.pinned),
    ];
    for (state, number) in states {
        text.sample("backups", &[label("state", state)], number);
    }
    text.gauge(
        "directory_strangers",
        "Files in the directory that look like backups and are not.",
        Some(found.strangers),
    );
    text.gauge(
        "directory_size_bytes",
        "Size of all backups in the directory.",
        Some(found.bytes),
    );
}

/// Whether a file has metrics of this program.
pub fn are_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(b"# HELP etcd_rescue_")
}

/// The text as it grows. Every sample has the directory's label.
struct Text {
    text: String,
    directory: String,
}

impl Text {
    fn family(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP etcd_rescue_{name} {help}");
        let _ = writeln!(self.text, "# TYPE etcd_rescue_{name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &[String], value: impl Display) {
        let _ = write!(self.text, "etcd_rescue_{name}{{{}", self.directory);
        for label in labels {
            let _ = write!(self.text, ",{label}");
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    /// A family with one sample; nothing at all if the value is not known.
    fn gauge(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.family(name, help);
            self.sample(name, &[], value);
        }
    }
}

/// `name="value"`, escaped as the text format asks: backslash, quote and newline.
fn label(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalogue::run::Stage;
    use crate::error::Error;

    #[test]
    fn a_failed_run_tells_nothing_that_it_does_not_know() {
        let now = "2026-11-23T05:00:00Z".parse().unwrap();
        let mut run = RunReport::begin("t", "h", Path::new("/b\"\\\n"), now);
        run.fail(Stage::Save, &Error::unreachable("gone"), 5);
        let text = render(&run);
        assert!(are_ours(text.as_bytes()));
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            r#"etcd_rescue_last_attempt_timestamp_seconds{directory="/b\"\\\n"} 1795410000"#,
            r#"etcd_rescue_last_run_success{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_suspicious{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_exit_code{directory="/b\"\\\n"} 5"#,
            r#"etcd_rescue_last_run_duration_seconds{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_failovers{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_pruned_backups{directory="/b\"\\\n"} 0"#,
        ];
        assert_eq!(samples, expected);
    }
}
