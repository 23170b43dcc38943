//! Filling a server with a history that has everything a snapshot can hold.

use std::collections::BTreeMap;

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, CompactionOptions, Compare, CompareOp, DeleteOptions,
    LeaseGrantOptions, MemberAddOptions, Permission, PermissionType, PutOptions, Txn, TxnOp,
};

use super::api::{Api, Dump, Lease};
use super::etcd::Etcd;

/// The user that `auth` makes.
pub const ROOT: (&str, &str) = ("root", "a root password");

/// A second user, who may only read /registry/.
pub const READER: (&str, &str) = ("reader", "a reader's password");

/// The largest value that etcd takes with its default `--max-request-bytes` of 1.5 MiB.
pub const BIGGEST: usize = 1_400_000;

/// Lease ids that `history` grants, each for an hour or more: no test outlives them.
pub const LEASES: [i64; 4] = [1, 0x1234_5678, 0x7000_0000_0000_0001, i64::MAX];

/// Operations that fit into one transaction (`--max-txn-ops`).
const TXN_OPS: usize = 128;

/// What a filled server held when it was filled.
pub struct Filled {
    pub dump: Dump,
    pub leases: BTreeMap<i64, Lease>,
    pub revision: i64,
    pub compacted: i64,
    /// The id of the learner that was added; it never starts.
    pub learner: Option<u64>,
}

/// A rich history, a learner, auth turned on and a NOSPACE alarm, in this order (the alarm forbids
/// further writes). The server's own calls log in as root from here on.
#[track_caller]
pub fn rich(server: &mut Etcd) -> Filled {
    let mut api = server.api();
    let compacted = history(&mut api);
    let learner = learner(&mut api);
    auth(server);
    let mut api = server.api();
    alarm(&mut api);
    let mut filled = snapshot_of(&mut api, compacted);
    filled.learner = Some(learner);
    filled
}

/// A rich history and nothing else, so that it can go on.
#[track_caller]
pub fn plain(server: &Etcd) -> Filled {
    let mut api = server.api();
    let compacted = history(&mut api);
    snapshot_of(&mut api, compacted)
}

fn snapshot_of(api: &mut Api, compacted: i64) -> Filled {
    Filled {
        dump: api.dump(),
        leases: api.leases(),
        revision: api.revision(),
        compacted,
        learner: None,
    }
}

/// Transactions, deletes, re-creation, a compaction in the middle, leases, binary keys and keys and
/// values of every size. Returns the compacted revision.
#[track_caller]
pub fn history(api: &mut Api) -> i64 {
    leases(api);
    kubernetes(api, 400, 300);
    churn(api, "before");
    shapes(api);
    let compacted = api.revision() - 10;
    compact(api, compacted);
    churn(api, "after");
    kubernetes(api, 100, 500);
    // Something compacted away entirely would be no test of tombstones: these two stay in the file.
    api.put("history/deleted-last", "x");
    api.delete("history/deleted-last");
    compacted
}

/// Objects as the API server stores them: `/registry/RESOURCE/NAMESPACE/NAME`, a protobuf envelope,
/// about `size` bytes each; every one is updated as often as its number tells.
#[track_caller]
pub fn kubernetes(api: &mut Api, count: usize, size: usize) {
    const RESOURCES: [&str; 5] = ["pods", "configmaps", "secrets", "events", "leases"];
    let ops = (0..count).flat_map(|i| {
        let resource = RESOURCES[i % RESOURCES.len()];
        let key = format!("/registry/{resource}/ns-{:02}/object-{i:05}", i % 17);
        (0..1 + i % 3).map(move |round| (key.clone(), envelope(i, round, size)))
    });
    let mut batch: Vec<(String, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    for (key, value) in ops {
        // A transaction may not touch a key twice, and has to fit into one request.
        let full = batch.len() == TXN_OPS || bytes + value.len() > 1_000_000;
        if full || batch.last().is_some_and(|(last, _)| *last == key) {
            put_all(api, std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += key.len() + value.len();
        batch.push((key, value));
    }
    put_all(api, batch);
}

/// `count` keys `PREFIX000000...` with values of `size` bytes that do not compress.
#[track_caller]
pub fn bulk(api: &mut Api, prefix: &str, count: usize, size: usize) {
    let batch = (1_000_000 / (size + 100)).clamp(1, TXN_OPS);
    for start in (0..count).step_by(batch) {
        let keys = start..count.min(start + batch);
        put_all(
            api,
            keys.map(|i| (format!("{prefix}{i:06}"), noise(i as u64, size)))
                .collect(),
        );
    }
}

/// Puts all pairs in one transaction, and so in one revision.
#[track_caller]
pub fn put_all<K: Into<Vec<u8>>>(api: &mut Api, pairs: Vec<(K, Vec<u8>)>) {
    if pairs.is_empty() {
        return;
    }
    let ops: Vec<TxnOp> = pairs
        .into_iter()
        .map(|(key, value)| TxnOp::put(key, value, None))
        .collect();
    api.call(async |c| c.txn(Txn::new().and_then(ops)).await);
}

/// Updates, deletes, re-creations, deletes of ranges, and transactions that mix them.
fn churn(api: &mut Api, tag: &str) {
    for round in 0..5 {
        for key in ["churn/a", "churn/b", "churn/c"] {
            api.put(key, format!("{tag} {round}"));
        }
    }
    api.delete("churn/b");
    api.put("churn/b", format!("{tag}: created again, version 1"));
    api.delete("churn/c");
    api.call(async |c| {
        let mixed = Txn::new()
            .when([Compare::version("churn/a", CompareOp::Greater, 0)])
            .and_then([
                TxnOp::put("churn/txn/1", tag, None),
                TxnOp::delete("churn/a", None),
                TxnOp::put(
                    "churn/txn/2",
                    tag,
                    Some(PutOptions::new().with_lease(LEASES[1])),
                ),
                TxnOp::get("churn/txn/1", None),
            ]);
        assert!(c.txn(mixed).await?.succeeded());
        for i in 0..20 {
            c.put(format!("churn/range/{tag}/{i}"), "soon gone", None)
                .await?;
        }
        let prefix = DeleteOptions::new().with_prefix();
        assert_eq!(
            c.delete(format!("churn/range/{tag}/"), Some(prefix))
                .await?
                .deleted(),
            20
        );
        c.put("churn/range/last", tag, None).await
    });
}

/// Four leases: with several keys, with one, with a key that left it again, and with none.
fn leases(api: &mut Api) {
    api.call(async |c| {
        for (i, id) in LEASES.into_iter().enumerate() {
            let options = LeaseGrantOptions::new().with_id(id);
            c.lease_grant(3600 * (i as i64 + 1), Some(options)).await?;
        }
        for i in 0..10 {
            let options = PutOptions::new().with_lease(LEASES[0]);
            c.put(format!("leased/{i}"), "value", Some(options)).await?;
        }
        let options = PutOptions::new().with_lease(LEASES[2]);
        c.put("leased/once", "attached", Some(options)).await?;
        c.put("leased/once", "detached", None).await
    });
}

/// Keys and values at the edges of what etcd takes.
fn shapes(api: &mut Api) {
    let mut keys: Vec<Vec<u8>> = vec![
        b"k".to_vec(),
        vec![0],
        vec![0xff],
        vec![0xff, 0xff, 0xff],
        b"shape/\0nul\n\r\t\"quotes\"".to_vec(),
        b"shape/\xc3\x28 is not UTF-8".to_vec(),
        "shape/snow \u{2603} man".as_bytes().to_vec(),
    ];
    // The length of a protobuf field and of a B-tree element grow at these.
    for length in [127, 128, 255, 256, 4000, 4096, 16_384, 70_000] {
        keys.push([b"shape/", noise(length as u64, length).as_slice()].concat());
    }
    for key in keys {
        api.put(key.clone(), "");
        api.put(key, "a value");
    }
    for size in [0, 1, 100, 4000, 4096, 65_535, 65_536, 1_000_000, BIGGEST] {
        api.put(format!("shape/value-of-{size}"), noise(size as u64, size));
    }
    let mut longest = b"shape/longest-key/".to_vec();
    longest.extend(noise(7, BIGGEST));
    api.put(longest.clone(), "the key is the big one");
    api.delete(longest.clone());
    api.put(longest, "again");
}

#[track_caller]
pub fn compact(api: &mut Api, revision: i64) {
    // Physical: the call returns when the old revisions are out of the file.
    let options = CompactionOptions::new().with_physical();
    api.call(async |c| c.compact(revision, Some(options)).await);
}

/// Adds a learner that never starts; returns its id.
#[track_caller]
pub fn learner(api: &mut Api) -> u64 {
    let options = MemberAddOptions::new().with_is_learner();
    let response = api.call(async |c| c.member_add(["http://127.0.0.1:1"], Some(options)).await);
    response.member().expect("the new member").id()
}

/// Makes users and roles and turns auth on. The server's own calls log in as root from here on.
#[track_caller]
pub fn auth(server: &mut Etcd) {
    server.api().call(async |c| {
        c.role_add("root").await?;
        c.user_add(ROOT.0, ROOT.1, None).await?;
        c.user_grant_role(ROOT.0, "root").await?;
        c.role_add("registry-reader").await?;
        let permission = Permission::new(PermissionType::Read, "/registry/").with_prefix();
        c.role_grant_permission("registry-reader", permission)
            .await?;
        c.user_add(READER.0, READER.1, None).await?;
        c.user_grant_role(READER.0, "registry-reader").await?;
        c.auth_enable().await
    });
    server.set_user(ROOT.0, ROOT.1);
}

/// Raises a NOSPACE alarm by hand, as a member does that is over its quota: no more writes.
#[track_caller]
pub fn alarm(api: &mut Api) {
    api.call(async |c| {
        let member = c.status().await?.header().expect("a header").member_id();
        let mut options = AlarmOptions::new();
        options.with_member(member);
        c.alarm(AlarmAction::Activate, AlarmType::Nospace, Some(options))
            .await
    });
}

/// Writes until the server's own quota stops it (`Builder::quota`), which raises the alarm.
#[track_caller]
pub fn until_quota(api: &mut Api) {
    for i in 0..10_000 {
        let value = noise(i, 100_000);
        if let Err(err) = api.try_call(async |c| c.put(format!("quota/{i}"), value, None).await) {
            assert!(err.to_string().contains("database space exceeded"), "{err}");
            return;
        }
    }
    panic!("the quota was never reached");
}

/// Bytes that look random and are the same in every run (xorshift64).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The magic of Kubernetes' protobuf storage, then text and noise.
fn envelope(object: usize, round: usize, size: usize) -> Vec<u8> {
    let mut value = b"k8s\0\n\x0c\n\x02v1\x12\x06Object\x12".to_vec();
    value.extend(format!("object-{object:05} generation {round} ").bytes());
    let rest = size.saturating_sub(value.len());
    value.extend(noise((object * 31 + round) as u64, rest));
    value
}
