//! Headers of zstd frames: how long a frame is, without decompressing it.
//!
//! ```text
//! data frame:       0xFD2FB528 u32 LE, descriptor u8, window u8 (unless single segment),
//!                   dictionary id 0, 1, 2 or 4 bytes, content size 0, 1, 2, 4 or 8 bytes,
//!                   blocks, XXH64 low half u32 LE (if the descriptor says so)
//! descriptor:       bits 7-6 size of the content size, 5 single segment, 3 reserved, 2 checksum,
//!                   1-0 size of the dictionary id
//! block:            3 bytes LE: bit 0 last, bits 2-1 type (0 raw, 1 one byte repeated, 2 compressed),
//!                   bits 23-3 size; then the bytes (one byte for type 1)
//! skippable frame:  0x184D2A50 to 0x184D2A5F u32 LE, payload size u32 LE, payload
//! ```
//!
//! Source: RFC 8878 section 3.1; facebook/zstd `doc/zstd_compression_format.md`, v1.5.7.

use crate::bytes::{self, Cursor};
use crate::error::Result;
use crate::io::Image;

/// Magic of a data frame.
pub(super) const MAGIC: u32 = 0xFD2F_B528;

/// First magic of 16 that skippable frames may have.
const SKIPPABLE: u32 = 0x184D_2A50;

/// Longest frame header.
const LONGEST: usize = 18;

/// Largest block.
const BLOCK: u64 = 128 << 10;

/// Bytes read at once to look at headers.
const WINDOW: usize = 4 << 10;

/// What a frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Compressed bytes.
    Data {
        /// Bytes of the header itself.
        len: u64,
        /// Bytes that decompression gives, if the header says so.
        content: Option<u64>,
        /// Whether four bytes of checksum follow the last block.
        checksum: bool,
    },
    /// Bytes of somebody else: so many behind the eight of the header.
    Skippable(u32),
}

/// Whether it is the magic of any zstd frame.
pub(super) fn is_magic(magic: u32) -> bool {
    magic == MAGIC || magic & !0xf == SKIPPABLE
}

/// The header at the start of `bytes`, or why it is none.
pub(super) fn header(bytes: &[u8]) -> std::result::Result<Header, String> {
    let mut cursor = Cursor::new(bytes);
    let cut = |_| "a frame header is cut".to_owned();
    let magic = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
    if magic & !0xf == SKIPPABLE {
        let payload = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
        return Ok(Header::Skippable(payload));
    }
    if magic != MAGIC {
        return Err(format!("found {magic:#010x}, expected a zstd frame"));
    }
    let descriptor = cursor.u8().map_err(cut)?;
    if descriptor & 8 != 0 {
        return Err("a reserved bit is set in a frame header".into());
    }
    let single = descriptor & 0x20 != 0;
    let dictionary = match descriptor & 3 {
        3 => 4,
        small => usize::from(small),
    };
    cursor
        .take(usize::from(!single) + dictionary)
        .map_err(cut)?;
    let content = match descriptor >> 6 {
        0 if !single => None,
        0 => Some(u64::from(cursor.u8().map_err(cut)?)),
        1 => Some(u64::from(u16::from_le_bytes(cursor.take_array().map_err(cut)?)) + 256),
        2 => Some(u32::from_le_bytes(cursor.take_array().map_err(cut)?).into()),
        _ => Some(u64::from_le_bytes(cursor.take_array().map_err(cut)?)),
    };
    Ok(Header::Data {
        len: cursor.position() as u64,
        content,
        checksum: descriptor & 4 != 0,
    })
}

/// Block headers that are read in vain before nothing more is looked for: what looks like a frame and is none lasts
/// a few blocks, unless somebody made it so that each one lasts to the end of the file.
const IN_VAIN: u64 = 1 << 22;

/// Looks at the headers in an image.
pub(super) struct Headers<'i> {
    image: &'i Image,
    start: u64,
    window: Vec<u8>,
    in_vain: u64,
}

impl<'i> Headers<'i> {
    pub(super) fn new(image: &'i Image) -> Headers<'i> {
        Headers {
            image,
            start: 0,
            window: Vec::new(),
            in_vain: 0,
        }
    }

    /// Whether so much was looked at for nothing that nothing more is to be looked for.
    pub(super) fn are_a_maze(&self) -> bool {
        self.in_vain > IN_VAIN
    }

    /// The header at `offset`, or why there is none.
    pub(super) fn header(&mut self, offset: u64) -> Result<std::result::Result<Header, String>> {
        Ok(header(self.bytes(offset, LONGEST)?))
    }

    /// Bytes of the whole frame at `offset` with this header, or why they cannot be told.
    pub(super) fn len(
        &mut self,
        offset: u64,
        header: Header,
    ) -> Result<std::result::Result<u64, String>> {
        let (mut at, checksum) = match header {
            Header::Skippable(payload) => (offset.saturating_add(8 + u64::from(payload)), false),
            Header::Data { len, checksum, .. } => match self.blocks(offset.saturating_add(len))? {
                Ok(end) => (end, checksum),
                Err(why) => return Ok(Err(why)),
            },
        };
        at = at.saturating_add(if checksum { 4 } else { 0 });
        if at > self.image.len() {
            let missing = at - self.image.len();
            return Ok(Err(format!(
                "the file ends {missing} bytes before the frame does"
            )));
        }
        Ok(Ok(at - offset))
    }

    /// Where the last of the blocks that begin at `at` ends.
    fn blocks(&mut self, at: u64) -> Result<std::result::Result<u64, String>> {
        let mut seen = 0;
        let end = self.follow(at, &mut seen)?;
        if end.is_err() {
            self.in_vain = self.in_vain.saturating_add(seen);
        }
        Ok(end)
    }

    fn follow(&mut self, mut at: u64, seen: &mut u64) -> Result<std::result::Result<u64, String>> {
        loop {
            *seen += 1;
            let [low, middle, high] = match bytes::array_at(self.bytes(at, 3)?, 0) {
                Ok(bytes) => bytes,
                Err(_) => return Ok(Err(format!("the file ends in a block, at offset {at}"))),
            };
            let header = u32::from_le_bytes([low, middle, high, 0]);
            let size = u64::from(header >> 3);
            let stored = match header >> 1 & 3 {
                0 | 2 => size,
                1 => 1,
                _ => return Ok(Err(format!("a block of a reserved type at offset {at}"))),
            };
            if size > BLOCK {
                return Ok(Err(format!("a block of {size} bytes at offset {at}")));
            }
            at = at.saturating_add(3 + stored);
            if header & 1 == 1 {
                return Ok(Ok(at));
            }
        }
    }

    /// Where the next frame may begin, from `offset` on: the next bytes that look like a data frame's
    /// header with a content size, or a skippable frame of zstd's seekable format.
    pub(super) fn next_magic(&mut self, offset: u64) -> Result<Option<u64>> {
        let mut at = offset;
        loop {
            let window = self.bytes(at, WINDOW)?;
            let candidates = window.windows(4).enumerate();
            let found = candidates
                .filter_map(|(n, four)| Some((n, bytes::u32_le(four, 0).ok()?)))
                .find(|(_, magic)| *magic == MAGIC || *magic == super::seek::SKIPPABLE_MAGIC);
            if let Some((n, _)) = found {
                return Ok(Some(at + n as u64));
            }
            let seen = window.len().saturating_sub(3);
            if seen == 0 || window.len() < WINDOW {
                return Ok(None);
            }
            at += seen as u64;
        }
    }

    /// Up to `len` bytes from `offset`; fewer at the end of the image.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let inside = offset.checked_sub(self.start);
        let held = |at| bytes::slice(&self.window, at, len).is_ok();
        let hit = inside
            .and_then(|at| usize::try_from(at).ok())
            .is_some_and(held);
        if !hit {
            let left = self.image.len().saturating_sub(offset);
            let wanted = usize::try_from(left).unwrap_or(WINDOW).min(WINDOW);
            self.window.resize(wanted, 0);
            self.start = offset;
            if wanted > 0 {
                self.image.read_at(offset, &mut self.window)?;
            }
        }
        let at = (offset - self.start) as usize;
        let rest = self.window.get(at..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

#[cfg(test)]
mod tests {
    use zstd::zstd_safe::{CCtx, CParameter, get_frame_content_size};

    use super::*;

    #[test]
    fn headers_agree_with_the_library() {
        for (size, level, checksum) in [
            (0, 1, true),
            (1, 3, false),
            (300, 1, true),
            (700_000, 19, true),
        ] {
            let plain: Vec<u8> = (0..size).map(|n: u32| (n / 50) as u8).collect();
            let mut context = CCtx::create();
            context
                .set_parameter(CParameter::CompressionLevel(level))
                .unwrap();
            context
                .set_parameter(CParameter::ChecksumFlag(checksum))
                .unwrap();
            let mut frame = Vec::with_capacity(1 << 20);
            context.compress2(&mut frame, &plain).unwrap();
            let content = get_frame_content_size(&frame).unwrap();
            let found = header(&frame).unwrap();
            assert!(
                matches!(found, Header::Data { content: c, checksum: s, .. } if c == content && s == checksum)
            );
            let len = frame.len() as u64;
            frame.extend([0; 9]);
            let image = Image::from_memory(frame);
            assert_eq!(Headers::new(&image).len(0, found).unwrap(), Ok(len));
        }
    }

    #[test]
    fn what_is_no_frame_is_said_so() {
        assert!(
            header(b"PK\x03\x04")
                .unwrap_err()
                .contains("expected a zstd")
        );
        assert!(
            header(&[0x28, 0xb5, 0x2f, 0xfd, 8])
                .unwrap_err()
                .contains("reserved")
        );
        assert!(header(&[0x28, 0xb5]).unwrap_err().contains("cut"));
    }

    #[test]
    fn the_next_frame_is_found_across_windows() {
        for at in [0, 1, WINDOW - 3, WINDOW - 1, 3 * WINDOW + 5] {
            let mut bytes = vec![0; at];
            bytes.extend(MAGIC.to_le_bytes());
            let image = Image::from_memory(bytes);
            assert_eq!(Headers::new(&image).next_magic(0).unwrap(), Some(at as u64));
            assert_eq!(
                Headers::new(&image).next_magic(at as u64 + 1).unwrap(),
                None
            );
        }
    }
}
