//! `walpb`, and the metadata of the WAL: what frames hold
//! [etcd v3.7.1 server/storage/wal/walpb/record.proto, api/etcdserverpb/etcdserver.proto].
//!
//! Encoding is that of 3.4 to 3.6: numbers are written even when zero, bytes and messages when present.

use super::raft::ConfState;
use super::wire::{self, Malformed};

/// What one WAL frame holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// [`METADATA`], [`ENTRY`], [`STATE`], [`CRC`], [`SNAPSHOT`], or a kind that is not known here.
    pub record_type: i64,
    /// The running CRC-32C after this record's data.
    pub crc: u32,
    /// The message that `record_type` tells.
    pub data: Option<&'a [u8]>,
}

/// A record that holds a [`Metadata`].
pub const METADATA: i64 = 1;
/// A record that holds a `raftpb.Entry`.
pub const ENTRY: i64 = 2;
/// A record that holds a `raftpb.HardState`.
pub const STATE: i64 = 3;
/// A record that carries the running CRC into a segment, and nothing else.
pub const CRC: i64 = 4;
/// A record that holds a [`Snapshot`].
pub const SNAPSHOT: i64 = 5;

impl<'a> Record<'a> {
    /// Decodes a record.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, Malformed> {
        let mut record = Record::default();
        for field in wire::fields("walpb.Record", bytes) {
            let field = field?;
            match field.number {
                1 => record.record_type = field.i64()?,
                2 => record.crc = field.u32()?,
                3 => record.data = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(record)
    }

    /// Encodes as 3.4 to 3.6 do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_u64(&mut out, 1, self.record_type.cast_unsigned());
        wire::put_u64(&mut out, 2, self.crc.into());
        wire::put_present(&mut out, 3, self.data);
        out
    }

    /// How many bytes [`Record::encode`] gives.
    pub fn encoded_len(&self) -> usize {
        let type_len = wire::varint_len(self.record_type.cast_unsigned());
        let crc_len = wire::varint_len(self.crc.into());
        let data_len = self.data.map_or(0, |data| {
            1 + wire::varint_len(data.len() as u64) + data.len()
        });
        1 + type_len + 1 + crc_len + data_len
    }
}

/// `etcdserverpb.Metadata`: whose WAL this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Member id.
    pub node_id: u64,
    /// Cluster id.
    pub cluster_id: u64,
}

impl Metadata {
    /// Decodes the metadata.
    pub fn decode(bytes: &[u8]) -> Result<Metadata, Malformed> {
        let mut metadata = Metadata::default();
        for field in wire::fields("etcdserverpb.Metadata", bytes) {
            let field = field?;
            match field.number {
                1 => metadata.node_id = field.u64()?,
                2 => metadata.cluster_id = field.u64()?,
                _ => {}
            }
        }
        Ok(metadata)
    }

    /// Encodes as 3.4 to 3.6 do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_u64(&mut out, 1, self.node_id);
        wire::put_u64(&mut out, 2, self.cluster_id);
        out
    }
}

/// `walpb.Snapshot`: a raft snapshot was saved; the .snap file of this term and index holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// The members at that point; written since 3.5, and not in the record {0, 0} of a new WAL.
    pub conf_state: Option<ConfState>,
}

impl Snapshot {
    /// Decodes a snapshot record.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, Malformed> {
        let mut snapshot = Snapshot::default();
        for field in wire::fields("walpb.Snapshot", bytes) {
            let field = field?;
            match field.number {
                1 => snapshot.index = field.u64()?,
                2 => snapshot.term = field.u64()?,
                3 => snapshot
                    .conf_state
                    .get_or_insert_default()
                    .merge(field.message("raftpb.ConfState")?)?,
                _ => {}
            }
        }
        Ok(snapshot)
    }

    /// Encodes as 3.5 and 3.6 do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_u64(&mut out, 1, self.index);
        wire::put_u64(&mut out, 2, self.term);
        let conf_state = self.conf_state.as_ref().map(ConfState::encode);
        wire::put_present(&mut out, 3, conf_state.as_deref());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `formats.md` sections 6.5 and 8: bytes that etcdutl wrote.
    #[test]
    fn upstreams_bytes() {
        let crc = Record {
            record_type: CRC,
            ..Record::default()
        };
        assert_eq!(crc.encode(), b"\x08\x04\x10\0");
        let metadata = Metadata {
            node_id: 0xf450_48bd_b03f_32e8,
            cluster_id: 0x6197_f8ba_89ba_66e8,
        };
        let bytes =
            b"\x08\xe8\xe5\xfc\x81\xdb\x97\x92\xa8\xf4\x01\x10\xe8\xcd\xe9\xcd\xa8\x97\xfe\xcb\x61";
        assert_eq!(metadata.encode(), bytes);
        assert_eq!(Metadata::decode(bytes), Ok(metadata));
        assert_eq!(Snapshot::default().encode(), b"\x08\0\x10\0");
        let with_members = Snapshot {
            index: 1,
            term: 1,
            conf_state: Some(ConfState {
                voters: vec![0x8e9e_05c5_2164_694d],
                ..ConfState::default()
            }),
        };
        let bytes = b"\x08\x01\x10\x01\x1a\x0d\x08\xcd\xd2\x91\x8b\xd2\xb8\x81\xcf\x8e\x01\x28\0";
        assert_eq!(with_members.encode(), bytes);
        assert_eq!(Snapshot::decode(bytes), Ok(with_members));
    }

    proptest! {
        #[test]
        fn records_round_trip(record_type: i64, crc: u32, data: Option<Vec<u8>>) {
            let record = Record { record_type, crc, data: data.as_deref() };
            let bytes = record.encode();
            prop_assert_eq!(record.encoded_len(), bytes.len());
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
            let _ = Snapshot::decode(&bytes);
            let _ = Metadata::decode(&bytes);
        }
    }
}
