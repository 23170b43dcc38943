//! Archives of snapshots: an ordinary zstd file that can be read at any place.

pub mod manifest;
pub mod seek;

pub use self::manifest::Manifest;
