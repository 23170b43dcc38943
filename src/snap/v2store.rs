//! The v2 store as JSON: a tree of nodes, and the history that its watchers were shown.
//!
//! ```text
//! /                                     index 0
//! +-- 0                                 index 0: the cluster itself
//! |   +-- members                       index 1
//! |   |   +-- 8e9e05c52164694d          member i of N, ids ascending: index i
//! |   |       +-- raftAttributes        "{\"peerURLs\":[...]}", "isLearner":true for a learner
//! |   |       +-- attributes            "{\"name\":...,\"clientURLs\":[...]}", once it has started
//! |   +-- version                       "3.5.0", in a running cluster
//! |   +-- removed_members               in a running cluster that lost some
//! +-- 1                                 index 0: what API v2 wrote
//! ```
//!
//! [etcd v3.5.33 server/etcdserver/api/v2store/store.go, node.go, event_queue.go, stats.go;
//! server/etcdserver/api/membership/storev2.go]

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Member, Snap};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::proto::gojson;
use crate::report::printable;

/// Events that the history has room for.
pub(super) const EVENTS: usize = 1000;

/// Go's zero time: a node that does not expire.
const PERMANENT: &str = "0001-01-01T00:00:00Z";

/// The counters, in order; a restore has only created nodes.
const COUNTERS: [&str; 16] = [
    "getsSuccess",
    GETS_FAIL,
    "setsSuccess",
    "setsFail",
    "deleteSuccess",
    "deleteFail",
    "updateSuccess",
    "updateFail",
    CREATE_SUCCESS,
    "createFail",
    "compareAndSwapSuccess",
    "compareAndSwapFail",
    "compareAndDeleteSuccess",
    "compareAndDeleteFail",
    "expireCount",
    "watchers",
];
const GETS_FAIL: &str = "getsFail";
const CREATE_SUCCESS: &str = "createSuccess";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Store {
    root: Node,
    watcher_hub: WatcherHub,
    current_index: u64,
    stats: Stats,
    current_version: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    path: String,
    created_index: u64,
    modified_index: u64,
    expire_time: &'static str,
    value: String,
    children: Option<BTreeMap<String, Node>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WatcherHub {
    event_history: EventHistory,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventHistory {
    queue: Queue,
    start_index: u64,
    last_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Queue {
    events: Vec<Option<Event>>,
    size: u64,
    front: u64,
    back: u64,
    capacity: u64,
}

#[derive(Serialize)]
struct Event {
    action: &'static str,
    node: EventNode,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventNode {
    key: String,
    value: String,
    modified_index: u64,
    created_index: u64,
}

struct Stats {
    created: u64,
    gets_failed: u64,
}

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(COUNTERS.map(|name| match name {
            GETS_FAIL => (name, self.gets_failed),
            CREATE_SUCCESS => (name, self.created),
            _ => (name, 0),
        }))
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct RaftAttributes {
    #[serde(rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    name: Option<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Option<Vec<String>>,
}

/// The store after a restore, for members in ascending order of their ids; `gets_failed` changes nothing
/// but the checksum.
pub(super) fn encode(ascending: &[Member], gets_failed: u64) -> Result<String> {
    let count = ascending.len() as u64;
    let mut members = BTreeMap::new();
    let mut events: Vec<Option<Event>> = Vec::new();
    for (member, index) in ascending.iter().zip(1..) {
        let name = format!("{:x}", member.id);
        let path = format!("/0/members/{name}");
        let file_path = format!("{path}/raftAttributes");
        let value = gojson::to_string(&RaftAttributes {
            peer_urls: Some(member.peer_urls.clone()),
            is_learner: member.is_learner,
        })?;
        events.push(Some(Event {
            action: "create",
            node: EventNode {
                key: file_path.clone(),
                value: value.clone(),
                modified_index: index,
                created_index: index,
            },
        }));
        let file = node(file_path, index, value, None);
        let children = BTreeMap::from([("raftAttributes".to_owned(), file)]);
        members.insert(name, directory(&path, index, children));
    }
    events.resize_with(EVENTS, || None);
    let cluster = BTreeMap::from([("members".to_owned(), directory("/0/members", 1, members))]);
    let top = BTreeMap::from([
        ("0".to_owned(), directory("/0", 0, cluster)),
        ("1".to_owned(), directory("/1", 0, BTreeMap::new())),
    ]);
    gojson::to_string(&Store {
        root: directory("/", 0, top),
        watcher_hub: WatcherHub {
            event_history: EventHistory {
                queue: Queue {
                    events,
                    size: count,
                    front: 0,
                    back: count % EVENTS as u64,
                    capacity: EVENTS as u64,
                },
                start_index: 1,
                last_index: count,
            },
        },
        current_index: count,
        stats: Stats {
            created: count,
            gets_failed,
        },
        current_version: 2,
    })
}

fn directory(path: &str, index: u64, children: BTreeMap<String, Node>) -> Node {
    node(path.to_owned(), index, String::new(), Some(children))
}

fn node(path: String, index: u64, value: String, children: Option<BTreeMap<String, Node>>) -> Node {
    Node {
        path,
        created_index: index,
        modified_index: index,
        expire_time: PERMANENT,
        value,
        children,
    }
}

/// The store as found, down to where it is of interest; what else there is does not matter. `M` is what
/// becomes of the members: they are counted before any is kept.
#[derive(Deserialize)]
struct FoundStore<M> {
    #[serde(rename = "Root")]
    root: Found<Top<M>>,
}

#[derive(Deserialize)]
struct Found<C> {
    #[serde(rename = "Value")]
    value: Option<String>,
    #[serde(rename = "Children")]
    children: Option<C>,
}

#[derive(Deserialize)]
struct Top<M> {
    #[serde(rename = "0")]
    cluster: Option<Found<Cluster<M>>>,
    #[serde(rename = "1")]
    keys: Option<Found<Count>>,
}

#[derive(Deserialize)]
struct Cluster<M> {
    members: Option<Found<M>>,
    removed_members: Option<Found<Count>>,
    version: Option<Found<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundMember {
    raft_attributes: Option<Found<IgnoredAny>>,
    attributes: Option<Found<IgnoredAny>>,
}

/// The number of things in an object.
#[derive(Default)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Count, D::Error> {
        deserializer.deserialize_map(Count::default())
    }
}

impl<'de> Visitor<'de> for Count {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> std::result::Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            self.0 += 1;
        }
        Ok(self)
    }
}

/// What the store says about the cluster; the metadata is left empty.
pub(super) fn decode(json: &[u8], limits: &Limits) -> Result<Snap> {
    let (counted, removed, v2_keys, cluster_version) = parse::<Count>(json)?;
    let counted = counted.unwrap_or_default().0;
    if counted > limits.members as u64 {
        return Err(Error::damaged(format!(
            "{counted} members, expected at most {}",
            limits.members
        )));
    }
    let (members, ..) = parse::<BTreeMap<String, Found<FoundMember>>>(json)?;
    Ok(Snap {
        members: members
            .unwrap_or_default()
            .into_iter()
            .map(|(id, found)| member(&id, found.children))
            .collect::<Result<_>>()?,
        removed,
        cluster_version,
        v2_keys,
        ..Snap::default()
    })
}

/// Members as `M`, and the rest of a [`Snap`]: removed members, keys of API v2, cluster version.
type Parsed<M> = (Option<M>, u64, u64, Option<String>);

fn parse<M: DeserializeOwned>(json: &[u8]) -> Result<Parsed<M>> {
    let store: FoundStore<M> = serde_json::from_slice(json).map_err(|e| {
        let head = printable(json.get(..40).unwrap_or(json));
        Error::damaged(format!("{head}: not the JSON of a v2 store")).because(e)
    })?;
    let count =
        |found: Option<Found<Count>>| found.and_then(|found| found.children).unwrap_or_default().0;
    let Some(top) = store.root.children else {
        return Ok((None, 0, 0, None));
    };
    let v2_keys = count(top.keys);
    let Some(cluster) = top.cluster.and_then(|cluster| cluster.children) else {
        return Ok((None, 0, v2_keys, None));
    };
    Ok((
        cluster.members.and_then(|members| members.children),
        count(cluster.removed_members),
        v2_keys,
        cluster.version.and_then(|version| version.value),
    ))
}

fn member(hex: &str, found: Option<FoundMember>) -> Result<Member> {
    let id = u64::from_str_radix(hex, 16)
        .ok()
        .filter(|id| format!("{id:x}") == hex)
        .ok_or_else(|| {
            Error::damaged(format!(
                "/0/members/{}: not a member id",
                printable(hex.as_bytes())
            ))
        })?;
    let (raft, own) = found.map_or((None, None), |found| {
        (found.raft_attributes, found.attributes)
    });
    let raft: RaftAttributes = attributes(hex, "raftAttributes", raft)?;
    let own: Attributes = attributes(hex, "attributes", own)?;
    Ok(Member {
        id,
        peer_urls: raft.peer_urls.unwrap_or_default(),
        is_learner: raft.is_learner,
        name: own.name.unwrap_or_default(),
        client_urls: own.client_urls.unwrap_or_default(),
    })
}

fn attributes<T: Default + DeserializeOwned>(
    hex: &str,
    file: &str,
    found: Option<Found<IgnoredAny>>,
) -> Result<T> {
    let text = found.and_then(|found| found.value).unwrap_or_default();
    if text.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(&text).map_err(|e| {
        let text = printable(text.as_bytes());
        Error::damaged(format!("/0/members/{hex}/{file}: {text}")).because(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Snap> {
        decode(json.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_running_clusters_store_is_read() {
        let snap = read(
            r#"{"CurrentVersion":2,"Root":{"Path":"/","Children":{
                "1":{"Path":"/1","Children":{"foo":{"Path":"/1/foo","Value":"bar","Children":null}}},
                "0":{"Path":"/0","Children":{
                    "version":{"Path":"/0/version","Value":"3.5.0","Children":null},
                    "removed_members":{"Children":{"1a":{"Value":"removed"},"2b":{"Value":""}}},
                    "members":{"Children":{
                        "8e9e05c52164694d":{"Children":{
                            "attributes":{"Value":"{\"name\":\"m1\",\"clientURLs\":[\"http://c:1\"]}"},
                            "raftAttributes":{"Value":"{\"peerURLs\":[\"http://p:1\"],\"isLearner\":true}"}}},
                        "1":{"Children":{"raftAttributes":{"Value":"{\"peerURLs\":null}"}}}}}}}}}}"#,
        )
        .unwrap();
        assert_eq!(snap.members[0].id, 1);
        assert_eq!(
            snap.members[1],
            Member {
                id: 0x8e9e_05c5_2164_694d,
                peer_urls: vec!["http://p:1".into()],
                is_learner: true,
                name: "m1".into(),
                client_urls: vec!["http://c:1".into()],
            }
        );
        assert_eq!((snap.removed, snap.v2_keys), (2, 1));
        assert_eq!(snap.cluster_version.as_deref(), Some("3.5.0"));
    }

    #[test]
    fn little_is_required() {
        assert_eq!(read(r#"{"Root":{}}"#).unwrap(), Snap::default());
        assert_eq!(
            read(r#"{"Root":{"Children":{"0":{"Children":null}}}}"#).unwrap(),
            Snap::default()
        );
        for (json, what) in [
            ("", "not the JSON of a v2 store"),
            ("{}", "missing field `Root`"),
            (
                r#"{"Root":{"Children":{"0":{"Children":{"members":{"Children":{"0a":{}}}}}}}}"#,
                "/0/members/0a: not a member id",
            ),
            (
                r#"{"Root":{"Children":{"0":{"Children":{"members":{"Children":{"a":{"Children":
                    {"raftAttributes":{"Value":"{x"}}}}}}}}}}"#,
                "/0/members/a/raftAttributes: {x",
            ),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
