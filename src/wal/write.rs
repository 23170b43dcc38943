//! The log with which a restored member starts: the cluster is founded, and nothing else has happened.
//!
//! Records, in order [etcd v3.5.33 etcdutl/snapshot/v3_snapshot.go saveWALAndSnap, server/wal/wal.go Create]:
//!
//! ```text
//! crc 0 | metadata | snapshot {0, 0} | N entries: add member | state {1, lowest id, N} | snapshot {N, 1, members}
//! ```

use super::record::Encoder;
use crate::proto::raft::{ADD_NODE, ConfChange, ConfState, ENTRY_CONF_CHANGE, Entry, HardState};
use crate::proto::walpb::{self, Metadata, Snapshot};

/// A voter of the cluster that a restore founds.
#[derive(Clone, Copy, Debug)]
pub struct Founder<'a> {
    /// Member id.
    pub id: u64,
    /// The member record as JSON ([`crate::etcd::members::encode`]).
    pub context: &'a [u8],
}

/// The first segment of member `metadata.node_id`: the bytes that etcdutl 3.5 and 3.6 write, without the
/// zeros up to [`super::SEGMENT_SIZE`] that follow. Founders may come in any order.
///
/// After it, the db's `consistent_index` must be the number of founders and its `term` 1.
pub fn fresh(metadata: &Metadata, founders: &[Founder<'_>]) -> Vec<u8> {
    let mut founders = founders.to_vec();
    founders.sort_by_key(|founder| founder.id);
    let commit = founders.len() as u64;
    let mut log = Encoder::begin(0);
    log.record(walpb::METADATA, Some(&metadata.encode()));
    log.record(walpb::SNAPSHOT, Some(&Snapshot::default().encode()));
    for (founder, index) in founders.iter().zip(1..) {
        log.record(walpb::ENTRY, Some(&add(founder, index)));
    }
    let state = HardState {
        term: 1,
        vote: founders.first().map_or(0, |lowest| lowest.id),
        commit,
    };
    log.record(walpb::STATE, Some(&state.encode()));
    let snapshot = Snapshot {
        index: commit,
        term: 1,
        conf_state: Some(ConfState {
            voters: founders.iter().map(|founder| founder.id).collect(),
            ..ConfState::default()
        }),
    };
    log.record(walpb::SNAPSHOT, Some(&snapshot.encode()));
    log.into_bytes()
}

/// The entry that adds one founder.
fn add(founder: &Founder<'_>, index: u64) -> Vec<u8> {
    let change = ConfChange {
        id: 0,
        change_type: ADD_NODE,
        node_id: founder.id,
        context: Some(founder.context),
    };
    Entry {
        entry_type: ENTRY_CONF_CHANGE,
        term: 1,
        index,
        data: Some(&change.encode()),
    }
    .encode()
}
