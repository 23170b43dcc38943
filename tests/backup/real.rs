//! As it will be: a server that is written to, backups every few moments, and faults; then everything that is left is
//! restored and boots.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::site::Site;
use crate::util::api::{Api, assert_same};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::process::Running;
use crate::util::tools::TIMEOUT;

per_version! { weeks_in_seconds }

/// How long backups are made of each minor: some minutes of all of them together.
const SPAN: Duration = Duration::from_secs(36);

/// Seconds to do so for instead, for a soak.
const SPAN_VARIABLE: &str = "ETCD_RESCUE_SOAK_SECONDS";

/// What is done to a run, in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    KillBackup,
    EndBackup,
    RestartServer,
    KillServer,
}

const FAULTS: [Fault; 7] = [
    Fault::None,
    Fault::KillBackup,
    Fault::RestartServer,
    Fault::None,
    Fault::EndBackup,
    Fault::KillServer,
    Fault::KillBackup,
];

fn weeks_in_seconds(minor: &str) {
    let mut server = Etcd::new(minor).start();
    fill::bulk(&mut server.api(), "base/", 20, 100_000);
    let site = Site::new();
    let url = server.url();
    let over = AtomicBool::new(false);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&url, &over));
        // A failed assertion must not leave the writer writing for ever.
        let runs = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            backups(&site, &mut server, &mut ends);
        }));
        over.store(true, Ordering::SeqCst);
        let written = writer.join().unwrap();
        if let Err(panic) = runs {
            std::panic::resume_unwind(panic);
        }
        assert!(written > 300, "only {written} writes");
    });
    let good = ends.get("exit 0").copied().unwrap_or_default();
    assert!(good >= 5 && ends.len() >= 3, "too calm: {ends:?}");
    restores(&site, &server, minor);
}

/// Writes one key after the other until it is over, whatever the server does; says how many.
fn write(url: &str, over: &AtomicBool) -> usize {
    let mut written = 0;
    while !over.load(Ordering::SeqCst) {
        let Ok(mut api) = Api::connect(url, None) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !over.load(Ordering::SeqCst) {
            let (key, value) = (
                format!("write/{:05}", written % 700),
                fill::noise(written as u64, 500),
            );
            let limit = Duration::from_secs(1);
            let put = api.try_call(async |c| {
                match tokio::time::timeout(limit, c.put(key, value, None)).await {
                    Ok(put) => put.map(|_| true),
                    Err(_) => Ok(false),
                }
            });
            match put {
                Ok(true) => written += 1,
                _ => break,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    written
}

/// Backups one after the other, each with its fault.
#[track_caller]
fn backups(site: &Site, server: &mut Etcd, ends: &mut BTreeMap<String, u32>) {
    let random = fill::noise(u64::from(server.port()), 1000);
    let (start, span) = (Instant::now(), span());
    let mut good = 0;
    for (number, fault) in FAULTS.iter().cycle().enumerate() {
        if start.elapsed() > span {
            return;
        }
        let run = site
            .backup(&server.url())
            .args(["--keep-last=4", "--timeout=20s"]);
        let running = run.spawn();
        let some = Duration::from_millis(u64::from(random[number % random.len()]));
        let output = match fault {
            Fault::None => running.wait(TIMEOUT),
            Fault::KillBackup => ended_by(running, Signal::KILL, some),
            Fault::EndBackup => ended_by(running, Signal::TERM, some),
            Fault::RestartServer | Fault::KillServer => {
                std::thread::sleep(some / 2);
                match fault {
                    Fault::KillServer => server.kill(),
                    _ => server.stop(),
                }
                let output = running.wait(TIMEOUT);
                // One while it is down, for sure.
                let down = site.backup(&server.url()).run().code(5);
                assert_eq!(site.report()["error"]["kind"], "unreachable", "{down}");
                server.restart();
                output
            }
        };
        let (code, signal) = (output.code, output.signal);
        let fits = matches!((fault, code, signal), (_, Some(0), _))
            || matches!(
                (fault, signal),
                (Fault::KillBackup, Some(9)) | (Fault::EndBackup, Some(15))
            )
            || matches!(
                (fault, code),
                (Fault::RestartServer | Fault::KillServer, Some(5))
            );
        let output = output.expect(fits, &format!("an end that goes with {fault:?}"));
        let end = code.map_or(format!("signal {signal:?}"), |code| format!("exit {code}"));
        *ends.entry(end).or_default() += 1;
        good += u32::from(code == Some(0));
        // From the first good one on there is always one, and monitoring hears so.
        let check = site.verb("check").arg("--max-age=1h").run();
        let green = check.code == Some(0);
        check.expect(
            green || good == 0,
            &format!("a verified backup after\n{output}"),
        );
        let totals = &site.list()["totals"];
        assert_eq!(totals["damaged"], 0, "{output}");
        assert_eq!(totals["unverified"], 0, "{output}");
        assert_eq!(totals["suspicious"], 0, "{output}");
        std::thread::sleep(some);
    }
}

fn span() -> Duration {
    match std::env::var(SPAN_VARIABLE) {
        Ok(seconds) => Duration::from_secs(seconds.parse().expect(SPAN_VARIABLE)),
        Err(_) => SPAN,
    }
}

#[track_caller]
fn ended_by(running: Running, signal: Signal, after: Duration) -> crate::util::process::Output {
    std::thread::sleep(after);
    running.send(signal);
    running.wait(TIMEOUT)
}

/// Everything that is left is what the server had at that revision.
#[track_caller]
fn restores(site: &Site, server: &Etcd, minor: &str) {
    site.backup(&server.url())
        .args(["--keep-last=4"])
        .run()
        .ok();
    assert!(site.leftovers().is_empty(), "{:?}", site.leftovers());
    site.verb("check").arg("--full").run().ok();
    let list = site.list();
    let backups = list["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 4, "{list:#}");
    let mut api = server.api();
    for (number, each) in backups.iter().enumerate() {
        let file = site.at(each["file"].as_str().unwrap());
        let revision = each["manifest"]["etcd"]["revision"].as_i64().unwrap();
        let again = site.boots(minor, &[file.to_str().unwrap()], &format!("data-{number}"));
        let what = format!("{} at revision {revision}", file.display());
        assert_same(&api.dump_at(revision), &again.api().dump(), &what);
    }
}
