//! Two runs at once, and readers and servers that do not wait.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use super::SNAPSHOT;
use super::kill::server_with;
use super::site::{SaveSite, Site, State, Way};
use crate::util::etcd::Etcd;
use crate::util::mount::Namespace;
use crate::util::process::{Output, eventually};
use crate::util::run::{Rescue, rescue};
use crate::util::strace;
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
    for way in [Way::Fresh, Way::WalDir, Way::Fresh, Way::WalDir] {
        let site = Site::new(way, Path::new(SNAPSHOT));
        let running: Vec<_> = (0..3).map(|_| site.restore().spawn()).collect();
        one_won(running.into_iter().map(|run| run.wait(TIMEOUT)).collect());
        assert_eq!(site.check("in a race"), State::Done);
        assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
    }
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
    let frozen = site.restore().spawn();
    eventually("a staged name", || !site.leftovers().is_empty());
    frozen.send(Signal::STOP);
    let staged = site.leftovers();
    site.restore().run().ok();
    assert_eq!(site.leftovers(), staged);
    assert_eq!(site.check("beside one that stood still"), State::Done);
    frozen.send(Signal::CONT);
    frozen.wait(TIMEOUT).code(4).stderr_has("exists already");
    assert_eq!(site.check("beside one that went on"), State::Done);
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());

    let without_proc = Namespace::without_proc();
    let site = SaveSite::new(&server, false, false);
    let frozen = without_proc.spawn(&site.save());
    eventually("a staged name", || !site.leftovers().is_empty());
    frozen.send(Signal::STOP);
    let staged = site.leftovers();
    site.save().run().ok();
    assert_eq!(site.leftovers(), staged);
    frozen.send(Signal::CONT);
    frozen.wait(TIMEOUT).code(4).stderr_has("exists already");
    assert_eq!(site.check("beside one that went on"), State::Done);
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
}

#[test]
fn an_etcd_that_starts_meanwhile_keeps_its_data() {
    let dir = temp_dir();
    let data = dir.path().join("data");
    let restore = Rescue::new(["restore", SNAPSHOT, "--data-dir"]).arg(&data);
    restore.run().ok();
    let again = Rescue::new(["restore", SNAPSHOT, "--move-aside", "--data-dir"]).arg(&data);
    // It is asleep when everything is ready and nothing has been moved.
    let (output, calls) = strace::trace(&again, "renameat2", &[]);
    output.ok();
    assert!(calls[0].args.contains(".before-"), "{calls:?}");
    let aside = names(&data).into_iter().find(|name| name != "member");
    std::fs::remove_dir_all(data.join(aside.unwrap())).unwrap();
    let (output, syncs) = strace::trace(&again, "fsync,renameat2", &[]);
    output.ok();
    let first_move = syncs.iter().position(|call| call.is("renameat2")).unwrap();
    let last_sync = syncs[..first_move].iter().rfind(|call| call.main).unwrap();
    let asleep = last_sync.inject("delay_exit=4000000");
    let running = strace::inject_and_spawn(&again, &[asleep]);
    eventually("a staged name", || {
        names(&data)
            .iter()
            .any(|name| name.starts_with(".member.partial-"))
    });
    let server = Etcd::new("3.7").data_dir(&data).start();
    running
        .wait(TIMEOUT)
        .code(4)
        .stderr_has(&format!("in use by pid {} (etcd)", server.pid()));
    assert!(server.api().dump().len() > 200);
    assert!(names(&data).iter().all(|name| !name.starts_with('.')));
}
