//! A persisted freelist: which pages are free. etcd on Linux does not persist it; other platforms do.
//!
//! ```text
//! page header, flags 0x10, count n; then n page numbers, u64 each, ascending.
//! count 0xFFFF: the first u64 is the real count.
//! ```
//!
//! Source: etcd-io/bbolt, `internal/freelist/shared.go`, v1.5.0.

use super::block::Block;
use super::page::{self, HEADER};
use crate::bytes;
use crate::error::Result;

/// A count that says that the real one stands in the first number.
const COUNT_FOLLOWS: u16 = 0xFFFF;

/// Calls `free` with every page number in the freelist `block`; or says in words why it can't be read.
pub fn read(
    block: &Block<'_>,
    mut free: impl FnMut(u64),
) -> Result<std::result::Result<(), String>> {
    let header = block.header();
    if header.flags != page::FREELIST {
        return Ok(Err(format!(
            "expected a freelist page, found {}",
            header.kind()
        )));
    }
    let mut scratch = Vec::new();
    let (first, count) = if header.count == COUNT_FOLLOWS {
        let stored = block.get(HEADER as u64, 8, &mut scratch)?;
        (
            HEADER as u64 + 8,
            bytes::u64_le(stored, 0).unwrap_or(u64::MAX),
        )
    } else {
        (HEADER as u64, u64::from(header.count))
    };
    let room = block.size().saturating_sub(first) / 8;
    if count > room {
        return Ok(Err(format!(
            "freelist claims {count} pages, its page has room for {room}"
        )));
    }
    let mut at = first;
    let end = first + count * 8;
    while at < end {
        let len = (end - at).min(8192);
        let piece = block.get(at, len as usize, &mut scratch)?;
        for number in piece.chunks_exact(8) {
            free(bytes::u64_le(number, 0).unwrap_or(u64::MAX));
        }
        at += len;
    }
    Ok(Ok(()))
}
