//! A blocking client for test servers: bulk loads and whole-keyspace dumps without a process each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Client, ConnectOptions, Error, GetOptions, LeaseTimeToLiveOptions,
    Member, StatusResponse, WatchOptions,
};
use tokio::runtime::Runtime;

/// A plaintext connection, with the runtime that drives it.
pub struct Api {
    runtime: Runtime,
    client: Client,
    url: String,
}

/// Everything a reader of the keyspace can see: key to what it holds.
pub type Dump = BTreeMap<Vec<u8>, Entry>;

/// One live key.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub create: i64,
    pub modified: i64,
    pub version: i64,
    pub lease: i64,
    pub value: Vec<u8>,
}

/// One lease: what was granted, what remains, and its keys in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub granted: i64,
    pub remaining: i64,
    pub keys: Vec<Vec<u8>>,
}

/// Hash of the keyspace up to a revision, as members compare it among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    pub compacted: i64,
}

impl Api {
    /// Connects; with a user, also logs in, which needs a leader.
    pub fn connect(url: &str, user: Option<&(String, String)>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a tokio runtime");
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(2))
            .with_timeout(Duration::from_secs(30));
        if let Some((name, password)) = user {
            options = options.with_user(name, password);
        }
        let client = runtime.block_on(Client::connect([url], Some(options)))?;
        Ok(Self {
            runtime,
            client,
            url: url.to_owned(),
        })
    }

    /// Runs calls of the client; an error fails the test.
    #[track_caller]
    pub fn call<T>(&mut self, work: impl AsyncFnOnce(&mut Client) -> Result<T, Error>) -> T {
        let url = self.url.clone();
        self.try_call(work)
            .unwrap_or_else(|err| panic!("call to {url} failed: {err}"))
    }

    /// Runs calls of the client that may fail.
    pub fn try_call<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.runtime.block_on(work(&mut self.client))
    }

    #[track_caller]
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> i64 {
        let response = self.call(async |c| c.put(key, value, None).await);
        response.header().expect("a header").revision()
    }

    #[track_caller]
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> i64 {
        let response = self.call(async |c| c.delete(key, None).await);
        response.header().expect("a header").revision()
    }

    #[track_caller]
    pub fn status(&mut self) -> StatusResponse {
        self.call(async |c| c.status().await)
    }

    /// The current revision of the store.
    #[track_caller]
    pub fn revision(&mut self) -> i64 {
        let options = GetOptions::new().with_limit(1).with_keys_only();
        let response = self.call(async |c| c.get("a", Some(options)).await);
        response.header().expect("a header").revision()
    }

    #[track_caller]
    pub fn members(&mut self) -> Vec<Member> {
        self.call(async |c| c.member_list().await)
            .members()
            .to_vec()
    }

    /// Member id and kind of every alarm that is on.
    #[track_caller]
    pub fn alarms(&mut self) -> Vec<(u64, AlarmType)> {
        let response = self.call(async |c| c.alarm(AlarmAction::Get, AlarmType::None, None).await);
        response
            .alarms()
            .iter()
            .map(|a| (a.member_id(), a.alarm()))
            .collect()
    }

    /// The whole keyspace at one revision, in pages.
    #[track_caller]
    pub fn dump(&mut self) -> Dump {
        let revision = self.revision();
        self.dump_at(revision)
    }

    /// The whole keyspace as it was at `revision`.
    #[track_caller]
    pub fn dump_at(&mut self, revision: i64) -> Dump {
        self.call(async |c| {
            // The default limit of 4 MiB is less than two of the largest values.
            let mut kv = c.kv_client().max_decoding_message_size(usize::MAX);
            let mut dump = Dump::new();
            let mut from = vec![0];
            loop {
                let options = GetOptions::new()
                    .with_from_key()
                    .with_limit(2000)
                    .with_revision(revision);
                let response = kv.get(from, Some(options)).await?;
                for kv in response.kvs() {
                    let entry = Entry {
                        create: kv.create_revision(),
                        modified: kv.mod_revision(),
                        version: kv.version(),
                        lease: kv.lease(),
                        value: kv.value().to_vec(),
                    };
                    dump.insert(kv.key().to_vec(), entry);
                }
                match response.kvs().last() {
                    Some(last) if response.more() => {
                        from = last.key().to_vec();
                        from.push(0);
                    }
                    _ => return Ok(dump),
                }
            }
        })
    }

    /// Every lease by id.
    #[track_caller]
    pub fn leases(&mut self) -> BTreeMap<i64, Lease> {
        self.call(async |c| {
            let mut leases = BTreeMap::new();
            for status in c.leases().await?.leases() {
                let options = LeaseTimeToLiveOptions::new().with_keys();
                let ttl = c.lease_time_to_live(status.id(), Some(options)).await?;
                let mut keys = ttl.keys().to_vec();
                keys.sort();
                let lease = Lease {
                    granted: ttl.granted_ttl(),
                    remaining: ttl.ttl(),
                    keys,
                };
                leases.insert(status.id(), lease);
            }
            Ok(leases)
        })
    }

    /// HashKV up to `revision` (0: the current one).
    #[track_caller]
    pub fn hash_kv(&mut self, revision: i64) -> HashKv {
        let response = self.call(async |c| c.hash_kv(revision).await);
        HashKv {
            hash: response.hash(),
            compacted: response.compact_version(),
        }
    }

    /// Watches every key from `revision`: the compacted revision if the server refuses for that, none
    /// if it starts watching.
    #[track_caller]
    pub fn watch_refused(&mut self, revision: i64) -> Option<i64> {
        self.call(async |c| {
            let options = WatchOptions::new()
                .with_from_key()
                .with_start_revision(revision);
            let mut watcher = c.watch_client().max_decoding_message_size(usize::MAX);
            let mut stream = watcher.watch([0], Some(options)).await?;
            // An accepted watch answers "created" and then only events; a refused one is cancelled.
            let quiet = Duration::from_secs(2);
            while let Ok(message) = tokio::time::timeout(quiet, stream.message()).await {
                match message? {
                    Some(m) if m.canceled() && m.compact_revision() > 0 => {
                        return Ok(Some(m.compact_revision()));
                    }
                    Some(m) if m.canceled() => panic!("watch cancelled: {}", m.cancel_reason()),
                    Some(m) if m.events().is_empty() => {}
                    _ => break,
                }
            }
            Ok(None)
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: Vec<u8> = self.value.iter().take(40).copied().collect();
        write!(
            f,
            "create {} mod {} version {} lease {:x} value {} bytes \"{}\"",
            self.create,
            self.modified,
            self.version,
            self.lease,
            self.value.len(),
            head.escape_ascii()
        )
    }
}

/// Fails with the first differing keys, not with two megabytes of debug output.
#[track_caller]
pub fn assert_same(expected: &Dump, found: &Dump, what: &str) {
    let mut differences = Vec::new();
    for (key, entry) in expected {
        match found.get(key) {
            Some(other) if other == entry => {}
            Some(other) => differences.push(format!(
                "{}\n  expected {entry:?}\n  found    {other:?}",
                show(key)
            )),
            None => differences.push(format!(
                "{}\n  expected {entry:?}\n  found    nothing",
                show(key)
            )),
        }
    }
    for (key, entry) in found.iter().filter(|(key, _)| !expected.contains_key(*key)) {
        differences.push(format!(
            "{}\n  expected nothing\n  found    {entry:?}",
            show(key)
        ));
    }
    let count = differences.len();
    differences.truncate(10);
    assert!(
        count == 0,
        "{what}: {count} keys differ ({} expected, {} found); the first are\n{}",
        expected.len(),
        found.len(),
        differences.join("\n")
    );
}

fn show(key: &[u8]) -> String {
    let head: Vec<u8> = key.iter().take(80).copied().collect();
    let more = if key.len() > 80 { "..." } else { "" };
    format!(
        "key \"{}\"{more} ({} bytes)",
        head.escape_ascii(),
        key.len()
    )
}
