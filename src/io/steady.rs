//! Writing front to back, so that the disk works all the while.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};

use rustix::fs::Advice;

/// Bytes between two requests to the kernel to start writing what it has: the disk works while the
/// network and the hash do, and the last fsync finds little left to do.
const WRITEBACK: u64 = 8 << 20;

/// Writes front to back into any file, in large pieces, starting writeback early; the start may be
/// rewritten at the end.
#[derive(Debug)]
pub struct Steady<'f>(BufWriter<Flow<'f>>);

/// Bytes gathered before they are written: a page with a large value comes in three pieces or more.
const PIECE: usize = 256 << 10;

#[derive(Debug)]
struct Flow<'f> {
    file: &'f File,
    at: u64,
    requested: u64,
}

impl<'f> Steady<'f> {
    /// A writer at the start of `file`.
    pub fn new(file: &'f File) -> Steady<'f> {
        Steady(BufWriter::with_capacity(
            PIECE,
            Flow {
                file,
                at: 0,
                requested: 0,
            },
        ))
    }
}

impl Write for Steady<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Steady<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

impl Write for Flow<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.at += len as u64;
        self.requested = start_writeback(self.file, self.requested, self.at);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Flow<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

/// `POSIX_FADV_DONTNEED` on pages that are dirty starts writing them and drops none: the one way to do
/// what sync_file_range does without a system call that our libraries lack. Advice that is not taken
/// costs time, not data.
pub fn start_writeback(file: &File, requested: u64, written: u64) -> u64 {
    if written.saturating_sub(requested) < WRITEBACK {
        return requested;
    }
    let len = std::num::NonZeroU64::new(written - requested);
    let _ = rustix::fs::fadvise(file, requested, len, Advice::DontNeed);
    written
}
