//! Where backups go in a test, and what is asked about them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::util::archives::retold;
use crate::util::etcd::Etcd;
use crate::util::process::Output;
use crate::util::run::Rescue;
use crate::util::tree::{Tree, names};
use crate::util::{process, temp_dir, tools};

/// Stays in the directory for ever, and is empty when nobody works there.
pub const LOCK: &str = ".etcd-rescue.lock";

pub const CATALOGUE: &str = ".etcd-rescue-catalogue.json";

/// The one before it.
pub const OLD_CATALOGUE: &str = ".etcd-rescue-catalogue.old.json";

/// A site with one good backup, and the server it came from.
#[track_caller]
pub fn with_one() -> (Site, Etcd, String) {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let site = Site::new();
    let file = site.made(&server.url());
    (site, server, file)
}

/// Names of what is no archive and none of the files that belong there.
pub fn leftovers(dir: &Path) -> Vec<String> {
    let kept = [LOCK, CATALOGUE, OLD_CATALOGUE];
    let mut names = names(dir);
    names.retain(|name| !kept.contains(&name.as_str()) && !name.ends_with(".db.zst"));
    names
}

/// A directory of backups, and a report and metrics beside it.
pub struct Site {
    root: TempDir,
    dir: PathBuf,
}

impl Site {
    #[track_caller]
    pub fn new() -> Site {
        let root = temp_dir();
        let dir = root.path().join("backups");
        std::fs::create_dir(&dir).unwrap();
        Site { root, dir }
    }

    /// The directory of the backups.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A path in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `backup DIR` from these endpoints, with report and metrics.
    pub fn backup(&self, endpoints: &str) -> Rescue {
        Rescue::new(["backup", "--endpoints", endpoints])
            .arg(&self.dir)
            .arg("--report")
            .arg(self.beside("report.json"))
            .arg("--metrics")
            .arg(self.beside("etcd.prom"))
    }

    /// A backup that works; its file.
    #[track_caller]
    pub fn made(&self, endpoints: &str) -> String {
        self.backup(endpoints).run().ok();
        text(&self.report()["saved"]["file"])
    }

    /// Any other verb on the directory.
    pub fn verb(&self, verb: &str) -> Rescue {
        Rescue::new([verb]).arg(&self.dir)
    }

    /// `pin FILE` or `unpin FILE`, which works.
    #[track_caller]
    pub fn pin(&self, verb: &str, file: &str) {
        Rescue::new([verb])
            .arg(self.at(file))
            .run()
            .ok()
            .stdout_is("");
    }

    /// What the last run told.
    #[track_caller]
    pub fn report(&self) -> Value {
        report(&self.beside("report.json"))
    }

    /// What it told monitoring: the value of a metric, if it is there; promtool is content with all of it.
    #[track_caller]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = std::fs::read_to_string(self.beside("etcd.prom")).expect("metrics");
        let mut command = tools::promtool();
        command.args(["check", "metrics"]);
        let input = Some(text.clone().into_bytes());
        process::run(command, input, Duration::from_secs(30))
            .expect(true, &text)
            .ok()
            .stderr_is("");
        let start = format!("etcd_rescue_{name}{{");
        let line = text.lines().find(|line| line.starts_with(&start))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[track_caller]
    pub fn list(&self) -> Value {
        self.verb("list").arg("-w=json").run().ok().json()
    }

    /// Files of archives as `list` has them, newest first.
    #[track_caller]
    pub fn files(&self) -> Vec<String> {
        let list = self.list();
        let backups = list["backups"].as_array().unwrap();
        backups.iter().map(|each| text(&each["file"])).collect()
    }

    /// What `list` says of a file.
    #[track_caller]
    pub fn listed(&self, file: &str) -> Value {
        let list = self.list();
        let mut backups = list["backups"].as_array().unwrap().iter();
        let found = backups.find(|each| each["file"] == file);
        found
            .unwrap_or_else(|| panic!("{file} is not in {list}"))
            .clone()
    }

    /// All there is but the lock file.
    #[track_caller]
    pub fn tree(&self) -> Tree {
        Tree::of(&self.dir).without(LOCK)
    }

    /// See [`leftovers`].
    pub fn leftovers(&self) -> Vec<String> {
        leftovers(&self.dir)
    }

    /// Makes a copy of an archive that says it was taken at another time. It has no record yet.
    #[track_caller]
    pub fn redated(&self, file: &str, name: &str, at: Timestamp) {
        let bytes = retold(&self.at(file), |manifest| {
            manifest.made.at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        });
        std::fs::write(self.at(name), bytes).unwrap();
    }

    /// Restores with these words for the input, boots it as `minor`, and gives the running server.
    #[track_caller]
    pub fn boots(&self, minor: &str, input: &[&str], name: &str) -> Etcd {
        let data = self.beside(name);
        let restore = Rescue::new(["restore"]).args(input);
        restore.arg("--data-dir").arg(&data).run().ok();
        Etcd::new(minor).data_dir(data).start()
    }
}

/// A report that a run wrote.
#[track_caller]
pub fn report(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("no report: {e}"));
    serde_json::from_slice(&bytes).unwrap()
}

/// A JSON string as it is.
#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no string"))
        .to_owned()
}

/// A run that failed, said so, and changed nothing.
#[track_caller]
pub fn failed(site: &Site, before: &Tree, output: Output, code: i32, stage: &str) -> Output {
    before.assert_unchanged(&site.tree(), "a failed backup");
    failed_in(site, output, code, stage)
}

/// A run that failed and said so: exit code, one error, a report with the stage, and metrics.
#[track_caller]
pub fn failed_in(site: &Site, output: Output, code: i32, stage: &str) -> Output {
    let output = output.code(code).stdout_is("");
    let errors = output.stderr.lines().filter(|l| l.starts_with("error:"));
    let one = errors.count() == 1;
    let output = output.expect(one, "one error");
    let report = site.report();
    let message = report["error"]["message"].as_str().unwrap_or("no message");
    let fits = report["outcome"] == "failed"
        && report["stage"] == stage
        && report["exitCode"] == code
        && report["saved"].is_null()
        && output.stderr.contains(message);
    assert!(
        fits,
        "stage {stage}, exit code {code}: {report:#}\n{output}"
    );
    assert_eq!(site.metric("last_run_success"), Some(0.0));
    assert!(site.metric("last_attempt_timestamp_seconds").is_some());
    output
}
