//! What a restore does, as a value: `--dry-run` prints it, and so does the real run when it is done.

use std::path::PathBuf;

use serde::Serialize;

use super::Job;
use super::owner::Owner;
use super::rebuild::Revised;
use crate::error::{Error, Result};
use crate::etcd::facts::{Alarm, Member};
use crate::snapshot::Snapshot;

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
    /// Where an existing `--wal-dir` goes.
    pub wal_moved_aside: Option<PathBuf>,
    /// Owner as `uid:gid`, if it is set to anything but the process's own.
    pub owner: Option<String>,
    /// Where the owner comes from: `--owner`, the old `member/`, or the data dir.
    pub owner_from: Option<String>,
    /// Nothing was there whose owner could be taken, and none was asked for.
    pub owner_by_default: bool,
    /// Storage version of the snapshot, which is dropped: the server that starts on it sets its own.
    pub storage_version: Option<String>,
    /// Bytes that will be written.
    pub bytes_needed: u64,
    /// Bytes that are free where they go.
    pub bytes_free: u64,
}

/// The newest minor whose data is understood here: nothing but `storageVersion` changed in the schema up to it.
const NEWEST: (u32, u32) = (3, 8);

impl Plan {
    /// What `job` does with a snapshot whose revision becomes `revised`.
    pub(super) fn new(job: &Job<'_>, snapshot: &Snapshot, revised: Revised) -> Result<Plan> {
        let facts = snapshot.facts();
        let target = &job.target;
        let (bytes_needed, bytes_free) = target.room(facts.in_use)?;
        let moved_to = |path| {
            target
                .aside
                .iter()
                .find(|(from, _)| from == path)
                .map(|(_, to)| to.clone())
        };
        Ok(Plan {
            member_dir: target.member.clone(),
            wal_dir: target
                .wal
                .clone()
                .unwrap_or_else(|| target.member.join("wal")),
            name: job.request.name.clone(),
            member_id: job.cluster.member(&job.request.name)?.id,
            cluster_id: job.cluster.id,
            token: job.token.text.clone(),
            token_derived: job.token.derived,
            initial_cluster: job.cluster.initial_cluster(),
            members: job.cluster.members.clone(),
            old_members: facts.members.clone(),
            revision_before: facts.current_revision,
            revision_after: revised.after,
            bump: revised.bump,
            alarms_dropped: facts.alarms.clone(),
            moved_aside: moved_to(&target.member),
            wal_moved_aside: target.wal.as_ref().and_then(moved_to),
            owner: job.owner.text(),
            owner_from: job.owner.text().map(|_| job.owner.from.clone()),
            owner_by_default: job.owner == Owner::default(),
            storage_version: facts.storage_version.clone(),
            bytes_needed,
            bytes_free,
        })
    }
}

/// A snapshot of an etcd that is newer than anything known here may hold what a restore must change.
pub(super) fn refuse_unknown_version(snapshot: &Snapshot) -> Result<()> {
    let facts = snapshot.facts();
    for version in [&facts.storage_version, &facts.cluster_version]
        .into_iter()
        .flatten()
    {
        let mut numbers = version
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        let minor = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if minor > NEWEST {
            return Err(Error::refused(format!(
                "the snapshot is of etcd {version}; this version knows etcd up to {}.{}",
                NEWEST.0, NEWEST.1
            ))
            .hint("use a newer etcd-rescue, or the etcdutl of that etcd"));
        }
    }
    Ok(())
}
