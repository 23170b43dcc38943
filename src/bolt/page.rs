//! Pages: header, branch elements, leaf elements, the header of a bucket.
//!
//! ```text
//! page header, 16 bytes              branch element, 16 bytes        leaf element, 16 bytes
//!   0  u64  id                         0  u32  pos                     0  u32  flags, 1 = bucket
//!   8  u16  flags                      4  u32  ksize                   4  u32  pos
//!  10  u16  count                      8  u64  child page              8  u32  ksize
//!  12  u32  overflow                                                  12  u32  vsize
//! ```
//!
//! `pos` counts from the start of its own element to the key; a leaf's value follows its key. Elements
//! stand right behind the page header. A bucket's value in a leaf is `root u64, sequence u64`; root 0
//! means that a complete leaf page follows inline. Everything is little endian here; big-endian files
//! are refused by [`super::meta`].
//!
//! Source: etcd-io/bbolt, `internal/common/{page,inode,bucket}.go`, v1.5.0.

use crate::bytes::{self, Eof};

/// Bytes of a page header, of a branch element and of a leaf element.
pub const HEADER: usize = 16;
/// See [`HEADER`].
pub const ELEMENT: usize = 16;
/// Bytes of a bucket header in a leaf value.
pub const BUCKET_HEADER: usize = 16;
/// Longest key that bbolt stores, `bucket.go` MaxKeySize.
pub const MAX_KEY: u32 = 32768;
/// Longest value that bbolt stores, `bucket.go` MaxValueSize.
pub const MAX_VALUE: u32 = (1 << 31) - 2;
/// Smallest and largest page sizes that are read; bbolt takes the operating system's.
pub const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=65536;
/// [`PageHeader::flags`]: inner node.
pub const BRANCH: u16 = 0x01;
/// [`PageHeader::flags`]: leaf.
pub const LEAF: u16 = 0x02;
/// [`PageHeader::flags`]: meta page.
pub const META: u16 = 0x04;
/// [`PageHeader::flags`]: freelist.
pub const FREELIST: u16 = 0x10;
/// [`LeafElement::flags`]: the value is a bucket.
pub const BUCKET_LEAF: u32 = 1;

/// The first 16 bytes of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageHeader {
    /// Its own page number; 0 inside an inline bucket.
    pub id: u64,
    /// Exactly one of [`BRANCH`], [`LEAF`], [`META`], [`FREELIST`].
    pub flags: u16,
    /// Number of elements.
    pub count: u16,
    /// Number of further pages that the body runs on into.
    pub overflow: u32,
}

impl PageHeader {
    /// Reads the header at the start of `page`.
    pub fn decode(page: &[u8]) -> Result<PageHeader, Eof> {
        Ok(PageHeader {
            id: bytes::u64_le(page, 0)?,
            flags: bytes::u16_le(page, 8)?,
            count: bytes::u16_le(page, 10)?,
            overflow: bytes::u32_le(page, 12)?,
        })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.overflow.to_le_bytes());
    }

    /// The kind of page in words, for messages.
    pub fn kind(&self) -> String {
        match self.flags {
            BRANCH => "branch".into(),
            LEAF => "leaf".into(),
            META => "meta".into(),
            FREELIST => "freelist".into(),
            other => format!("unknown (flags {other:#06x})"),
        }
    }
}

/// One entry of a branch page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchElement {
    /// From the start of this element to its key.
    pub pos: u32,
    /// Length of the key.
    pub ksize: u32,
    /// The child.
    pub child: u64,
}

impl BranchElement {
    /// Reads the 16 bytes of an element.
    pub fn decode(element: &[u8]) -> Result<BranchElement, Eof> {
        Ok(BranchElement {
            pos: bytes::u32_le(element, 0)?,
            ksize: bytes::u32_le(element, 4)?,
            child: bytes::u64_le(element, 8)?,
        })
    }

    /// Appends the element.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pos.to_le_bytes());
        out.extend_from_slice(&self.ksize.to_le_bytes());
        out.extend_from_slice(&self.child.to_le_bytes());
    }
}

/// One entry of a leaf page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafElement {
    /// 0 for a key and value, [`BUCKET_LEAF`] for a bucket.
    pub flags: u32,
    /// From the start of this element to its key.
    pub pos: u32,
    /// Length of the key.
    pub ksize: u32,
    /// Length of the value, which follows the key.
    pub vsize: u32,
}

impl LeafElement {
    /// Reads the 16 bytes of an element.
    pub fn decode(element: &[u8]) -> Result<LeafElement, Eof> {
        Ok(LeafElement {
            flags: bytes::u32_le(element, 0)?,
            pos: bytes::u32_le(element, 4)?,
            ksize: bytes::u32_le(element, 8)?,
            vsize: bytes::u32_le(element, 12)?,
        })
    }

    /// Appends the element.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.pos.to_le_bytes());
        out.extend_from_slice(&self.ksize.to_le_bytes());
        out.extend_from_slice(&self.vsize.to_le_bytes());
    }
}

/// The first 16 bytes of a bucket's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketHeader {
    /// Root page; 0 for an inline bucket.
    pub root: u64,
    /// The bucket's sequence; etcd never uses it.
    pub sequence: u64,
}

impl BucketHeader {
    /// Reads the header at the start of `value`.
    pub fn decode(value: &[u8]) -> Result<BucketHeader, Eof> {
        Ok(BucketHeader {
            root: bytes::u64_le(value, 0)?,
            sequence: bytes::u64_le(value, 8)?,
        })
    }

    /// The 16 bytes.
    pub fn encode(&self) -> [u8; BUCKET_HEADER] {
        let mut out = [0; BUCKET_HEADER];
        let (root, sequence) = out.split_at_mut(8);
        root.copy_from_slice(&self.root.to_le_bytes());
        sequence.copy_from_slice(&self.sequence.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_undoes_encode() {
        let header = PageHeader {
            id: 7,
            flags: LEAF,
            count: 3,
            overflow: 1,
        };
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(PageHeader::decode(&out), Ok(header));
        let leaf = LeafElement {
            flags: BUCKET_LEAF,
            pos: 16,
            ksize: 3,
            vsize: 16,
        };
        out.clear();
        leaf.encode(&mut out);
        assert_eq!(LeafElement::decode(&out), Ok(leaf));
        assert!(LeafElement::decode(&out[..15]).is_err());
        let bucket = BucketHeader {
            root: 5,
            sequence: 0,
        };
        assert_eq!(BucketHeader::decode(&bucket.encode()), Ok(bucket));
    }
}
