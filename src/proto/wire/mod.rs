//! The protobuf wire format: a reader that yields fields, and functions that append them.
//!
//! ```text
//! field   = key value            key = varint(number << 3 | wire type)
//! value   = varint               wire type 0
//!         | 8 bytes LE           wire type 1
//!         | varint(len) bytes    wire type 2: bytes, strings, messages, packed numbers
//!         | fields... end group  wire type 3 .. 4: deprecated, skipped
//!         | 4 bytes LE           wire type 5
//! ```
//!
//! Source: the protobuf encoding specification (protobuf.dev, "Encoding"); where implementations differ,
//! the rule is the one under which etcd's own decoders would not lose information: a varint has at most
//! 64 bits, a field number is 1 to 2^29-1, a known field of the wrong wire type is an error.

mod error;
mod read;
mod write;

pub use error::{Malformed, Problem};
pub use read::{Field, Fields, Value, fields};
pub use write::{
    put_bytes, put_i32, put_nonempty, put_nonzero, put_present, put_u64, put_varint, varint_len,
};
