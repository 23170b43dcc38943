//! `leasepb.Lease`: the value in the `lease` bucket [etcd v3.7.1 server/lease/leasepb/lease.proto].

use super::wire::{self, Malformed};

/// A lease as it is stored. Which keys hang on it is not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Lease id; never 0 in a lease that was granted.
    pub id: i64,
    /// Time to live as granted, in seconds.
    pub ttl: i64,
    /// What was left of it at the last checkpoint, in seconds; 0 when checkpoints are not persisted.
    pub remaining_ttl: i64,
}

impl Lease {
    /// Decodes the value.
    pub fn decode(bytes: &[u8]) -> Result<Lease, Malformed> {
        let mut lease = Lease::default();
        for field in wire::fields("leasepb.Lease", bytes) {
            let field = field?;
            match field.number {
                1 => lease.id = field.i64()?,
                2 => lease.ttl = field.i64()?,
                3 => lease.remaining_ttl = field.i64()?,
                _ => {}
            }
        }
        Ok(lease)
    }

    /// The bytes that every etcd writes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_nonzero(&mut out, 1, self.id.cast_unsigned());
        wire::put_nonzero(&mut out, 2, self.ttl.cast_unsigned());
        wire::put_nonzero(&mut out, 3, self.remaining_ttl.cast_unsigned());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let lease = Lease {
            id: 0x1234,
            ttl: 60,
            remaining_ttl: -1,
        };
        let bytes = lease.encode();
        assert_eq!(
            bytes,
            b"\x08\xb4\x24\x10\x3c\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        );
        assert_eq!(Lease::decode(&bytes), Ok(lease));
        assert_eq!(Lease::decode(b""), Ok(Lease::default()));
        assert!(Lease::decode(b"\x0a\x01x").is_err());
    }
}
