//! Inputs that are no snapshots: raw copies, data dirs, and the data dir of a server that runs.

use std::fs;
use std::path::{Path, PathBuf};

use etcd_client::Client;

use super::{on, restore, stop_content, try_restore};
use crate::util::api::{Dump, assert_same};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::process::Output;
use crate::util::run::rescue;

per_version! {
    a_raw_copy_and_a_data_dir_are_restored_on_demand
    the_data_dir_of_a_running_server_is_refused
    what_only_the_wal_has_is_told
}

fn a_raw_copy_and_a_data_dir_are_restored_on_demand(minor: &str) {
    let (mut server, dump) = filled(minor);
    server.stop();
    let copy = server.dir().join("copy.db");
    fs::copy(server.db(), &copy).unwrap();
    let before = fs::read(&copy).unwrap();

    for (input, name) in [
        (&copy, "raw copy"),
        (&server.data_dir().to_path_buf(), "data dir"),
    ] {
        verify(input, &[])
            .code(3)
            .stdout_has("UNPROVEN")
            .stdout_has(name)
            .stdout_has("no SHA-256");
        verify(input, &["--raw"]).ok().stdout_has("GOOD");

        let target = server.dir().join(format!("from {name}"));
        try_restore(input, &target, &[]).code(3);
        assert!(!target.exists(), "{} was made", target.display());
        for flag in ["--raw", "--skip-hash-check"] {
            let data_dir = target.with_extension(flag);
            let restored = restore(input, &data_dir, &[flag, "--no-bump"]);
            assert_eq!(restored["verdict"]["transport"], "absent");
            let mut restored = on(minor, &data_dir).start();
            assert_same(&dump, &restored.api().dump(), &format!("{name} {flag}"));
            stop_content(&mut restored);
        }
    }
    let unchanged = fs::read(&copy).unwrap() == before && fs::read(server.db()).unwrap() == before;
    assert!(unchanged, "an input was written to");
}

fn the_data_dir_of_a_running_server_is_refused(minor: &str) {
    let (server, _) = filled(minor);
    // What is read while the server writes may be torn: let it stand still, lock in hand.
    server.settle();
    server.freeze(true);
    let pid = format!("pid {}", server.pid());
    let data_dir = server.data_dir();
    let target = server.dir().join("target");
    for input in [data_dir.to_path_buf(), data_dir.join("member"), server.db()] {
        verify(&input, &[]).code(4).stderr_has(&pid);
        try_restore(&input, &target, &[]).code(4).stderr_has(&pid);
        rescue(["status", input.to_str().unwrap()])
            .code(4)
            .stderr_has(&pid);
    }
    verify(data_dir, &["--raw"])
        .ok()
        .stdout_has("data dir in use")
        .stderr_has(&pid)
        .stderr_has("the result may be wrong");

    // Nor may anything be restored under a server that runs.
    let snapshot = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/k8s-plain-3.5.db");
    for flags in [&[][..], &["--move-aside"]] {
        try_restore(&snapshot, data_dir, flags).code(4);
    }
    try_restore(&snapshot, data_dir, &["--move-aside"]).stderr_has(&pid);
    assert!(!target.exists(), "{} was made", target.display());
    server.freeze(false);
    server.api().put("still", "served");
}

/// How many entries it is, is held against what a server makes of a copy.
fn what_only_the_wal_has_is_told(minor: &str) {
    let (mut stopped, _) = filled(minor);
    // The last entries change no key; 3.4 does not note that it has applied them.
    let grant = async |c: &mut Client| c.lease_grant(600, None).await.map(drop);
    stopped.api().call(grant);
    stopped.stop();
    let data_dir = stopped.data_dir();
    verify(data_dir, &["--raw"])
        .ok()
        .stderr_lacks("WAL")
        .stderr_lacks("wal");

    // Whatever it writes now stays in the WAL.
    let begun = Etcd::new(minor).durable().data_dir(data_dir);
    let mut server = begun.flag("--backend-batch-interval=1h").start();
    let in_db = server.api().revision();
    for number in 0..20 {
        server.api().put(format!("late/{number}"), "x");
    }
    let served = server.api().delete("late/7");
    assert_eq!(served, in_db + 21);
    server.kill();
    let name = data_dir.display().to_string();
    let wanted = format!("warning: {name}: bucket meta, key consistent_index: ");
    let verified = verify(data_dir, &["--raw"]).ok().stderr_has(&wanted);
    let told = verified.stderr.lines().next().unwrap();
    assert!(told.starts_with(&wanted), "it does not lead: {verified}");
    let (committed, entries) = numbers(told);
    let target = stopped.dir().join("target");
    let dry = rescue([
        "restore",
        "--raw",
        &name,
        "--data-dir",
        target.to_str().unwrap(),
    ]);
    dry.ok().stderr_has(told);
    // Whoever names the db itself loses as much.
    let lost = told.split_once("consistent_index: ").unwrap().1;
    verify(&server.db(), &["--raw"]).ok().stderr_has(lost);

    let copy = stopped.dir().join("copy");
    copy_dir(data_dir, &copy);
    let booted = Etcd::new(minor).data_dir(&copy).start().api().revision();
    assert_eq!(booted, served, "what was acknowledged is there");
    let lost = u64::try_from(booted - in_db).unwrap();
    assert!(committed <= lost && lost <= entries, "{lost} lost: {told}");
    assert!(entries <= lost + 2, "too many: {lost} lost: {told}");

    fs::remove_dir_all(data_dir.join("member/wal")).unwrap();
    verify(data_dir, &["--raw"])
        .ok()
        .stderr_has("whether it had more than the db cannot be told");
}

/// What the warning counts: the committed entries, and all.
fn numbers(told: &str) -> (u64, u64) {
    let after = |words: &str| {
        let rest = told.split_once(words)?.1;
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    let (committed, upto) = (after("at least "), after("up to "));
    match (committed, upto, after("consistent_index: ")) {
        (committed, Some(upto), _) => (committed.unwrap_or(0), upto),
        (None, None, Some(all)) => (all, all),
        _ => panic!("no number in {told}"),
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &to),
            false => fs::copy(entry.path(), to).map(drop).unwrap(),
        }
    }
}

/// A server with keys, and what they are.
fn filled(minor: &str) -> (Etcd, Dump) {
    let server = Etcd::new(minor).start();
    let mut api = server.api();
    fill::kubernetes(&mut api, 60, 200);
    api.delete("/registry/pods/ns-00/object-00000");
    let dump = api.dump();
    (server, dump)
}

#[track_caller]
fn verify(input: &Path, flags: &[&str]) -> Output {
    let verify = ["verify"].iter().chain(flags).copied();
    rescue(verify.chain([input.to_str().unwrap()]))
}
