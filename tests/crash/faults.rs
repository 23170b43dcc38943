//! A system call that fails: one clear error, and everything as it was.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::SNAPSHOT;
use super::kill::worth_a_kill;
use super::site::{Making, SaveSite, Site, State, WAYS, Way};
use crate::util::etcd::Etcd;
use crate::util::process::{Output, eventually};
use crate::util::run::Rescue;
use crate::util::strace::{self, CHANGING, Call};
use crate::util::temp_dir;
use crate::util::tools::TIMEOUT;
use crate::util::tree::{Tree, names};

#[test]
fn a_restore_in_which_any_call_fails() {
    let mut problems: Vec<String> = Vec::new();
    for way in WAYS {
        let site = Site::new(way, Path::new(SNAPSHOT));
        let (output, calls) = strace::trace(&site.restore(), CHANGING, &[]);
        output.ok();
        site.reset();
        for call in worth_a_kill(calls, site.dir.path()) {
            for (errno, text) in errors(&call) {
                let when = format!(
                    "failed with {errno} at {}({} ({way:?})",
                    call.name, call.args
                );
                let injection = call.inject(&format!("error={errno}"));
                let output = strace::inject(&site.restore(), &[injection]);
                let state = site.check(&when);
                let mut found = told(&output, state, text, &call);
                let mut left = site.leftovers();
                // What cannot be removed stays.
                left.retain(|_| !call.is("unlink"));
                found.extend(left.iter().map(|name| format!("left: {name}")));
                if state == State::Before && site.has_moved() {
                    found.push("the old one was not moved back".into());
                }
                if state == State::Before && way == Way::WalDirVacant && !site.wal().exists() {
                    found.push("the empty directory is gone".into());
                }
                if state == State::Before && way == Way::Fresh && site.data().exists() {
                    found.push("an empty directory was left".into());
                }
                problems.extend(found.iter().map(|what| format!("{what}: {when}\n{output}")));
                site.reset();
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn a_save_in_which_any_call_fails() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let mut problems: Vec<String> = Vec::new();
    // Of pack and unpack other threads write, too: what hits their first write hits that of the message.
    let one_thread = [Making::Save, Making::SaveArchive];
    for site in SaveSite::all(&server).filter(|site| one_thread.contains(&site.making)) {
        let (output, calls) = strace::trace(&site.save(), CHANGING, &site.always);
        output.ok();
        site.reset();
        for call in worth_a_kill(calls, site.dir.path()) {
            for (errno, text) in errors(&call) {
                let when = format!(
                    "failed with {errno} at {}({} ({:?})",
                    call.name, call.args, site.making
                );
                let output = hit(&site, &call, &format!("error={errno}"));
                let state = site.check(&when);
                let mut found = told(&output, state, text, &call);
                found.extend(site.leftovers().iter().map(|name| format!("left: {name}")));
                problems.extend(found.iter().map(|what| format!("{what}: {when}\n{output}")));
                site.reset();
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// A run in which such a call failed on a file of the site's: how often the runtime wakes itself by a write differs
/// from run to run, so the number of a write does, too.
#[track_caller]
fn hit(site: &SaveSite<'_>, call: &Call, what: &str) -> Output {
    for attempt in 0..40 {
        let mut call = call.clone();
        call.nth = (call.nth + attempt % 3)
            .saturating_sub(attempt / 3 % 3)
            .max(1);
        let injections = site.injections(call.inject(what));
        let (output, calls) = strace::trace(&site.save(), CHANGING, &injections);
        let mut injected = calls
            .iter()
            .filter(|seen| seen.name == call.name && seen.result.ends_with("(INJECTED)"));
        if injected.any(|seen| seen.mentions(site.dir.path())) {
            return output;
        }
        site.reset();
    }
    panic!("{call:?} was never hit");
}

/// What a call may plausibly fail with, and the words for it.
fn errors(call: &Call) -> Vec<(&'static str, &'static str)> {
    let full = ("ENOSPC", "No space left on device");
    let broken = ("EIO", "Input/output error");
    match call.name.as_str() {
        "fsync" | "chown" => vec![broken],
        "flock" => vec![("ENOLCK", "")],
        _ => vec![broken, full],
    }
}

/// What is wrong with the end of a run, given what is there: it must be done without a word, or there must be an error
/// that names the place and the cause.
fn told(output: &Output, state: State, text: &str, call: &Call) -> Vec<String> {
    let told = output.stderr.starts_with("error: ") && output.stderr.contains(text);
    let full = text == "No space left on device";
    let fits = match (output.code, state) {
        // There was another way, or it did not matter. That something may not be on the disk does.
        (Some(0), State::Done) => output.stderr.is_empty() && !call.is("fsync"),
        (Some(1), State::Before) if full => told && output.stderr.contains("the disk is full"),
        (Some(1), State::Before) => told && output.stderr.contains('/'),
        // What was replaced is gone; that its place may not last has to be said.
        (Some(1), State::Done) => {
            told && call.is("fsync")
                && output
                    .stderr
                    .contains("the old one again after a power cut")
        }
        _ => false,
    };
    let problem = (!fits).then(|| format!("this end does not fit ({state:?})"));
    problem.into_iter().collect()
}

#[test]
fn an_input_that_cannot_be_read() {
    let dir = temp_dir();
    let input = dir.path().join("input.db");
    std::fs::copy(SNAPSHOT, &input).unwrap();
    let archive = dir.path().join("input.db.zst");
    Rescue::new(["pack", SNAPSHOT]).arg(&archive).run().ok();
    let data = dir.path().join("data");
    for (command, input) in [
        ("verify", &input),
        ("status", &input),
        ("restore", &input),
        ("verify", &archive),
    ] {
        let mut run = Rescue::new([command]).arg(input);
        if command == "restore" {
            run = run.arg("--data-dir").arg(&data);
        }
        let (output, calls) = strace::trace(&run, "pread64", &[]);
        output.ok();
        let _ = std::fs::remove_dir_all(&data);
        let before = Tree::of(dir.path());
        let reads: Vec<&Call> = calls.iter().filter(|c| c.mentions(input)).collect();
        let main: Vec<_> = reads.iter().filter(|call| call.main).collect();
        for call in main.iter().step_by(main.len() / 12 + 1) {
            strace::inject(&run, &[call.inject_from("error=EIO")])
                .code(1)
                .stderr_has("error: cannot read ")
                .stderr_has(" at offset ")
                .stderr_has(&format!("of {}: Input/output error", input.display()));
            before.assert_unchanged(&Tree::of(dir.path()), "a read that failed");
        }
    }
    assert_eq!(names(dir.path()), ["input.db", "input.db.zst"]);
}

/// Between writing and reading back, the disk does this to the new db.
type Harm = fn(&std::fs::File);

#[test]
fn what_is_read_back_is_not_what_was_written() {
    let harms: [Harm; 3] = [
        // A value, and a meta that is not needed as long as the other one is good.
        |file| flipped(file, 100_000),
        |file| flipped(file, 4096 + 16 + 8),
        |file| file.set_len(file.metadata().unwrap().len() + 4096).unwrap(),
    ];
    let site = Site::new(Way::Fresh, Path::new(SNAPSHOT));
    let (output, calls) = strace::trace(&site.restore(), CHANGING, &[]);
    output.ok();
    let wal = |call: &&Call| call.is("fallocate") && call.args.contains(".wal>");
    let asleep = calls
        .iter()
        .find(wal)
        .unwrap()
        .inject("delay_enter=3000000");
    for harm in harms {
        site.reset();
        let running = strace::inject_and_spawn(&site.restore(), std::slice::from_ref(&asleep));
        let staged = || {
            let dir = site.data().join(site.leftovers().pop()?);
            let wal = std::fs::read_dir(dir.join("wal")).ok()?;
            (wal.count() == 1).then(|| dir.join("snap/db"))
        };
        eventually("all but the WAL is written", || {
            site.data().exists() && staged().is_some_and(|db| db.exists())
        });
        let db = staged().unwrap();
        harm(
            &std::fs::File::options()
                .read(true)
                .write(true)
                .open(db)
                .unwrap(),
        );
        let output = running.wait(TIMEOUT).code(1);
        output
            .stderr_has("what was read back is not what was written")
            .stderr_has("hint: the disk or the memory of this machine cannot be trusted");
        assert_eq!(site.check("that read back something else"), State::Before);
        assert!(site.leftovers().is_empty());
    }
}

fn flipped(file: &std::fs::File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn what_was_written_cannot_be_read_back() {
    let site = Site::new(Way::Aside, Path::new(SNAPSHOT));
    let (output, calls) = strace::trace(&site.restore(), "pread64", &[]);
    output.ok();
    site.reset();
    let back: Vec<_> = calls
        .iter()
        .filter(|call| call.main && call.args.contains(".member.partial-"))
        .collect();
    assert!(!back.is_empty(), "nothing was read back");
    for call in back.iter().step_by(back.len() / 8 + 1) {
        strace::inject(&site.restore(), &[call.inject_from("error=EIO")])
            .code(1)
            .stderr_has(" at offset ")
            .stderr_has("snap/db: Input/output error");
        assert_eq!(site.check("that could not read back"), State::Before);
        assert!(site.leftovers().is_empty() && !site.has_moved());
    }
}
