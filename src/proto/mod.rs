//! The messages and texts that etcd keeps inside its files: decode beside encode, one family a file.
//!
//! Decoding takes what any etcd from 3.4 to 3.8 writes: absent fields are zero, unknown ones are skipped.
//! Encoding gives the bytes of 3.5 and 3.6 (`formats.md` 6.4), which all five read.

pub mod alarm;
pub mod auth;
pub mod gojson;
pub mod kv;
pub mod lease;
pub mod raft;
pub mod raft_internal;
pub mod snappb;
pub mod walpb;
pub mod wire;
