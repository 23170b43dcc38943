//! SIGKILL: at random moments of runs that take a while, and at every system call of short ones.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::SNAPSHOT;
use super::site::{Making, SaveSite, Site, State, WAYS, Way};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::mount::Namespace;
use crate::util::process::Running;
use crate::util::strace::{self, CHANGING, Call};

/// Time for any run here, were it not killed.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A promise of `restore --wal-dir` that it kept; the next run removes it.
const PROMISE: &str = ".member.wal-dir-of-unfinished-restore";

#[test]
fn a_restore_killed_at_random_moments() {
    const KILLS: usize = 18;
    let server = server_with(20);
    let snapshot = server.snapshot_save("snapshot.db");
    for way in WAYS {
        let site = Site::new(way, &snapshot);
        let usual = measure(|| {
            site.restore().run().ok();
            site.reset();
        });
        let (mut done, mut cleaned) = (0, 0);
        for moment in moments(way as u64, KILLS, usual) {
            let before = site.leftovers();
            kill_after(site.restore().spawn(), moment);
            let when = format!("killed after {moment:?} of {usual:?} ({way:?})");
            let state = site.check(&when);
            let left = site.leftovers();
            assert!(left.len() <= 4, "each run leaves more: {left:?} {when}");
            cleaned += usize::from(before.iter().any(|name| !left.contains(name)));
            done += usize::from(state == State::Done);
            if state == State::Done || site.has_moved() {
                site.reset();
            }
        }
        // Of both kinds, or the moments were not chosen well.
        assert!(
            done < KILLS && cleaned > 0,
            "{done} done, {cleaned} cleaned up after another ({way:?})"
        );
        site.restore().run().ok();
        assert_eq!(site.check("left alone"), State::Done);
        assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
        boots(&site);
    }
}

#[test]
fn a_restore_killed_at_every_system_call() {
    for way in WAYS {
        let site = Site::new(way, Path::new(SNAPSHOT));
        let (output, calls) = strace::trace(&site.restore(), CHANGING, &[]);
        output.ok();
        site.reset();
        let mut latest = State::Before;
        for call in worth_a_kill(calls, site.dir.path()) {
            let when = format!("killed at {}({} ({way:?})", call.name, call.args);
            strace::inject(&site.restore(), &[call.inject("signal=KILL")]).signal(9);
            let state = site.check(&when);
            latest = latest.max(state);
            // The next run clears up, whatever there is, and does its own work.
            let next = site.restore().run();
            match state == State::Done && !site.has_old() {
                true => drop(next.code(4).stderr_has("exists already")),
                false => drop(next.ok()),
            }
            assert_eq!(site.check(&format!("after one {when}")), State::Done);
            if state == State::Done && site.has_old() {
                // What the killed run has finished went aside after what was there before it, WAL and all.
                let moved = 2 * (1 + usize::from(site.has_wal_dir()));
                assert_eq!(site.moved(), moved, "after one {when}");
            }
            let left = site.leftovers();
            let refused = state == State::Done && !site.has_old();
            let kept = |name: &String| refused && name == PROMISE;
            assert!(left.iter().all(kept), "{left:?} after one {when}");
            site.reset();
        }
        assert_eq!(latest, State::Done, "no kill came late ({way:?})");
    }
}

/// It fails when it has its name already, and is killed while it takes that back: nothing is seen half removed.
#[test]
fn a_restore_killed_while_it_undoes_itself() {
    let site = Site::new(Way::Fresh, Path::new(SNAPSHOT));
    let (output, calls) = strace::trace(&site.restore(), CHANGING, &[]);
    output.ok();
    site.reset();
    let named = |call: &Call| call.name.starts_with("rename") && call.mentions(&site.member());
    let mut later = calls.iter().skip_while(|call| !named(call));
    let sync = later.find(|call| call.is("fsync")).unwrap();
    let fails = sync.inject("error=EIO");
    let (output, calls) = strace::trace(&site.restore(), CHANGING, std::slice::from_ref(&fails));
    output.code(1);
    assert!(!site.data().exists());
    let undoing = calls.iter().skip_while(|call| !named(call)).skip(1);
    let undoing: Vec<&Call> = undoing
        .filter(|call| {
            ["unlink", "rmdir", "rename"]
                .iter()
                .any(|name| call.name.starts_with(name))
        })
        .collect();
    assert!(undoing.len() > 5, "{undoing:?}");
    for call in undoing {
        let when = format!("killed at {}({}", call.name, call.args);
        let injections = [fails.clone(), call.inject("signal=KILL")];
        strace::inject(&site.restore(), &injections).signal(9);
        site.check(&when);
        site.reset();
    }
}

#[test]
fn a_save_killed_at_random_moments() {
    const KILLS: usize = 30;
    let server = server_with(40);
    let proc_is_hidden = Namespace::without_proc();
    for (making, force, hidden) in [
        (Making::Save, false, false),
        (Making::Save, true, true),
        (Making::SaveArchive, false, false),
        (Making::SaveArchive, true, true),
    ] {
        let site = SaveSite::making(making, &server, force, false);
        let start = || match hidden {
            true => proc_is_hidden.spawn(&site.save()),
            false => site.save().spawn(),
        };
        let usual = measure(|| {
            start().wait(TIMEOUT).ok();
            site.reset();
        });
        let (mut done, mut named) = (0, 0);
        for moment in moments(9 + u64::from(hidden), KILLS, usual) {
            kill_after(start(), moment);
            let when = format!("killed after {moment:?} of {usual:?}, /proc hidden: {hidden}");
            let state = site.check(&when);
            let left = site.leftovers();
            assert!(left.len() <= 1, "each run leaves more: {left:?} {when}");
            named += left.len();
            if state == State::Done {
                done += 1;
                site.reset();
            }
        }
        assert!(done < KILLS, "{done} of {KILLS} were saved");
        // Without /proc an unnamed file could never be linked.
        assert_eq!(named > 0, hidden, "{named} names before they were whole");
        start().wait(TIMEOUT).ok();
        assert_eq!(site.check("left alone"), State::Done);
        assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
    }
}

#[test]
fn a_save_killed_at_every_system_call() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    for site in SaveSite::all(&server) {
        let (output, calls) = strace::trace(&site.save(), CHANGING, &site.always);
        output.ok();
        site.reset();
        let mut latest = State::Before;
        for call in worth_a_kill(calls, site.dir.path()) {
            let when = format!("killed at {}({} ({:?})", call.name, call.args, site.making);
            let injections = site.injections(call.inject("signal=KILL"));
            let output = strace::inject(&site.save(), &injections);
            // How often the runtime wakes itself by a write differs from run to run.
            let killed = output.signal == Some(9) || call.is("write") && output.code == Some(0);
            output.expect(killed, &when);
            let state = site.check(&when);
            latest = latest.max(state);
            let left = site.leftovers();
            assert!(
                left.len() <= 1 && (site.named() || site.force || left.is_empty()),
                "{left:?} {when}"
            );
            let next = site.save().run();
            match state == State::Done && !site.force {
                true => drop(next.code(4).stderr_has("exists already")),
                false => drop(next.ok()),
            }
            assert_eq!(site.check(&format!("after one {when}")), State::Done);
            assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
            site.reset();
        }
        assert_eq!(latest, State::Done, "no kill came late ({:?})", site.making);
    }
}

/// A server with this many megabytes in it, so that work on its snapshot takes a while.
pub fn server_with(megabytes: usize) -> Etcd {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "bulk/", megabytes * 10, 100_000);
    server
}

#[track_caller]
fn boots(site: &Site) {
    let mut builder = Etcd::new("3.7").data_dir(site.data());
    if site.has_wal_dir() {
        builder = builder.flag(&format!("--wal-dir={}", site.wal().display()));
    }
    let server = builder.start();
    assert!(!server.api().dump().is_empty());
}

/// How long it takes as a rule.
fn measure(run: impl Fn()) -> Duration {
    let mut times = [(); 3].map(|()| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.sort();
    times[1]
}

/// Random moments, one in each of equal parts of a run and the time shortly after it.
fn moments(seed: u64, count: usize, usual: Duration) -> Vec<Duration> {
    let random = fill::noise(seed, count);
    let part = usual.as_secs_f64() * 1.1 / count as f64;
    let moment = |(number, byte): (usize, u8)| part * (number as f64 + f64::from(byte) / 256.0);
    random
        .into_iter()
        .enumerate()
        .map(moment)
        .map(Duration::from_secs_f64)
        .collect()
}

#[track_caller]
fn kill_after(run: Running, delay: Duration) {
    std::thread::sleep(delay);
    run.send(Signal::KILL);
    let output = run.wait(TIMEOUT);
    let ended = output.signal == Some(9) || output.code == Some(0);
    output.expect(ended, "a kill, or an end before it");
}

/// The calls of the main thread that change something below `dir`; of many writes a few.
pub fn worth_a_kill(calls: Vec<Call>, dir: &Path) -> Vec<Call> {
    let mut calls: Vec<Call> = calls
        .into_iter()
        .filter(|call| call.main && call.worked() && call.mentions(dir))
        .filter(|call| !call.name.starts_with("open") || call.makes_a_file())
        .collect();
    let writes = calls.iter().filter(|call| call.is("write")).count();
    let mut number = 0;
    calls.retain(|call| {
        number += usize::from(call.is("write"));
        !call.is("write") || number % (writes / 4).max(1) == 0
    });
    calls
}
