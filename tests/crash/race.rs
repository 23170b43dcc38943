//! Two runs at once, and readers and servers that do not wait.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use super::SNAPSHOT;
use super::kill::server_with;
use super::site::{SaveSite, Site, State, Way};
use crate::util::etcd::Etcd;
use crate::util::mount::Namespace;
use crate::util::process::{Output, Running, eventually, freeze};
use crate::util::run::{Rescue, rescue};
use crate::util::strace::{self, CHANGING, Call};
use crate::util::temp_dir;
use crate::util::tools::TIMEOUT;
use crate::util::tree::names;

/// Exactly one did it; the others were refused.
#[track_caller]
fn one_won(outputs: Vec<Output>) {
    let winners = outputs
        .iter()
        .filter(|output| output.code == Some(0))
        .count();
    for output in outputs {
        let fits = winners == 1 && (output.code == Some(0) || output.code == Some(4));
        output.expect(fits, "one winner, and refusals for the others");
    }
}

#[test]
fn saves_to_the_same_name() {
    let server = server_with(5);
    let without_proc = Namespace::without_proc();
    for round in 0..6 {
        let site = SaveSite::new(&server, false, false);
        let start = |_| match round % 2 {
            0 => site.save().spawn(),
            _ => without_proc.spawn(&site.save()),
        };
        let running: Vec<_> = (0..3).map(start).collect();
        one_won(running.into_iter().map(|run| run.wait(TIMEOUT)).collect());
        assert_eq!(site.check("in a race"), State::Done);
        assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
    }
}

#[test]
fn restores_to_the_same_data_dir() {
    for way in [Way::Fresh, Way::WalDir].into_iter().cycle().take(12) {
        let site = Site::new(way, Path::new(SNAPSHOT));
        let running: Vec<_> = (0..3).map(|_| site.restore().spawn()).collect();
        one_won(running.into_iter().map(|run| run.wait(TIMEOUT)).collect());
        assert_eq!(site.check("in a race"), State::Done);
        assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
    }
}

#[test]
fn a_wal_dir_with_its_name_is_no_leftover_while_its_member_is_on_the_way() {
    let site = Site::new(Way::WalDir, Path::new(SNAPSHOT));
    let (output, calls) = strace::trace(&site.restore(), "renameat2", &[]);
    output.ok();
    site.reset();
    let member = calls.iter().find(|call| call.mentions(&site.member()));
    let asleep = member.unwrap().inject("delay_enter=5000000");
    let first = strace::inject_and_spawn(&site.restore(), &[asleep]);
    eventually("the WAL dir has its name", || site.wal().exists());
    site.restore()
        .run()
        .code(4)
        .stderr_has("wal exists already");
    assert_eq!(site.check("beside one that slept"), State::Before);
    first.wait(TIMEOUT).ok();
    assert_eq!(site.check("asleep between two names"), State::Done);
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
}

/// An unnamed file that replaces another has a name of its own for a moment, and is no leftover then.
#[test]
fn what_is_about_to_replace_a_file_is_no_leftover() {
    let server = server_with(1);
    let site = SaveSite::new(&server, true, false);
    let (output, calls) = strace::trace(&site.save(), "rename,renameat,renameat2", &[]);
    output.ok();
    let rename = calls.iter().find(|call| call.mentions(&site.out()));
    let asleep = rename.unwrap().inject("delay_enter=5000000");
    let first = strace::inject_and_spawn(&site.save(), &[asleep]);
    eventually("it has a name", || !site.leftovers().is_empty());
    site.save().run().ok();
    assert_eq!(site.leftovers().len(), 1);
    first.wait(TIMEOUT).ok();
    assert_eq!(site.check("asleep between two names"), State::Done);
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
}

/// A name that is not locked yet may be taken for a leftover; then its run takes another one.
#[test]
fn a_name_that_is_taken_away_before_it_is_locked_is_made_anew() {
    let server = server_with(1);
    let site = SaveSite::new(&server, true, true);
    // All calls: an injection counts those of one name.
    let (output, calls) = strace::trace(&site.save(), CHANGING, &site.always);
    output.ok();
    let lock = |call: &&Call| call.is("flock") && call.args.contains(".partial-");
    let lock = calls.iter().find(lock);
    let asleep = lock.unwrap().inject("delay_enter=5000000");
    let first = strace::inject_and_spawn(&site.save(), &site.injections(asleep));
    eventually("it has a name", || !site.leftovers().is_empty());
    site.save().run().ok();
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
    first.wait(TIMEOUT).ok();
    assert_eq!(site.check("asleep before its lock"), State::Done);
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
}

#[test]
fn who_reads_what_is_replaced_sees_the_old_or_the_new() {
    let server = server_with(2);
    let site = SaveSite::new(&server, false, false);
    site.save().run().ok();
    let old = std::fs::read(site.out()).unwrap();
    server.api().put("key", "value");
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen: Vec<Vec<u8>> = vec![old.clone()];
            while !stop.load(Ordering::Relaxed) {
                let now = std::fs::read(site.out()).expect("always there");
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
            }
            seen
        });
        for _ in 0..8 {
            site.save().arg("--force").run().ok();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen.len() > 1, "nothing was replaced");
    for (number, bytes) in seen.iter().enumerate() {
        let copy = site.dir.path().join("copy.db");
        std::fs::write(&copy, bytes).unwrap();
        let verify = rescue(["verify", copy.to_str().unwrap()]);
        verify.expect(true, &format!("version {number} seen")).ok();
    }
}

#[test]
fn a_run_that_stands_still_keeps_what_it_has_begun() {
    let server = server_with(30);
    let snapshot = server.snapshot_save("snapshot.db");
    let site = Site::new(Way::WalDir, &snapshot);
    let frozen = frozen(
        || site.restore().spawn(),
        || has_begun(&site.data(), site.leftovers()),
        || site.reset(),
    );
    let staged = site.leftovers();
    site.restore().run().ok();
    assert_eq!(site.leftovers(), staged);
    assert_eq!(site.check("beside one that stood still"), State::Done);
    frozen.send(Signal::CONT);
    frozen.wait(TIMEOUT).code(4).stderr_has("exists already");
    assert_eq!(site.check("beside one that went on"), State::Done);
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
}

#[test]
fn a_save_that_stands_still_keeps_what_it_has_begun() {
    let server = server_with(30);
    let without_proc = Namespace::without_proc();
    let site = SaveSite::new(&server, false, false);
    let start = || without_proc.spawn(&site.save());
    let frozen = frozen(
        start,
        || has_begun(site.dir.path(), site.leftovers()),
        || site.reset(),
    );
    let staged = site.leftovers();
    site.save().run().ok();
    assert_eq!(site.leftovers(), staged);
    frozen.send(Signal::CONT);
    frozen.wait(TIMEOUT).code(4).stderr_has("exists already");
    assert_eq!(site.check("beside one that went on"), State::Done);
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
}

/// A run that was stopped while it had begun and had no result yet.
#[track_caller]
fn frozen(start: impl Fn() -> Running, begun: impl Fn() -> bool, reset: impl Fn()) -> Running {
    for _ in 0..20 {
        let mut running = start();
        if freeze(&mut running, &begun) && begun() {
            return running;
        }
        drop(running);
        reset();
    }
    panic!("every run was too fast to be stopped half way");
}

/// Something is written under one of these staged names. (A name that is not locked yet may still be taken for a
/// leftover; its run then takes another.)
fn has_begun(dir: &Path, staged: Vec<String>) -> bool {
    let written = |path: &Path| {
        path.metadata()
            .is_ok_and(|file| file.is_file() && file.len() > 0)
    };
    staged
        .iter()
        .map(|name| dir.join(name))
        .any(|path| written(&path) || written(&path.join("snap/db")))
}

#[test]
fn an_etcd_that_starts_meanwhile_keeps_its_data() {
    let server = server_with(20);
    let snapshot = server.snapshot_save("snapshot.db");
    let dir = temp_dir();
    let data = dir.path().join("data");
    let restore = Rescue::new(["restore", "--move-aside", "--data-dir"]).arg(&data);
    let restore = restore.arg(&snapshot);
    restore.clone().run().ok();
    let staged = || {
        let mut staged = names(&data);
        staged.retain(|name| name.starts_with(".member.partial-"));
        staged
    };
    // One that was too fast has restored the same once more.
    let frozen = frozen(
        || restore.clone().spawn(),
        || has_begun(&data, staged()),
        || {},
    );
    let there = names(&data).len();
    let server = Etcd::new("3.7").data_dir(&data).start();
    frozen.send(Signal::CONT);
    frozen
        .wait(TIMEOUT)
        .code(4)
        .stderr_has(&format!("in use by pid {} (etcd)", server.pid()));
    assert_eq!(server.api().dump().len(), 200);
    assert_eq!(names(&data).len(), there - 1);
    assert!(staged().is_empty());
}
