//! Compressed bytes that can only be read from front to back: gzip, and zstd without sizes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// What decompression gives, held to [`Limits::stream`], [`Limits::stream_ratio`] and
/// [`Limits::window_log`].
///
/// Errors of the source come through as they are. Damage is [`io::ErrorKind::InvalidData`], an early end
/// [`io::ErrorKind::UnexpectedEof`], too much [`io::ErrorKind::FileTooLarge`], a window that is too large
/// [`io::ErrorKind::Unsupported`].
pub struct Unpacked<R: Read> {
    decoder: Decoder<R>,
    given: u64,
    free: u64,
    ratio: u64,
    window_log: u32,
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
        let failed = |e| Error::failed("cannot decompress").because(e);
        let mut decoder = zstd::stream::read::Decoder::new(Counted::new(source)).map_err(failed)?;
        decoder.window_log_max(limits.window_log).map_err(failed)?;
        Ok(Unpacked::new(Decoder::Zstd(decoder), limits))
    }

    fn new(decoder: Decoder<R>, limits: &Limits) -> Unpacked<R> {
        Unpacked {
            decoder,
            given: 0,
            free: limits.stream,
            ratio: limits.stream_ratio,
            window_log: limits.window_log,
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
            _ if is_window_too_large(&error) => {
                let most = (1_u64 << self.window_log.min(63)) >> 20;
                let what = format!("it needs a window of more than {most} MiB");
                io::Error::new(io::ErrorKind::Unsupported, what)
            }
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

/// The library tells its errors apart by their texts alone.
fn is_window_too_large(error: &io::Error) -> bool {
    // ZSTD_error_frameParameter_windowTooLarge in zstd_errors.h, v1.5.7.
    const WINDOW_TOO_LARGE: usize = 16;
    let text = zstd::zstd_safe::get_error_name(0_usize.wrapping_sub(WINDOW_TOO_LARGE));
    error.to_string() == text
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
