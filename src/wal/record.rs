//! Frames: a length field, a record, padding to 8 bytes; and the checksum that runs through all of them.

use crate::proto::walpb::Record;

/// Bytes of the length field.
pub(super) const HEADER: usize = 8;

/// Low 56 bits of the length field.
const LENGTH_BITS: u64 = (1 << 56) - 1;

/// What a length field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes of the record.
    pub len: u64,
    /// Zeros after it.
    pub pad: u64,
}

impl Frame {
    /// The frame of a record of `len` bytes.
    pub fn of(len: u64) -> Frame {
        Frame {
            len,
            pad: len.wrapping_neg() % HEADER as u64,
        }
    }

    /// Reads a length field; `Err` has what it must be for this length. Zero is not a frame: ask before.
    pub fn parse(field: u64) -> Result<Frame, u64> {
        let frame = Frame::of(field & LENGTH_BITS);
        match frame.field() {
            expected if expected == field => Ok(frame),
            expected => Err(expected),
        }
    }

    /// The length field.
    pub fn field(self) -> u64 {
        match self.pad {
            0 => self.len,
            pad => self.len | (0x80 | pad) << 56,
        }
    }

    /// Bytes of record and padding.
    pub fn body(self) -> u64 {
        self.len + self.pad
    }
}

/// The running checksum after `data`.
pub(super) fn running_crc(before: u32, data: Option<&[u8]>) -> u32 {
    crc32c::crc32c_append(before, data.unwrap_or_default())
}

/// Appends records to a log as etcd 3.5 and 3.6 do.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
    crc: u32,
}

impl Encoder {
    /// Begins a segment: a crc record with the checksum that runs into it, 0 for the first.
    pub fn begin(crc: u32) -> Encoder {
        let mut encoder = Encoder {
            out: Vec::new(),
            crc,
        };
        encoder.record(crate::proto::walpb::CRC, None);
        encoder
    }

    /// Appends one record, of a type named in [`crate::proto::walpb`].
    pub fn record(&mut self, record_type: i64, data: Option<&[u8]>) {
        self.crc = running_crc(self.crc, data);
        let record = Record {
            record_type,
            crc: self.crc,
            data,
        };
        let bytes = record.encode();
        let frame = Frame::of(bytes.len() as u64);
        self.out.extend_from_slice(&frame.field().to_le_bytes());
        self.out.extend_from_slice(&bytes);
        self.out.resize(self.out.len().next_multiple_of(HEADER), 0);
    }

    /// The checksum that runs into the next record.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_fields() {
        for (len, field) in [
            (4, 0x8400_0000_0000_0004),
            (14, 0x8200_0000_0000_000e),
            (16, 16),
            (25, 0x8700_0000_0000_0019),
            (31, 0x8100_0000_0000_001f),
        ] {
            assert_eq!(Frame::of(len).field(), field);
            assert_eq!(Frame::parse(field), Ok(Frame::of(len)));
            assert_eq!(Frame::of(len).body() % 8, 0);
        }
        assert_eq!(Frame::parse(4), Err(0x8400_0000_0000_0004));
        assert_eq!(
            Frame::parse(0x8500_0000_0000_0004),
            Err(0x8400_0000_0000_0004)
        );
        assert_eq!(Frame::parse(u64::MAX), Err(0x81ff_ffff_ffff_ffff));
        assert!(
            Frame::parse(0x80_0000_0000_0010).is_ok(),
            "the length has 56 bits"
        );
    }

    #[test]
    fn the_checksum_runs_through() {
        assert_eq!(running_crc(0, Some(b"123456789")), 0xe306_9283);
        let mut one = Encoder::begin(0);
        one.record(1, Some(b"12345"));
        one.record(2, Some(b"6789"));
        assert_eq!(one.crc(), 0xe306_9283);
        assert_eq!(one.into_bytes().len(), 16 + 24 + 24);
    }
}
