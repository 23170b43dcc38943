//! What monitoring reads: Prometheus' text format, for the textfile collector of node_exporter.
//!
//! A pure function of the report of a run. Every sample has the label `directory`, so that several directories
//! can have a file each: the collector refuses two samples that are the same. What is not known has no sample;
//! nothing is ever told as 0 that is not.
//!
//! Alarm on `time() - etcd_rescue_last_success_timestamp_seconds > 26 * 3600`, and, for the case that not even
//! the file is written, on `absent(etcd_rescue_last_success_timestamp_seconds)`.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::run::{Outcome, RunReport};
use crate::error::{Error, Result};
use crate::io::staged::StagedFile;

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
        "When the snapshot in the newest verified backup was taken. Missing if there is none.",
        run.last_good.as_ref().map(|good| good.at.as_second()),
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

/// Replaces `path` with the metrics in one step, 0644: the collector runs as another user, and there is
/// nothing secret in them. The names it has before match no `*.prom`.
pub fn write(run: &RunReport, path: &Path) -> Result<()> {
    let mut file = StagedFile::create(path, true)?;
    file.write_all(render(run).as_bytes())
        .map_err(|e| file.write_error(e))?;
    let mode = std::fs::Permissions::from_mode(0o644);
    file.file()
        .set_permissions(mode)
        .map_err(|e| Error::io("set the mode of", path, e))?;
    file.commit()
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
    use super::*;
    use crate::catalogue::run::Stage;

    #[test]
    fn a_failed_run_tells_nothing_that_it_does_not_know() {
        let now = "2026-11-23T05:00:00Z".parse().unwrap();
        let mut run = RunReport::begin("t", "h", Path::new("/b\"\\\n"), now);
        run.fail(Stage::Save, &Error::unreachable("gone"), 5);
        let text = render(&run);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            r#"etcd_rescue_last_attempt_timestamp_seconds{directory="/b\"\\\n"} 1795410000"#,
            r#"etcd_rescue_last_run_success{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_suspicious{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_duration_seconds{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_failovers{directory="/b\"\\\n"} 0"#,
            r#"etcd_rescue_last_run_pruned_backups{directory="/b\"\\\n"} 0"#,
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn a_collector_of_another_user_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.prom");
        let run = RunReport::begin("t", "h", Path::new("/b"), jiff::Timestamp::UNIX_EPOCH);
        for _ in 0..2 {
            write(&run, &path).unwrap();
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o644);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), render(&run));
    }
}
