//! `raftpb`: what raft keeps in the WAL and in .snap files
//! [etcd-io/raft v3.6.0 and v3.7.0 raftpb/raft.proto; etcd v3.4.45 raft/raftpb/raft.proto].
//!
//! Encoding is that of 3.4 to 3.6: numbers and enums are written even when zero, bytes when present.

use super::wire::{self, Fields, Malformed};

/// A log entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// [`ENTRY_NORMAL`], [`ENTRY_CONF_CHANGE`], [`ENTRY_CONF_CHANGE_V2`], or a kind that is not known here.
    pub entry_type: i32,
    /// Raft term.
    pub term: u64,
    /// Raft index.
    pub index: u64,
    /// The request, or the configuration change; absent or empty in a new leader's first entry.
    pub data: Option<&'a [u8]>,
}

/// An entry that holds a request.
pub const ENTRY_NORMAL: i32 = 0;
/// An entry that holds a [`ConfChange`].
pub const ENTRY_CONF_CHANGE: i32 = 1;
/// An entry that holds a `ConfChangeV2`, which etcd does not make.
pub const ENTRY_CONF_CHANGE_V2: i32 = 2;

impl<'a> Entry<'a> {
    /// Decodes an entry.
    pub fn decode(bytes: &'a [u8]) -> Result<Entry<'a>, Malformed> {
        let mut entry = Entry::default();
        for field in wire::fields("raftpb.Entry", bytes) {
            let field = field?;
            match field.number {
                1 => entry.entry_type = field.i32()?,
                2 => entry.term = field.u64()?,
                3 => entry.index = field.u64()?,
                4 => entry.data = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(entry)
    }

    /// Encodes as 3.4 to 3.6 do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_i32(&mut out, 1, self.entry_type);
        wire::put_u64(&mut out, 2, self.term);
        wire::put_u64(&mut out, 3, self.index);
        wire::put_present(&mut out, 4, self.data);
        out
    }
}

/// What a member must remember between two runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Raft term.
    pub term: u64,
    /// The member voted for in that term; 0 for none.
    pub vote: u64,
    /// Index of the last entry known to be committed.
    pub commit: u64,
}

impl HardState {
    /// Decodes a hard state.
    pub fn decode(bytes: &[u8]) -> Result<HardState, Malformed> {
        let mut state = HardState::default();
        for field in wire::fields("raftpb.HardState", bytes) {
            let field = field?;
            match field.number {
                1 => state.term = field.u64()?,
                2 => state.vote = field.u64()?,
                3 => state.commit = field.u64()?,
                _ => {}
            }
        }
        Ok(state)
    }

    /// Encodes as 3.4 to 3.6 do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_u64(&mut out, 1, self.term);
        wire::put_u64(&mut out, 2, self.vote);
        wire::put_u64(&mut out, 3, self.commit);
        out
    }
}

/// Most ids in one list of a [`ConfState`]: a cluster has three or five, and a hostile file millions.
const MAX_IDS: usize = 10_000;

/// Who takes part in the raft group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// Voting members.
    pub voters: Vec<u64>,
    /// Members that only listen.
    pub learners: Vec<u64>,
    /// Voters of the configuration being left; etcd has none.
    pub voters_outgoing: Vec<u64>,
    /// Learners to be, once the configuration is left; etcd has none.
    pub learners_next: Vec<u64>,
    /// Whether that configuration is left by itself.
    pub auto_leave: bool,
}

impl ConfState {
    /// The fields that `fields` has, over those that are already here.
    pub(super) fn merge(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        for field in fields {
            let field = field?;
            match field.number {
                1 => field.repeated_u64(&mut self.voters, MAX_IDS)?,
                2 => field.repeated_u64(&mut self.learners, MAX_IDS)?,
                3 => field.repeated_u64(&mut self.voters_outgoing, MAX_IDS)?,
                4 => field.repeated_u64(&mut self.learners_next, MAX_IDS)?,
                5 => self.auto_leave = field.bool()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Encodes as 3.4 to 3.6 do: one field for each id.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let lists = [
            (1, &self.voters),
            (2, &self.learners),
            (3, &self.voters_outgoing),
            (4, &self.learners_next),
        ];
        for (number, ids) in lists {
            for id in ids {
                wire::put_u64(&mut out, number, *id);
            }
        }
        wire::put_u64(&mut out, 5, self.auto_leave.into());
        out
    }
}

/// A state that replaces the log before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// The state; in etcd the v2 store as JSON.
    pub data: Option<&'a [u8]>,
    /// Where in the log it stands.
    pub metadata: SnapshotMetadata,
}

/// Where in the log a snapshot stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMetadata {
    /// The members at that point.
    pub conf_state: ConfState,
    /// Index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
}

impl<'a> Snapshot<'a> {
    /// Decodes a snapshot.
    pub fn decode(bytes: &'a [u8]) -> Result<Snapshot<'a>, Malformed> {
        let mut snapshot = Snapshot::default();
        for field in wire::fields("raftpb.Snapshot", bytes) {
            let field = field?;
            match field.number {
                1 => snapshot.data = Some(field.bytes()?),
                2 => snapshot
                    .metadata
                    .merge(field.message("raftpb.SnapshotMetadata")?)?,
                _ => {}
            }
        }
        Ok(snapshot)
    }

    /// Encodes as 3.4 to 3.6 do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_present(&mut out, 1, self.data);
        wire::put_bytes(&mut out, 2, &self.metadata.encode());
        out
    }
}

impl SnapshotMetadata {
    fn merge(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        for field in fields {
            let field = field?;
            match field.number {
                1 => self.conf_state.merge(field.message("raftpb.ConfState")?)?,
                2 => self.index = field.u64()?,
                3 => self.term = field.u64()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_bytes(&mut out, 1, &self.conf_state.encode());
        wire::put_u64(&mut out, 2, self.index);
        wire::put_u64(&mut out, 3, self.term);
        out
    }
}

/// One change of the membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfChange<'a> {
    /// Id of the request; 0 in a restore.
    pub id: u64,
    /// [`ADD_NODE`], [`REMOVE_NODE`], [`UPDATE_NODE`], [`ADD_LEARNER_NODE`], or a kind that is not known here.
    pub change_type: i32,
    /// The member.
    pub node_id: u64,
    /// The member record as JSON.
    pub context: Option<&'a [u8]>,
}

/// A voter is added, or a learner promoted.
pub const ADD_NODE: i32 = 0;
/// A member is removed.
pub const REMOVE_NODE: i32 = 1;
/// A member's URLs change.
pub const UPDATE_NODE: i32 = 2;
/// A learner is added.
pub const ADD_LEARNER_NODE: i32 = 3;

impl<'a> ConfChange<'a> {
    /// Decodes a configuration change.
    pub fn decode(bytes: &'a [u8]) -> Result<ConfChange<'a>, Malformed> {
        let mut change = ConfChange::default();
        for field in wire::fields("raftpb.ConfChange", bytes) {
            let field = field?;
            match field.number {
                1 => change.id = field.u64()?,
                2 => change.change_type = field.i32()?,
                3 => change.node_id = field.u64()?,
                4 => change.context = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(change)
    }

    /// Encodes as 3.4 to 3.6 do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_u64(&mut out, 1, self.id);
        wire::put_i32(&mut out, 2, self.change_type);
        wire::put_u64(&mut out, 3, self.node_id);
        wire::put_present(&mut out, 4, self.context);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zeros_are_written_and_absence_is_zero() {
        assert_eq!(Entry::default().encode(), b"\x08\0\x10\0\x18\0");
        assert_eq!(HardState::default().encode(), b"\x08\0\x10\0\x18\0");
        assert_eq!(ConfState::default().encode(), b"\x28\0");
        assert_eq!(ConfChange::default().encode(), b"\x08\0\x10\0\x18\0");
        assert_eq!(
            Snapshot::default().encode(),
            b"\x12\x08\x0a\x02\x28\0\x10\0\x18\0"
        );
        assert_eq!(Entry::decode(b""), Ok(Entry::default()));
        assert_eq!(HardState::decode(b""), Ok(HardState::default()));
        assert_eq!(ConfChange::decode(b""), Ok(ConfChange::default()));
        assert_eq!(Snapshot::decode(b""), Ok(Snapshot::default()));
        assert_eq!(HardState::decode(b"\x7a\x01x\x18\x05").unwrap().commit, 5);
    }

    #[test]
    fn voters_come_packed_or_not() {
        let packed = b"\x12\x0b\x0a\x05\x0a\x03\x01\x80\x01\x10\x02\x18\x03";
        let metadata = Snapshot::decode(packed).unwrap().metadata;
        assert_eq!(metadata.conf_state.voters, [1, 128]);
        assert_eq!((metadata.index, metadata.term), (2, 3));
        let unpacked = b"\x12\x0b\x0a\x05\x08\x01\x08\x80\x01\x10\x02\x18\x03";
        assert_eq!(Snapshot::decode(unpacked).unwrap().metadata, metadata);
    }

    /// A snapshot whose metadata comes in two pieces means the same as in one, as protobuf has it.
    #[test]
    fn pieces_of_a_message_add_up() {
        let pieces = b"\x12\x04\x0a\x02\x08\x01\x12\x06\x0a\x02\x08\x02\x10\x07";
        let metadata = Snapshot::decode(pieces).unwrap().metadata;
        assert_eq!(metadata.conf_state.voters, [1, 2]);
        assert_eq!(metadata.index, 7);
    }

    fn ids() -> impl Strategy<Value = Vec<u64>> {
        proptest::collection::vec(any::<u64>(), 0..4)
    }

    proptest! {
        #[test]
        fn entries_and_changes_round_trip(
            kind: i32,
            a: u64,
            b: u64,
            data: Option<Vec<u8>>,
        ) {
            let entry = Entry { entry_type: kind, term: a, index: b, data: data.as_deref() };
            let bytes = entry.encode();
            prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
            let change =
                ConfChange { id: a, change_type: kind, node_id: b, context: data.as_deref() };
            let bytes = change.encode();
            prop_assert_eq!(ConfChange::decode(&bytes), Ok(change));
            let state = HardState { term: a, vote: b, commit: a ^ b };
            prop_assert_eq!(HardState::decode(&state.encode()), Ok(state));
        }

        #[test]
        fn snapshots_round_trip(
            data: Option<Vec<u8>>,
            lists in (ids(), ids(), ids(), ids()),
            auto_leave: bool,
            index: u64,
            term: u64,
        ) {
            let (voters, learners, voters_outgoing, learners_next) = lists;
            let conf_state =
                ConfState { voters, learners, voters_outgoing, learners_next, auto_leave };
            let metadata = SnapshotMetadata { conf_state, index, term };
            let snapshot = Snapshot { data: data.as_deref(), metadata };
            let bytes = snapshot.encode();
            prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
        }
    }
}
