//! What is not in every runbook: a WAL in another place, a name and URLs of one's own, a store without keys.

use super::{assert_members, restore, save};
use crate::util::api::{Dump, assert_same};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::ports::free_url;

per_version! {
    a_named_member_with_its_wal_elsewhere_boots
    a_store_without_keys_comes_back
}

fn a_named_member_with_its_wal_elsewhere_boots(minor: &str) {
    let server = Etcd::new(minor).start();
    let mut api = server.api();
    fill::kubernetes(&mut api, 20, 100);
    let snapshot = server.dir().join("snapshot.db");
    save(&server, &snapshot);

    let (data_dir, wal_dir) = (server.dir().join("restored"), server.dir().join("wal"));
    let wal_dir = wal_dir.to_str().unwrap();
    let peer_url = free_url();
    let initial = format!("node-1={peer_url}");
    let own = ["--name", "node-1", "--initial-cluster", &initial];
    let urls = ["--initial-advertise-peer-urls", &peer_url];
    let flags = [
        &own[..],
        &urls,
        &["--wal-dir", wal_dir, "--initial-cluster-token", "one"],
    ]
    .concat();
    let plan = restore(&snapshot, &data_dir, &flags)["plan"].clone();
    assert!(!data_dir.join("member/wal").exists());

    let mut restored = Etcd::new(minor)
        .name("node-1")
        .peer_url(&peer_url)
        .data_dir(&data_dir)
        .flag(&format!("--wal-dir={wal_dir}"))
        .start();
    let mut api_of_restored = restored.api();
    assert_same(&api.dump(), &api_of_restored.dump(), "restored");
    assert_members(&mut api_of_restored, &plan);
    // ETCD_VERIFY looks for the WAL below the data dir alone: a second start must do.
    drop(api_of_restored);
    restored.stop();
    restored.restart();
    assert_same(&api.dump(), &restored.api().dump(), "after a restart");
}

fn a_store_without_keys_comes_back(minor: &str) {
    let server = Etcd::new(minor).start();
    let snapshot = server.dir().join("empty.db");
    let saved = save(&server, &snapshot);
    assert_eq!(saved["liveKeys"], 0);

    let data_dir = server.dir().join("restored");
    let plan = restore(&snapshot, &data_dir, &[])["plan"].clone();
    assert_eq!(
        (&plan["bump"], &plan["revisionAfter"]),
        (&0.into(), &1.into())
    );
    let restored = Etcd::new(minor).data_dir(&data_dir).start();
    let mut api = restored.api();
    assert_same(&Dump::new(), &api.dump(), "an empty store");
    assert_eq!((api.revision(), api.put("first", "x")), (1, 2));
}
