//! A message that does not decode.

use std::fmt;

use super::read::{GROUP_DEPTH, MAX_FIELD};
use crate::error::Error;

/// A message that does not decode: which, where, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The message's name, in upstream's words.
    pub message: &'static str,
    /// Offset in the outermost message's bytes.
    pub at: usize,
    /// What was found, and what was expected.
    pub problem: Problem,
}

/// Why a message does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The bytes end inside a field.
    Truncated {
        /// Bytes wanted.
        wanted: u64,
        /// Bytes left.
        left: usize,
    },
    /// A varint has more than 64 bits.
    Varint,
    /// A field number is not from 1 to 2^29-1.
    FieldNumber(u64),
    /// Wire types 6 and 7 do not exist.
    WireType(u8),
    /// A known field has another wire type than its definition.
    FieldType {
        /// The field's number.
        field: u32,
        /// The wire type found.
        found: u8,
        /// The wire type of its definition.
        expected: u8,
    },
    /// A group ends that did not begin, or does not end.
    Group,
    /// Groups nested deeper than 64.
    GroupDepth,
    /// A repeated field has more values than are taken.
    TooMany {
        /// The field's number.
        field: u32,
        /// Most that are taken.
        limit: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at its byte {}: ", self.message, self.at)?;
        match self.problem {
            Problem::Truncated { wanted, left } => {
                write!(f, "{wanted} bytes expected, {left} left")
            }
            Problem::Varint => f.write_str("a varint of more than 64 bits"),
            Problem::FieldNumber(number) => {
                write!(f, "field number {number}, expected 1 to {MAX_FIELD}")
            }
            Problem::WireType(found) => write!(f, "wire type {found}, expected 0 to 5"),
            Problem::FieldType {
                field,
                found,
                expected,
            } => write!(
                f,
                "field {field} has wire type {found}, expected {expected}"
            ),
            Problem::Group => f.write_str("a group without its other end"),
            Problem::TooMany { field, limit } => {
                write!(f, "field {field} has more than {limit} values")
            }
            Problem::GroupDepth => write!(f, "groups nested deeper than {GROUP_DEPTH}"),
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Error {
        Error::damaged(malformed.to_string())
    }
}
