//! Archives of snapshots: an ordinary zstd file that can be read at any place.
//!
//! `zstd -d` gives back the snapshot, byte for byte, its SHA-256 trailer included; `zstd -t` and `zstd -l`
//! work too. Three things are in the file, in this order, and nothing else:
//!
//! ```text
//! +-----------------+-----------------+-----+--------------+--------------+
//! | data frame 0    | data frame 1    | ... | manifest     | seek table   |
//! +-----------------+-----------------+-----+--------------+--------------+
//!   zstd frame        zstd frame              skippable      skippable
//! ```
//!
//! # Byte by byte
//!
//! Numbers are little endian.
//!
//! **Data frames.** The snapshot is cut into pieces of a fixed size, [`PIECE`] unless told otherwise,
//! which is a multiple of every page size; the last piece is what is left, and a snapshot of no bytes has
//! none. Each piece is one zstd frame (RFC 8878) that needs no other: its header says how large the
//! content is, and it ends with the content's checksum (the low half of XXH64).
//!
//! ```text
//!  0  0xFD2FB528          u32
//!  4  frame header descriptor  u8     bit 2 set: content checksum; no dictionary
//!  5  window, content size     1 to 9 bytes
//!     blocks
//!     content checksum    u32
//! ```
//!
//! **Manifest.** One skippable frame, see [`manifest`]: JSON, and behind it what finds and proves it.
//!
//! ```text
//!  0  0x184D2A5E          u32
//!  4  n + 16              u32
//!  8  JSON                n bytes     see manifest::Manifest
//!     n                   u32
//!     CRC-32 of the JSON  u32         IEEE 802.3, as gzip has it
//!     "ERmanif1"          8 bytes
//! ```
//!
//! **Seek table.** One skippable frame, the last of the file, see [`seek`]: zstd's seekable format, so that
//! programs of others can seek too. Entries have no checksums: those are in the manifest.
//!
//! ```text
//!  0  0x184D2A5E          u32
//!  4  8 * entries + 9     u32
//!  8  for each frame in front of it, that of the manifest included:
//!       compressed bytes    u32
//!       decompressed bytes  u32       0 for the manifest
//!     entries             u32
//!     descriptor          u8          0
//!     0x8F92EAB1          u32
//! ```
//!
//! # What is trusted
//!
//! The manifest, because it has a checksum: sizes and CRC-32 of the frames are taken from it. The seek
//! table has none, so it only says where the manifest ends, and is held against the manifest. Without a
//! sound manifest the seek table counts; without either, the frames are found by their headers
//! ([`Archive::open`]). A frame is right when CRC-32, header and content checksum are, and when it gives
//! exactly the bytes that it should; otherwise it costs its own piece and no other. When bytes were lost
//! or added somewhere in the middle, the frames behind are looked for where they must be now; what was
//! added is a warning, with its place and what `zstd` makes of it ([`Archive::check_container`]).
//!
//! What this cannot see is a file that was cut at the end of a data frame, and that has no manifest
//! therefore: it reads as zstd frames of somebody else ([`Layout::Frames`]). The trailer of the snapshot
//! tells, as it does for a plain file.
//!
//! # Versions
//!
//! | format | first written by | what changed |
//! |---|---|---|
//! | 1 | 0.2.0 | the first |
//!
//! # Rules for changing it
//!
//! 1. `zstd -d` gives back the snapshot, always.
//! 2. New fields of the manifest are no new format: readers keep what they do not know, and never depend
//!    on it. A field is never given another meaning, and never removed while a version that needs it is
//!    in use.
//! 3. Anything that would make an older version read something wrong is a new format: `format` is one
//!    more, `needs` the first version that reads it, and these two keep their place and meaning for ever,
//!    as do the tag at the end of the manifest and what stands in front of it.
//! 4. Every format that was ever written is read. Archives of each are among the tests' data from the
//!    release on that writes the next one.
//! 5. A newer format is refused with the version that is needed, never guessed at.
//! 6. A change comes with a row in the table above and with fuzz seeds.
//!
//! # Level, piece and threads
//!
//! `cargo run --release --example bench-archive` measures them: in memory, 16 MiB of each kind of data as
//! a bbolt file, MB/s of the snapshot, the fastest of fourteen runs on two cores that had other work at
//! the time. Ratios are exact; of the speeds, differences under a quarter mean nothing, and two threads
//! were held back more than one.
//!
//! **Kubernetes protobuf**
//!
//! | level | piece, KiB | ratio | compress, 1 thread | 2 | decompress, 1 thread | 2 |
//! |---|---|---|---|---|---|---|
//! | -1 | 512 | 6.97 | 753 | 872 | 1630 | 2774 |
//! | 1 | 128 | 6.43 | 763 | 710 | 1961 | 2958 |
//! | 1 | 256 | 7.69 | 790 | 834 | 2174 | 3103 |
//! | 1 | 512 | 8.96 | 570 | 771 | 2364 | 2993 |
//! | 1 | 1024 | 9.56 | 859 | 774 | 2415 | 3476 |
//! | 1 | 4096 | 10.11 | 823 | 865 | 2476 | 3308 |
//! | 2 | 512 | 9.15 | 728 | 1276 | 2281 | 2830 |
//! | 3 | 128 | 6.70 | 477 | 582 | 1983 | 1773 |
//! | 3 | 256 | 7.51 | 346 | 1017 | 1920 | 1816 |
//! | 3 | 512 | 9.16 | 627 | 559 | 2161 | 2897 |
//! | 3 | 1024 | 10.14 | 685 | 637 | 2323 | 3799 |
//! | 3 | 4096 | 10.96 | 541 | 577 | 2386 | 1768 |
//! | 6 | 512 | 10.17 | 173 | 177 | 2541 | 4321 |
//! | 9 | 512 | 10.39 | 144 | 154 | 2585 | 2395 |
//!
//! **JSON resources**
//!
//! | level | piece, KiB | ratio | compress, 1 thread | 2 | decompress, 1 thread | 2 |
//! |---|---|---|---|---|---|---|
//! | -1 | 512 | 11.93 | 846 | 1237 | 3216 | 4411 |
//! | 1 | 128 | 13.85 | 1264 | 1230 | 2946 | 2551 |
//! | 1 | 256 | 14.31 | 1192 | 1896 | 2857 | 4265 |
//! | 1 | 512 | 14.31 | 1038 | 1720 | 2580 | 4025 |
//! | 1 | 1024 | 14.43 | 1015 | 1785 | 2800 | 4777 |
//! | 1 | 4096 | 14.52 | 1021 | 1452 | 2778 | 3442 |
//! | 2 | 512 | 14.53 | 894 | 1102 | 2785 | 2807 |
//! | 3 | 128 | 14.42 | 1118 | 1630 | 2920 | 4054 |
//! | 3 | 256 | 14.49 | 1011 | 1573 | 2831 | 4507 |
//! | 3 | 512 | 15.01 | 778 | 548 | 2662 | 2042 |
//! | 3 | 1024 | 15.06 | 982 | 1615 | 2965 | 4479 |
//! | 3 | 4096 | 14.97 | 918 | 1433 | 2935 | 4395 |
//! | 6 | 512 | 16.44 | 227 | 231 | 3057 | 2892 |
//! | 9 | 512 | 17.63 | 172 | 173 | 3451 | 3370 |
//!
//! **random bytes**
//!
//! | level | piece, KiB | ratio | compress, 1 thread | 2 | decompress, 1 thread | 2 |
//! |---|---|---|---|---|---|---|
//! | -1 | 512 | 1.28 | 1441 | 1873 | 5684 | 8839 |
//! | 1 | 128 | 1.28 | 832 | 992 | 5948 | 4809 |
//! | 1 | 256 | 1.28 | 788 | 713 | 5695 | 4174 |
//! | 1 | 512 | 1.28 | 667 | 1144 | 5934 | 6631 |
//! | 1 | 1024 | 1.28 | 521 | 454 | 5804 | 7502 |
//! | 1 | 4096 | 1.28 | 498 | 482 | 5031 | 4496 |
//! | 2 | 512 | 1.28 | 543 | 663 | 5781 | 7667 |
//! | 3 | 128 | 1.29 | 725 | 1188 | 5639 | 6136 |
//! | 3 | 256 | 1.29 | 945 | 1274 | 5804 | 4580 |
//! | 3 | 512 | 1.29 | 755 | 728 | 5222 | 7297 |
//! | 3 | 1024 | 1.29 | 678 | 844 | 5427 | 4679 |
//! | 3 | 4096 | 1.28 | 486 | 548 | 4756 | 3525 |
//! | 6 | 512 | 1.29 | 249 | 404 | 5611 | 9023 |
//! | 9 | 512 | 1.29 | 229 | 120 | 6090 | 8701 |
//!
//! A page of 4 KiB at any place, level 1, 64 MiB of snapshot (so one in four is in the cache); and the walk
//! of verification, over pages as they are and shuffled without any sense (about 18,900 leaves, one frame
//! each, where there are 150 frames of 512 KiB):
//!
//! | piece, KiB | page, protobuf | page, JSON | walk, as it is | walk, shuffled, protobuf | JSON |
//! |---|---|---|---|---|---|
//! | 64 | 35 µs | 27 µs | | | |
//! | 128 | 89 µs | 53 µs | 0.08 s | 1.8 s | 1.2 s |
//! | 256 | 153 µs | 128 µs | 0.05 s | 3.0 s | 2.2 s |
//! | 512 | 273 µs | 204 µs | 0.05 s | 5.2 s | 4.5 s |
//! | 1024 | 499 µs | 395 µs | 0.04 s | 9.5 s | 9.7 s |
//! | 4096 | 1881 µs | 1660 µs | | | |
//!
//! What came of it:
//!
//! - **Level 1.** Level 3 makes 2 to 5 % smaller files and costs a fifth of the speed and more where it ran
//!   undisturbed (pieces of 1 and 4 MiB); level 6 makes them 12 % smaller at a quarter of the speed, and a
//!   save waits for it.
//! - **512 KiB.** A page at random costs a whole frame, so half the piece is half the price, in order it makes
//!   no difference. Below 512 KiB, which is as far as level 1 looks back, the ratio of protobuf drops:
//!   9.6 at 1 MiB, 9.0 at 512 KiB, 7.7 at 256 KiB. (The protobuf is 275 real objects with new ids and
//!   secrets; where more kinds of objects are mixed, less is gained by larger pieces.)
//! - **No dictionary.** One of 110 KiB makes pieces of 256 KiB 4 to 8 % smaller, and those of 1 MiB of
//!   protobuf larger; and `zstd -d` would ask for it.
//! - **No long-distance matching.** It looks further back than a piece is long, so it can do nothing here; over
//!   the whole snapshot as one frame it saves 8 to 17 % at a third of the speed or less, and nothing could be read at
//!   random or in parallel.
//! - **Threads.** What a caller has cores for; bytes are the same. Each holds two pieces, their frames and a
//!   context: 2 MiB at level 1, 3 at level 3, 5 at level 6, 7 at level 9, 11 at level 19 (random bytes, 16 to
//!   64 threads, the most that the process had).
//!
//! A walk in an order that the pages do not have is the one expensive thing: [`Archive::loads`] against
//! [`Archive::frames`] tells when it happens.

mod cache;
mod check;
mod frame;
pub mod manifest;
mod open;
mod pool;
mod read;
pub mod seek;
mod stray;
mod stream;
mod table;
mod write;

pub use self::check::{Checked, Damage, Piece};
pub use self::manifest::Manifest;
pub use self::read::{Archive, Layout};
pub use self::stream::Unpacked;
pub use self::table::Frame;
pub use self::write::{Options, Writer, Written, tail};

use crate::error::Result;
use crate::io::Image;

/// Bytes of a piece, unless told otherwise.
pub const PIECE: usize = 512 << 10;

/// zstd's level, unless told otherwise.
pub const LEVEL: i32 = 1;

/// How a file is compressed, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zstd: see [`Archive::open`].
    Zstd,
    /// gzip: see [`Unpacked::gzip`].
    Gzip,
}

impl Compression {
    /// The program that it is named after.
    pub fn word(self) -> &'static str {
        match self {
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
        }
    }
}

/// How the file is compressed, if it is. An archive whose first bytes are damaged is told by its last.
pub fn detect(image: &Image) -> Result<Option<Compression>> {
    let mut four = [0; 4];
    let Some(last) = image.len().checked_sub(4) else {
        return Ok(None);
    };
    image.read_at(0, &mut four)?;
    if frame::is_magic(u32::from_le_bytes(four)) {
        return Ok(Some(Compression::Zstd));
    }
    // RFC 1952: two bytes of magic, and deflate is the only method there is.
    if four.starts_with(&[0x1f, 0x8b, 8]) {
        return Ok(Some(Compression::Gzip));
    }
    image.read_at(last, &mut four)?;
    let seekable = u32::from_le_bytes(four) == seek::SEEKABLE_MAGIC;
    Ok(seekable.then_some(Compression::Zstd))
}

#[cfg(test)]
mod tests;
