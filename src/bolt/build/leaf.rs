//! The leaf that is being filled: which items it takes, and how it looks as a page.

use crate::bolt::page::{self, ELEMENT, HEADER, LeafElement, PageHeader};

/// Most elements of a page: bbolt keeps the count in 16 bits and splits before it is all ones.
pub const MAX_COUNT: usize = 65534;

/// Most bytes of a leaf that is gathered in memory. What is larger wastes at most one page of this many bytes.
pub const GATHERED: usize = 256 << 10;

/// Items in key order; a value may come in pieces.
#[derive(Default)]
pub struct Leaf {
    elements: Vec<Element>,
    first: Vec<u8>,
    data: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Element {
    flags: u32,
    ksize: u32,
    vsize: u32,
}

impl Leaf {
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Whether an item of `size` bytes goes on this leaf, its element included: into the pages that it needs anyway; or
    /// beside a single item, where the two need fewer pages together. (bbolt never splits below two: `etcd-io/bbolt
    /// node.go`, minKeysPerPage, v1.5.0.)
    pub fn takes(&self, size: usize, page_size: usize) -> bool {
        let held = self.bytes();
        let together = held + size;
        let pages = |bytes: usize| bytes.div_ceil(page_size);
        let room = pages(together) == pages(held);
        let saves = pages(together) < pages(held) + pages(HEADER + size);
        self.elements.len() < MAX_COUNT
            && (room || self.elements.len() < 2 && saves && together <= GATHERED)
    }

    /// Starts an item; [`Leaf::value`] follows until `vsize` bytes are there.
    pub fn item(&mut self, flags: u32, key: &[u8], vsize: u32) {
        if self.elements.is_empty() {
            self.first.extend_from_slice(key);
        }
        self.elements.push(Element {
            flags,
            ksize: key.len() as u32,
            vsize,
        });
        self.data.extend_from_slice(key);
    }

    /// The next bytes of the value.
    pub fn value(&mut self, chunk: &[u8]) {
        self.data.extend_from_slice(chunk);
    }

    /// Bytes that it has as a page, without what fills the page up.
    pub fn bytes(&self) -> usize {
        HEADER + self.elements.len() * ELEMENT + self.data.len()
    }

    /// The page's header and elements; [`Leaf::data`] follows.
    pub fn front(&self, id: u64, pages: usize) -> Vec<u8> {
        let count = self.elements.len();
        let mut front = Vec::with_capacity(HEADER + count * ELEMENT);
        PageHeader {
            id,
            flags: page::LEAF,
            count: count as u16,
            overflow: (pages - 1) as u32,
        }
        .encode(&mut front);
        let mut data_at = 0;
        for (index, element) in self.elements.iter().enumerate() {
            let &Element {
                flags,
                ksize,
                vsize,
            } = element;
            let pos = ((count - index) * ELEMENT + data_at) as u32;
            LeafElement {
                flags,
                pos,
                ksize,
                vsize,
            }
            .encode(&mut front);
            data_at += (ksize + vsize) as usize;
        }
        front
    }

    /// Keys and values.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Empties it, and gives back its first key.
    pub fn clear(&mut self) -> Vec<u8> {
        self.elements.clear();
        self.data.clear();
        std::mem::take(&mut self.first)
    }
}
