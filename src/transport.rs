//! The SHA-256 trailer: did every byte arrive that the server sent?
//!
//! ```text
//! bbolt image, high-water mark * page size bytes || SHA-256 of it, 32 bytes
//! ```
//!
//! No magic and no length: what is behind the image, and how much of it, is all there is to go by.
//! Source: etcd-io/etcd, `server/etcdserver/api/v3rpc/maintenance.go` and `etcdutl/snapshot/v3_snapshot.go`, v3.7.1.

use aws_lc_rs::digest::{Context, SHA256};

use crate::error::Result;
use crate::io::Image;
use crate::observe::Observer;
use crate::report::Place;

/// Bytes of the trailer.
pub const TRAILER: u64 = 32;

/// What is behind the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trailer {
    /// Exactly a trailer.
    Present([u8; 32]),
    /// Nothing: a raw copy, or a snapshot that lost its trailer.
    Absent,
    /// The file ends before the image or the trailer does.
    Cut {
        /// Length of the file.
        length: u64,
        /// Bytes missing, trailer included.
        missing: u64,
    },
    /// Something else: unused pages of a live file, or a snapshot with more behind it.
    Excess {
        /// Where the image ends.
        at: u64,
        /// Bytes behind the image.
        bytes: u64,
        /// The first 32 of them.
        first: [u8; 32],
        /// They are whole pages, as in a file that a server extended: they mean nothing.
        paged: bool,
    },
}

impl Trailer {
    /// Looks behind the `size` bytes of the image.
    pub fn find(image: &Image, size: u64, page_size: u64) -> Result<Trailer> {
        let Some(excess) = image.len().checked_sub(size) else {
            let missing = size - image.len() + TRAILER;
            return Ok(Trailer::Cut {
                length: image.len(),
                missing,
            });
        };
        if excess == 0 {
            return Ok(Trailer::Absent);
        }
        if excess < TRAILER {
            return Ok(Trailer::Cut {
                length: image.len(),
                missing: TRAILER - excess,
            });
        }
        let mut first = [0; TRAILER as usize];
        image.read_at(size, &mut first)?;
        Ok(match excess {
            TRAILER => Trailer::Present(first),
            _ => Trailer::Excess {
                at: size,
                bytes: excess,
                first,
                paged: excess.is_multiple_of(page_size),
            },
        })
    }

    /// The trailer, if there is exactly one.
    pub fn bytes(&self) -> Option<[u8; 32]> {
        match self {
            Trailer::Present(bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// What is wrong with it, given the image's SHA-256.
    pub fn fault(&self, computed: [u8; 32]) -> Option<(Place, String)> {
        match self {
            Trailer::Absent => None,
            Trailer::Present(bytes) if *bytes == computed => None,
            Trailer::Present(bytes) => Some((
                Place::file(),
                format!(
                    "SHA-256 of the content is {}, the trailer says {}: bytes were changed after the server sent them",
                    hex(computed),
                    hex(*bytes)
                ),
            )),
            Trailer::Cut { length, missing } => Some((
                Place::offset(*length),
                format!(
                    "snapshot cut: {missing} {} missing at the end, SHA-256 trailer included",
                    if *missing == 1 {
                        "byte is"
                    } else {
                        "bytes are"
                    }
                ),
            )),
            Trailer::Excess {
                at, bytes, first, ..
            } if *first == computed => Some((
                Place::offset(at + TRAILER),
                format!(
                    "{} bytes behind the end of a snapshot that is whole up to there",
                    bytes - TRAILER
                ),
            )),
            Trailer::Excess { paged: true, .. } => None,
            Trailer::Excess { at, bytes, .. } => Some((
                Place::offset(*at),
                format!(
                    "{bytes} bytes behind the last page: neither a SHA-256 trailer (32 bytes) nor unused pages"
                ),
            )),
        }
    }
}

/// SHA-256 of the first `size` bytes, or of all there are if there are less.
pub fn digest(image: &Image, size: u64, observer: &dyn Observer) -> Result<[u8; 32]> {
    let end = size.min(image.len());
    observer.stage("checking", Some(end));
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while at < end {
        observer.check()?;
        let len = (end - at).min(buffer.len() as u64);
        let (piece, _) = buffer.split_at_mut(len as usize);
        image.read_at(at, piece)?;
        context.update(piece);
        observer.advance(len);
        at += len;
    }
    Ok(finish(context))
}

/// The 32 bytes of a digest.
pub fn finish(context: Context) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Lower-case hex.
pub fn hex(bytes: [u8; 32]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
