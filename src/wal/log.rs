//! What reading a log shows and comes to.

use std::fmt;

use super::record::HEADER;
use crate::io::Image;
use crate::proto::raft::{Entry, HardState};
use crate::proto::walpb::{Metadata, Snapshot};

/// One segment, and what its name says.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number.
    pub seq: u64,
    /// Its bytes.
    pub image: &'a Image,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Sequence number of the segment.
    pub seq: u64,
    /// Offset of the frame in it.
    pub offset: u64,
}

/// A record that is whole, checked against the checksum, and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Whose log it is; the same in every segment.
    Metadata(Metadata),
    /// An entry. One whose index was there already replaces it, and drops all above it.
    Entry(Entry<'a>),
    /// The hard state; the last one counts.
    State(HardState),
    /// A raft snapshot was saved. It counts only if its index is not above the commit of the last state.
    Snapshot(Snapshot),
}

/// What reading a log came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Whose log it is, if that was reached.
    pub metadata: Option<Metadata>,
    /// The last hard state; zero if there is none.
    pub state: HardState,
    /// Index of the last entry, or of a later snapshot that went past it; none if no entry was seen
    /// and the log's beginning is gone.
    pub last_index: Option<u64>,
    /// Records of all kinds.
    pub records: u64,
    /// Where the good records end: the place of the first frame that is not there.
    pub good_until: Place,
    /// How the log ends there.
    pub end: End,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// After its last record there is nothing but zeros.
    Clean,
    /// Its last write did not reach the disk whole; a server cuts it off at the last good offset.
    Torn(Tear),
    /// It is damaged; a server refuses it.
    Corrupt(Corruption),
}

/// How a torn tail shows; all but the first are only taken for one in the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// No frame begins, but bytes other than zero follow, the first at this offset.
    Gap {
        /// Offset of the first byte that is not zero.
        data_at: u64,
    },
    /// The file ends inside a length field.
    Header {
        /// Bytes left.
        left: u64,
    },
    /// The file ends inside a frame. A length field that was damaged later can look the same.
    Body {
        /// Bytes of record and padding.
        wanted: u64,
        /// Bytes left.
        left: u64,
    },
    /// The record is bad, and a piece of it between two multiples of 512 is all zeros.
    Zeros,
}

/// Damage: where, what was found, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WAL segment {:016x}, offset {}", self.seq, self.offset)
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl fmt::Display for Tear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tear::Gap { data_at } => {
                write!(
                    f,
                    "zeros where a frame should begin, then data at offset {data_at}"
                )
            }
            Tear::Header { left } => {
                write!(f, "{HEADER} bytes of a length field expected, {left} left")
            }
            Tear::Body { wanted, left } => write!(f, "a frame of {wanted} bytes, {left} left"),
            Tear::Zeros => f.write_str("a bad record with a piece of zeros in it"),
        }
    }
}
