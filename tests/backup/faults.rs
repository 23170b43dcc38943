//! A system call that fails, whichever it is: a backup is there and proved, or everything is as it was.

use std::collections::BTreeMap;

use serde_json::Value;

use super::site::{CATALOGUE, Site};
use crate::crash::kill::worth_a_kill;
use crate::util::etcd::Etcd;
use crate::util::process::Output;
use crate::util::run::Rescue;
use crate::util::strace::{self, CHANGING, Call};
use crate::util::tree::names;

/// A site with three backups, of which the next run keeps two.
pub struct Worn {
    pub site: Site,
    server: Etcd,
    files: BTreeMap<String, Vec<u8>>,
    /// Injected into every run.
    always: Vec<String>,
}

impl Worn {
    /// `named`: on a file system without unnamed files.
    #[track_caller]
    pub fn new(named: bool) -> Worn {
        let server = Etcd::new("3.7").start();
        let site = Site::new();
        for key in ["a", "b", "c"] {
            server.api().put(key, "value");
            site.made(&server.url());
        }
        let content = |name: String| (name.clone(), std::fs::read(site.at(&name)).unwrap());
        let files = names(site.dir()).into_iter().map(content).collect();
        let mut worn = Worn {
            site,
            server,
            files,
            always: Vec::new(),
        };
        if named {
            let (_, calls) = strace::trace(&worn.run(), CHANGING, &[]);
            let unnamed =
                |call: &&Call| call.args.contains("O_TMPFILE") && call.mentions(worn.site.dir());
            let unnamed: Vec<usize> = calls.iter().filter(unnamed).map(|call| call.nth).collect();
            // Of several injections into one kind of call strace takes the last: two numbers are a range with a step.
            let [archive, catalogue, ..] = unnamed[..] else {
                panic!("{calls:?}");
            };
            let step = catalogue - archive;
            worn.always = vec![format!(
                "inject=openat:error=EOPNOTSUPP:when={archive}..{catalogue}+{step}"
            )];
            worn.reset();
        }
        worn
    }

    pub fn run(&self) -> Rescue {
        self.site.backup(&self.server.url()).arg("--keep-last=2")
    }

    /// The calls of a run that are worth a fault, each in a run of its own.
    #[track_caller]
    pub fn calls(&self) -> Vec<Call> {
        let (output, calls) = strace::trace(&self.run(), CHANGING, &self.always);
        output.ok();
        assert_eq!(self.sound("left alone"), State::Made { kept: 1 });
        self.reset();
        let mut calls = worth_a_kill(calls, self.site.dir());
        calls.retain(|call| self.always.is_empty() || !call.is("openat"));
        assert!(calls.len() > 10, "{calls:?}");
        calls
    }

    fn injections(&self, more: String) -> Vec<String> {
        self.always.iter().cloned().chain([more]).collect()
    }

    /// A run in which this happened to such a call on a file in the directory: how often the runtime wakes itself by a
    /// write differs from run to run, so the number of a write does, too.
    #[track_caller]
    pub fn hit(&self, call: &Call, what: &str) -> Output {
        for attempt in 0..40 {
            let mut call = call.clone();
            if call.is("write") {
                call.nth = (call.nth + attempt % 5).saturating_sub(2).max(1);
            }
            let (output, calls) =
                strace::trace(&self.run(), CHANGING, &self.injections(call.inject(what)));
            let here = |seen: &Call| seen.name == call.name && seen.mentions(self.site.dir());
            let hit = |seen: &Call| match what.starts_with("error=") {
                true => seen.result.ends_with("(INJECTED)"),
                // Another thread's call of this number may come first.
                false => seen.nth == call.nth,
            };
            if calls.iter().any(|seen| here(seen) && hit(seen)) {
                return output;
            }
            self.reset();
        }
        panic!("{call:?} was never hit");
    }

    /// The directory as it was at first.
    #[track_caller]
    pub fn reset(&self) {
        for name in names(self.site.dir()) {
            std::fs::remove_file(self.site.at(&name)).unwrap();
        }
        for (name, bytes) in &self.files {
            std::fs::write(self.site.at(name), bytes).unwrap();
        }
        for told in ["report.json", "etcd.prom"] {
            let _ = std::fs::remove_file(self.site.beside(told));
        }
    }

    /// How many there are, all of them verified; the old ones that are gone were let go by the rule.
    #[track_caller]
    pub fn sound(&self, when: &str) -> State {
        let list = self.site.list();
        let backups = list["backups"].as_array().unwrap();
        let verified =
            |each: &Value| each["verifiedHow"] == "backup" && each["damagedAt"].is_null();
        assert!(backups.iter().all(verified), "{when}: {list:#}");
        assert_eq!(list["strangers"], serde_json::json!([]), "{when}");
        let there: Vec<String> = backups
            .iter()
            .map(|each| super::site::text(&each["file"]))
            .collect();
        let old: Vec<&String> = self
            .files
            .keys()
            .filter(|name| name.ends_with(".zst"))
            .collect();
        let kept = old.iter().filter(|name| there.contains(name)).count();
        assert!(
            there.contains(old[2]),
            "the last good one is gone {when}: {there:?}"
        );
        for name in old.iter().filter(|name| there.contains(name)) {
            let same = std::fs::read(self.site.at(name)).unwrap() == self.files[*name];
            assert!(same, "{name} changed {when}");
        }
        self.site.verb("check").run().expect(true, when).ok();
        match (there.len() - kept, kept) {
            (0, 3) => State::Before,
            (1, 1..=3) => State::Made { kept },
            _ => panic!("{when}: {there:?}"),
        }
    }

    /// What else is there.
    pub fn leftovers(&self) -> Vec<String> {
        self.site.leftovers()
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything is as it was.
    Before,
    /// A new one is there, and so many of the old ones.
    Made { kept: usize },
}

#[test]
fn any_call_of_a_backup_fails() {
    let mut problems = Vec::new();
    for named in [false, true] {
        let worn = Worn::new(named);
        for call in worn.calls() {
            for error in errors(&call) {
                let when = format!(
                    "with {error} at {}({}, named: {named}",
                    call.name, call.args
                );
                let output = worn.hit(&call, &format!("error={error}"));
                let state = worn.sound(&when);
                let mut found = told(&worn, &output, state);
                if call.is("fsync") && output.code == Some(0) {
                    found.push("a sync that failed is not told".into());
                }
                // What cannot be removed stays.
                if !call.is("unlink") {
                    found.extend(worn.leftovers().iter().map(|name| format!("left: {name}")));
                }
                problems.extend(
                    found
                        .iter()
                        .map(|what| format!("{what} {when}\n{state:?} {output}")),
                );
                worn.reset();
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

fn errors(call: &Call) -> Vec<&'static str> {
    match call.name.as_str() {
        "fsync" | "fdatasync" => vec!["EIO"],
        "flock" => vec!["ENOLCK"],
        "write" | "pwrite64" | "link" | "linkat" | "openat" | "open" => vec!["EIO", "ENOSPC"],
        _ => vec!["EIO"],
    }
}

/// What is wrong with the end of a run, given what is there.
fn told(worn: &Worn, output: &Output, state: State) -> Vec<String> {
    let mut wrong = Vec::new();
    if output.stderr.contains("cannot sync ") && output.stderr.contains("/report.json: ") {
        // Its own thread's first call, too: a report that could not be written was told.
        return wrong;
    }
    let report = worn.site.report();
    if output.stderr.contains("cannot sync ") && output.stderr.contains("/etcd.prom: ") {
        // The same of the metrics: the report has it.
        let message = report["error"]["message"].as_str().unwrap_or_default();
        let fits = match message.contains("/etcd.prom: ") {
            true => report["stage"] == "report",
            // Something else went wrong before.
            false => report["warnings"].to_string().contains("/etcd.prom: "),
        };
        if !fits || report["exitCode"] != 1 || output.code != Some(1) {
            wrong.push(format!("metrics that could not be written: {report:#}"));
        }
        return wrong;
    }
    let success = worn.site.metric("last_run_success");
    match (output.code, state) {
        (Some(0), State::Made { kept: 1 }) => {
            if report["outcome"] != "saved" || success != Some(1.0) {
                wrong.push(format!("not told as saved: {report:#}"));
            }
        }
        (Some(code @ (1 | 4)), State::Before) => {
            let fits =
                report["outcome"] == "failed" && report["saved"].is_null() && success == Some(0.0);
            let message = report["error"]["message"].as_str().unwrap_or_default();
            let full = message.contains("No space left");
            if !fits || message.is_empty() || full != (code == 4) {
                wrong.push(format!("not told as failed: {report:#}"));
            }
        }
        // It was made; what came after it failed.
        (Some(1), State::Made { .. }) => {
            if report["saved"].is_null() || report["stage"] == "done" || report["error"].is_null() {
                wrong.push(format!("made, and not told so: {report:#}"));
            }
        }
        _ => wrong.push("this end does not fit".into()),
    }
    if output.code != Some(0) && !output.stderr.contains("error: ") {
        wrong.push("no error".into());
    }
    if report["exitCode"] != output.code.unwrap_or(-1) {
        wrong.push(format!("exit code {} in the report", report["exitCode"]));
    }
    wrong
}

/// The catalogue comes first, and must not go on speaking of what never got its name.
#[test]
fn a_backup_that_gets_no_name_is_forgotten() {
    let worn = Worn::new(false);
    let catalogue = || -> Value {
        serde_json::from_slice(&std::fs::read(worn.site.at(CATALOGUE)).unwrap()).unwrap()
    };
    let (output, calls) = strace::trace(&worn.run(), CHANGING, &[]);
    output.ok();
    let made = worn
        .site
        .at(&super::site::text(&worn.site.report()["saved"]["file"]));
    worn.reset();
    let before = catalogue();
    let named = |call: &&Call| call.is("linkat") && call.mentions(&made);
    let named = calls.iter().find(named).unwrap();
    strace::inject(&worn.run(), &[named.inject("error=EIO")]).code(1);
    assert_eq!(catalogue()["records"], before["records"]);
}
