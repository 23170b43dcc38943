//! The write-ahead log of a member: frames in segments, chained by one running checksum.
//!
//! ```text
//! 0000000000000000-0000000000000000.wal       sequence number, index of the first entry it may hold
//! +--------+-------------------------------------+-----------+
//! | 0      | frame: crc record, CRC carried in   | always    |  0 in the first segment
//! |        | frame: metadata record              | always    |  member and cluster id
//! |        | frame: state record                 | not first |  if there is one yet
//! |        | frame: entry, state, snapshot ...   |           |
//! |        | zeros to 64,000,000                 | last only |  preallocated; a full segment ends with its last frame
//! +--------+-------------------------------------+-----------+
//! 0000000000000001-0000000000000045.wal       the next one
//!
//! frame, 8-aligned:   0  length  u64 LE: low 56 bits = bytes of the record; top byte = 0x80 | pad, or 0 if pad is 0
//!                     8  record  walpb.Record {type, crc, data}
//!               8 + len  pad     0 to 7 zeros, to the next multiple of 8
//! ```
//!
//! A record's crc is CRC-32C over the data of all records since the start of the log, its own included.
//! The type and the padding are not covered, so the reader also checks what each type must look like.
//!
//! Sources: [etcd v3.7.1 server/storage/wal/wal.go, encoder.go, decoder.go, repair.go]; the same in
//! v3.4.45 wal/ and v3.5.33 server/wal/.
//!
//! [`fresh()`] makes the log with which a restored member starts, and `datadir::boot` what goes with it;
//! [`read()`] reads any log.

mod log;
mod read;
mod record;
mod window;
mod write;

#[cfg(test)]
mod tests;

pub use log::{Corruption, End, Event, Log, Place, Segment, Tear};
pub use read::read;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use read::read_windowed;
pub use record::Encoder;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use window::WINDOW;
pub use write::{Founder, fresh};

/// Size of a segment in bytes: 64 MB, not MiB [etcd v3.7.1 server/storage/wal/wal.go SegmentSizeBytes].
/// A server preallocates this much and starts a new segment once it has written as much or more.
pub const SEGMENT_SIZE: u64 = 64_000_000;
