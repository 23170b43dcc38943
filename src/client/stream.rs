//! The rules of the Snapshot stream, without any I/O: messages in, image bytes out, or the rule that was broken.
//!
//! The stream (`etcd-io/etcd server/etcdserver/api/v3rpc/maintenance.go`, v3.4.45 to v3.8.0-alpha.0) is the bbolt image
//! in pieces of up to 32 KiB, then one message with the 32-byte SHA-256 of the image, then the end. Each message says
//! how many image bytes are still to come, so the first one gives the size away. Upstream clients check none of it.

use aws_lc_rs::digest;

use crate::error::{Error, Result};
use crate::report::printable;

/// Length of the trailer: SHA-256.
pub const TRAILER: usize = 32;

/// The smallest bbolt page, and so the unit of an image, in bytes (`formats.md` 1.1, 2.3).
const SMALLEST_PAGE: u64 = 512;

/// Storage versions are like `3.7.0`; a longer one is no version.
const LONGEST_VERSION: usize = 64;

/// One `SnapshotResponse`, without its header, which no version of etcd fills in.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Image bytes still to come after this message; the trailer does not count.
    pub remaining_bytes: u64,
    /// Image bytes, or the trailer.
    pub blob: &'a [u8],
    /// Storage version, since 3.6; empty before, and for the first seconds of a new cluster.
    pub version: &'a str,
}

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The first piece of the image, which is `total` bytes long as a whole.
    First {
        /// Length of the image.
        total: u64,
        /// The piece.
        bytes: &'a [u8],
    },
    /// A further piece of the image.
    Piece(&'a [u8]),
    /// The trailer: it is right. Only the end of the stream may follow.
    Trailer,
}

/// A snapshot that came through whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Length of the bbolt image in bytes, trailer excluded.
    pub image_bytes: u64,
    /// SHA-256 of the image, computed here while it came in.
    pub sha256: [u8; TRAILER],
    /// SHA-256 of the image, as the server sent it: equal to `sha256`. In a file it follows the image.
    pub trailer: [u8; TRAILER],
    /// Version of the storage schema, e.g. `3.7.0`; servers before 3.6 do not say.
    pub storage_version: Option<String>,
}

/// Follows one stream.
pub struct StreamCheck {
    total: Option<u64>,
    received: u64,
    hash: digest::Context,
    trailer: Option<[u8; TRAILER]>,
    version: Option<String>,
}

impl Default for StreamCheck {
    fn default() -> StreamCheck {
        StreamCheck::new()
    }
}

impl StreamCheck {
    /// Before the first message.
    pub fn new() -> StreamCheck {
        StreamCheck {
            total: None,
            received: 0,
            hash: digest::Context::new(&digest::SHA256),
            trailer: None,
            version: None,
        }
    }

    /// Image bytes so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Image bytes in all, once the first message has come.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Takes the next message. Every message makes progress or is an error, so an endless stream cannot keep anybody.
    ///
    /// [`crate::error::Kind::Unreachable`] names the rule that the server broke. Nothing may be pushed after an error.
    pub fn push<'a>(&mut self, message: Message<'a>) -> Result<Event<'a>> {
        self.note_version(message.version);
        let Some(total) = self.total else {
            let total = self.first(&message)?;
            self.take(message.blob, total, message.remaining_bytes)?;
            return Ok(Event::First {
                total,
                bytes: message.blob,
            });
        };
        if self.trailer.is_some() {
            return Err(broken(format!(
                "after the trailer came another message with {} bytes",
                message.blob.len()
            )));
        }
        if self.received == total {
            return self.end_of_image(&message);
        }
        self.take(message.blob, total, message.remaining_bytes)?;
        Ok(Event::Piece(message.blob))
    }

    /// The stream has ended with status OK.
    pub fn finish(self) -> Result<Received> {
        let Some(total) = self.total else {
            return Err(broken("the stream ended before its first message"));
        };
        match self.trailer {
            Some(trailer) => Ok(Received {
                image_bytes: total,
                sha256: trailer,
                trailer,
                storage_version: self.version,
            }),
            None if self.received == total => Err(broken(format!(
                "all {total} bytes came, but not the SHA-256 after them"
            ))),
            None => Err(broken(format!(
                "the stream ended early: {} of {total} bytes came",
                self.received
            ))),
        }
    }

    /// The first message tells the size of all.
    fn first(&mut self, message: &Message<'_>) -> Result<u64> {
        let here = message.blob.len() as u64;
        let total = match here.checked_add(message.remaining_bytes) {
            Some(total) if here > 0 => total,
            Some(_) => return Err(empty(0, message.remaining_bytes)),
            None => {
                return Err(broken(format!(
                    "the first message speaks of {} bytes to come, which no disk could hold",
                    message.remaining_bytes
                )));
            }
        };
        if total % SMALLEST_PAGE != 0 {
            return Err(broken(format!(
                "the first message announces {total} bytes, but a bbolt file is made of pages of at least {SMALLEST_PAGE} bytes"
            )));
        }
        self.total = Some(total);
        Ok(total)
    }

    /// A piece of the image, which must fit and leave as much as it says.
    fn take(&mut self, blob: &[u8], total: u64, remaining: u64) -> Result<()> {
        if blob.is_empty() {
            return Err(empty(self.received, remaining));
        }
        let left = total.saturating_sub(self.received);
        let Some(now_left) = left.checked_sub(blob.len() as u64) else {
            return Err(broken(format!(
                "{} bytes came where {left} were left of {total}",
                blob.len()
            )));
        };
        if now_left != remaining {
            return Err(broken(format!(
                "at byte {} of {total} the server says that {remaining} bytes remain, but {now_left} do",
                total - now_left
            )));
        }
        self.hash.update(blob);
        self.received = total - now_left;
        Ok(())
    }

    /// The message after the image: the trailer, and the right one.
    fn end_of_image<'a>(&mut self, message: &Message<'a>) -> Result<Event<'a>> {
        let trailer: [u8; TRAILER] = message.blob.try_into().map_err(|_| {
            broken(format!(
                "after the image came {} bytes where its SHA-256 of {TRAILER} bytes belongs",
                message.blob.len()
            ))
        })?;
        if message.remaining_bytes != 0 {
            return Err(broken(format!(
                "with the SHA-256 the server says that {} bytes remain",
                message.remaining_bytes
            )));
        }
        let computed = self.hash.clone().finish();
        if computed.as_ref() != trailer {
            return Err(broken(format!(
                "the SHA-256 of what came is {}, the server sent {}: the data was damaged on the way or on the server",
                hex(computed.as_ref()),
                hex(&trailer)
            )));
        }
        self.trailer = Some(trailer);
        Ok(Event::Trailer)
    }

    /// Keeps the first version that is told. It is shown to people, so it is held to what versions look like.
    fn note_version(&mut self, version: &str) {
        if self.version.is_none() && !version.is_empty() {
            let cut = version.as_bytes().get(..LONGEST_VERSION);
            self.version = Some(printable(cut.unwrap_or(version.as_bytes())));
        }
    }
}

fn broken(what: impl Into<String>) -> Error {
    Error::unreachable(what)
}

/// A server whose own reading failed half way sends this for ever (all versions; etcd-io/etcd pull request 22125).
fn empty(received: u64, remaining: u64) -> Error {
    broken(format!(
        "an empty message came at byte {received}, with {remaining} bytes remaining: the server could not read its own database any further"
    ))
    .hint("etcd's log on that server has the reason (a failing disk?); take the snapshot from another member")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Fuzz body: bytes become messages, and the checker must keep its promises whatever they are.
///
/// Of each message: one byte of flags, then by flag a length byte (times 16), and a remaining count that is either what
/// is honest or the next eight bytes. Blobs are filled with the length byte; an honest trailer is offered by flag 0x80.
#[cfg(any(test, feature = "fuzzing"))]
pub fn fuzz_stream(data: &[u8]) {
    let mut check = StreamCheck::new();
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut image = 0u64;
    let mut announced: Option<u64> = None;
    let mut trailers = 0;
    let mut cursor = data.iter().copied();
    while let Some(flags) = cursor.next() {
        let length = usize::from(cursor.next().unwrap_or(0)) * 16;
        let mut blob = vec![flags; length];
        if flags & 0x80 != 0 {
            blob = hash.clone().finish().as_ref().to_vec();
        }
        let honest = announced.map(|total| total.saturating_sub(image + blob.len() as u64));
        let remaining_bytes = match honest {
            Some(honest) if flags & 0x40 == 0 => honest,
            _ => (0..8).fold(0, |n: u64, _| {
                n << 8 | u64::from(cursor.next().unwrap_or(0))
            }),
        };
        let version = if flags & 0x20 == 0 { "" } else { "3.7\u{1b}0" };
        let before = check.received();
        match check.push(Message {
            remaining_bytes,
            blob: &blob,
            version,
        }) {
            Ok(Event::First { total, bytes }) => {
                assert_eq!(announced, None, "a second first message");
                announced = Some(total);
                hash.update(bytes);
                image += bytes.len() as u64;
            }
            Ok(Event::Piece(bytes)) => {
                assert!(!bytes.is_empty(), "no progress");
                hash.update(bytes);
                image += bytes.len() as u64;
            }
            Ok(Event::Trailer) => trailers += 1,
            Err(error) => {
                assert!(!error.to_string().contains('\u{1b}'));
                assert_eq!(check.received(), before, "an error took bytes");
                return;
            }
        }
        assert_eq!(check.received(), image);
        assert!(Some(image) <= announced, "more than was announced");
    }
    let done = check.finish();
    assert_eq!(done.is_ok(), trailers == 1 && announced == Some(image));
    if let Ok(received) = done {
        assert_eq!(received.image_bytes, image);
        assert_eq!(received.sha256.as_slice(), hash.finish().as_ref());
        assert_eq!(received.sha256, received.trailer);
        let version = received.storage_version.unwrap_or_default();
        assert!(version.chars().all(|c| !c.is_control()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: [u8; 1024] = [7; 1024];

    fn sha() -> Vec<u8> {
        digest::digest(&digest::SHA256, &IMAGE).as_ref().to_vec()
    }

    /// Feeds (blob, remaining) pairs and ends the stream.
    fn feed(messages: &[(&[u8], u64)]) -> Result<Received> {
        let mut check = StreamCheck::new();
        for (blob, remaining_bytes) in messages {
            check.push(Message {
                remaining_bytes: *remaining_bytes,
                blob,
                version: "3.7.0",
            })?;
        }
        check.finish()
    }

    #[test]
    fn a_good_stream_gives_the_image_and_its_hash() {
        let sha = sha();
        let received = feed(&[(&IMAGE[..600], 424), (&IMAGE[600..], 0), (&sha, 0)]).unwrap();
        assert_eq!(received.image_bytes, 1024);
        assert_eq!(received.sha256.as_slice(), sha);
        assert_eq!(received.trailer, received.sha256);
        assert_eq!(received.storage_version.as_deref(), Some("3.7.0"));
        assert_eq!(feed(&[(&IMAGE, 0), (&sha, 0)]).unwrap().image_bytes, 1024);
    }

    #[test]
    fn every_broken_rule_has_its_name() {
        let sha = sha();
        let wrong = [1; 32];
        let (a, b) = (&IMAGE[..600], &IMAGE[600..]);
        for (messages, wanted) in [
            (vec![], "before its first message"),
            (vec![(&[][..], 1024)], "empty message came at byte 0"),
            (vec![(&[][..], 0)], "empty message came at byte 0"),
            (vec![(a, u64::MAX)], "no disk could hold"),
            (vec![(a, 425)], "announces 1025 bytes"),
            (vec![(a, 424)], "ended early: 600 of 1024"),
            (
                vec![(a, 424), (&[][..], 424)],
                "empty message came at byte 600, with 424",
            ),
            (vec![(a, 424), (&[][..], 0)], "empty message"),
            (vec![(a, 424), (b, 1)], "says that 1 bytes remain, but 0 do"),
            (
                vec![(a, 424), (&b[..400], 25)],
                "says that 25 bytes remain, but 24 do",
            ),
            (
                vec![(a, 424), (&IMAGE[..425], 0)],
                "425 bytes came where 424 were left",
            ),
            (vec![(a, 424), (b, 0)], "not the SHA-256"),
            (
                vec![(a, 424), (b, 0), (&sha[..31], 0)],
                "31 bytes where its SHA-256",
            ),
            (
                vec![(a, 424), (b, 0), (&[][..], 0)],
                "0 bytes where its SHA-256",
            ),
            (
                vec![(a, 424), (b, 0), (a, 0)],
                "600 bytes where its SHA-256",
            ),
            (
                vec![(a, 424), (b, 0), (&sha, 1)],
                "says that 1 bytes remain",
            ),
            (vec![(a, 424), (b, 0), (&wrong, 0)], "the server sent 0101"),
            (
                vec![(a, 424), (b, 0), (&sha, 0), (&sha, 0)],
                "after the trailer",
            ),
            (
                vec![(a, 424), (b, 0), (&sha, 0), (&[][..], 0)],
                "after the trailer",
            ),
        ] {
            let error = feed(&messages).unwrap_err();
            assert!(error.to_string().contains(wanted), "{wanted:?}: {error}");
            assert_eq!(error.kind(), crate::error::Kind::Unreachable);
        }
    }

    #[test]
    fn a_version_is_shown_harmlessly() {
        let mut check = StreamCheck::new();
        let long = format!("3.7\u{1b}[31m{}", "9".repeat(1000));
        check
            .push(Message {
                remaining_bytes: 0,
                blob: &IMAGE,
                version: &long,
            })
            .unwrap();
        let version = check.version.unwrap();
        assert!(version.starts_with("3.7\\x1b[31m9"), "{version}");
        assert!(version.len() < 100, "{version}");
    }

    proptest::proptest! {
        #[test]
        fn promises_hold_for_any_messages(data in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            fuzz_stream(&data);
        }
    }

    #[test]
    fn fuzz_body_reaches_a_good_end() {
        // First message 512 bytes of 1024, then 512 more, then the honest trailer.
        let mut data = vec![0x40, 32, 0, 0, 0, 0, 0, 0, 2, 0];
        data.extend([0x00, 32, 0x80, 0]);
        fuzz_stream(&data);
        let mut check = StreamCheck::new();
        let half = [0x40; 512];
        check
            .push(Message {
                remaining_bytes: 512,
                blob: &half,
                version: "",
            })
            .unwrap();
        assert_eq!(check.total(), Some(1024));
    }
}
