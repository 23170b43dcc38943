//! Restore: a proved snapshot becomes a member's data dir that etcd 3.4 to 3.8 boots, whole or not at all.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::etcd::facts::{Alarm, Member};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::snapshot::Verdict;
use crate::source::Input;

/// What to restore, where, and as whom. Defaults are etcdutl's where etcdutl has the flag.
#[derive(Clone, Debug)]
pub struct Request {
    /// One input.
    pub input: Input,
    /// `--data-dir`; `member/` is made below it.
    pub data_dir: PathBuf,
    /// `--wal-dir`, if the WAL goes elsewhere.
    pub wal_dir: Option<PathBuf>,
    /// `--name`, default `default`.
    pub name: String,
    /// `--initial-cluster`, default `NAME=URLS` of this member.
    pub initial_cluster: Option<String>,
    /// `--initial-cluster-token`, default derived from the snapshot's SHA-256.
    pub initial_cluster_token: Option<String>,
    /// `--initial-advertise-peer-urls`, default `http://localhost:2380`, or this member's URLs in the initial cluster.
    pub initial_advertise_peer_urls: Option<String>,
    /// `--bump-revision`, `--no-bump` or neither.
    pub bump: Bump,
    /// `--raw` or `--skip-hash-check`: accept a file without trailer.
    pub raw: bool,
    /// `--owner USER:GROUP`.
    pub owner: Option<String>,
    /// `--move-aside`: an existing `member/` is renamed, never removed.
    pub move_aside: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// How far the revision is moved so that watchers notice the restore (`formats.md` 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    /// By 1,000,000,000 when the snapshot has keys under `/registry/`, else not.
    Auto,
    /// Not at all.
    Off,
    /// By this much.
    By(u64),
}

/// The plan: made from the request and a proved snapshot, printed by `--dry-run`, carried out otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// `DATA_DIR/member`.
    pub member_dir: PathBuf,
    /// Where the WAL goes.
    pub wal_dir: PathBuf,
    /// This member's name.
    pub name: String,
    /// This member's id.
    pub member_id: u64,
    /// The new cluster's id.
    pub cluster_id: u64,
    /// The token the ids were made with.
    pub token: String,
    /// Whether the token was derived from the snapshot.
    pub token_derived: bool,
    /// The initial cluster in full, as every member's restore must be given it.
    pub initial_cluster: String,
    /// The members of the new cluster.
    pub members: Vec<Member>,
    /// The members in the snapshot, which are replaced.
    pub old_members: Vec<Member>,
    /// Revision in the snapshot.
    pub revision_before: i64,
    /// Revision a server will start from.
    pub revision_after: i64,
    /// The bump, 0 if none.
    pub bump: u64,
    /// Alarms in the snapshot, which are dropped.
    pub alarms_dropped: Vec<Alarm>,
    /// Where an existing `member/` goes.
    pub moved_aside: Option<PathBuf>,
    /// Owner as `uid:gid`, if it is set to anything but the process's own.
    pub owner: Option<String>,
    /// Where the owner comes from: `--owner`, the old `member/`, or the data dir.
    pub owner_from: Option<String>,
    /// Bytes that will be written.
    pub bytes_needed: u64,
    /// Bytes that are free where they go.
    pub bytes_free: u64,
}

/// What was done.
#[derive(Debug)]
pub struct Outcome {
    /// What was planned, and done unless `dry_run`.
    pub plan: Plan,
    /// Nothing was written.
    pub dry_run: bool,
    /// The verdict on the input.
    pub verdict: Verdict,
    /// Bytes of the new db.
    pub db_bytes: u64,
}

/// How a restore ends short of an error.
#[derive(Debug)]
pub enum Ending {
    /// Done, or planned.
    Done(Box<Outcome>),
    /// The input does not prove good; nothing was touched.
    BadInput(Box<Verdict>),
}

/// Restores.
pub fn run(_request: &Request, _limits: &Limits, _observer: &dyn Observer) -> Result<Ending> {
    Err(Error::failed("restore is not built yet"))
}
