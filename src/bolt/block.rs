//! One page with its overflow pages, read in bounded memory.
//!
//! A block can be as large as the largest value, two gigabytes. Its head is held in memory; anything
//! behind the head is read from the image when it is asked for.

use super::page::{self, HEADER, PageHeader};
use crate::bytes::{self, Eof};
use crate::error::{Error, Result};
use crate::io::Image;

/// Most bytes of a block that are held in memory. A tree is at most [`crate::limits::Limits::tree_depth`]
/// blocks deep; larger heads did not make walks faster.
pub const HEAD: u64 = 128 << 10;

/// Most bytes that are read on a guess: it is wrong where a large value is followed by small ones.
const GUESS: u64 = 32 << 10;

/// A page and the overflow pages behind it, or an inline bucket's page.
#[derive(Debug)]
pub struct Block<'i> {
    image: Option<&'i Image>,
    /// Where it starts in the image; where the inline page starts, if it is one.
    offset: u64,
    size: u64,
    head: Vec<u8>,
    header: PageHeader,
}

impl<'i> Block<'i> {
    /// Reads the page at `offset`, and as much of its overflow as fits the head. `room` is what the
    /// image has from `offset` on, at least one page; the block is cut there, and the caller, who
    /// knows why, compares [`Block::size`] with what the header claims. `guess` is how large the block
    /// may be, for all the caller knows: a good guess saves the second read.
    pub fn read(
        image: &'i Image,
        offset: u64,
        page_size: u64,
        room: u64,
        guess: u64,
        mut buffer: Vec<u8>,
    ) -> Result<Block<'i>> {
        let mut first = guess.min(GUESS).min(room).max(page_size);
        buffer.resize(first as usize, 0);
        let guessed = image.read_at(offset, &mut buffer);
        if guessed.is_err() {
            // What cannot be read may lie in a page that nothing needs.
            first = page_size;
            buffer.resize(first as usize, 0);
            image.read_at(offset, &mut buffer)?;
        }
        let header = PageHeader::decode(&buffer).map_err(|eof| impossible(offset, eof))?;
        let size = (u64::from(header.overflow) + 1)
            .saturating_mul(page_size)
            .min(room);
        let head = size.min(HEAD);
        buffer.resize(head as usize, 0);
        if head > first {
            let (_, rest) = buffer.split_at_mut(first as usize);
            image.read_at(offset + first, rest)?;
        }
        Ok(Block {
            image: Some(image),
            offset,
            size,
            head: buffer,
            header,
        })
    }

    /// The page of an inline bucket, which lies at `offset` in the file.
    pub fn inline(bytes: Vec<u8>, offset: u64) -> std::result::Result<Block<'static>, Eof> {
        let header = PageHeader::decode(&bytes)?;
        Ok(Block {
            image: None,
            offset,
            size: bytes.len() as u64,
            head: bytes,
            header,
        })
    }

    /// The page header.
    pub fn header(&self) -> &PageHeader {
        &self.header
    }

    /// Whether it is the page of an inline bucket, which ends with its last element and not with a page.
    pub fn is_inline(&self) -> bool {
        self.image.is_none()
    }

    /// Bytes in it, overflow pages included, as far as the image goes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Offset in the file of byte `at` of the block.
    pub fn offset_of(&self, at: u64) -> u64 {
        self.offset.saturating_add(at)
    }

    /// Where element `index` starts.
    pub fn element_at(index: usize) -> u64 {
        HEADER as u64 + index as u64 * page::ELEMENT as u64
    }

    /// Where the element table ends: keys lie behind it.
    pub fn table_end(&self) -> u64 {
        Self::element_at(usize::from(self.header.count))
    }

    /// `len` bytes from `at`, out of the head or through `scratch`. The caller has checked them against [`Block::size`].
    pub fn get<'s>(&'s self, at: u64, len: usize, scratch: &'s mut Vec<u8>) -> Result<&'s [u8]> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        match (bytes::slice(&self.head, start, len), self.image) {
            (Ok(found), _) => Ok(found),
            (Err(_), Some(image)) if at.saturating_add(len as u64) <= self.size => {
                scratch.resize(len, 0);
                image.read_at(self.offset_of(at), scratch)?;
                Ok(scratch)
            }
            (Err(eof), _) => Err(impossible(self.offset, eof)),
        }
    }

    /// Gives the buffer back, to be used for the next block.
    pub fn into_buffer(self) -> Vec<u8> {
        self.head
    }
}

/// A read that the caller should have checked against the block's size.
fn impossible(offset: u64, eof: Eof) -> Error {
    Error::damaged(format!("block at offset {offset}: {eof}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_behind_the_head_are_read_when_asked_for() {
        let mut file = vec![7; 512 * 1024];
        let header = PageHeader {
            id: 0,
            flags: page::LEAF,
            count: 1,
            overflow: 127,
        };
        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        file[..16].copy_from_slice(&encoded);
        file[HEAD as usize + 5] = 9;
        let image = Image::from_memory(file);
        let block = Block::read(&image, 0, 4096, image.len(), 0, Vec::new()).unwrap();
        assert_eq!(block.size(), 512 * 1024);
        let mut scratch = Vec::new();
        assert_eq!(block.get(HEAD + 4, 3, &mut scratch).unwrap(), [7, 9, 7]);
        assert_eq!(block.get(20, 2, &mut scratch).unwrap(), [7, 7]);
        assert!(block.get(512 * 1024 - 1, 2, &mut scratch).is_err());
    }

    #[test]
    fn a_guess_changes_nothing_but_the_number_of_reads() {
        let mut file: Vec<u8> = (0..65536_u32).map(|at| (at % 251) as u8).collect();
        let header = PageHeader {
            id: 0,
            flags: page::LEAF,
            count: 1,
            overflow: 3,
        };
        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        file[..16].copy_from_slice(&encoded);
        let whole = file[..16384].to_vec();
        let image = Image::from_memory(file);
        for guess in [0, 4096, 10_000, 16_384, 30_000, u64::MAX] {
            let used = vec![1; 50_000];
            let block = Block::read(&image, 0, 4096, image.len(), guess, used).unwrap();
            assert_eq!(block.head, whole, "guess {guess}");
        }
        let block = Block::read(&image, 0, 4096, 8192, u64::MAX, Vec::new()).unwrap();
        assert_eq!(block.head, whole[..8192], "cut");
    }
}
