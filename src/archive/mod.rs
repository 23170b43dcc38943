//! Archives of snapshots: an ordinary zstd file that can be read at any place.

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
pub const PIECE: usize = 1 << 20;

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
