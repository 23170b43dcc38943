//! Snapshots that come or go through pipes.

use std::fs::File;
use std::process::{Command, Stdio};

use super::{Place, SNAPSHOT};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::process;
use crate::util::run::{Rescue, rescue};
use crate::util::tools::TIMEOUT;
use crate::util::tree::{Tree, names};

/// Runs it with standard input redirected from the snapshot.
#[track_caller]
fn redirected(run: &Rescue) -> String {
    let mut command = run.command();
    let output = command
        .stdin(File::open(SNAPSHOT).unwrap())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn standard_input_is_as_good_as_a_file() {
    let bytes = std::fs::read(SNAPSHOT).unwrap();
    for words in [
        ["verify", "-w", "json"],
        ["status", "-w", "json"],
        ["status", "-w", "simple"],
    ] {
        let from = |input: &str| Rescue::new(words).arg(input);
        let file = from(SNAPSHOT).run().ok().stdout_str();
        let piped = from("-").stdin(bytes.clone()).run().ok().stdout_str();
        assert_eq!(piped, redirected(&from("-")));
        assert_eq!(piped.replace("\"-\"", &format!("{SNAPSHOT:?}")), file);
    }
    let trees = ["file", "pipe", "redirect"].map(|how| {
        let place = Place::new();
        match how {
            "file" => drop(place.restore(&[]).run().ok()),
            "pipe" => drop(place.restore_of("-", &[]).stdin(bytes.clone()).run().ok()),
            _ => drop(redirected(&place.restore_of("-", &[]))),
        }
        Tree::timeless(&place.data())
    });
    assert!(trees[0] == trees[1] && trees[0] == trees[2]);
}

#[test]
fn nothing_is_left_of_what_was_spooled() {
    let place = Place::new();
    let spool = place.root().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let bytes = std::fs::read(SNAPSHOT).unwrap();
    for cut in [bytes.len(), bytes.len() / 2, 0] {
        let restore = place
            .restore_of("-", &["--move-aside"])
            .env("TMPDIR", &spool);
        let output = restore.stdin(&bytes[..cut]).run();
        output.code(if cut == bytes.len() { 0 } else { 3 });
        assert!(names(&spool).is_empty());
    }
    let nowhere = place
        .restore_of("-", &["--move-aside"])
        .env("TMPDIR", "/no/such/dir");
    // The usual places are tried after it.
    nowhere.stdin(bytes).run().ok();
}

#[test]
fn a_save_goes_through_a_pipe() {
    let server = Etcd::new("3.7").start();
    let filled = fill::plain(&server);
    let save = |out: &str| Rescue::new(["save", "--endpoints", &server.url(), out]);
    let mut saving = save("-").command();
    let mut saving = saving
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut verify = Rescue::new(["verify", "-"]).command();
    verify.stdin(saving.stdout.take().unwrap());
    let output = verify.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("GOOD"), "{said}");
    assert!(
        said.contains(&format!("revision {}", filled.revision)),
        "{said}"
    );
    assert!(process::wait(&mut saving, TIMEOUT).unwrap().success());

    // And straight into a new member.
    let place = Place::new();
    let script = "\"$0\" save --endpoints \"$1\" - | \"$0\" restore - --data-dir \"$2\"";
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_etcd-rescue"),
        &server.url(),
    ]);
    shell.arg(place.data());
    process::run(shell, None, TIMEOUT).ok();
    let db = place.member().join("snap/db");
    rescue(["verify", "--raw", db.to_str().unwrap()])
        .ok()
        .stdout_has("GOOD");

    // A server that is gone leaves the reader with nothing, and says so itself.
    drop(server);
    let dead = Rescue::new(["save", "--endpoints", "http://127.0.0.1:1", "-"]);
    dead.run().code(5).stdout_is("");
}
