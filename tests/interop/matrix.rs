//! Five makers, five booters: a rich history of each version is saved, proved and restored, and boots on
//! every version with all that was in it.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use super::{assert_members, granted, id, on, restore, stop_content, storage_version};
use crate::util::api::{Api, HashKv, assert_same};
use crate::util::etcd::Etcd;
use crate::util::fill::{self, Filled, READER, ROOT};
use crate::util::process::Output;
use crate::util::run::{Rescue, rescue};
use crate::util::tools;
use crate::util::versions::{self, Version, version};

per_version! {
    a_rich_history_comes_back_on_every_version
}

fn a_rich_history_comes_back_on_every_version(minor: &str) {
    let mut server = Etcd::new(minor).start();
    let filled = fill::rich(&mut server);
    if server.version().at_least("3.6") {
        server.wait_storage_version();
    }
    let source = Source {
        minor: minor.to_owned(),
        hash: server.api().hash_kv(0),
        filled,
    };
    let snapshot = server.dir().join("ours.db");
    source.is_saved(&server, &snapshot);
    rescue([OsStr::new("verify"), snapshot.as_os_str()])
        .ok()
        .stdout_has("GOOD")
        .stderr_has("alarm NOSPACE");
    for tool in ["3.6", "3.7", "3.8"] {
        assert_status_equals(&snapshot, version(tool));
    }
    assert_status_agrees(&snapshot, server.version());

    let theirs = server.snapshot_save("theirs.db");
    server.stop();
    let dir = server.dir();
    for booter in versions::all() {
        let data_dir = dir.join(format!("ours-on-{}", booter.minor));
        let plan = restore(&snapshot, &data_dir, &["--no-bump"])["plan"].clone();
        source.is_restored(&plan);
        source.boots(booter, &data_dir, &plan);
    }
    source.is_told(&snapshot);

    let data_dir = dir.join("theirs-by-us");
    restore(&theirs, &data_dir, &["--no-bump"]);
    source.is_served(minor, &data_dir, "etcdctl's snapshot, restored here");

    let data_dir = dir.join("ours-by-them");
    let into = format!("--data-dir={}", data_dir.display());
    let args = [
        OsStr::new("restore"),
        snapshot.as_os_str(),
        OsStr::new(&into),
    ];
    tools::snapshot(server.version(), args).ok();
    source.is_served(minor, &data_dir, "our snapshot, restored by their tool");
}

/// A server that was filled, and what it said of itself.
struct Source {
    minor: String,
    filled: Filled,
    hash: HashKv,
}

impl Source {
    /// `save` writes it, and says what it is.
    #[track_caller]
    fn is_saved(&self, server: &Etcd, to: &Path) {
        let user = format!("{}:{}", ROOT.0, ROOT.1);
        let saved = Rescue::new(["save", "-w", "json", "--user", &user])
            .args(["--endpoints", &server.url()])
            .arg(to)
            .run()
            .ok()
            .stderr_has("NOSPACE")
            .json();
        let status = server.api().status();
        assert_eq!(saved["revision"], self.filled.revision);
        assert_eq!(saved["liveKeys"], self.filled.dump.len());
        assert_eq!(saved["size"], to.metadata().unwrap().len());
        assert_eq!(saved["serverVersion"], server.version().exact);
        assert_eq!(id(&saved["memberId"]), status.header().unwrap().member_id());
        let stored = saved["storageVersion"].as_str();
        assert_eq!(stored, storage_version(&self.minor).as_deref());
        assert_eq!(saved["verdict"]["sum"], "GOOD", "{saved:#}");

        let facts = &saved["verdict"]["facts"];
        assert_eq!(facts["compactRevision"], self.filled.compacted);
        assert_eq!(facts["leases"], self.filled.leases.len());
        assert_eq!(facts["authEnabled"], true);
        assert_eq!(facts["alarms"][0]["alarm"], "NOSPACE");
        let members = facts["members"].as_array().unwrap();
        let learner = members.iter().find(|m| m["isLearner"] == true);
        assert_eq!(learner.map(|m| id(&m["id"])), self.filled.learner);
    }

    /// `restore` says what it changed and what it dropped.
    #[track_caller]
    fn is_restored(&self, plan: &Value) {
        assert_eq!(plan["revisionBefore"], self.filled.revision);
        assert_eq!(plan["revisionAfter"], self.filled.revision);
        assert_eq!(plan["oldMembers"].as_array().unwrap().len(), 2);
        assert_eq!(plan["members"].as_array().unwrap().len(), 1);
        assert_eq!(plan["alarmsDropped"][0]["alarm"], "NOSPACE");
        let dropped = plan["storageVersionDropped"].as_str();
        assert_eq!(dropped, storage_version(&self.minor).as_deref());
    }

    /// What is dropped is said to people too.
    #[track_caller]
    fn is_told(&self, snapshot: &Path) {
        let args = [
            "restore",
            "-w",
            "simple",
            "--dry-run",
            "--data-dir",
            "nowhere",
        ];
        let told = Rescue::new(args).arg(snapshot).run().ok();
        let told = told.stdout_has("alarm, dropped").stdout_has("NOSPACE");
        let words: Vec<String> = told
            .stdout_str()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let version = storage_version(&self.minor);
        let dropped = version.iter().all(|version| {
            let row = ["storage", "version,", "dropped", version];
            words.windows(4).any(|four| four == row)
        });
        told.expect(dropped, &format!("{version:?} to be dropped"));
    }

    /// The restored member serves everything on `booter`, and goes on from there.
    #[track_caller]
    fn boots(&self, booter: Version, data_dir: &Path, plan: &Value) {
        let mut server = on(booter.minor, data_dir).user(ROOT.0, ROOT.1).start();
        let mut api = server.api();
        assert_same(&self.filled.dump, &api.dump(), "restored");
        assert_eq!(granted(&api.leases()), granted(&self.filled.leases));
        assert_eq!(api.hash_kv(0), self.hash, "HashKV");
        assert_eq!(api.revision(), self.filled.revision);
        assert_eq!(api.watch_refused(1), Some(self.filled.compacted));
        assert_eq!(api.alarms(), []);
        assert_members(&mut api, plan);
        assert_auth(&server);
        assert_writable(&mut api, self.filled.revision);

        drop(api);

        // What the server made of the db is still sound, for bbolt and for us.
        stop_content(&mut server);
        tools::bbolt(["check".as_ref(), server.db().as_os_str()])
            .ok()
            .stdout_has("OK");
        rescue(["verify", "--raw", data_dir.to_str().unwrap()])
            .ok()
            .stdout_has("GOOD");
    }

    /// A server on this directory has the same keys and leases.
    #[track_caller]
    fn is_served(&self, minor: &str, data_dir: &Path, what: &str) {
        let server = Etcd::new(minor)
            .data_dir(data_dir)
            .user(ROOT.0, ROOT.1)
            .start();
        let mut api = server.api();
        assert_same(&self.filled.dump, &api.dump(), what);
        assert_eq!(
            granted(&api.leases()),
            granted(&self.filled.leases),
            "{what}"
        );
    }
}

/// Users, passwords and permissions are what they were.
#[track_caller]
fn assert_auth(server: &Etcd) {
    let refused = |user: Option<(&str, &str)>, key: &str, why: &str| {
        let user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        let answer = Api::connect(&server.url(), user.as_ref())
            .and_then(|mut api| api.try_call(async |c| c.get(key, None).await));
        let answer = answer
            .map(|found| found.count())
            .map_err(|err| err.to_string());
        assert!(
            answer.as_ref().is_err_and(|err| err.contains(why)),
            "{key}: {answer:?}"
        );
    };
    refused(None, "k", "user name is empty");
    refused(
        Some((ROOT.0, "a wrong password")),
        "k",
        "authentication failed",
    );
    refused(Some(READER), "k", "permission denied");

    let reader = (READER.0.to_owned(), READER.1.to_owned());
    let mut api = Api::connect(&server.url(), Some(&reader)).unwrap();
    let key = "/registry/pods/ns-00/object-00000";
    assert_eq!(api.call(async |c| c.get(key, None).await).count(), 1);
    let put = api.try_call(async |c| c.put(key, "", None).await);
    assert!(put.is_err(), "the reader may write");
}

/// Writes, leases and compactions go on where the history ended.
#[track_caller]
fn assert_writable(api: &mut Api, revision: i64) {
    assert_eq!(api.put("after/restore", "x"), revision + 1);
    assert_eq!(api.delete("shape/value-of-1000000"), revision + 2);
    let lease = api.call(async |c| c.lease_grant(600, None).await).id();
    assert!(api.leases().contains_key(&lease));
    fill::compact(api, revision + 1);
    assert_eq!(api.hash_kv(0).compacted, revision + 1);
}

/// Byte for byte what etcdutl prints, and more where there is room for more.
#[track_caller]
fn assert_status_equals(snapshot: &Path, tool: Version) {
    for format in ["simple", "fields"] {
        let theirs = their_status(snapshot, tool, format);
        our_status(snapshot, format).stdout_is(&theirs.stdout_str());
    }
    let theirs = their_status(snapshot, tool, "table").stdout_str();
    let ours = our_status(snapshot, "table");
    let table = ours.stdout_str();
    let equal = match known_difference("status -w table", tool) {
        Some(why) if why.starts_with("frame: ") => {
            !table.starts_with(&theirs) && in_ascii(&table).starts_with(&theirs)
        }
        Some(why) => panic!("what to make of {why:?}?"),
        None => table.starts_with(&theirs),
    };
    ours.expect(equal, &format!("stdout to begin with\n{theirs}"));

    let theirs = their_status(snapshot, tool, "json").json();
    let ours = our_status(snapshot, "json").json();
    for (key, value) in theirs.as_object().unwrap() {
        assert_eq!(&ours[key], value, "{key} of {tool:?}");
    }
}

/// What a version's own tool says of its snapshot, where older ones counted otherwise.
#[track_caller]
fn assert_status_agrees(snapshot: &Path, tool: Version) {
    let theirs = their_status(snapshot, tool, "json").json();
    let ours = our_status(snapshot, "json").json();
    for key in ["hash", "revision", "totalSize"] {
        assert_eq!(ours[key], theirs[key], "{key} of {tool:?}");
    }
    let keys = match tool.at_least("3.6") {
        true => &ours["totalKey"],
        false => &ours["facts"]["totalEntries"],
    };
    assert_eq!(keys, &theirs["totalKey"], "totalKey of {tool:?}");
}

#[track_caller]
fn their_status(snapshot: &Path, tool: Version, format: &str) -> Output {
    let format = format!("--write-out={format}");
    tools::snapshot(
        tool,
        ["status".as_ref(), snapshot.as_os_str(), format.as_ref()],
    )
    .ok()
}

#[track_caller]
fn our_status(snapshot: &Path, format: &str) -> Output {
    let args = [
        "status".as_ref(),
        "-w".as_ref(),
        format.as_ref(),
        snapshot.as_os_str(),
    ];
    rescue::<[&OsStr; 4]>(args).ok()
}

/// The reason why this command may differ from this version's.
fn known_difference(command: &str, tool: Version) -> Option<&'static str> {
    include_str!("../interop_known_differences")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| match *line.split('\t').collect::<Vec<_>>() {
            [command, minor, why] => (command, minor, why),
            _ => panic!("interop_known_differences: expected three columns in {line:?}"),
        })
        .find(|(known, minor, _)| *known == command && *minor == tool.minor)
        .map(|(_, _, why)| why)
}

/// A table with its frame as tools drew it before 3.7.
fn in_ascii(table: &str) -> String {
    let ascii = |c| match c {
        '│' => '|',
        '─' => '-',
        '┌' | '┬' | '┐' | '├' | '┼' | '┤' | '└' | '┴' | '┘' => '+',
        other => other,
    };
    table.chars().map(ascii).collect()
}
