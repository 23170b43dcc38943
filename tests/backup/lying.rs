//! A disk that gives back something else than what was written: the new backup is read from the disk before it
//! counts, and never gets its name if it is not the same.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use super::site::{Site, failed};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::process::{Output, eventually};
use crate::util::strace;
use crate::util::tools::TIMEOUT;

#[track_caller]
fn server() -> Etcd {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "bulk/", 40, 20_000);
    server
}

#[test]
fn it_is_read_from_the_disk_before_it_has_a_name() {
    let server = server();
    let site = Site::new();
    let calls = "fsync,fdatasync,fadvise64,pread64,read,linkat,rename,renameat,renameat2";
    let (output, calls) = strace::trace(&site.backup(&server.url()), calls, &[]);
    output.ok();
    let ours = |call: &&strace::Call| {
        let file = call.open_file();
        file.is_some_and(|file| {
            file.starts_with(site.dir()) && file.to_str().unwrap().contains('#')
        })
    };
    let place = |what: &dyn Fn(&strace::Call) -> bool| calls.iter().position(what);
    let dropped = place(&|call| call.is("fadvise64") && call.args.contains("DONTNEED"));
    let dropped = dropped.expect("the page cache is told to forget the file");
    assert!(
        ours(&&calls[dropped]) && calls[dropped].worked(),
        "{:?}",
        calls[dropped]
    );
    // What is not on the disk yet cannot be dropped.
    let synced = calls[..dropped]
        .iter()
        .rposition(|call| call.is("fsync") && ours(&call));
    let named = place(&|call| call.is("linkat") && call.worked()).expect("a name");
    assert!(
        synced.is_some() && named > dropped,
        "{synced:?} {dropped} {named}"
    );
    let read: u64 = calls[dropped..named]
        .iter()
        .filter(|call| call.is("pread64") && ours(call))
        .filter_map(|call| call.result.parse::<u64>().ok())
        .sum();
    let file = site.at(&site.files()[0]);
    let size = file.metadata().unwrap().len();
    assert!(size > 500_000 && read >= size, "{read} of {size} bytes");
}

/// A backup in the last moment before the read-back, when all of it is on the disk: `harm` does to the file what a bad
/// disk does, then it goes on.
#[track_caller]
fn harmed(site: &Site, server: &Etcd, harm: &dyn Fn(&std::fs::File)) -> Output {
    let run = site.backup(&server.url());
    let tracer = strace::inject_and_spawn(&run, &["inject=fadvise64:signal=STOP:when=1".into()]);
    let mut found = None;
    let mut still = 0;
    eventually("it stands still before it reads back", || {
        found = child(tracer.pid()).and_then(|pid| Some((pid, unnamed(pid, site.dir())?)));
        still = match &found {
            Some((pid, _)) if is_held(*pid) => still + 1,
            _ => 0,
        };
        // Every call of a thread is a short stop of that thread for its tracer.
        still > 50
    });
    let (pid, path) = found.unwrap();
    harm(
        &std::fs::File::options()
            .write(true)
            .read(true)
            .open(path)
            .unwrap(),
    );
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    tracer.wait(TIMEOUT)
}

/// strace's own child.
fn child(tracer: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
    children.ok()?.split_whitespace().next()?.parse().ok()
}

/// Every thread is stopped by a signal, which a tracer sees first.
fn is_held(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let mut states = tasks.flatten().map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        state.starts_with(['T', 't'])
    });
    states.all(|held| held)
}

/// The file without a name that it has open in `dir`.
fn unnamed(pid: u32, dir: &Path) -> Option<PathBuf> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    fds.flatten().map(|fd| fd.path()).find(|fd| {
        let file = std::fs::read_link(fd).unwrap_or_default();
        file.starts_with(dir) && file.to_str().unwrap_or_default().contains('#')
    })
}

#[test]
fn what_the_disk_changed_never_gets_a_name() {
    let server = server();
    let site = Site::new();
    site.made(&server.url());
    // Left alone it is good: the harm below is what fails.
    harmed(&site, &server, &|_| {}).ok();
    assert_eq!(site.files().len(), 2);
    let before = site.tree();
    // No two runs give the same number of bytes.
    type Place = fn(u64) -> u64;
    let places: [Place; 7] = [
        |_| 0,
        |_| 100,
        |size| size / 3,
        |size| size / 2,
        |size| size - 700,
        |size| size - 30,
        |size| size - 1,
    ];
    for (number, place) in places.into_iter().enumerate() {
        let output = harmed(&site, &server, &|file| {
            let at = place(file.metadata().unwrap().len());
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        });
        let output = output.expect(true, &format!("the flip {number}"));
        failed(&site, &before, output, 1, "verify").stderr_has("what the disk gives back");
    }
    let zeroes = |file: &std::fs::File| file.write_all_at(&[0; 4096], 40_960).unwrap();
    failed(&site, &before, harmed(&site, &server, &zeroes), 1, "verify");
    let length = |file: &std::fs::File| file.metadata().unwrap().len();
    let shorter = |file: &std::fs::File| file.set_len(length(file) - 4096).unwrap();
    failed(
        &site,
        &before,
        harmed(&site, &server, &shorter),
        1,
        "verify",
    );
}
