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

/// Gets the bytes of an image, in order.
pub type Tee<'l> = dyn FnMut(&[u8]) -> Result<()> + Send + 'l;

/// SHA-256 of the first `size` bytes, or of all there are if there are less.
/// `tee` gets them too.
pub fn digest(
    image: &Image,
    size: u64,
    observer: &dyn Observer,
    mut tee: Option<&mut Tee<'_>>,
) -> Result<[u8; 32]> {
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
        if let Some(tee) = &mut tee {
            tee(piece)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 8192;

    fn trailer(behind: &[u8]) -> Trailer {
        let image = Image::from_memory([&vec![1; SIZE as usize], behind].concat());
        Trailer::find(&image, SIZE, 4096).unwrap()
    }

    fn fault(trailer: &Trailer, computed: [u8; 32]) -> Option<String> {
        trailer.fault(computed).map(|(_, what)| what)
    }

    #[test]
    fn what_is_behind_the_image_is_told_apart() {
        let right = [7; 32];
        assert_eq!(fault(&trailer(&right), right), None);
        let wrong = fault(&trailer(&right), [8; 32]).unwrap();
        assert!(wrong.contains("bytes were changed"), "{wrong}");
        assert_eq!(trailer(&[]), Trailer::Absent);
        for (len, missing) in [(1, "31 bytes are"), (31, "1 byte is")] {
            let cut = fault(&trailer(&right[..len]), right).unwrap();
            assert!(cut.contains(missing), "{cut}");
        }
        // Pages that a server reserved mean nothing; a snapshot with more behind it does.
        assert_eq!(fault(&trailer(&[0; 4096]), right), None);
        let longer = [&right[..], &[0; 4064]].concat();
        let longer = fault(&trailer(&longer), right).unwrap();
        assert!(longer.contains("4064 bytes behind the end"), "{longer}");
        let odd = fault(&trailer(&[0; 33]), right).unwrap();
        assert!(odd.contains("33 bytes behind the last page"), "{odd}");
        let part = fault(&trailer(&[0; 2048]), right).unwrap();
        assert!(part.contains("2048 bytes behind the last page"), "{part}");
    }

    #[test]
    fn a_cut_image_misses_its_trailer_too() {
        let image = Image::from_memory(vec![1; 100]);
        let cut = Trailer::find(&image, SIZE, 4096).unwrap();
        let missing = SIZE - 100 + TRAILER;
        assert_eq!(
            cut,
            Trailer::Cut {
                length: 100,
                missing
            }
        );
    }

    #[test]
    fn a_digest_ends_with_the_file() {
        let image = Image::from_memory(b"abc".to_vec());
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for size in [3, 4, 1 << 40] {
            let digest = digest(&image, size, &crate::observe::Unobserved, None).unwrap();
            assert_eq!(hex(digest), abc);
        }
    }
}
