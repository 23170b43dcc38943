//! Clusters of restored members: from one file they find each other, from different files they do not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{assert_members, id, restore, save, stop_content};
use crate::util::api::assert_same;
use crate::util::cluster::Cluster;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::ports::free_url;
use crate::util::process;
use crate::util::run::Rescue;
use crate::util::tools;

#[test]
fn three_members_from_one_file_form_a_cluster_3_5() {
    three_members_from_one_file_form_a_cluster("3.5");
}

#[test]
fn three_members_from_one_file_form_a_cluster_3_7() {
    three_members_from_one_file_form_a_cluster("3.7");
}

#[test]
fn members_from_different_files_refuse_each_other_3_5() {
    members_from_different_files_refuse_each_other("3.5");
}

#[test]
fn members_from_different_files_refuse_each_other_3_7() {
    members_from_different_files_refuse_each_other("3.7");
}

per_version! {
    a_member_restored_as_it_is_told_can_be_joined
}

/// What raft logs when there is a leader.
const ELECTED: &str = " elected leader ";

/// How long a cluster may take to elect.
const ELECTION: Duration = Duration::from_secs(20);

/// With all its defaults a restore makes a member that nobody can join, and prints the command that does better.
fn a_member_restored_as_it_is_told_can_be_joined(minor: &str) {
    let mut old = Etcd::new(minor).name("cp1").start();
    old.api().put("key", "value");
    let snapshot = old.dir().join("my snapshot.db");
    save(&old, &snapshot);
    old.stop();
    let data_dir = old.dir().join("restored data");
    let restore = Rescue::new(["restore", "--data-dir"]).arg(&data_dir);
    let told = restore.arg(&snapshot).run().ok();
    let url = format!("cp1 had {} in the snapshot", old.peer_url());
    let told = told
        .stderr_has("no other member can reach it there")
        .stderr_has(&url);
    let printed = told.stdout_str();
    let mut lines = printed.lines().map(str::trim);
    let command = lines.find(|line| line.starts_with("etcd-rescue restore "));
    let command = command.unwrap_or_else(|| panic!("no command in {told}"));
    let program = Path::new(env!("CARGO_BIN_EXE_etcd-rescue"));
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .env("PATH", program.parent().unwrap());
    process::run(shell, None, tools::TIMEOUT).ok().stderr_is("");

    let one = Etcd::new(minor).name("cp1").data_dir(&data_dir);
    let one = one.peer_url(old.peer_url()).start();
    let url = free_url();
    let added = url.clone();
    one.api()
        .call(async |c| c.member_add([added], None).await.map(drop));
    let members = format!("cp1={},cp2={url}", old.peer_url());
    let two = Etcd::new(minor).name("cp2").peer_url(&url).existing();
    let two = two.initial_cluster(&members).start();
    assert_eq!(two.api().members().len(), 2);
    assert_same(&one.api().dump(), &two.api().dump(), "joined");
}

fn three_members_from_one_file_form_a_cluster(minor: &str) {
    let source = Etcd::new(minor).start();
    let mut api = source.api();
    fill::kubernetes(&mut api, 60, 200);
    let snapshot = source.dir().join("snapshot.db");
    save(&source, &snapshot);
    let dump = api.dump();

    let restored = Restored::new(source.dir(), 3, &[&snapshot; 3], &[]);
    assert_eq!(restored.cluster_ids().len(), 1, "cluster ids");
    let member = |i: usize| {
        Etcd::new(minor)
            .data_dir(&restored.dirs[i])
            .env("ETCD_VERIFY", "all")
    };
    let mut cluster = Cluster::start_on(&restored.urls, member);
    for (server, plan) in cluster.members.iter().zip(&restored.plans) {
        let mut api = server.api();
        assert_members(&mut api, plan);
        assert_same(&dump, &api.dump(), "restored");
        assert!(server.log().contains(ELECTED), "{}", server.log_tail());
    }

    let leader = cluster.leader();
    let followers: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    cluster.members[followers[0]]
        .api()
        .put("after/restore", "by a follower");
    assert_equal_everywhere(&cluster, &[0, 1, 2]);

    // Two of three elect and go on; the third comes back and catches up.
    cluster.members[leader].kill();
    put_until_it_works(&cluster.members[followers[0]], "after/election");
    cluster.members[leader].restart();
    assert_equal_everywhere(&cluster, &[0, 1, 2]);
    for member in &mut cluster.members {
        stop_content(member);
    }
}

/// `users.md` row 6: with etcdutl's constant token these two would serve different data as one cluster.
fn members_from_different_files_refuse_each_other(minor: &str) {
    let source = Etcd::new(minor).start();
    let [first, second] = ["first", "second"].map(|name| {
        source.api().put("key", name);
        let snapshot = source.dir().join(name);
        save(&source, &snapshot);
        snapshot
    });
    let restored = Restored::new(source.dir(), 2, &[&first, &second], &[]);
    assert_eq!(restored.cluster_ids().len(), 2, "cluster ids");

    let initial = Cluster::initial_cluster(&restored.urls);
    let servers: Vec<Etcd> = (0..2)
        .map(|i| {
            Etcd::new(minor)
                .name(&format!("m{i}"))
                .data_dir(&restored.dirs[i])
                .peer_url(&restored.urls[i])
                .initial_cluster(&initial)
                .spawn()
        })
        .collect();
    wait("both members to refuse each other", || {
        let refused = |server: &Etcd| server.log().contains("cluster ID mismatch");
        servers.iter().all(refused)
    });
    for server in &servers {
        assert!(
            !server.log().contains(ELECTED),
            "a leader among strangers\n{}",
            server.log_tail()
        );
    }
    drop(servers);

    // The same files under one token that was given: the ids are what keeps them apart.
    let token = ["--initial-cluster-token", "one"];
    let elsewhere = source.dir().join("elsewhere");
    let restored = Restored::new(&elsewhere, 2, &[&first, &second], &token);
    assert_eq!(restored.cluster_ids().len(), 1, "cluster ids");
}

/// Members of one new cluster, each with its data dir.
struct Restored {
    urls: Vec<String>,
    dirs: Vec<PathBuf>,
    plans: Vec<Value>,
}

impl Restored {
    #[track_caller]
    fn new(below: &Path, count: usize, snapshots: &[&PathBuf], flags: &[&str]) -> Self {
        let urls: Vec<String> = (0..count).map(|_| free_url()).collect();
        let initial = Cluster::initial_cluster(&urls);
        let dirs: Vec<PathBuf> = (0..count).map(|i| below.join(format!("m{i}"))).collect();
        let plans = (0..count).map(|i| {
            let name = format!("m{i}");
            let own = ["--name", &name, "--initial-cluster", &initial];
            let url = ["--initial-advertise-peer-urls", &urls[i]];
            let flags = [&own[..], &url, flags].concat();
            restore(snapshots[i], &dirs[i], &flags)["plan"].clone()
        });
        Self {
            plans: plans.collect(),
            urls,
            dirs,
        }
    }

    fn cluster_ids(&self) -> std::collections::BTreeSet<u64> {
        self.plans
            .iter()
            .map(|plan| id(&plan["clusterId"]))
            .collect()
    }
}

/// Every member has applied everything, and hashes it alike.
#[track_caller]
fn assert_equal_everywhere(cluster: &Cluster, members: &[usize]) {
    // A linearizable read waits until the member has caught up.
    let hashes: Vec<_> = members
        .iter()
        .map(|i| {
            let mut api = cluster.members[*i].api();
            (api.revision(), api.hash_kv(0))
        })
        .collect();
    assert!(
        hashes.windows(2).all(|pair| pair[0] == pair[1]),
        "{hashes:?}"
    );
}

/// Puts a key as soon as there is a leader.
#[track_caller]
fn put_until_it_works(server: &Etcd, key: &str) {
    wait("a put after the leader's end", || {
        let mut api = server.api();
        api.try_call(async |c| c.put(key, "x", None).await).is_ok()
    });
}

#[track_caller]
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + ELECTION;
    while !done() {
        assert!(Instant::now() < deadline, "waited {ELECTION:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
