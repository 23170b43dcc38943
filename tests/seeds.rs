//! Makes the seeds of the fuzz targets: small inputs from which a fuzzer finds the interesting ones sooner.
//!
//! They are committed, and replayed by the unit tests of `fuzzing`. To make them again after a format of
//! an input changed: `SEEDS_BLESS=1 cargo test --test it seeds`.

use std::fs;
use std::io::Write;
use std::path::Path;

use etcd_rescue::archive::{self, Manifest, Options, Writer, manifest};
use etcd_rescue::catalogue::compare::Vitals;
use etcd_rescue::catalogue::records::{Catalogue, How};
use etcd_rescue::proto::alarm::{self, AlarmMember};
use etcd_rescue::proto::auth::{Permission, READWRITE, Role, User, UserOptions};
use etcd_rescue::proto::lease::Lease;
use etcd_rescue::proto::raft::{ADD_NODE, ConfChange, ConfState, Entry, HardState};
use etcd_rescue::proto::raft::{Snapshot, SnapshotMetadata};
use etcd_rescue::proto::{snappb, walpb};
use etcd_rescue::{snap, wal};

use crate::hostile::craft::{File, NO_FREELIST, bucket, inline, meta};
use crate::hostile::house::{House, PAGE_SIZES, content, put, revision, tombstone};

const MEMBER: &[u8] = br#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"isLearner":true,"name":"default","clientURLs":["http://localhost:2379"]}"#;

/// The committed seeds are what the makers below make; `SEEDS_BLESS=1` writes them anew.
#[test]
fn seeds_are_what_is_made() {
    bolt();
    etcd();
    logs();
    snap_files();
    messages();
    texts();
    archives();
    catalogues();
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    if std::env::var_os("SEEDS_BLESS").is_some() {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
        return;
    }
    let kept = fs::read(dir.join(name)).unwrap_or_default();
    assert!(
        kept == bytes.as_ref(),
        "fuzz/seeds/{target}/{name} is not what is made: SEEDS_BLESS=1 cargo test --test it seeds"
    );
}

fn catalogues() {
    let now = "2026-11-23T05:00:00Z".parse().unwrap();
    let mut catalogue = Catalogue::default();
    let made = ("0123456789abcdef0123456789abcdef", "etcd-rev7.db.zst");
    let vitals = Vitals {
        cluster_id: Some("cdf818194e3a8c32".into()),
        revision: 7,
        live_keys: 5,
    };
    catalogue.made(made, vitals.clone(), now, Vec::new());
    catalogue.made(
        ("aa", "aa"),
        vitals,
        now,
        vec!["there are no keys in it".into()],
    );
    catalogue.entry("aa").unpin(now);
    catalogue.entry("bb").pin(now);
    catalogue.entry("bb").found_damaged(now, "frame 3");
    catalogue.entry("bb").found_good(now, How::Check);
    write("catalogue", "records", catalogue.encode().unwrap());
    write("catalogue", "newer", br#"{"format":2,"records":[]}"#);
    let others = br#"{"format":1,"records":{"a":{"verified":{"at":"2026-11-23T05:00:00Z","how":"x"},"y":1},"b":7},"z":1.0715660391181234e-17}"#;
    write("catalogue", "others", others);
}

fn bolt() {
    let house = House::new(512);
    write("snapshot", "house", house.file.sealed());
    write("snapshot", "house-raw", &house.file.bytes);
    let mut small = File::new(512);
    let key = small.leaf(&[]);
    let item = |name: &str, value| (1, name.as_bytes().to_vec(), value);
    let index = (0, b"consistent_index".to_vec(), 7u64.to_be_bytes().to_vec());
    let root = small.leaf(&[item("key", bucket(key)), item("meta", inline(&[index]))]);
    small.metas(root, NO_FREELIST);
    write("snapshot", "smallest", small.sealed());
    let mut persisted = house.clone();
    let list = persisted.file.freelist(&[persisted.free], false);
    persisted.file.metas(persisted.root, list);
    write("snapshot", "persisted-freelist", persisted.file.sealed());

    for (name, file, flags) in [
        ("house", &house.file, 0),
        ("small", &small, 0),
        ("persisted-freelist", &persisted.file, 4),
    ] {
        let root = file.u64(0, meta::ROOT) as u8;
        let list = file.u64(0, meta::FREELIST) as u8;
        let header = [flags, root, list, 0];
        write("walk", name, [&header, &file.bytes[1024..]].concat());
    }

    for page_size in PAGE_SIZES {
        let house = House::new(page_size);
        let metas = [0, 1].map(|page| &house.file.page(page)[..meta::END]);
        write("meta", &format!("pages-of-{page_size}"), metas.concat());
    }

    write(
        "build_model",
        "a-few-small-items",
        [&[3], &b"\x02\x05\x00ab\x22\x00\x10cd\x41\xff\x07e"[..]].concat(),
    );
    let deep: Vec<u8> = (0..120u8).flat_map(|n| [2, n, 3, n, n ^ 0x55]).collect();
    write(
        "build_model",
        "deep-tree-in-small-pages",
        [&[0], &deep[..]].concat(),
    );
}

fn archives() {
    let plain: Vec<u8> = (0..90u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
    let pack = |plain: &[u8]| {
        let options = Options {
            piece: 128,
            level: 1,
            threads: 1,
        };
        let mut writer = Writer::new(Vec::new(), options).unwrap();
        writer.write_all(plain).unwrap();
        let (bytes, written) = writer.finish_frames().unwrap();
        let snapshot = manifest::Snapshot {
            size: written.size,
            trailer: true,
            page_size: 4096,
            ..manifest::Snapshot::default()
        };
        let (made, etcd) = (manifest::Made::default(), manifest::Etcd::default());
        let mut manifest = Manifest::new(made, snapshot, etcd, written.frames);
        manifest.source = Some(manifest::Source::default());
        (bytes, manifest)
    };
    let (frames, manifest) = pack(&plain);
    let tail = archive::tail(&manifest).unwrap();
    write("container", "ours", [&frames[..], &tail].concat());
    write("container", "frames-alone", &frames);
    write(
        "container",
        "no-seek-table",
        [&frames[..], &manifest.encode().unwrap()].concat(),
    );
    write("container", "whole", [&[100, 0, 0, 0], &plain[..]].concat());
    write(
        "container",
        "one-byte-changed",
        [&[100, 9, 0, 1], &plain[..]].concat(),
    );
    let (empty, of_nothing) = pack(&[]);
    let tail_of_nothing = archive::tail(&of_nothing).unwrap();
    write(
        "container",
        "empty",
        [&empty[..], &tail_of_nothing].concat(),
    );

    write("manifest", "frame", manifest.encode().unwrap());
    write("manifest", "json", serde_json::to_vec(&manifest).unwrap());
    write("manifest", "newer", br#"{"format":2,"needs":"9.0.0"}"#);
    let table = &tail[manifest.encode().unwrap().len()..];
    write("seek_table", "frame", table);
    write("seek_table", "entries", &table[8..table.len() - 9]);
}

fn etcd() {
    let records = [
        (
            "put",
            put(5, 0, b"/registry/pods/x", 5, 1, b"k8s\0value", 7).1,
        ),
        (
            "put-with-large-numbers",
            put(i64::MAX, 0, b"k", 1 << 40, 1 << 30, b"", -1).1,
        ),
        ("tombstone", tombstone(9, 0, b"gone").1),
        ("revision", revision(9, 1)),
        ("revision-of-a-tombstone", tombstone(9, 1, b"").0),
    ];
    for (name, bytes) in records {
        write("keyvalue", name, [&[3], &bytes[..]].concat());
    }

    let names = etcd_rescue::etcd::buckets::KNOWN;
    let mut entries = Vec::new();
    for (name, items) in content(512) {
        let index = names
            .iter()
            .position(|known| known.as_bytes() == name)
            .unwrap();
        for (key, value) in items.iter().filter(|(_, value)| value.len() < 256) {
            entries.extend([index as u8, key.len() as u8, value.len() as u8]);
            entries.extend_from_slice(key);
            entries.extend_from_slice(value);
        }
    }
    write("meaning", "everything", entries);
    // Kind, main, key, create, version, lease.
    let history = [
        [10, 2, b'a', 2, 1, 0],
        [10, 3, b'a', 2, 2, 7],
        [11, 4, b'a', 0, 0, 0],
        [10, 5, b'b', 3, 4, 0],
        [10, 6, b'a', 6, 1, 0],
    ];
    write("meaning", "history", history.concat());
}

fn logs() {
    let founder = |id| wal::Founder {
        id,
        context: MEMBER,
    };
    let metadata = walpb::Metadata {
        node_id: 1,
        cluster_id: 2,
    };
    let log = wal::fresh(&metadata, &[founder(1), founder(2)]);
    write("wal", "fresh", [&[7, 0, 0, 0], &log[..]].concat());
    write(
        "wal",
        "fresh-with-preallocated-zeros",
        [&[7, 0, 0, 0], &log[..], &[0; 64]].concat(),
    );
    let cut = &log[..log.len() - 5];
    write("wal", "torn", [&[7, 0, 0, 0], cut].concat());

    let state = HardState {
        term: 3,
        vote: 1,
        commit: 5,
    }
    .encode();
    let entry = Entry {
        entry_type: 0,
        term: 3,
        index: 5,
        data: Some(b"request"),
    }
    .encode();
    let snapshot = walpb::Snapshot {
        index: 4,
        term: 2,
        conf_state: None,
    }
    .encode();
    let metadata = metadata.encode();
    let framed = |records: &[(u8, &[u8])]| -> Vec<u8> {
        records
            .iter()
            .flat_map(|(kind, data)| [&[*kind, data.len() as u8], *data].concat())
            .collect()
    };
    let first = framed(&[(1, &metadata), (5, &snapshot), (2, &entry), (3, &state)]);
    let second = framed(&[(1, &metadata), (3, &state), (2, &entry)]);
    let split = (first.len() as u16).to_le_bytes();
    write(
        "wal",
        "two-framed-segments",
        [&[3, 1, split[0], split[1]], &first[..], &second].concat(),
    );
}

fn snap_files() {
    let member = |id: u64, is_learner| snap::Member {
        id,
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
        is_learner,
        name: format!("m{id}"),
        client_urls: vec![],
    };
    let file = snap::fresh(&[member(1, false), member(2, true)]).unwrap();
    write("snap", "fresh", &file);
    let outer = snappb::Snapshot::decode(&file).unwrap();
    let inner = Snapshot::decode(outer.data.unwrap()).unwrap();
    write("snap", "v2-store-alone", inner.data.unwrap());
}

fn messages() {
    let conf_state = ConfState {
        voters: vec![1, u64::MAX],
        learners: vec![3],
        voters_outgoing: vec![4],
        learners_next: vec![5],
        auto_leave: true,
    };
    let permission = Permission {
        perm_type: READWRITE,
        key: b"a",
        range_end: b"\0",
    };
    let user = User {
        name: b"root",
        password: b"$2a$04$x",
        roles: vec![b"root", b"reader"],
        options: Some(UserOptions { no_password: true }),
    };
    let metadata = SnapshotMetadata {
        conf_state: conf_state.clone(),
        index: 9,
        term: 2,
    };
    let messages: [(&str, Vec<u8>); 13] = [
        (
            "lease",
            Lease {
                id: -1,
                ttl: 60,
                remaining_ttl: 5,
            }
            .encode(),
        ),
        (
            "alarm",
            AlarmMember {
                member_id: u64::MAX,
                alarm: alarm::CORRUPT,
            }
            .encode(),
        ),
        ("user", user.encode()),
        (
            "role",
            Role {
                name: b"r",
                key_permission: vec![permission.clone(), permission],
            }
            .encode(),
        ),
        (
            "entry",
            Entry {
                entry_type: 1,
                term: 2,
                index: 3,
                data: Some(b"x"),
            }
            .encode(),
        ),
        (
            "hard-state",
            HardState {
                term: 1,
                vote: 2,
                commit: 3,
            }
            .encode(),
        ),
        (
            "raft-snapshot",
            Snapshot {
                data: Some(b"{}"),
                metadata,
            }
            .encode(),
        ),
        (
            "conf-change",
            ConfChange {
                id: 1,
                change_type: ADD_NODE,
                node_id: 2,
                context: Some(MEMBER),
            }
            .encode(),
        ),
        (
            "record",
            walpb::Record {
                record_type: 2,
                crc: 7,
                data: Some(b"x"),
            }
            .encode(),
        ),
        (
            "metadata",
            walpb::Metadata {
                node_id: 1,
                cluster_id: 2,
            }
            .encode(),
        ),
        (
            "wal-snapshot",
            walpb::Snapshot {
                index: 1,
                term: 2,
                conf_state: Some(conf_state),
            }
            .encode(),
        ),
        (
            "snappb",
            snappb::Snapshot {
                crc: 7,
                data: Some(b"x"),
            }
            .encode(),
        ),
        ("any", b"\x0b\x10\x01\x0c\x11abcdefgh\x1dabcd".to_vec()),
    ];
    for (choice, (name, bytes)) in messages.iter().enumerate() {
        write("proto", name, [&[choice as u8], &bytes[..]].concat());
    }
}

fn texts() {
    write("member", "every-field", MEMBER);
    write("member", "odd-json", br#" {"extra":{"a":[1,null]},"peerURLs":null,"id":7,"name":"<\u2028\ud83d\ude00","isPromote":true} "#);
    write("member", "key", "8e9e05c52164694d");
    write(
        "initial_cluster",
        "three",
        b"\x05tokenm1=http://10.0.0.1:2380,m2=https://h.example:2380,m3=http://[::1]:2380",
    );
    write(
        "initial_cluster",
        "two-urls-and-odd-cases",
        b"\x01tb= http://b:2,a=HTTP://a:1,b=unix://x:1",
    );
    // A first message of 512 bytes of 1024, the other 512, the honest trailer.
    write("stream", "whole", b"\x40\x20\0\0\0\0\0\0\x02\0\0\x20\x80\0");
    write(
        "stream",
        "with-versions",
        b"\x60\x20\0\0\0\0\0\0\x02\0\x20\x20\xa0\0",
    );
    write(
        "stream",
        "empty-blob",
        b"\x40\x20\0\0\0\0\0\0\x02\0\0\0\0\0",
    );
}
