//! SIGKILL and SIGTERM at any moment: the directory is as before or has one more backup, and the next run clears up.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::faults::{State, Worn};
use super::site::{Site, with_one};
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script, Step, good, image};
use crate::util::fill;
use crate::util::mount::Namespace;
use crate::util::process::eventually;
use crate::util::run::Rescue;
use crate::util::tools::TIMEOUT;
use crate::util::tree::names;

/// What looks like a leftover of a backup, and is none.
const FOREIGN: [&str; 4] = [
    ".etcd.db.partial-1-01234567",
    ".etcd.db.zst.partial-of-mine",
    "etcd.db.zst.partial-1-01234567",
    ".rsync.db.zst.AbCdEf",
];

#[test]
fn at_every_call() {
    for (named, signal, number) in [(false, "KILL", 9), (true, "KILL", 9), (false, "TERM", 15)] {
        let worn = Worn::new(named);
        let (mut before, mut made, mut left) = (0, 0, 0);
        for call in worn.calls() {
            let when = format!("SIG{signal} at {}({}, named: {named}", call.name, call.args);
            if signal == "TERM" && call.is("fsync") && call.nth == 1 {
                // Another thread does that, too, and a second signal ends a process at once.
                continue;
            }
            let output = worn.hit(&call, &format!("signal={signal}"));
            let ended = output.signal == Some(number) || signal == "TERM" && output.code == Some(0);
            let output = output.expect(ended, &when);
            match worn.sound(&when) {
                State::Before => before += 1,
                State::Made { .. } => made += 1,
            }
            let leftovers = worn.leftovers();
            left += leftovers.len();
            if signal == "TERM" {
                assert!(leftovers.is_empty(), "{leftovers:?} {when}");
                let report = worn.site.report();
                let saved = !report["saved"].is_null();
                let told = report["error"]["kind"] == "interrupted" || output.code == Some(0);
                assert!(told, "{when}: {report:#}");
                let there = worn.sound(&when) != State::Before;
                assert_eq!(saved, there, "{when}: {report:#}");
            }
            // The next one clears up and does its own work.
            worn.run().run().ok();
            let check = worn.site.verb("check").arg("--full").run();
            check
                .expect(true, &when)
                .ok()
                .stdout_has("2 good, 0 damaged");
            assert!(worn.leftovers().is_empty(), "{:?} {when}", worn.leftovers());
            worn.reset();
        }
        assert!(
            before > 3 && made > 0,
            "{before} before, {made} made ({signal}, {named})"
        );
        assert!(left > 0 || !named, "nothing was ever left to clear up");
    }
}

#[test]
fn at_random_moments() {
    const KILLS: u32 = 30;
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "bulk/", 60, 100_000);
    let without_proc = Namespace::without_proc();
    for hidden in [false, true] {
        let site = Site::new();
        let backup = site.backup(&server.url()).arg("--keep-last=3");
        let start = || match hidden {
            true => without_proc.spawn(&backup),
            false => backup.clone().spawn(),
        };
        for name in FOREIGN {
            std::fs::write(site.at(name), name).unwrap();
        }
        let measured = [(); 3].map(|()| {
            let began = Instant::now();
            start().wait(TIMEOUT).ok();
            began.elapsed()
        });
        let usual = measured.into_iter().min().unwrap();
        let mut random = fill::noise(u64::from(hidden), KILLS as usize).into_iter();
        let (mut killed, mut most, mut partials) = (0, 0, 0);
        for number in 0..KILLS {
            let before = site.files();
            let running = start();
            let part = f64::from(number) + f64::from(random.next().unwrap()) / 256.0;
            std::thread::sleep(usual.mul_f64(part * 1.1 / f64::from(KILLS)));
            running.send(Signal::KILL);
            let output = running.wait(TIMEOUT);
            killed += u32::from(output.signal == Some(9));
            let after = site.files();
            // What is gone is old, and goes only after a new one has come.
            let kept = after.iter().filter(|file| before.contains(file)).count();
            assert!(
                after.len() - kept <= 1 && !after.is_empty(),
                "{before:?} {after:?}"
            );
            // Newest first.
            assert!(after.contains(&before[0]), "{before:?} {after:?}");
            assert!(
                after.len() > kept || kept == before.len(),
                "{before:?} {after:?}"
            );
            assert_eq!(site.list()["totals"]["unverified"], 0, "{output}");
            let left = site.leftovers().len() - FOREIGN.len();
            most = most.max(left);
            partials += left;
        }
        // Otherwise the moments were not chosen well.
        assert!(killed > KILLS / 3, "{killed} were killed");
        // A leftover is gone with the next run, so there is never more than one of each kind.
        assert!(
            most <= 2 && (partials > 0) == hidden,
            "{partials} leftovers, {most} at once"
        );
        // What is the same to the second and the byte is one backup with two names.
        for key in ["one", "two", "three"] {
            server.api().put(key, "value");
            start().wait(TIMEOUT).ok();
        }
        let mut left = site.leftovers();
        left.sort();
        let mut foreign = FOREIGN.map(str::to_owned);
        foreign.sort();
        assert_eq!(left, foreign);
        let dir = site.dir().to_str().unwrap();
        site.verb("check")
            .arg("--full")
            .run()
            .ok()
            .stdout_has("3 good, 0 damaged");
        drop(site.boots("3.7", &[dir, "--latest"], "data"));
    }
}

#[test]
fn what_it_removed_is_told_and_what_lives_is_left() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let without_proc = Namespace::without_proc();
    let fake = Fake::start(Script {
        snapshot: vec![good(&image())[0].clone(), Step::Stall],
        ..Script::default()
    });
    let site = Site::new();
    let unfinished = |running: &crate::util::process::Running| {
        let part = format!(".partial-{}-", running.pid());
        names(site.dir())
            .into_iter()
            .find(|name| name.contains(&part))
    };
    let dead = without_proc.spawn(&site.backup(&fake.endpoint()).arg("--idle-timeout=60s"));
    eventually("it has begun", || unfinished(&dead).is_some());
    let dead_file = unfinished(&dead).unwrap();
    dead.send(Signal::KILL);
    dead.wait(TIMEOUT).signal(9);
    let save = Rescue::new([
        "save",
        "--idle-timeout=60s",
        "--endpoints",
        &fake.endpoint(),
    ]);
    let alive = without_proc.spawn(&save.arg(site.at("by-hand.db.zst")));
    eventually("it has begun", || unfinished(&alive).is_some());
    let alive_file = unfinished(&alive).unwrap();
    site.verb("list")
        .arg("-w=table")
        .run()
        .ok()
        .stdout_has("unfinished");

    let output = site.backup(&server.url()).run().ok().stdout_is("");
    output
        .stderr_has(&format!("removed {}", site.at(&dead_file).display()))
        .stderr_lacks(&alive_file);
    let warnings = &site.report()["warnings"];
    assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{warnings}");
    assert_ne!(warnings, &Value::Null);
    assert!(site.at(&alive_file).exists() && !site.at(&dead_file).exists());
    alive.send(Signal::TERM);
    alive
        .wait(TIMEOUT)
        .signal(15)
        .within(Duration::from_secs(60));
}

/// A mount point cannot be removed.
#[test]
fn a_leftover_that_stays_is_told() {
    let (site, server, _) = with_one();
    let left = site.at(".etcd.db.zst.partial-1-0000dead");
    std::fs::write(&left, "x").unwrap();
    let namespace = Namespace::new(&format!("mount --bind '{0}' '{0}'", left.display()));
    let told = "what a killed run left takes room";
    let output = namespace.run(&site.backup(&server.url())).ok();
    output.stderr_has("cannot remove").stderr_has(told);
    let warnings = site.report()["warnings"].to_string();
    assert!(warnings.contains(told), "{warnings}");
}
