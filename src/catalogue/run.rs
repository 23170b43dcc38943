//! What a run of `backup` tells the world, whether it went well or not: the JSON of `--report`, and the struct
//! that [`super::metrics`] are made from.
//!
//! The keys are stable: later versions add some, and change none. [`HELP`] documents them all.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::error::{self, Error, Result};
use crate::io::dirs;

/// `format` of the report.
pub const FORMAT: u32 = 1;

/// What `--help report` prints.
pub const HELP: &str = "\
--report FILE: what a run of backup did, as one JSON document. It is replaced as a whole at the end of every run,
on success and on failure. Keys stay as they are; later versions may add some. A key without a value is null, or [].

  format             1
  tool               program and version
  host               host name of the machine that ran it
  directory          the directory of the backups, as an absolute path
  startedAt          when the run began; all times are RFC 3339 in UTC
  endedAt            when it ended
  durationSeconds    how long it took, by a clock that nobody sets
  outcome            saved       a new backup is there and proved
                     suspicious  the same, but it is odd beside the one before it; nothing was pruned
                     failed      there is no new backup; the directory is as it was before
  exitCode           what the program exited with
  stage              where it stopped: arguments (the command line, and the files it names), lock, clean, space, save,
                     verify, compare, prune, report (metrics, report and answer); done at the end
  error              null, or what went wrong
    kind             failed, usage, damaged, refused, unreachable or interrupted
    message          in words
    hint             what to do next, or null
  warnings           things worth knowing that did not stop the run
  failovers          endpoints that were tried in vain: they did not answer, or broke off
    endpoint         which one
    error            why
  alarms             alarms of etcd that were active when it was asked, as NOSPACE 8e9e05c52164694d (type, member id);
                     null if nobody answered
  saved              the new backup, or null
    file             name of the file in the directory
    id               archive id: stays when the file is renamed
    at               when its snapshot was taken
    verifiedAt       when it was last proved, reading it from the disk
    bytes            bytes of the archive
    snapshotBytes    bytes of the snapshot inside
    revision         etcd's revision in it
    liveKeys         keys that live at that revision
    dbSizeBytes      bytes of the database
    dbInUseBytes     bytes of it that are in use
    clusterId        cluster id in hex, or null
    memberId         member id in hex, or null
    memberName       the member's name, or null
    endpoint         the endpoint that served it, or null
    serverVersion    etcd's version, or null
    role             leader, follower or learner, or null
  suspicious         what is odd about the new backup, in words
  lastGood           the newest proved backup in the directory, this run's included: keys as in saved; or null
  pruned             what retention did, or null if the run did not come to it
    skipped          why nothing was pruned, or null
    removed          backups that were removed, oldest first
      file           name of the file
      id             archive id
      at             when its snapshot was taken
      bytes          bytes of the archive
      reason         expired (no rule keeps it) or size (--max-size has no room for it)
    removedBytes     bytes that were freed
    remaining        files of backups that had to go by the same rules, and are still there: error says why
    overBytes        bytes that the backups which must stay have beyond --max-size
  backups            what is in the directory now, or null if it could not be read
    verified         proved, and not damaged since
    unverified       archives that nobody has proved
    damaged          archives that a check found damaged
    suspicious       proved ones that are odd and that nobody has accepted (unpin)
    pinned           archives that are pinned
    strangers        files that look like backups and are not
    bytes            bytes of all archives
";

/// How a run of `backup` went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// [`FORMAT`].
    pub format: u32,
    /// Program and version.
    pub tool: String,
    /// Host name of this machine.
    pub host: String,
    /// The directory, as an absolute path.
    pub directory: String,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long it took, by a clock that nobody sets.
    pub duration_seconds: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// What the program exits with.
    pub exit_code: u8,
    /// Where it stopped.
    pub stage: Stage,
    /// What went wrong.
    pub error: Option<RunError>,
    /// What is worth knowing and did not stop it.
    pub warnings: Vec<String>,
    /// Endpoints that were tried in vain: they did not answer, or broke off.
    pub failovers: Vec<Failover>,
    /// Alarms of etcd that were active when it was asked: type, and member id in hex.
    #[serde(default)]
    pub alarms: Option<Vec<String>>,
    /// The new backup.
    pub saved: Option<Backup>,
    /// What is odd about it.
    pub suspicious: Vec<String>,
    /// The newest proved backup, this run's included.
    pub last_good: Option<Backup>,
    /// What retention did.
    pub pruned: Option<Pruned>,
    /// What is in the directory now.
    pub backups: Option<Totals>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A new backup is there and proved.
    Saved,
    /// The same, but it is odd beside the one before.
    Suspicious,
    /// There is no new backup.
    Failed,
}

/// The stages of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Making sense of the command line, and of the files it names.
    Arguments,
    /// Waiting for the directory.
    Lock,
    /// Removing what a killed run left.
    Clean,
    /// Looking for room.
    Space,
    /// Receiving the snapshot.
    Save,
    /// Reading it back from the disk.
    Verify,
    /// Beside the backup before.
    Compare,
    /// Retention.
    Prune,
    /// Metrics, report and answer.
    Report,
    /// At the end.
    Done,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// Whose fault it is: the name of an [`error::Kind`].
    pub kind: String,
    /// In words, causes included.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl From<&Error> for RunError {
    fn from(error: &Error) -> RunError {
        let kind = match error.kind() {
            error::Kind::Failed => "failed",
            error::Kind::Usage => "usage",
            error::Kind::Damaged => "damaged",
            error::Kind::Refused => "refused",
            error::Kind::Unreachable => "unreachable",
            error::Kind::Interrupted => "interrupted",
        };
        RunError {
            kind: kind.into(),
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

/// An endpoint that was tried in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// Which one.
    pub endpoint: String,
    /// Why.
    pub error: String,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Name of the file in the directory.
    pub file: String,
    /// Archive id.
    pub id: String,
    /// When its snapshot was taken.
    pub at: Timestamp,
    /// When it was last proved.
    pub verified_at: Timestamp,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Bytes of the snapshot, trailer included.
    pub snapshot_bytes: u64,
    /// Revision of the store.
    pub revision: i64,
    /// Keys that live at that revision.
    pub live_keys: u64,
    /// Bytes of the database.
    pub db_size_bytes: u64,
    /// Bytes of it that are in use.
    pub db_in_use_bytes: u64,
    /// Cluster id in hex.
    pub cluster_id: Option<String>,
    /// Member id in hex.
    pub member_id: Option<String>,
    /// The member's name.
    pub member_name: Option<String>,
    /// The endpoint that served it.
    pub endpoint: Option<String>,
    /// etcd's version.
    pub server_version: Option<String>,
    /// `leader`, `follower` or `learner`.
    pub role: Option<String>,
}

/// What retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// Why it did nothing.
    pub skipped: Option<String>,
    /// What it removed, oldest first.
    pub removed: Vec<Removed>,
    /// Bytes that were freed.
    pub removed_bytes: u64,
    /// Files of backups that had to go, and are still there.
    #[serde(default)]
    pub remaining: Vec<String>,
    /// Bytes beyond `--max-size`.
    pub over_bytes: u64,
}

/// A backup that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Name of the file.
    pub file: String,
    /// Archive id.
    pub id: String,
    /// When its snapshot was taken.
    pub at: Timestamp,
    /// Bytes of the archive.
    pub bytes: u64,
    /// `expired` or `size`.
    pub reason: String,
}

/// What is in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Proved, and not damaged since.
    pub verified: u64,
    /// Nobody has proved them.
    pub unverified: u64,
    /// Found damaged.
    pub damaged: u64,
    /// Proved, odd, and not accepted.
    pub suspicious: u64,
    /// Pinned.
    pub pinned: u64,
    /// Files that look like backups and are not.
    pub strangers: u64,
    /// Bytes of all archives.
    pub bytes: u64,
}

impl RunReport {
    /// The report of a run that has just begun, and fails at [`Stage::Arguments`] unless told otherwise.
    pub fn begin(tool: &str, host: &str, directory: &Path, now: Timestamp) -> RunReport {
        RunReport {
            format: FORMAT,
            tool: tool.into(),
            host: host.into(),
            directory: dirs::absolute(directory).display().to_string(),
            started_at: now,
            ended_at: now,
            duration_seconds: 0.0,
            outcome: Outcome::Failed,
            exit_code: 1,
            stage: Stage::Arguments,
            error: None,
            warnings: Vec::new(),
            failovers: Vec::new(),
            alarms: None,
            saved: None,
            suspicious: Vec::new(),
            last_good: None,
            pruned: None,
            backups: None,
        }
    }

    /// The run is over; `took` is by a clock that nobody sets.
    pub fn end(&mut self, now: Timestamp, took: Duration) {
        self.ended_at = now;
        self.duration_seconds = took.as_secs_f64();
    }

    /// The run stops here with an error.
    pub fn fail(&mut self, stage: Stage, error: &Error, exit_code: u8) {
        self.stage = stage;
        self.outcome = Outcome::Failed;
        self.error = Some(error.into());
        self.exit_code = exit_code;
    }

    /// All went well until it was to be told.
    pub fn untold(&mut self, error: &Error, exit_code: u8) {
        self.stage = Stage::Report;
        self.error = Some(error.into());
        self.exit_code = exit_code;
    }

    /// One JSON document with a newline at its end.
    pub fn json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::failed("cannot encode the report").because(e))?;
        text.push(b'\n');
        Ok(text)
    }
}

/// Whether a file is the report of a run, this version's or another's.
pub fn is_report(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Any {
        tool: String,
        #[serde(rename = "startedAt")]
        _started_at: IgnoredAny,
        #[serde(rename = "outcome")]
        _outcome: IgnoredAny,
    }
    serde_json::from_slice::<Any>(bytes).is_ok_and(|any| any.tool.starts_with("etcd-rescue"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// A report without an empty place.
    pub fn full() -> RunReport {
        let at = "2026-11-23T05:00:00Z".parse().unwrap();
        let some = |text: &str| Some(text.to_owned());
        let backup = Backup {
            file: "etcd-20261123T050000Z-rev7.db.zst".into(),
            id: "0123456789abcdef0123456789abcdef".into(),
            at,
            verified_at: at,
            bytes: 10,
            snapshot_bytes: 20,
            revision: 7,
            live_keys: 3,
            db_size_bytes: 20,
            db_in_use_bytes: 16,
            cluster_id: some("cdf818194e3a8c32"),
            member_id: some("8e9e05c52164694d"),
            member_name: some("cp1"),
            endpoint: some("https://127.0.0.1:2379"),
            server_version: some("3.6.5"),
            role: some("follower"),
        };
        let mut report = RunReport::begin("etcd-rescue 0.2.0", "cp1", Path::new("/b"), at);
        let error = Error::refused("no").hint("yes");
        report.fail(Stage::Prune, &error, 4);
        report.warnings.push("w".into());
        report.failovers.push(Failover {
            endpoint: "https://127.0.0.2:2379".into(),
            error: "gone".into(),
        });
        report.alarms = Some(vec!["NOSPACE 8e9e05c52164694d".into()]);
        report.saved = Some(backup.clone());
        report.last_good = Some(backup);
        report.suspicious.push("there are no keys in it".into());
        report.pruned = Some(Pruned {
            skipped: some("s"),
            removed: vec![Removed {
                file: "old.db.zst".into(),
                id: "f".into(),
                at,
                bytes: 5,
                reason: "expired".into(),
            }],
            ..Pruned::default()
        });
        report.backups = Some(Totals::default());
        report
    }

    /// `lastGood` has the keys of `saved`, which are documented once.
    fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let path = format!("{path}/{key}");
                    if !path.starts_with("/lastGood/") {
                        found.insert(path.clone());
                    }
                    keys(value, &path, found);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| keys(value, path, found)),
            _ => {}
        }
    }

    #[test]
    fn every_key_is_documented_and_no_other() {
        let mut found = BTreeSet::new();
        keys(&serde_json::to_value(full()).unwrap(), "", &mut found);
        let mut documented = BTreeSet::new();
        let mut above: Vec<&str> = Vec::new();
        for line in HELP.lines().skip(3) {
            let indent = line.len() - line.trim_start().len();
            let key = line.split_whitespace().next().unwrap();
            if indent <= 6 {
                above.truncate(indent / 2 - 1);
                above.push(key);
                documented.insert(format!("/{}", above.join("/")));
            }
        }
        assert_eq!(found, documented);
    }

    #[test]
    fn it_reads_as_it_was_written() {
        let mut report = full();
        report.end(report.started_at, Duration::from_millis(1_500));
        report.outcome = Outcome::Suspicious;
        let text = report.json().unwrap();
        let read: RunReport = serde_json::from_slice(&text).unwrap();
        assert_eq!(read, report);
        assert!(is_report(&text));
        let value = serde_json::to_value(&read).unwrap();
        assert_eq!(value["durationSeconds"], 1.5);
        assert_eq!(value["outcome"], "suspicious");
        assert_eq!(value["stage"], "prune");
        assert_eq!(value["error"]["hint"], "yes");
    }

    #[test]
    fn a_directory_has_one_name() {
        let plain = std::path::absolute("b").unwrap();
        for typed in ["b", "b/", "./b", "./b/."] {
            let report = RunReport::begin("t", "h", Path::new(typed), Timestamp::UNIX_EPOCH);
            assert_eq!(report.directory, plain.display().to_string());
        }
    }

    #[test]
    fn one_that_has_just_begun_has_failed() {
        let now = Timestamp::UNIX_EPOCH;
        let report = RunReport::begin("t", "h", Path::new("/b"), now);
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!(value["outcome"], "failed");
        assert_eq!(value["stage"], "arguments");
        assert_eq!(value["error"], Value::Null);
    }
}
