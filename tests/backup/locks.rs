//! Two at once.

use std::time::Duration;

use rustix::process::Signal;

use super::site::{LOCK, Site, failed};
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script, Step, good, image};
use crate::util::process::{Running, eventually};
use crate::util::run::Rescue;
use crate::util::strace;
use crate::util::tools::TIMEOUT;

/// A backup that stands still in the middle of the stream, and holds the directory.
#[track_caller]
fn stuck(site: &Site, fake: &Fake) -> Running {
    let lock = site.at(LOCK);
    let running = Rescue::new(["backup", "--idle-timeout=60s", "--command-timeout=60s"])
        .arg(site.dir())
        .args(["--endpoints", &fake.endpoint()])
        .spawn();
    let pid = format!("\"pid\":{},", running.pid());
    eventually("it holds the directory", || {
        std::fs::read_to_string(&lock).is_ok_and(|note| note.contains(&pid))
    });
    running
}

fn stalling() -> Fake {
    Fake::start(Script {
        snapshot: vec![good(&image())[0].clone(), Step::Stall],
        ..Script::default()
    })
}

#[test]
fn the_second_one_names_the_first() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let (site, fake) = (Site::new(), stalling());
    let file = site.made(&server.url());
    let first = stuck(&site, &fake);
    let held = format!("is in use by pid {} on ", first.pid());
    let before = site.tree();
    let second = site
        .backup(&server.url())
        .run()
        .within(Duration::from_secs(5));
    let second = failed(&site, &before, second, 4, "lock")
        .stderr_has(&held)
        .stderr_has("(backup ")
        .stderr_has("), since 20")
        .stderr_has("--lock-wait");
    drop(second);
    for (verb, rest) in [("prune", "--keep-last=1"), ("check", "--full")] {
        site.verb(verb).arg(rest).run().code(4).stderr_has(&held);
    }
    let pin = Rescue::new(["pin"]).arg(site.at(&file));
    pin.run().code(4).stderr_has(&held);
    // To look takes no lock.
    site.verb("check").run().ok();
    site.verb("prune")
        .args(["--keep-last=1", "--dry-run"])
        .run()
        .ok();
    before.assert_unchanged(&site.tree(), "verbs that were refused");

    // What a killed run leaves is free at once.
    assert!(!std::fs::read(site.at(LOCK)).unwrap().is_empty());
    first.send(Signal::KILL);
    first.wait(TIMEOUT).signal(9);
    assert!(
        !std::fs::read(site.at(LOCK)).unwrap().is_empty(),
        "the note stays"
    );
    site.backup(&server.url()).run().ok().stderr_is("");
}

#[test]
fn who_waits_gets_it() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let (site, fake) = (Site::new(), stalling());
    let first = stuck(&site, &fake);
    let before = site.tree();
    let impatient = site.backup(&server.url()).arg("--lock-wait=1s").run();
    assert!(impatient.took >= Duration::from_secs(1));
    failed(&site, &before, impatient, 4, "lock").stderr_has("is in use by");
    // The deadline of the run counts while it waits, too.
    let late = site
        .backup(&server.url())
        .args(["--lock-wait=60s", "--timeout=1s"]);
    let late = late.run().within(Duration::from_secs(5));
    failed(&site, &before, late, 4, "lock")
        .stderr_has(&format!("is in use by pid {} on ", first.pid()))
        .stderr_has("), since 20")
        .stderr_has("hint: not done within 1s: give --timeout more time");
    let mut patient = site.backup(&server.url()).arg("--lock-wait=60s").spawn();
    std::thread::sleep(Duration::from_millis(700));
    assert!(patient.is_alive());
    first.send(Signal::TERM);
    first.wait(TIMEOUT).signal(15);
    patient.wait(TIMEOUT).ok().stderr_is("");
    assert_eq!(site.files().len(), 1);
}

/// Where the kernel has no locks, the note alone keeps a second run on the same machine out, as long as the first lives.
#[test]
fn the_note_holds_where_there_are_no_locks() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let (site, fake) = (Site::new(), stalling());
    let without = ["inject=flock:error=ENOLCK".to_owned()];
    let patient = site.backup(&fake.endpoint()).arg("--idle-timeout=60s");
    let first = strace::inject_and_spawn(&patient, &without);
    eventually("it holds the directory", || {
        std::fs::read_to_string(site.at(LOCK)).is_ok_and(|note| note.contains("\"pid\":"))
    });
    let before = site.tree();
    let second = strace::inject(&site.backup(&server.url()), &without);
    failed(&site, &before, second, 4, "lock").stderr_has("is in use by pid ");
    // The note of the dead holds nothing.
    let note: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.at(LOCK)).unwrap()).unwrap();
    let pid = i32::try_from(note["pid"].as_i64().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL)
        .unwrap();
    first.wait(TIMEOUT).signal(9);
    strace::inject(&site.backup(&server.url()), &without).ok();
}

#[test]
fn a_file_system_without_locks_is_told() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    for error in ["ENOLCK", "EOPNOTSUPP"] {
        let site = Site::new();
        let backup = site.backup(&server.url());
        strace::inject(&backup, &[format!("inject=flock:error={error}")])
            .ok()
            .stdout_is("")
            .stderr_has("warning: the file system of ")
            .stderr_has("has no locks");
        let warnings = site.report()["warnings"].to_string();
        assert!(warnings.contains("has no locks"), "{warnings}");
        assert_eq!((site.files().len(), site.leftovers().len()), (1, 0));
    }
}
