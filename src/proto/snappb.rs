//! `snappb.snapshot`: the outer message of a .snap file
//! [etcd v3.7.1 server/etcdserver/api/snap/snappb/snap.proto].

use super::wire::{self, Malformed};

/// Bytes and their checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// CRC-32C of `data`.
    pub crc: u32,
    /// A `raftpb.Snapshot`.
    pub data: Option<&'a [u8]>,
}

impl<'a> Snapshot<'a> {
    /// Decodes the file.
    pub fn decode(bytes: &'a [u8]) -> Result<Snapshot<'a>, Malformed> {
        let mut snapshot = Snapshot::default();
        for field in wire::fields("snappb.snapshot", bytes) {
            let field = field?;
            match field.number {
                1 => snapshot.crc = field.u32()?,
                2 => snapshot.data = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(snapshot)
    }

    /// Encodes as every etcd does.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_u64(&mut out, 1, self.crc.into());
        wire::put_present(&mut out, 2, self.data);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let snapshot = Snapshot {
            crc: 0x80,
            data: Some(b"x"),
        };
        assert_eq!(snapshot.encode(), b"\x08\x80\x01\x12\x01x");
        assert_eq!(Snapshot::decode(b"\x08\x80\x01\x12\x01x"), Ok(snapshot));
        assert_eq!(Snapshot::default().encode(), b"\x08\0");
    }
}
