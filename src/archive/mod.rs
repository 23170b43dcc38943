//! Archives of snapshots: an ordinary zstd file that can be read at any place.
//!
//! `zstd -d` gives back the snapshot, byte for byte, its SHA-256 trailer included; `zstd -t` and `zstd -l`
//! work too. Three things are in the file, in this order, and nothing else:
//!
//! ```text
//! +-----------------+-----------------+-----+--------------+--------------+
//! | data frame 0    | data frame 1    | ... | manifest     | seek table   |
//! +-----------------+-----------------+-----+--------------+--------------+
//!   zstd frame        zstd frame              skippable      skippable
//! ```
//!
//! # Byte by byte
//!
//! Numbers are little endian.
//!
//! **Data frames.** The snapshot is cut into pieces of a fixed size, [`PIECE`] unless told otherwise,
//! which is a multiple of every page size; the last piece is what is left, and a snapshot of no bytes has
//! none. Each piece is one zstd frame (RFC 8878) that needs no other: its header says how large the
//! content is, and it ends with the content's checksum (the low half of XXH64).
//!
//! ```text
//!  0  0xFD2FB528          u32
//!  4  frame header descriptor  u8     bit 2 set: content checksum; no dictionary
//!  5  window, content size     1 to 9 bytes
//!     blocks
//!     content checksum    u32
//! ```
//!
//! **Manifest.** One skippable frame, see [`manifest`]: JSON, and behind it what finds and proves it.
//!
//! ```text
//!  0  0x184D2A5E          u32
//!  4  n + 16              u32
//!  8  JSON                n bytes     see manifest::Manifest
//!     n                   u32
//!     CRC-32 of the JSON  u32         IEEE 802.3, as gzip has it
//!     "ERmanif1"          8 bytes
//! ```
//!
//! **Seek table.** One skippable frame, the last of the file, see [`seek`]: zstd's seekable format, so that
//! programs of others can seek too. Entries have no checksums: those are in the manifest.
//!
//! ```text
//!  0  0x184D2A5E          u32
//!  4  8 * entries + 9     u32
//!  8  for each frame in front of it, that of the manifest included:
//!       compressed bytes    u32
//!       decompressed bytes  u32       0 for the manifest
//!     entries             u32
//!     descriptor          u8          0
//!     0x8F92EAB1          u32
//! ```
//!
//! # What is trusted
//!
//! The manifest, because it has a checksum: sizes and CRC-32 of the frames are taken from it. The seek
//! table has none, so it only says where the manifest ends, and is held against the manifest. Without a
//! sound manifest the seek table counts; without either, the frames are found by their headers
//! ([`Archive::open`]). A frame is right when CRC-32, header and content checksum are, and when it gives
//! exactly the bytes that it should; otherwise it costs its own piece and no other. When bytes were lost
//! or added somewhere in the middle, the frames behind are looked for where they must be now.
//!
//! What this cannot see is a file that was cut at the end of a data frame, and that has no manifest
//! therefore: it reads as zstd frames of somebody else ([`Layout::Frames`]). The trailer of the snapshot
//! tells, as it does for a plain file.
//!
//! # Versions
//!
//! | format | first written by | what changed |
//! |---|---|---|
//! | 1 | 0.2.0 | the first |
//!
//! # Rules for changing it
//!
//! 1. `zstd -d` gives back the snapshot, always.
//! 2. New fields of the manifest are no new format: readers keep what they do not know, and never depend
//!    on it. A field is never given another meaning, and never removed while a version that needs it is
//!    in use.
//! 3. Anything that would make an older version read something wrong is a new format: `format` is one
//!    more, `needs` the first version that reads it, and these two keep their place and meaning for ever,
//!    as do the tag at the end of the manifest and what stands in front of it.
//! 4. Every format that was ever written is read. Archives of each are among the tests' data from the
//!    release on that writes the next one.
//! 5. A newer format is refused with the version that is needed, never guessed at.
//! 6. A change comes with a row in the table above and with fuzz seeds.
//!
//! # Level, piece and threads
//!
//! `cargo run --release --example bench-archive` measures them.

mod cache;
mod check;
mod frame;
pub mod manifest;
mod open;
mod pool;
mod read;
pub mod seek;
mod stream;
mod table;
mod write;

pub use self::check::{Checked, Damage, Piece};
pub use self::manifest::Manifest;
pub use self::read::{Archive, Layout};
pub use self::stream::Unpacked;
pub use self::table::Frame;
pub use self::write::{Options, Writer, Written, tail};

use crate::error::Result;
use crate::io::Image;

/// Bytes of a piece, unless told otherwise.
pub const PIECE: usize = 512 << 10;

/// zstd's level, unless told otherwise.
pub const LEVEL: i32 = 1;

/// How a file is compressed, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zstd: see [`Archive::open`].
    Zstd,
    /// gzip: see [`Unpacked::gzip`].
    Gzip,
}

/// How the file is compressed, if it is. An archive whose first bytes are damaged is told by its last.
pub fn detect(image: &Image) -> Result<Option<Compression>> {
    let mut four = [0; 4];
    let Some(last) = image.len().checked_sub(4) else {
        return Ok(None);
    };
    image.read_at(0, &mut four)?;
    if frame::is_magic(u32::from_le_bytes(four)) {
        return Ok(Some(Compression::Zstd));
    }
    // RFC 1952: two bytes of magic, and deflate is the only method there is.
    if four.starts_with(&[0x1f, 0x8b, 8]) {
        return Ok(Some(Compression::Gzip));
    }
    image.read_at(last, &mut four)?;
    let seekable = u32::from_le_bytes(four) == seek::SEEKABLE_MAGIC;
    Ok(seekable.then_some(Compression::Zstd))
}

#[cfg(test)]
mod tests;
