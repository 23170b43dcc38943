//! What a snapshot says about itself, gathered in one pass.

use serde::Serialize;

/// A member as the `members` bucket has it (`formats.md` section 9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Member id.
    pub id: u64,
    /// Name; empty when the member was added and never started.
    pub name: String,
    /// Peer URLs.
    pub peer_urls: Vec<String>,
    /// Client URLs; empty before the first start.
    pub client_urls: Vec<String>,
    /// Whether it is a learner.
    pub is_learner: bool,
}

/// An alarm in the `alarm` bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The member that raised it.
    pub member_id: u64,
    /// `NOSPACE`, `CORRUPT`, or the number of a kind that is not known here.
    pub alarm: String,
}

/// Entries and bytes (keys and values) of one top-level bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketFacts {
    /// Name, printable.
    pub name: String,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Everything a walk over a db learns. Revisions are main revisions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// bbolt page size in bytes.
    pub page_size: u32,
    /// High-water mark times page size in bytes: TOTAL SIZE of etcdutl, without the trailer.
    pub size: u64,
    /// Bytes in pages that the tree reaches, meta pages included.
    pub in_use: u64,
    /// Bytes in free pages.
    pub free: u64,
    /// CRC-32C over all buckets: HASH of etcdutl.
    pub hash: u32,
    /// Main revision of the last record in `key`, 0 if there is none: REVISION of etcdutl.
    pub revision: i64,
    /// What a server would serve: also counts compaction marks, at least 1.
    pub current_revision: i64,
    /// The revision compacted to, if ever.
    pub compact_revision: Option<i64>,
    /// Whether a compaction was scheduled and did not finish; a server resumes it at boot.
    pub compaction_pending: bool,
    /// Records in `key`: puts, tombstones and markers.
    pub records: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// User keys whose last record is not a tombstone.
    pub live_keys: u64,
    /// TOTAL KEYS of etcdutl 3.6 and later: live keys, and one more if there is a bump marker.
    pub total_keys: u64,
    /// Markers that `--bump-revision` left behind.
    pub bump_markers: u64,
    /// Entries of all buckets: TOTAL KEYS of 3.4 and 3.5.
    pub total_entries: u64,
    /// Whether a record of a key under `/registry/` was seen.
    pub kubernetes: bool,
    /// Leases.
    pub leases: u64,
    /// Members, by id.
    pub members: Vec<Member>,
    /// Ids in `members_removed`.
    pub removed_members: u64,
    /// Alarms.
    pub alarms: Vec<Alarm>,
    /// Whether auth is on.
    pub auth_enabled: bool,
    /// Users and roles.
    pub users: u64,
    /// Roles.
    pub roles: u64,
    /// `meta/storageVersion`, written by 3.6 and later.
    pub storage_version: Option<String>,
    /// `cluster/clusterVersion`.
    pub cluster_version: Option<String>,
    /// Raft index of the last entry applied to this db.
    pub consistent_index: Option<u64>,
    /// Raft term of that entry, written by 3.5 and later.
    pub term: Option<u64>,
    /// The top-level buckets, in byte order.
    pub buckets: Vec<BucketFacts>,
}
