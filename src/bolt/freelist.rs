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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::page::PageHeader;
    use crate::io::Image;

    fn read_from(flags: u16, count: u16, numbers: &[u64]) -> std::result::Result<Vec<u64>, String> {
        let mut page = Vec::new();
        PageHeader {
            id: 2,
            flags,
            count,
            overflow: 0,
        }
        .encode(&mut page);
        page.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        page.resize(512, 0);
        let image = Image::from_memory(page);
        let block = Block::read(&image, 0, 512, 512, 0, Vec::new()).unwrap();
        let mut found = Vec::new();
        read(&block, |page| found.push(page))
            .unwrap()
            .map(|()| found)
    }

    #[test]
    fn both_forms_are_read_and_no_more_than_there_is() {
        let short = read_from(page::FREELIST, 2, &[7, 9, 11]);
        assert_eq!(short, Ok(vec![7, 9]));
        let long = read_from(page::FREELIST, COUNT_FOLLOWS, &[2, 7, 9, 11]);
        assert_eq!(long, Ok(vec![7, 9]));
        let full: Vec<u64> = (2..64).collect();
        assert_eq!(read_from(page::FREELIST, 62, &full), Ok(full));
        assert!(read_from(page::FREELIST, 63, &[]).is_err());
        assert!(read_from(page::FREELIST, COUNT_FOLLOWS, &[62]).is_err());
        assert!(read_from(page::FREELIST, COUNT_FOLLOWS, &[u64::MAX]).is_err());
        assert!(read_from(page::LEAF, 1, &[7]).unwrap_err().contains("leaf"));
    }
}
