//! The two meta pages: checksum, which one counts, and the page size.
//!
//! ```text
//! meta, 64 bytes, behind the page header of pages 0 and 1
//!   0  u32  magic 0xED0CDAED       32  u64  freelist page, all ones = not persisted
//!   4  u32  version 2              40  u64  high-water mark: first page never allocated
//!   8  u32  page size              48  u64  txid
//!  12  u32  flags 0                56  u64  FNV-1a 64 over bytes 0 to 55
//!  16  u64  root page of the root bucket
//!  24  u64  sequence of the root bucket
//! ```
//!
//! The valid meta with the larger txid counts. Source: etcd-io/bbolt, `internal/common/meta.go` and
//! `db.go` (meta, getPageSize), v1.5.0.

use std::fmt;

use super::page::{self, HEADER, PAGE_SIZES, PageHeader};
use crate::bytes;

/// First four bytes of a meta.
pub const MAGIC: u32 = 0xED0C_DAED;
/// The only format version there is.
pub const VERSION: u32 = 2;
/// Bytes of a meta.
pub const META: usize = 64;
/// Bytes of a meta page that matter: page header and meta.
pub const META_PAGE: usize = HEADER + META;
/// Value of [`Meta::freelist`] when the freelist is not persisted, as etcd does on Linux.
pub const NO_FREELIST: u64 = u64::MAX;
const CHECKED: usize = 56;

/// A decoded meta whose checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes in a page: a power of two in [`PAGE_SIZES`].
    pub page_size: u32,
    /// Root page of the root bucket.
    pub root: u64,
    /// Sequence of the root bucket.
    pub sequence: u64,
    /// Page of the freelist, or [`NO_FREELIST`].
    pub freelist: u64,
    /// First page number never allocated.
    pub high_water_mark: u64,
    /// The transaction that wrote it.
    pub txid: u64,
}

/// Why a meta page does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file ends before or in it.
    Short,
    /// Not a bbolt meta at all.
    Magic(u32),
    /// The magic is there in the other byte order: written on a big-endian machine.
    BigEndian,
    /// A format version that nobody has written yet.
    Version(u32),
    /// The checksum differs: stored, computed.
    Checksum(u64, u64),
    /// A page size that no bbolt has.
    PageSize(u32),
    /// A good one where no page with its page size begins: the page size, the offset.
    Elsewhere(u32, u32),
    /// Another page size than page 0 has: its own, that of page 0.
    OtherPageSize(u32, u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Short => write!(f, "the file ends before it is complete"),
            Fault::Magic(found) => write!(f, "magic {found:#010x}, expected {MAGIC:#010x}"),
            Fault::BigEndian => write!(f, "big-endian magic: written on a big-endian machine"),
            Fault::Version(found) => write!(f, "format version {found}, expected {VERSION}"),
            Fault::Checksum(stored, computed) => {
                write!(f, "checksum {stored:016x}, computed {computed:016x}")
            }
            Fault::PageSize(found) => write!(
                f,
                "page size {found}, expected a power of two from 512 to 65536"
            ),
            Fault::Elsewhere(size, offset) => {
                write!(
                    f,
                    "page size {size}, found at offset {offset}: something is in front of the file, or its beginning is lost"
                )
            }
            Fault::OtherPageSize(found, expected) => {
                write!(f, "page size {found}, page 0 says {expected}")
            }
        }
    }
}

impl Meta {
    /// Decodes and checks the meta in `page`, which starts with the page header. Like bbolt, it does
    /// not ask what the page header says; [`header_fault`] does.
    pub fn decode(page: &[u8]) -> Result<Meta, Fault> {
        let meta = bytes::slice(page, HEADER, META).map_err(|_| Fault::Short)?;
        let u32_at = |at| bytes::u32_le(meta, at).map_err(|_| Fault::Short);
        let u64_at = |at| bytes::u64_le(meta, at).map_err(|_| Fault::Short);
        let magic = u32_at(0)?;
        if magic == MAGIC.swap_bytes() {
            return Err(Fault::BigEndian);
        }
        if magic != MAGIC {
            return Err(Fault::Magic(magic));
        }
        if u32_at(4)? != VERSION {
            return Err(Fault::Version(u32_at(4)?));
        }
        let computed = fnv1a(bytes::slice(meta, 0, CHECKED).map_err(|_| Fault::Short)?);
        if u64_at(CHECKED)? != computed {
            return Err(Fault::Checksum(u64_at(CHECKED)?, computed));
        }
        let page_size = u32_at(8)?;
        if !page_size.is_power_of_two() || !PAGE_SIZES.contains(&page_size) {
            return Err(Fault::PageSize(page_size));
        }
        Ok(Meta {
            page_size,
            root: u64_at(16)?,
            sequence: u64_at(24)?,
            freelist: u64_at(32)?,
            high_water_mark: u64_at(40)?,
            txid: u64_at(48)?,
        })
    }

    /// The page header and the meta with its checksum, for page `id`.
    pub fn encode(&self, id: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(META_PAGE);
        let header = PageHeader {
            id,
            flags: page::META,
            count: 0,
            overflow: 0,
        };
        header.encode(&mut out);
        let mut meta = Vec::with_capacity(META);
        for word in [MAGIC, VERSION, self.page_size, 0] {
            meta.extend_from_slice(&word.to_le_bytes());
        }
        for word in [
            self.root,
            self.sequence,
            self.freelist,
            self.high_water_mark,
            self.txid,
        ] {
            meta.extend_from_slice(&word.to_le_bytes());
        }
        let checksum = fnv1a(&meta);
        meta.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&meta);
        out
    }
}

/// What is wrong with the page header of meta page `id`, in words.
pub fn header_fault(page: &[u8], id: u64) -> Option<String> {
    let header = PageHeader::decode(page).ok()?;
    (header.id != id || header.flags != page::META).then(|| {
        format!(
            "page header says page {}, {}; expected page {id}, meta",
            header.id,
            header.kind()
        )
    })
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Meta {
        Meta {
            page_size: 4096,
            root: 22,
            sequence: 0,
            freelist: NO_FREELIST,
            high_water_mark: 29,
            txid: 55,
        }
    }

    #[test]
    fn checksum_is_the_one_that_bbolt_writes() {
        let page = sample().encode(0);
        assert_eq!(page.len(), META_PAGE);
        assert_eq!(
            bytes::u64_le(&page, HEADER + CHECKED),
            Ok(0x84e4_f928_42e8_599f)
        );
        assert_eq!(Meta::decode(&page), Ok(sample()));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let page = sample().encode(1);
        assert_eq!(header_fault(&page, 1), None);
        // count and overflow of the page header mean nothing in a meta page.
        for at in (0..10).chain(HEADER..META_PAGE) {
            let mut bad = page.clone();
            bad[at] ^= 0x40;
            let noticed = Meta::decode(&bad).is_err() || header_fault(&bad, 1).is_some();
            assert!(noticed, "byte {at}");
        }
        assert_eq!(Meta::decode(&page[..79]), Err(Fault::Short));
    }

    #[test]
    fn big_endian_is_named() {
        let mut page = sample().encode(0);
        page[16..20].reverse();
        assert_eq!(Meta::decode(&page), Err(Fault::BigEndian));
    }
}
