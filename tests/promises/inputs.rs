//! Promise 1: no command changes a byte of what it reads, or opens it for more than reading.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::SNAPSHOT;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::process;
use crate::util::run::Rescue;
use crate::util::strace;
use crate::util::temp_dir;
use crate::util::tools::TIMEOUT;
use crate::util::tree::Tree;

/// Inputs of every kind, good and bad.
fn inputs(dir: &Path) -> Vec<PathBuf> {
    let good = std::fs::read(SNAPSHOT).unwrap();
    let mut flipped = good.clone();
    flipped[100_000] ^= 1;
    let mut no_meta = good.clone();
    no_meta[..8192].fill(0);
    let behind = [good.as_slice(), b"more behind it"].concat();
    let files: [(&str, &[u8]); 8] = [
        ("good.db", &good),
        ("raw.db", &good[..good.len() - 32]),
        ("flipped.db", &flipped),
        ("no-meta.db", &no_meta),
        ("cut.db", &good[..123_456]),
        ("behind.db", &behind),
        ("empty.db", b""),
        ("text.db", b"this is not a snapshot\n"),
    ];
    let write = |(name, bytes): (&str, &[u8])| {
        std::fs::write(dir.join(name), bytes).unwrap();
        dir.join(name)
    };
    files.into_iter().map(write).collect()
}

/// Every command that reads, on one input; `out` is where restores may go.
fn commands(input: &Path, out: &Path) -> Vec<Rescue> {
    let run = |words: &[&str]| Rescue::new(words).arg(input);
    let restore = |words: &[&str]| run(words).arg("--data-dir").arg(out);
    vec![
        run(&["verify"]),
        run(&["verify", "--raw", "-w", "json"]),
        run(&["status"]),
        run(&["status", "--raw", "-w", "table"]),
        restore(&["restore", "--dry-run"]),
        restore(&["restore"]),
        restore(&["restore", "--raw", "--move-aside"]),
        restore(&["snapshot", "restore", "--skip-hash-check", "--move-aside"]),
    ]
}

#[test]
fn stay_as_they_are() {
    let (dir, out) = (temp_dir(), temp_dir());
    let mut codes = Vec::new();
    for input in inputs(dir.path()) {
        let before = Tree::exactly(dir.path());
        for command in commands(&input, &out.path().join("data")) {
            let output = command.run();
            codes.push(output.code);
            let what = format!("{output}");
            before.assert_unchanged(&Tree::exactly(dir.path()), &what);
        }
        let _ = std::fs::remove_dir_all(out.path().join("data"));
    }
    // Good and bad ones were among them.
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(3)));
}

#[test]
fn a_data_dir_stays_as_it_is() {
    let mut server = Etcd::new("3.7").start();
    fill::plain(&server);
    server.stop();
    let out = temp_dir();
    let before = Tree::exactly(server.data_dir());
    for command in commands(server.data_dir(), &out.path().join("data")) {
        let output = command.run();
        before.assert_unchanged(&Tree::exactly(server.data_dir()), &output.to_string());
    }
    // Onto itself, it is the old member that goes aside, as it is.
    let member = Tree::of(&server.data_dir().join("member"));
    let restore = Rescue::new(["restore", "--raw", "--move-aside"]).arg(server.data_dir());
    restore.arg("--data-dir").arg(server.data_dir()).run().ok();
    let aside = crate::util::tree::names(server.data_dir())
        .into_iter()
        .find(|name| name.starts_with("member.before-"))
        .unwrap();
    member.assert_unchanged(&Tree::of(&server.data_dir().join(aside)), "moving aside");
    server.restart();
    assert!(server.api().dump().len() > 400);
}

#[test]
fn standard_input_stays_as_it_is() {
    let dir = temp_dir();
    for input in inputs(dir.path()) {
        let before = Tree::exactly(dir.path());
        for command in ["verify", "status"] {
            let mut command = Rescue::new([command, "-"]).command();
            let mut options = std::fs::File::options();
            command.stdin(options.read(true).write(true).open(&input).unwrap());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            assert!(process::wait(&mut child, TIMEOUT).is_some());
            before.assert_unchanged(&Tree::exactly(dir.path()), &input.display().to_string());
        }
    }
}

#[test]
fn are_opened_for_reading_and_nothing_else() {
    let (dir, out) = (temp_dir(), temp_dir());
    let input = inputs(dir.path()).remove(0);
    let data_dir = data_dir(&out);
    for input in [input, data_dir] {
        for command in commands(&input, &out.path().join("data")) {
            let (output, calls) = strace::trace(&command, "%file,%desc", &[]);
            let touching: Vec<_> = calls.iter().filter(|call| call.mentions(&input)).collect();
            let opens = touching.iter().filter(|call| call.name.starts_with("open"));
            let mut opened = 0;
            for call in opens.filter(|call| call.worked()) {
                opened += 1;
                let reads = call.args.contains("O_RDONLY");
                let more = ["O_CREAT", "O_TRUNC", "O_RDWR", "O_WRONLY"];
                let writes = more.iter().any(|flag| call.args.contains(flag));
                assert!(reads && !writes, "{call:?}\n{output}");
            }
            assert!(opened > 0, "it was never opened\n{output}");
            for call in touching {
                let changes = strace::CHANGING
                    .split(',')
                    .filter(|name| !name.starts_with("open"));
                let lock = call.is("flock") && call.args.contains("LOCK_SH");
                assert!(
                    lock || !changes.clone().any(|name| call.is(name)),
                    "{call:?}"
                );
            }
            let _ = std::fs::remove_dir_all(out.path().join("data"));
        }
    }
}

/// A data dir as restore makes it, in `dir`.
fn data_dir(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("input-data");
    Rescue::new(["restore", SNAPSHOT, "--data-dir"])
        .arg(&path)
        .run()
        .ok();
    path
}

#[test]
fn a_fifo_is_read_once() {
    let dir = temp_dir();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for (command, expected) in [
        ("verify", "GOOD"),
        ("status", "308"),
        ("restore", "Restored"),
    ] {
        let mut run = Rescue::new([command]).arg(&pipe);
        if command == "restore" {
            run = run.arg("--data-dir").arg(dir.path().join("data"));
        }
        let running = run.spawn();
        // In pieces, as from a network.
        let bytes = std::fs::read(SNAPSHOT).unwrap();
        let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
        for piece in bytes.chunks(100_000) {
            std::io::Write::write_all(&mut writer, piece).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(writer);
        running.wait(TIMEOUT).ok().stdout_has(expected);
    }
}
