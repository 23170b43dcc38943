//! Writes the data frames: bytes in, pieces compressed on threads, frames out in order.
//!
//! The inner writer is written to by the thread that writes into this one, so that its errors come back
//! from [`Write::write`] as they are. Memory: for each thread two pieces and their frames.

use std::io::{self, Write};

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use super::manifest::{Frames, Manifest};
use super::pool::{Pool, Work};
use super::seek::{self, Entry};
use crate::error::{Error, Result};

/// How to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a piece: a multiple of every page size, so of 64 KiB.
    pub piece: usize,
    /// zstd's level.
    pub level: i32,
    /// Threads that compress; 0 or 1: the one that writes does it.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            piece: super::PIECE,
            level: super::LEVEL,
            threads: 1,
        }
    }
}

/// Compresses what is written into it.
pub struct Writer<W> {
    inner: W,
    pool: Pool<Buffers, io::Result<Buffers>>,
    /// The piece that is being filled, and buffers to fill next.
    filling: Buffers,
    spare: Vec<Buffers>,
    piece: usize,
    size: u64,
    compressed: u64,
    frames: Frames,
    /// A write failed: what came out is not a prefix of an archive any more.
    broken: bool,
}

/// A piece and its frame, used again and again.
#[derive(Default)]
struct Buffers {
    plain: Vec<u8>,
    frame: Vec<u8>,
    crc: u32,
}

/// What was written: data frames and nothing else yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Bytes that went in.
    pub size: u64,
    /// Bytes that came out.
    pub compressed: u64,
    /// For the manifest, and to read the frames back before there is one.
    pub frames: Frames,
}

impl<W: Write> Writer<W> {
    /// A writer onto `inner`. `Error::failed` when a thread or a context cannot be had, or for pieces of
    /// no bytes or of 4 GiB.
    pub fn new(inner: W, options: Options) -> Result<Writer<W>> {
        let Options {
            piece,
            level,
            threads,
        } = options;
        if piece == 0 || u32::try_from(compress_bound(piece)).is_err() {
            return Err(Error::failed(format!("pieces of {piece} bytes")));
        }
        let pool = Pool::new(threads, || worker(level))?;
        Ok(Writer {
            inner,
            pool,
            filling: Buffers::default(),
            spare: Vec::new(),
            piece,
            size: 0,
            compressed: 0,
            frames: Frames {
                piece: piece as u64,
                level,
                ..Frames::default()
            },
            broken: false,
        })
    }

    /// Compresses what is left and gives back the inner writer. The archive is complete once
    /// [`tail`] was written behind it.
    pub fn finish_frames(mut self) -> io::Result<(W, Written)> {
        self.usable()?;
        if !self.filling.plain.is_empty() {
            self.cut()?;
        }
        while let Some(done) = self.pool.take(true).map_err(io::Error::other)? {
            self.put(done)?;
        }
        self.inner.flush()?;
        let written = Written {
            size: self.size,
            compressed: self.compressed,
            frames: self.frames,
        };
        Ok((self.inner, written))
    }

    /// The inner writer, for what it knows of itself; writing into it breaks the archive.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Bytes that went in so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that came out so far; those of pieces under way are not among them.
    pub fn compressed(&self) -> u64 {
        self.compressed
    }

    /// Hands the filled piece to a worker, and writes the frames that are ready.
    fn cut(&mut self) -> io::Result<()> {
        loop {
            let full = self.pool.under_way() >= self.pool.capacity();
            match self.pool.take(full).map_err(io::Error::other)? {
                Some(done) => self.put(done)?,
                None => break,
            }
        }
        let next = self.spare.pop().unwrap_or_default();
        let filled = std::mem::replace(&mut self.filling, next);
        self.pool.submit(filled).map_err(io::Error::other)
    }

    fn put(&mut self, done: io::Result<Buffers>) -> io::Result<()> {
        let mut buffers = done?;
        self.inner.write_all(&buffers.frame)?;
        // The bound that was checked in `new` fits.
        let len = u32::try_from(buffers.frame.len()).map_err(io::Error::other)?;
        self.compressed += u64::from(len);
        self.frames.list.push((len, buffers.crc));
        buffers.plain.clear();
        self.spare.push(buffers);
        Ok(())
    }

    fn usable(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write of the archive failed"));
        }
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    /// Takes what fits into the piece. An error is the inner writer's own, and the last that counts:
    /// nothing is written after it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.usable()?;
        if self.filling.plain.len() >= self.piece {
            let cut = self.cut();
            self.broken = cut.is_err();
            cut?;
        }
        let plain = &mut self.filling.plain;
        plain.reserve_exact(self.piece - plain.len());
        let (taken, _) = bytes
            .split_at_checked(self.piece - plain.len())
            .unwrap_or((bytes, &[]));
        plain.extend_from_slice(taken);
        self.size += taken.len() as u64;
        Ok(taken.len())
    }

    /// Flushes the inner writer. A piece is only compressed when it is whole: frames have a fixed size.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A compression context and what it does to a piece.
fn worker(level: i32) -> Result<Work<Buffers, io::Result<Buffers>>> {
    let failed = |e| Error::failed(format!("cannot compress at level {level}")).because(e);
    let mut compressor = Compressor::new(level).map_err(failed)?;
    compressor
        .set_parameter(CParameter::ChecksumFlag(true))
        .map_err(failed)?;
    Ok(Box::new(move |mut buffers| {
        buffers.frame.clear();
        buffers
            .frame
            .reserve_exact(compress_bound(buffers.plain.len()));
        compressor.compress_to_buffer(&buffers.plain, &mut buffers.frame)?;
        buffers.crc = crc32fast::hash(&buffers.frame);
        Ok(buffers)
    }))
}

/// What stands behind the data frames: the manifest and the seek table.
pub fn tail(manifest: &Manifest) -> Result<Vec<u8>> {
    let mut tail = manifest.encode()?;
    let too_long = |_| Error::failed("a frame of more than 4 GiB");
    let mut entries = Vec::with_capacity(manifest.frames.list.len() + 1);
    for (index, (compressed, _)) in (0..).zip(&manifest.frames.list) {
        entries.push(Entry {
            compressed: *compressed,
            decompressed: u32::try_from(manifest.piece_len(index)).map_err(too_long)?,
        });
    }
    entries.push(Entry {
        compressed: u32::try_from(tail.len()).map_err(too_long)?,
        decompressed: 0,
    });
    tail.extend(seek::encode(&entries)?);
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `left` bytes, then fails as a full disk does.
    struct Full {
        left: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(io::Error::from_raw_os_error(28));
            }
            let taken = bytes.len().min(self.left);
            self.left -= taken;
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn threads_do_not_change_a_byte() {
        let plain: Vec<u8> = (0..100_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let archive = |threads, chunk| {
            let options = Options {
                piece: 4096,
                level: 1,
                threads,
            };
            let mut writer = Writer::new(Vec::new(), options).unwrap();
            for part in plain.chunks(chunk) {
                writer.write_all(part).unwrap();
            }
            writer.finish_frames().unwrap()
        };
        let expected = archive(0, plain.len());
        assert_eq!(expected.1.size, 400_000);
        assert_eq!(expected.1.compressed, expected.0.len() as u64);
        assert_eq!(expected.1.frames.list.len(), 98);
        for (threads, chunk) in [(1, 1000), (2, 4096), (3, 5000), (4, 17)] {
            assert!(archive(threads, chunk) == expected, "{threads} {chunk}");
        }
    }

    #[test]
    fn an_error_of_the_inner_writer_keeps_its_number() {
        for threads in [0, 3] {
            let options = Options {
                piece: 4096,
                level: 1,
                threads,
            };
            let mut writer = Writer::new(Full { left: 100 }, options).unwrap();
            let noise: Vec<u8> = (0..1 << 20)
                .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect();
            let error = writer.write_all(&noise).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(28));
            assert!(writer.write(b"x").is_err());
            assert!(writer.finish_frames().is_err());
        }
    }
}
