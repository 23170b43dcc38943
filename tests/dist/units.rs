//! The units, judged by systemd's own tools. (No systemd runs here: that they start is for `node`.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{dist, run, text};
use crate::util::etcd::Etcd;
use crate::util::mount::Namespace;
use crate::util::process::{self, Output};
use crate::util::run::Rescue;
use crate::util::{must_have, strace, temp_dir, tools, tree};

const ANALYZE: &str = "/usr/bin/systemd-analyze";

/// Copies of all units in a directory of their own, with drop-ins for the backup.
fn units(dir: &Path, drop_ins: &[(&str, String)]) -> Vec<PathBuf> {
    let mut units = Vec::new();
    for name in tree::names(&dist("systemd")) {
        if name.ends_with(".service") || name.ends_with(".timer") {
            fs::copy(dist("systemd").join(&name), dir.join(&name)).unwrap();
            units.push(dir.join(name));
        }
    }
    assert!(units.len() >= 5, "only {units:?}");
    let backup = dir.join("etcd-rescue-backup.service.d");
    fs::create_dir(&backup).unwrap();
    for (name, text) in drop_ins {
        fs::write(backup.join(name), text).unwrap();
    }
    units
}

/// Where the units will find their program, which need not be installed here.
fn analyze(units: &[PathBuf], args: &[&str]) -> Output {
    let namespace = Namespace::new(
        "mount -t tmpfs tmpfs /usr/local/bin; cp /bin/true /usr/local/bin/etcd-rescue",
    );
    let mut command = tools::command(&must_have(ANALYZE));
    command.args(args).args(units).env("NO_COLOR", "1");
    process::run(namespace.wrap(command), None, tools::TIMEOUT)
}

const VERIFY: &[&str] = &["verify", "--man=no", "--recursive-errors=yes"];

#[test]
fn systemd_understands_every_line() {
    let dir = temp_dir();
    analyze(&units(dir.path(), &[]), VERIFY).ok().stderr_is("");
}

#[test]
fn systemd_understands_the_credentials_example() {
    let dir = temp_dir();
    let example = text(&dist("systemd/credentials.conf.example"));
    analyze(&units(dir.path(), &[("10.conf", example)]), VERIFY)
        .ok()
        .stderr_is("");
}

#[test]
fn a_line_that_systemd_does_not_know_is_noticed() {
    let dir = temp_dir();
    let wrong = "[Service]\nProtectSytem=strict\n".to_owned();
    analyze(&units(dir.path(), &[("10.conf", wrong)]), VERIFY)
        .stderr_has("10.conf:2: Unknown key 'ProtectSytem' in section [Service]");
}

#[test]
fn the_services_are_exposed_to_little() {
    let dir = temp_dir();
    let all = units(dir.path(), &[]);
    let services = all
        .iter()
        .filter(|unit| unit.extension().unwrap() == "service");
    for service in services {
        let exposure = exposure(service);
        assert!(exposure <= 2.5, "{}: {exposure}", service.display());
    }
}

/// The drop-ins that nodes get do not undo it; credentials make it better.
#[test]
fn drop_ins_open_little() {
    let plain = temp_dir();
    units(plain.path(), &[]);
    let plain = exposure(&plain.path().join("etcd-rescue-backup.service"));

    let keys = temp_dir();
    let capability = "[Service]\nCapabilityBoundingSet=CAP_DAC_OVERRIDE\n".to_owned();
    units(keys.path(), &[("10.conf", capability)]);
    let keys = exposure(&keys.path().join("etcd-rescue-backup.service"));
    assert!(plain < keys && keys <= 2.5, "{plain} and {keys}");

    let credentials = temp_dir();
    let example = text(&dist("systemd/credentials.conf.example"));
    units(credentials.path(), &[("10.conf", example)]);
    let credentials = exposure(&credentials.path().join("etcd-rescue-backup.service"));
    assert!(credentials < plain, "{credentials} and {plain}");
}

/// `→ Overall exposure level for X.service: 1.8 OK`, the last line.
#[track_caller]
fn exposure(unit: &Path) -> f64 {
    let output = analyze(
        &[unit.to_owned()],
        &["security", "--offline=true", "--no-pager"],
    )
    .ok();
    let said = output.stdout_str();
    let level = said
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .and_then(|line| line.split(": ").nth(1))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|level| level.parse().ok());
    level.unwrap_or_else(|| panic!("no exposure level\n{output}"))
}

#[test]
fn the_timers_fire_when_they_say() {
    for (timer, next) in [
        ("etcd-rescue-backup.timer", "hourly"),
        ("etcd-rescue-check.timer", "*-*-* 00/6:45"),
    ] {
        let text = text(&dist("systemd").join(timer));
        assert!(text.contains(&format!("\nOnCalendar={next}\n")), "{timer}");
        for line in ["Persistent=yes", "RandomizedDelaySec="] {
            assert!(text.contains(&format!("\n{line}")), "{timer}: no {line}");
        }
        run(&must_have(ANALYZE), ["calendar", next]).ok();
    }
}

/// Every system call that the program makes is one that its unit's filter lets through; strace sees the calls
/// of all threads.
#[test]
fn the_system_call_filter_lets_the_program_work() {
    let mut server = Etcd::new("3.7").start();
    server.etcdctl(["put", "key", "value"]);
    let dir = temp_dir();
    let backups = dir.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let backup = Rescue::new(["backup", "--endpoints", &server.endpoint()])
        .arg(&backups)
        .args(["--keep-last", "1", "--lock-wait", "1m", "--timeout", "1m"])
        .arg("--report")
        .arg(dir.path().join("report.json"))
        .arg("--metrics")
        .arg(dir.path().join("etcd.prom"));
    let allowed = filter(&text(&dist("systemd/etcd-rescue-backup.service")));
    assert!(allowed.contains("openat") && !allowed.contains("chown"));
    // The second one replaces the report and prunes; the third fails.
    for code in [0, 0, 5] {
        if code == 5 {
            server.stop();
        }
        let made = calls(&backup, code);
        assert_eq!(made.contains("fadvise64"), code == 0, "{made:?}");
        assert_subset(&made, &allowed);
    }

    let allowed = filter(&text(&dist("systemd/etcd-rescue-check.service")));
    let check = Rescue::new(["check", "--full"]).arg(&backups);
    assert_subset(&calls(&check, 0), &allowed);
}

/// The names of all calls of a run, which ends with this code.
#[track_caller]
fn calls(run: &Rescue, code: i32) -> BTreeSet<String> {
    let (output, calls) = strace::trace(run, "all", &[]);
    output.code(code);
    let made: BTreeSet<_> = calls.into_iter().map(|call| call.name).collect();
    assert!(made.len() > 20, "only {made:?}");
    made
}

#[track_caller]
fn assert_subset(made: &BTreeSet<String>, allowed: &BTreeSet<String>) {
    let refused: Vec<_> = made.difference(allowed).collect();
    assert!(refused.is_empty(), "the unit would refuse {refused:?}");
}

/// What the `SystemCallFilter=` lines of a unit allow, one group after the other.
fn filter(unit: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in unit.lines() {
        let Some(groups) = line.strip_prefix("SystemCallFilter=") else {
            continue;
        };
        let (deny, groups) = match groups.strip_prefix('~') {
            Some(groups) => (true, groups),
            None => (false, groups),
        };
        for group in groups.split_whitespace() {
            for call in members(group) {
                if deny {
                    allowed.remove(&call);
                } else {
                    allowed.insert(call);
                }
            }
        }
    }
    allowed
}

/// The calls of a group, those of groups in it too. Every filter lets `@default` through.
fn members(group: &str) -> BTreeSet<String> {
    let listed = run(&must_have(ANALYZE), ["syscall-filter", group]).ok();
    let mut calls = BTreeSet::new();
    for line in listed.stdout_str().lines().skip(1).map(str::trim) {
        if line.starts_with('@') {
            calls.extend(members(line));
        } else if !line.starts_with('#') {
            calls.insert(line.to_owned());
        }
    }
    if group == "@system-service" {
        calls.extend(members("@default"));
    }
    calls
}
