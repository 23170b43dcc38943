//! The seek table of zstd's seekable format: where the frames are, for this program and for others.
//!
//! ```text
//!  0  magic 0x184D2A5E          u32 LE
//!  4  payload size              u32 LE     = entries * (8 or 12) + 9
//!  8  for each frame:
//!       compressed bytes        u32 LE
//!       decompressed bytes      u32 LE
//!       XXH64, low half         u32 LE     only if the descriptor says so; never written here
//!     number of entries         u32 LE
//!     descriptor                u8         0x80: entries have checksums; 0x7c is reserved and 0
//!     magic 0x8F92EAB1          u32 LE
//! ```
//!
//! One entry for each frame in front of it, skippable frames included. It is the last frame of the file.
//!
//! Source: facebook/zstd, `contrib/seekable_format/zstd_seekable_compression_format.md`, v1.5.7.

use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Magic of the skippable frame that holds it; the manifest's frame has the same.
pub const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;

/// Last four bytes of the file.
pub const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;

/// Number of entries, descriptor and magic behind the entries.
pub const FOOTER: usize = 9;

/// Magic and size in front of the payload of any skippable frame.
pub const HEADER: usize = 8;

const HAS_CHECKSUMS: u8 = 0x80;
const RESERVED: u8 = 0x7c;

/// One frame: its bytes in the file, and the bytes that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Bytes in the file.
    pub compressed: u32,
    /// Bytes that decompression gives; 0 for a skippable frame.
    pub decompressed: u32,
}

/// What the last bytes of a file say about the table before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Number of entries.
    pub entries: u32,
    /// Whether entries have checksums, and bits without a meaning; 0 in what is written here.
    pub descriptor: u8,
}

impl Footer {
    /// Decodes the last [`FOOTER`] bytes; `Ok(None)` when the magic is not there.
    pub fn decode(bytes: &[u8; FOOTER], limits: &Limits) -> Result<Option<Footer>> {
        let mut cursor = Cursor::new(bytes);
        let cut = |eof| Error::damaged("the end of the seek table").because(eof);
        let entries = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
        let descriptor = cursor.u8().map_err(cut)?;
        if u32::from_le_bytes(cursor.take_array().map_err(cut)?) != SEEKABLE_MAGIC {
            return Ok(None);
        }
        if descriptor & RESERVED != 0 {
            return Err(Error::damaged(format!(
                "the seek table's descriptor is {descriptor:#04x}, reserved bits are set"
            )));
        }
        if entries as usize > limits.frames {
            return Err(Error::damaged(format!(
                "the seek table has {entries} entries, at most {} are read",
                limits.frames
            )));
        }
        Ok(Some(Footer {
            entries,
            descriptor,
        }))
    }

    /// Bytes of the whole skippable frame.
    pub fn frame_len(&self) -> u64 {
        HEADER as u64 + self.payload()
    }

    fn has_checksums(&self) -> bool {
        self.descriptor & HAS_CHECKSUMS != 0
    }

    fn payload(&self) -> u64 {
        let entry = if self.has_checksums() { 12 } else { 8 };
        u64::from(self.entries) * entry + FOOTER as u64
    }
}

/// The whole skippable frame. `Error::failed` for more entries than it can count.
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>> {
    let too_many = |_| Error::failed(format!("a seek table of {} entries", entries.len()));
    let number = u32::try_from(entries.len()).map_err(too_many)?;
    let footer = Footer {
        entries: number,
        descriptor: 0,
    };
    let payload = u32::try_from(footer.payload()).map_err(too_many)?;
    let mut frame = Vec::with_capacity(HEADER + payload as usize);
    frame.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    frame.extend_from_slice(&payload.to_le_bytes());
    for entry in entries {
        frame.extend_from_slice(&entry.compressed.to_le_bytes());
        frame.extend_from_slice(&entry.decompressed.to_le_bytes());
    }
    frame.extend_from_slice(&number.to_le_bytes());
    frame.push(0);
    frame.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
    Ok(frame)
}

/// Decodes a whole frame, whose length the caller knows from its [`Footer`].
pub fn decode(frame: &[u8], footer: Footer) -> Result<Vec<Entry>> {
    let cut = |eof| Error::damaged("the seek table is cut").because(eof);
    let mut cursor = Cursor::new(frame);
    let magic = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
    let payload = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
    if magic != SKIPPABLE_MAGIC || u64::from(payload) != footer.payload() {
        return Err(Error::damaged(format!(
            "the header of the seek table is {magic:#010x} with {payload} bytes, expected {SKIPPABLE_MAGIC:#010x} with {}",
            footer.payload()
        )));
    }
    let mut entries = Vec::new();
    for _ in 0..footer.entries {
        let compressed = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
        let decompressed = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
        if footer.has_checksums() {
            cursor.take(4).map_err(cut)?;
        }
        entries.push(Entry {
            compressed,
            decompressed,
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(frame: &[u8]) -> Result<Option<Vec<Entry>>> {
        let footer = *frame.last_chunk().unwrap();
        let Some(footer) = Footer::decode(&footer, &Limits::default())? else {
            return Ok(None);
        };
        decode(frame, footer).map(Some)
    }

    #[test]
    fn what_was_encoded_decodes() {
        let entry = |n| Entry {
            compressed: n,
            decompressed: !n,
        };
        for entries in [vec![], vec![entry(7)], (0..50).map(entry).collect()] {
            let frame = encode(&entries).unwrap();
            assert_eq!(decoded(&frame).unwrap().unwrap(), entries);
        }
    }

    #[test]
    fn checksums_of_others_are_passed_over() {
        let mut frame = vec![0x5e, 0x2a, 0x4d, 0x18, 12 + 9, 0, 0, 0];
        frame.extend([1, 0, 0, 0, 2, 0, 0, 0, 9, 9, 9, 9, 1, 0, 0, 0, 0x80]);
        frame.extend(SEEKABLE_MAGIC.to_le_bytes());
        let expected = Entry {
            compressed: 1,
            decompressed: 2,
        };
        assert_eq!(decoded(&frame).unwrap().unwrap(), [expected]);
    }

    #[test]
    fn a_table_that_lies_about_its_size_is_damage() {
        let frame = encode(&[]).unwrap();
        for (at, value) in [(0, 0), (4, 8), (8, 1), (12, 4)] {
            let mut bad = frame.clone();
            bad[at] = value;
            assert!(decoded(&bad).is_err(), "byte {at}");
        }
        let limits = Limits {
            frames: 3,
            ..Limits::default()
        };
        let footer = [4, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f];
        assert!(Footer::decode(&footer, &limits).is_err());
    }
}
