//! Compressed bytes that can only be read from front to back: gzip, and zstd without sizes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// What decompression gives, held to [`Limits::stream`] and [`Limits::stream_ratio`].
///
/// Errors of the source come through as they are. Damage is [`io::ErrorKind::InvalidData`], an early end
/// [`io::ErrorKind::UnexpectedEof`], too much [`io::ErrorKind::FileTooLarge`].
pub struct Unpacked<R: Read> {
    decoder: Decoder<R>,
    given: u64,
    free: u64,
    ratio: u64,
}

enum Decoder<R: Read> {
    Gzip(MultiGzDecoder<Counted<R>>),
    Zstd(zstd::stream::read::Decoder<'static, io::BufReader<Counted<R>>>),
}

/// Counts what is read, and remembers that reading failed.
struct Counted<R> {
    source: R,
    taken: u64,
    failed: bool,
}

impl<R: Read> Unpacked<R> {
    /// gzip, of any number of members.
    pub fn gzip(source: R, limits: &Limits) -> Unpacked<R> {
        let decoder = Decoder::Gzip(MultiGzDecoder::new(Counted::new(source)));
        Unpacked::new(decoder, limits)
    }

    /// zstd, of any number of frames. `Error::failed` when a context cannot be had.
    pub fn zstd(source: R, limits: &Limits) -> Result<Unpacked<R>> {
        let decoder = zstd::stream::read::Decoder::new(Counted::new(source))
            .map_err(|e| Error::failed("cannot decompress").because(e))?;
        Ok(Unpacked::new(Decoder::Zstd(decoder), limits))
    }

    fn new(decoder: Decoder<R>, limits: &Limits) -> Unpacked<R> {
        Unpacked {
            decoder,
            given: 0,
            free: limits.stream,
            ratio: limits.stream_ratio,
        }
    }

    fn source(&self) -> &Counted<R> {
        match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        };
        let source = self.source();
        let len = read.map_err(|error| match error.kind() {
            _ if source.failed => error,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted => error,
            _ => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        let bound = self.free.max(source.taken.saturating_mul(self.ratio));
        let given = self.given.saturating_add(len as u64);
        if given > bound {
            let what = format!(
                "{} compressed bytes give more than {bound}: this is no snapshot",
                source.taken
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        self.given = given;
        Ok(len)
    }
}

impl<R> Counted<R> {
    fn new(source: R) -> Counted<R> {
        Counted {
            source,
            taken: 0,
            failed: false,
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer);
        match &read {
            Ok(len) => self.taken += *len as u64,
            Err(error) => self.failed = error.kind() != io::ErrorKind::Interrupted,
        }
        read
    }
}
