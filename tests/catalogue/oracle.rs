//! Random times under random policies, decided by this program and by `restic forget --dry-run --json`.
//!
//! Making a snapshot and asking for a decision costs half a second each, most of it for restic's key. So there
//! is one repository: each snapshot has a host, and is in some of the sets by its tags. One question decides one
//! set of every host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use etcd_rescue::catalogue::keep::{self, Count, Fate, Item, Marks, Policy, Reason, Within};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use super::Random;
use crate::util::process::{self, Output};
use crate::util::{temp_dir, tools};

const SETS: u64 = 10;
const POLICIES: usize = 28;

#[test]
fn restic_decides_the_same() {
    let random = &mut Random::new();
    let repository = Repository::new();
    let now = Timestamp::now();
    let mut snapshots = Vec::new();
    for (host, times) in hosts(random, now) {
        for time in times {
            let sets = (0..SETS).filter(|_| !random.once_in(4));
            let mut tags: Vec<String> = sets.map(|set| format!("set{set}")).collect();
            if random.once_in(8) {
                tags.push("pinned".into());
            }
            snapshots.push((host, time, tags));
        }
    }
    in_parallel(&snapshots, |(host, time, tags)| {
        repository.backup(host, *time, tags);
    });
    let items = repository.items();
    assert_eq!(items.len(), snapshots.len());

    let new = repository.is_new();
    let questions: Vec<(Policy, String)> = (0..POLICIES)
        .map(|_| (policy(random, new), format!("set{}", random.below(SETS))))
        .collect();
    let removed = Mutex::new(0);
    in_parallel(&questions, |(policy, set)| {
        let theirs = repository.forget(policy, set);
        let ours = decided(&items, policy, set, now, new);
        assert_eq!(ours, theirs, "{policy:?} over {set}, now {now}");
        let gone = ours.values().filter(|reasons| reasons.is_none()).count();
        *removed.lock().unwrap() += gone;
    });
    let removed = removed.into_inner().unwrap();
    assert!(
        removed > POLICIES * 10,
        "only {removed} were removed: too weak a question"
    );
}

#[test]
fn restic_differs_where_it_is_meant_to() {
    let repository = Repository::new();
    let now = Timestamp::now();
    let hours = |hours| now + SignedDuration::from_hours(hours);
    for hour in [-50, -49, -48, 100, 200] {
        repository.backup("host", hours(hour), &["set0".into()]);
    }
    let items = repository.items();
    let dates = |decided: &BTreeMap<String, Option<Vec<String>>>| -> Vec<i64> {
        let kept = items
            .iter()
            .filter(|(_, item, _)| decided[&item.id].is_some());
        let hour = |item: &Item| (item.at - now).total(jiff::Unit::Hour).unwrap().round() as i64;
        kept.map(|(_, item, _)| hour(item))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    let both = |policy: &Policy| {
        let theirs = repository.forget(policy, "set0");
        (
            dates(&theirs),
            dates(&decided(&items, policy, "set0", now, true)),
        )
    };
    let mut found = BTreeMap::new();

    let last = Policy {
        last: Count::Newest(2),
        ..Policy::default()
    };
    let (theirs, ours) = both(&last);
    assert_eq!((theirs, ours), (vec![100, 200], vec![-49, -48, 100, 200]));
    found.insert("future", "all");
    // But not for the window: there restic has the same rule.
    let within = Policy {
        within: "2h".parse().unwrap(),
        ..Policy::default()
    };
    let (theirs, ours) = both(&within);
    assert_eq!(
        (theirs, ours),
        (vec![-49, -48, 100, 200], vec![-49, -48, 100, 200])
    );

    if !repository.is_new() {
        let refused = repository.run(&["forget", "--dry-run", "--keep-last", "unlimited"]);
        refused
            .expect(true, "")
            .code(1)
            .stderr_has("invalid argument");
        let run = repository.run(&[
            "forget",
            "--dry-run",
            "--json",
            "--no-lock",
            "--keep-last",
            "-1",
        ]);
        assert_eq!(run.ok().json()[0]["keep"], Value::Null);
        found.insert("unlimited", "before 0.16.1");
    }
    if !repository.is_new() {
        let repository = Repository::new();
        for minute in [10, 20, 30] {
            let time = format!("2024-02-29T10:{minute}:00Z").parse().unwrap();
            repository.backup("host", time, &["set0".into()]);
        }
        let daily = Policy {
            daily: Count::Newest(2),
            ..Policy::default()
        };
        let kept = |decided: BTreeMap<_, Option<_>>| decided.values().flatten().count();
        let ours = kept(decided(&repository.items(), &daily, "set0", now, true));
        assert_eq!((kept(repository.forget(&daily, "set0")), ours), (1, 2));
        found.insert("oldest", "before 0.16.1");
    }
    let run = repository.run(&["forget", "--dry-run", "--no-lock", "--keep-within", "1d2d"]);
    run.ok();
    assert!("1d2d".parse::<Within>().is_err());
    found.insert("units", "all");

    let known = include_str!("../catalogue_known_differences").lines();
    let known: BTreeMap<&str, &str> = known
        .filter(|line| !line.starts_with('#'))
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [name, versions, _] => (name, versions),
            _ => panic!("catalogue_known_differences: expected three columns in {line:?}"),
        })
        .filter(|(_, versions)| *versions == "all" || !repository.is_new())
        .collect();
    assert_eq!(found, known);
}

#[test]
fn without_a_rule_restic_removes_nothing_either() {
    let repository = Repository::new();
    let now = Timestamp::now();
    for hours in [1, 2] {
        repository.backup(
            "host",
            now - SignedDuration::from_hours(hours),
            &["set0".into()],
        );
    }
    for flags in [&[][..], &["--keep-last", "0"]] {
        let run =
            repository.run(&[&["forget", "--dry-run", "--json", "--no-lock"], flags].concat());
        let said = run.ok().stdout_str();
        let removed = said.contains("\"remove\":[");
        assert!(!removed, "{said}");
    }
    let ours = decided(&repository.items(), &Policy::default(), "set0", now, true);
    assert!(ours.len() == 2 && ours.values().all(Option::is_some));
}

/// Backups as they come in life, and some that land on the edges of the calendar.
fn hosts(random: &mut Random, now: Timestamp) -> [(&'static str, BTreeSet<Timestamp>); 4] {
    let mut spread = |number, seconds: u64, jitter: u64| -> BTreeSet<Timestamp> {
        let ago = (1..=number).map(|n| n * seconds + random.below(jitter));
        ago.map(|ago| whole(now) - SignedDuration::from_secs(ago as i64 + 60))
            .collect()
    };
    let often = spread(14, 1_700, 1_700);
    let daily = spread(14, 60_000, 100_000);
    let rarely = spread(12, 2_000_000, 30_000_000);
    let edges = [
        "2020-12-31T23:59:59Z",
        "2021-01-01T00:00:00Z",
        "2021-01-03T23:59:59Z",
        "2021-01-04T00:00:00Z",
        "2023-12-31T22:59:59Z",
        "2023-12-31T23:00:00Z",
        "2024-02-28T23:59:59Z",
        "2024-02-29T00:00:00Z",
        "2024-02-29T23:59:59Z",
        "2024-03-01T00:00:00Z",
        "2024-12-29T12:00:00Z",
        "2024-12-30T12:00:00Z",
        "2025-01-31T10:00:00Z",
        "2025-03-31T10:00:00Z",
    ];
    let edges = edges.map(|time| time.parse().unwrap());
    [
        ("often", often),
        ("daily", daily),
        ("rarely", rarely),
        ("edges", BTreeSet::from(edges)),
    ]
}

/// restic's `--time` knows seconds.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap()
}

/// One to three rules.
fn policy(random: &mut Random, new: bool) -> Policy {
    let mut policy = Policy::default();
    for _ in 0..=random.below(3) {
        let count = match new && random.once_in(6) {
            true => Count::Unlimited,
            false => Count::Newest(1 + random.below(6) as u32),
        };
        match random.below(7) {
            0 => policy.last = count,
            1 => policy.hourly = count,
            2 => policy.daily = count,
            3 => policy.weekly = count,
            4 => policy.monthly = count,
            5 => policy.yearly = count,
            _ => {
                let mut some = |end| match random.once_in(2) {
                    true => random.below(end) as u32,
                    false => 0,
                };
                policy.within = Within {
                    years: some(2),
                    months: some(14),
                    days: some(40),
                    hours: 1 + some(60),
                };
            }
        }
    }
    policy
}

/// What this program makes of a set: the reasons, or none for what is removed. With `oldest` false what is kept
/// as the oldest of all is left out, which older versions of restic did not keep.
fn decided(
    items: &[(String, Item, Vec<String>)],
    policy: &Policy,
    set: &str,
    now: Timestamp,
    oldest: bool,
) -> BTreeMap<String, Option<Vec<String>>> {
    let mut found = BTreeMap::new();
    let hosts: BTreeSet<&str> = items.iter().map(|(host, ..)| host.as_str()).collect();
    for host in hosts {
        let of_host = items
            .iter()
            .filter(|(h, _, tags)| h == host && tags.iter().any(|tag| tag == set));
        let of_host: Vec<Item> = of_host.map(|(_, item, _)| item.clone()).collect();
        for decision in keep::decide(&of_host, policy, now).decisions {
            let reasons = match decision.fate {
                Fate::Kept(mut reasons) => {
                    reasons.retain(|reason| {
                        oldest || !matches!(reason, Reason::Rule { oldest: true, .. })
                    });
                    let kept = !reasons.is_empty();
                    kept.then(|| reasons.iter().filter_map(in_their_words).collect())
                }
                Fate::Expired => None,
                Fate::OverSize => panic!("{} is over size", decision.item.id),
            };
            found.insert(decision.item.id, reasons);
        }
    }
    found
}

/// restic has no word for what we would have kept anyway.
fn in_their_words(reason: &Reason) -> Option<String> {
    match reason {
        Reason::Rule { rule, .. } => Some(format!("{rule} snapshot")),
        Reason::Within(span) => Some(format!("within {span}")),
        Reason::Pinned => Some("has tags [pinned]".into()),
        Reason::LastVerified | Reason::NoRule | Reason::Future => None,
        other => panic!("{other} among proved backups"),
    }
}

fn in_parallel<T: Sync>(work: &[T], each: impl Fn(&T) + Sync) {
    let half = work.len().div_ceil(2).max(1);
    std::thread::scope(|scope| {
        for part in work.chunks(half) {
            scope.spawn(|| part.iter().for_each(&each));
        }
    });
}

/// A repository of restic's.
struct Repository {
    dir: TempDir,
}

impl Repository {
    fn new() -> Repository {
        let dir = temp_dir();
        std::fs::write(dir.path().join("file"), "tiny").unwrap();
        let repository = Repository { dir };
        repository.run(&["init"]).ok();
        repository
    }

    fn backup(&self, host: &str, time: Timestamp, tags: &[String]) {
        let time = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let tags = tags.join(",");
        self.run(&[
            "backup", "--host", host, "--time", &time, "--tag", &tags, "file",
        ])
        .ok();
    }

    /// Every snapshot with its host and tags, as a proved backup; its revision grows with its date.
    fn items(&self) -> Vec<(String, Item, Vec<String>)> {
        let found = self.run(&["snapshots", "--json"]).ok().json();
        let found: Vec<Snapshot> = serde_json::from_value(found).unwrap();
        let item = |found: Snapshot| {
            let marks = Marks {
                by_backup: true,
                dated: true,
                verified: true,
                pinned: found.tags.iter().any(|tag| tag == "pinned"),
                ..Marks::default()
            };
            let item = Item {
                revision: found.time.as_second(),
                at: found.time,
                id: found.id,
                bytes: 1,
                cluster: None,
                order: None,
                marks,
            };
            (found.hostname, item, found.tags)
        };
        found.into_iter().map(item).collect()
    }

    /// What restic makes of a set, host by host.
    fn forget(&self, policy: &Policy, set: &str) -> BTreeMap<String, Option<Vec<String>>> {
        let mut args = vec![
            "forget",
            "--dry-run",
            "--json",
            "--no-lock",
            "--group-by",
            "host",
        ];
        args.extend(["--tag", set, "--keep-tag", "pinned"]);
        let counts = policy
            .counts()
            .map(|(rule, count)| (format!("--keep-{rule}"), count.to_string()));
        for (flag, count) in &counts {
            args.extend([flag, count.as_str()]);
        }
        let within = policy.within.to_string();
        args.extend(["--keep-within", &within]);
        let groups = self.run(&args).ok().json();
        let mut found = BTreeMap::new();
        for group in groups.as_array().unwrap() {
            let list = |name: &str| group[name].as_array().cloned().unwrap_or_default();
            let id = |snapshot: &Value| snapshot["id"].as_str().unwrap().to_owned();
            for (kept, reason) in list("keep").iter().zip(list("reasons")) {
                let matches: Vec<String> =
                    serde_json::from_value(reason["matches"].clone()).unwrap();
                let matches = matches
                    .iter()
                    .map(|text| text.trim_start_matches("oldest ").to_owned());
                found.insert(id(kept), Some(matches.collect()));
            }
            for removed in list("remove") {
                found.insert(id(&removed), None);
            }
        }
        found
    }

    /// Whether it is 0.16.1 or later, which know `unlimited` and keep the oldest of all.
    fn is_new(&self) -> bool {
        let said = self.run(&["version"]).ok().stdout_str();
        let version = said.split_whitespace().nth(1).unwrap();
        let numbers: Vec<u32> = version
            .split('.')
            .map(|number| number.parse().unwrap())
            .collect();
        numbers >= vec![0, 16, 1]
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = tools::restic();
        command
            .args(args)
            .arg("--no-cache")
            .current_dir(self.dir.path());
        let repository = self.dir.path().join("repository");
        command.env("RESTIC_REPOSITORY", Path::new(&repository));
        command
            .env("RESTIC_PASSWORD", "not a secret")
            .env("TZ", "UTC");
        process::run(command, None, Duration::from_secs(60))
    }
}

#[derive(serde::Deserialize)]
struct Snapshot {
    id: String,
    time: Timestamp,
    hostname: String,
    #[serde(default)]
    tags: Vec<String>,
}
