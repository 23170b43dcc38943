//! The revision after a restore: moved for Kubernetes' data or when asked, and then the server tells old
//! watchers and readers that their revision is gone.

use std::path::Path;

use serde_json::Value;

use super::{on, restore, save, stop_content};
use crate::util::api::{Api, Dump, assert_same};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::run::Rescue;

per_version! {
    a_bump_ends_old_watches
}

const BILLION: i64 = 1_000_000_000;

fn a_bump_ends_old_watches(minor: &str) {
    let server = Etcd::new(minor).start();
    let mut api = server.api();
    api.put("other/key", "x");
    let plain = server.dir().join("plain.db");
    save(&server, &plain);
    fill::kubernetes(&mut api, 60, 200);
    let kubernetes = server.dir().join("kubernetes.db");
    let revision = save(&server, &kubernetes)["revision"].as_i64().unwrap();
    let source = Source {
        minor,
        dump: api.dump(),
        revision,
    };
    assert_eq!(api.revision(), revision);

    let dir = server.dir();
    let bumped = ["--bump-revision", "1000", "--mark-compacted"];
    for (flags, by) in [(&[][..], BILLION), (&bumped, 1000)] {
        let data_dir = dir.join(format!("bumped-by-{by}"));
        let plan = restore(&kubernetes, &data_dir, flags)["plan"].clone();
        source.is_planned(&plan, by);
        source.is_served_anew(&data_dir, revision + by);
    }

    let data_dir = dir.join("not-bumped");
    let plan = restore(&kubernetes, &data_dir, &["--no-bump"])["plan"].clone();
    source.is_planned(&plan, 0);
    let restored = on(minor, &data_dir).start();
    let mut api = restored.api();
    assert_eq!(api.revision(), revision);
    assert_same(&source.dump, &api.dump(), "not bumped");
    // This is the accident that the bump prevents: a watcher from before waits for what never comes.
    assert_eq!(api.watch_refused(2), None);

    let data_dir = dir.join("plain");
    let plan = restore(&plain, &data_dir, &["--dry-run"])["plan"].clone();
    assert_eq!(
        (&plan["bump"], &plan["revisionAfter"]),
        (&0.into(), &2.into())
    );
}

/// A filled server.
struct Source<'a> {
    minor: &'a str,
    dump: Dump,
    revision: i64,
}

impl Source<'_> {
    #[track_caller]
    fn is_planned(&self, plan: &Value, by: i64) {
        let found = [
            &plan["revisionBefore"],
            &plan["bump"],
            &plan["revisionAfter"],
        ];
        assert_eq!(
            found,
            [self.revision, by, self.revision + by]
                .map(Value::from)
                .each_ref()
        );
    }

    /// The same keys at a revision that no client has seen, and nothing before it.
    #[track_caller]
    fn is_served_anew(&self, data_dir: &Path, revision: i64) {
        let mut server = on(self.minor, data_dir).start();
        let mut api = server.api();
        assert_eq!(api.revision(), revision);
        assert_same(&self.dump, &api.dump(), "bumped");
        for old in [1, self.revision, self.revision + 1] {
            assert_eq!(api.watch_refused(old), Some(revision), "watch from {old}");
        }
        assert_compacted(&mut api, self.revision);
        assert_eq!(api.put("after/restore", "x"), revision + 1);

        // The mark is no key, also not for the next backup and the restore after that.
        let found = api.dump();
        assert_eq!(found.len(), self.dump.len() + 1);
        let snapshot = server.dir().join("next.db");
        let saved = save(&server, &snapshot);
        assert_eq!(saved["liveKeys"], found.len());
        assert_eq!(saved["verdict"]["sum"], "GOOD", "{saved:#}");
        let plan = restore(&snapshot, &server.dir().join("next"), &[])["plan"].clone();
        assert_eq!(plan["revisionBefore"], revision + 1);
        assert_eq!(plan["revisionAfter"], revision + 1 + BILLION);

        drop(api);
        stop_content(&mut server);
        server.restart();
        let mut api = server.api();
        assert_same(&found, &api.dump(), "bumped, after a restart");
        assert_eq!(api.revision(), revision + 1);
    }
}

#[track_caller]
fn assert_compacted(api: &mut Api, revision: i64) {
    let options = etcd_client::GetOptions::new().with_revision(revision);
    let answer = api.try_call(async |c| c.get("other/key", Some(options)).await);
    let answer = answer
        .map(|found| found.count())
        .map_err(|err| err.to_string());
    let told = answer
        .as_ref()
        .is_err_and(|err| err.contains("has been compacted"));
    assert!(told, "reading at {revision}: {answer:?}");
}

#[test]
fn the_revisions_are_said_to_people_too() {
    let server = Etcd::new("3.5").start();
    fill::kubernetes(&mut server.api(), 5, 100);
    let snapshot = server.dir().join("snapshot.db");
    let revision = save(&server, &snapshot)["revision"].as_i64().unwrap();
    let output = Rescue::new(["restore", "-w", "simple", "--data-dir"])
        .arg(server.dir().join("restored"))
        .arg(&snapshot)
        .run()
        .ok()
        .stdout_has("this is Kubernetes data, see --no-bump");
    let stdout = output.stdout_str();
    let rows: Vec<Vec<&str>> = stdout
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    for (when, expected) in [("before", revision), ("after", revision + BILLION)] {
        let row = vec!["revision", when, &expected.to_string()]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert!(
            rows.iter().any(|found| *found == row),
            "no {row:?} in\n{output}"
        );
    }
}
