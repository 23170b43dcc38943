//! A bbolt file put together by hand: nothing is checked, so that anything can be wrong.
//!
//! An encoder of its own, not the crate's: what the crate believes of the format is not asked here.
//! Source: etcd-io/bbolt v1.5.0, `internal/common/{page,inode,meta}.go`.

use aws_lc_rs::digest::{SHA256, digest};

pub const BRANCH: u16 = 1;
pub const LEAF: u16 = 2;
pub const FREELIST: u16 = 0x10;
pub const NO_FREELIST: u64 = u64::MAX;

/// Element flags, key, value.
pub type Item = (u32, Vec<u8>, Vec<u8>);

/// The image of a file, without trailer.
#[derive(Clone)]
pub struct File {
    pub page_size: usize,
    pub bytes: Vec<u8>,
}

/// Where the fields of a page header are.
pub mod header {
    pub const ID: usize = 0;
    pub const FLAGS: usize = 8;
    pub const COUNT: usize = 10;
    pub const OVERFLOW: usize = 12;
}

/// Where the fields of a meta are, from the start of its page.
pub mod meta {
    pub const MAGIC: usize = 16;
    pub const VERSION: usize = 20;
    pub const PAGE_SIZE: usize = 24;
    pub const ROOT: usize = 32;
    pub const FREELIST: usize = 48;
    pub const MARK: usize = 56;
    pub const TXID: usize = 64;
    pub const CHECKSUM: usize = 72;
    pub const END: usize = 80;
}

/// Where the fields of a leaf element are; of a branch element `POS` and `KSIZE` are 4 less, and the
/// child is at 8.
pub mod element {
    pub const FLAGS: usize = 0;
    pub const POS: usize = 4;
    pub const KSIZE: usize = 8;
    pub const VSIZE: usize = 12;
    pub const CHILD: usize = 8;
}

impl File {
    /// Two empty pages for the metas.
    pub fn new(page_size: usize) -> File {
        File {
            page_size,
            bytes: vec![0; 2 * page_size],
        }
    }

    /// A block at the end, with overflow pages as needed; its page number.
    pub fn block(&mut self, flags: u16, count: u16, body: &[u8]) -> u64 {
        let id = (self.bytes.len() / self.page_size) as u64;
        let pages = (16 + body.len()).div_ceil(self.page_size);
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.bytes.extend_from_slice(&flags.to_le_bytes());
        self.bytes.extend_from_slice(&count.to_le_bytes());
        self.bytes
            .extend_from_slice(&(pages as u32 - 1).to_le_bytes());
        self.bytes.extend_from_slice(body);
        let end = (id as usize + pages) * self.page_size;
        self.bytes.resize(end, 0);
        id
    }

    pub fn leaf(&mut self, items: &[Item]) -> u64 {
        self.block(LEAF, items.len() as u16, &leaf_body(items))
    }

    pub fn branch(&mut self, children: &[(Vec<u8>, u64)]) -> u64 {
        let mut table = Vec::new();
        let mut keys = Vec::new();
        for (index, (key, child)) in children.iter().enumerate() {
            let pos = (children.len() - index) * 16 + keys.len();
            table.extend_from_slice(&(pos as u32).to_le_bytes());
            table.extend_from_slice(&(key.len() as u32).to_le_bytes());
            table.extend_from_slice(&child.to_le_bytes());
            keys.extend_from_slice(key);
        }
        table.extend_from_slice(&keys);
        self.block(BRANCH, children.len() as u16, &table)
    }

    /// A freelist; in the long form, the count is in the first number.
    pub fn freelist(&mut self, pages: &[u64], long: bool) -> u64 {
        let numbers = pages.iter().flat_map(|page| page.to_le_bytes());
        match long {
            false => self.block(FREELIST, pages.len() as u16, &numbers.collect::<Vec<_>>()),
            true => {
                let count = (pages.len() as u64).to_le_bytes();
                let body: Vec<u8> = count.into_iter().chain(numbers).collect();
                self.block(FREELIST, 0xFFFF, &body)
            }
        }
    }

    /// Writes both metas, page 0 the newer, as a server streams them.
    pub fn metas(&mut self, root: u64, freelist: u64) {
        let mark = (self.bytes.len() / self.page_size) as u64;
        for page in [0, 1] {
            self.set_u64(page, header::ID, page);
            self.set_u16(page, header::FLAGS, 4);
            self.set_u32(page, meta::MAGIC, 0xED0C_DAED);
            self.set_u32(page, meta::VERSION, 2);
            self.set_u32(page, meta::PAGE_SIZE, self.page_size as u32);
            self.set_u64(page, meta::ROOT, root);
            self.set_u64(page, meta::FREELIST, freelist);
            self.set_u64(page, meta::MARK, mark);
            self.set_u64(page, meta::TXID, 8 - page);
        }
        self.checksums();
    }

    /// Makes the checksums of both metas right again.
    pub fn checksums(&mut self) {
        for page in [0, 1] {
            let at = page as usize * self.page_size;
            let sum = fnv1a(&self.bytes[at + 16..at + meta::CHECKSUM]);
            self.set_u64(page, meta::CHECKSUM, sum);
        }
    }

    /// Changes a field of both metas, checksums included.
    pub fn both_metas(&mut self, field: usize, value: u64) {
        for page in [0, 1] {
            self.set_u64(page, field, value);
        }
        self.checksums();
    }

    /// The file as a server would stream it: SHA-256 behind it.
    pub fn sealed(&self) -> Vec<u8> {
        seal(&self.bytes)
    }

    /// Offset of element `index` of a page.
    pub fn element(index: usize) -> usize {
        16 + index * 16
    }

    pub fn page(&self, page: u64) -> &[u8] {
        &self.bytes[page as usize * self.page_size..][..self.page_size]
    }

    pub fn page_mut(&mut self, page: u64) -> &mut [u8] {
        &mut self.bytes[page as usize * self.page_size..][..self.page_size]
    }

    pub fn set(&mut self, page: u64, at: usize, bytes: &[u8]) {
        let at = page as usize * self.page_size + at;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn set_u16(&mut self, page: u64, at: usize, value: u16) {
        self.set(page, at, &value.to_le_bytes());
    }

    pub fn set_u32(&mut self, page: u64, at: usize, value: u32) {
        self.set(page, at, &value.to_le_bytes());
    }

    pub fn set_u64(&mut self, page: u64, at: usize, value: u64) {
        self.set(page, at, &value.to_le_bytes());
    }

    pub fn u16(&self, page: u64, at: usize) -> u16 {
        u16::from_le_bytes(self.array(page, at))
    }

    pub fn u32(&self, page: u64, at: usize) -> u32 {
        u32::from_le_bytes(self.array(page, at))
    }

    pub fn u64(&self, page: u64, at: usize) -> u64 {
        u64::from_le_bytes(self.array(page, at))
    }

    fn array<const N: usize>(&self, page: u64, at: usize) -> [u8; N] {
        let at = page as usize * self.page_size + at;
        self.bytes[at..at + N].try_into().unwrap()
    }
}

/// The image with its SHA-256 behind it.
pub fn seal(image: &[u8]) -> Vec<u8> {
    [image, digest(&SHA256, image).as_ref()].concat()
}

/// Elements, then keys and values, of a leaf page.
pub fn leaf_body(items: &[Item]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut data = Vec::new();
    for (index, (flags, key, value)) in items.iter().enumerate() {
        let pos = (items.len() - index) * 16 + data.len();
        for field in [*flags, pos as u32, key.len() as u32, value.len() as u32] {
            table.extend_from_slice(&field.to_le_bytes());
        }
        data.extend_from_slice(key);
        data.extend_from_slice(value);
    }
    table.extend_from_slice(&data);
    table
}

/// The value of a bucket with a root page.
pub fn bucket(root: u64) -> Vec<u8> {
    [root.to_le_bytes(), [0; 8]].concat()
}

/// The value of an inline bucket.
pub fn inline(items: &[Item]) -> Vec<u8> {
    let mut page = bucket(0);
    page.extend_from_slice(&[0; 8]);
    page.extend_from_slice(&LEAF.to_le_bytes());
    page.extend_from_slice(&(items.len() as u16).to_le_bytes());
    page.extend_from_slice(&[0; 4]);
    page.extend_from_slice(&leaf_body(items));
    page
}

pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
