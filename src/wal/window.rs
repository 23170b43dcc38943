//! A moving window over an image, so that reading forward costs few system calls and little memory.

use crate::bytes;
use crate::error::{Error, Result};
use crate::io::Image;

/// Bytes read at once; a record that is longer is read whole.
pub(crate) const WINDOW: usize = 256 << 10;

/// Reads an image mostly forward.
pub(super) struct Window<'a> {
    image: &'a Image,
    size: usize,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    /// A window of `size` bytes over `image`.
    pub fn new(image: &'a Image, size: usize) -> Window<'a> {
        Window {
            image,
            size,
            start: 0,
            buffer: Vec::new(),
        }
    }

    /// `len` bytes at `offset`; the caller knows that the image has them.
    pub fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        if !self.covers(offset, len) {
            self.fill(offset, len)?;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        bytes::slice(&self.buffer, at, len)
            .map_err(|eof| Error::failed(format!("cannot read {}", self.image.name())).because(eof))
    }

    /// The offset of the first byte from `offset` on that is not zero.
    pub fn first_nonzero(&mut self, offset: u64) -> Result<Option<u64>> {
        let mut at = offset;
        while at < self.image.len() {
            let left = self.image.len() - at;
            let len = usize::try_from(left).map_or(self.size, |left| left.min(self.size));
            if let Some(found) = self.bytes(at, len)?.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + found as u64));
            }
            at += len as u64;
        }
        Ok(None)
    }

    fn covers(&self, offset: u64, len: usize) -> bool {
        let end = offset.saturating_add(len as u64);
        offset >= self.start && end <= self.start + self.buffer.len() as u64
    }

    fn fill(&mut self, offset: u64, len: usize) -> Result<()> {
        let left = self.image.len().saturating_sub(offset);
        let ahead = usize::try_from(left).map_or(self.size, |left| left.min(self.size));
        if self.buffer.capacity() > 2 * self.size.max(len) {
            self.buffer = Vec::new(); // a long record is over: give its memory back
        }
        self.start = offset;
        self.buffer.resize(len.max(ahead), 0);
        let read = self.image.read_at(offset, &mut self.buffer);
        if read.is_err() {
            self.buffer.clear();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_size_of_window_shows_the_same() {
        let bytes: Vec<u8> = (0..=255).collect();
        let image = Image::from_memory(bytes.clone());
        for size in [1, 7, 8, 64, 1000] {
            let mut window = Window::new(&image, size);
            for (offset, len) in [(0, 8), (8, 100), (108, 1), (109, 147), (3, 2)] {
                let found = window.bytes(offset, len).unwrap();
                assert_eq!(found, &bytes[offset as usize..][..len]);
            }
            assert!(window.bytes(255, 2).is_err());
            assert_eq!(window.bytes(255, 1).unwrap(), [255]);
        }
    }

    #[test]
    fn zeros_end_where_they_end() {
        let mut bytes = vec![0; 1000];
        bytes[0] = 1;
        bytes[700] = 1;
        let image = Image::from_memory(bytes);
        for size in [1, 64, 5000] {
            let mut window = Window::new(&image, size);
            assert_eq!(window.first_nonzero(0).unwrap(), Some(0));
            assert_eq!(window.first_nonzero(1).unwrap(), Some(700));
            assert_eq!(window.first_nonzero(701).unwrap(), None);
            assert_eq!(window.first_nonzero(1000).unwrap(), None);
        }
    }
}
