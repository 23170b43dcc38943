//! Fuzz bodies for archives: the container, the manifest and the seek table.

use std::io::{Read, Write};

use super::holds;
use crate::archive::manifest::{self, Etcd, Made, Manifest, Snapshot};
use crate::archive::seek::{self, Footer};
use crate::archive::{Archive, Layout, Options, Writer, tail};
use crate::error::{Error, Kind, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::observe::Unobserved;

/// Small enough for a fuzzer's memory; the bounds themselves are under test.
fn limits() -> Limits {
    Limits {
        manifest: 64 << 10,
        frames: 2000,
        frame: 64 << 10,
        stream: 1 << 20,
        ..Limits::default()
    }
}

/// A file that says it is an archive; and an archive of the input in which one byte was changed.
///
/// Input of the second: size of the pieces, which byte (two bytes, little endian), what it is XORed with
/// (0 leaves it whole), and the snapshot.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_container(data: &[u8]) {
    if let Ok(archive) = Archive::open(Image::from_memory(data.to_vec()), &limits()) {
        read_every_way(&archive);
    }
    let Some((&[piece, low, high, change], plain)) = data.split_first_chunk() else {
        return;
    };
    let mut bytes = holds("an archive is made", pack(plain, usize::from(piece) + 1));
    let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= change;
    }
    let opened = Archive::open(Image::from_memory(bytes), &limits());
    if change == 0 {
        let archive = holds("an archive opens", opened);
        assert_eq!(read_every_way(&archive).as_deref(), Some(plain));
        assert_eq!(archive.findings().total(), 0);
    } else if let Ok(archive) = opened
        && let Some(found) = read_every_way(&archive)
    {
        assert!(found == plain, "byte {at} changes what comes out");
    }
}

/// What is inside, if it can all be had; the ways to read it agree.
fn read_every_way(archive: &Archive) -> Option<Vec<u8>> {
    if archive.layout() == Layout::Stream {
        assert_eq!(archive.size(), None);
        let mut stream = holds("a stream opens", archive.stream());
        let mut found = Vec::new();
        let read = stream.read_to_end(&mut found);
        let most = limits()
            .stream
            .max(archive.compressed() * limits().stream_ratio);
        assert!(found.len() as u64 <= most, "more than the bound");
        return read.ok().map(|_| found);
    }
    let size = archive.size().unwrap_or(0);
    // A manifest or a table may claim what it likes; what is decompressed is bounded by what is there.
    let mut pieces = Vec::new();
    let through = archive.read_through(1, &Unobserved, &mut |start, piece| {
        assert_eq!(start, pieces.len() as u64);
        pieces.extend_from_slice(piece);
        Ok(())
    });
    let mut good = 0;
    let mut sink = |_: u64, piece: crate::archive::Piece<'_>| {
        good += piece.map_or(0, <[u8]>::len) as u64;
        Ok(())
    };
    let checked = archive.check_container(1, &limits(), &Unobserved, &mut sink);
    let checked = holds("memory is read", checked);
    assert_eq!(through.is_ok(), checked.frames_damaged == 0);
    assert_eq!(checked.frames_damaged == 0, good == size);
    if let Err(error) = &through {
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(checked.report.is_damaged());
        return None;
    }
    let mut at_random = vec![0; pieces.len()];
    let image = holds("frames are known", archive.snapshot());
    assert_eq!(image.len(), size);
    for (index, part) in at_random.chunks_mut(777).enumerate().rev() {
        holds(
            "good frames are read",
            image.read_at(index as u64 * 777, part),
        );
    }
    assert!(at_random == pieces);
    Some(pieces)
}

fn pack(plain: &[u8], piece: usize) -> Result<Vec<u8>> {
    let options = Options {
        piece,
        level: 1,
        threads: 1,
    };
    let mut writer = Writer::new(Vec::new(), options)?;
    let failed = |e| Error::failed("writing into memory").because(e);
    writer.write_all(plain).map_err(failed)?;
    let (mut bytes, written) = writer.finish_frames().map_err(failed)?;
    let snapshot = Snapshot {
        size: written.size,
        ..Snapshot::default()
    };
    let manifest = Manifest::new(Made::default(), snapshot, Etcd::default(), written.frames);
    bytes.extend(tail(&manifest)?);
    Ok(bytes)
}

/// The end of a file, and the bytes as the JSON of a manifest.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_manifest(data: &[u8]) {
    if let Ok(Some(json)) = manifest::find(data) {
        let _ = Manifest::decode(json, &limits());
    }
    assert_eq!(manifest::id(data).len(), 32);
    let Ok(found) = Manifest::decode(data, &limits()) else {
        return;
    };
    assert_eq!(found.format, manifest::FORMAT);
    let pieces = (0..found.frames.list.len() as u64).map(|index| found.piece_len(index));
    assert_eq!(pieces.sum::<u64>(), found.snapshot.size);
    let frame = holds("a manifest encodes", found.encode());
    let json = holds("a manifest is found", manifest::find(&frame)).unwrap_or_default();
    let again = holds("a manifest decodes", Manifest::decode(json, &limits()));
    assert_eq!(again, found);
}

/// A seek table as it is, and with the header and the end that its length asks for.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_seek_table(data: &[u8]) {
    let mut made = Vec::new();
    made.extend(seek::SKIPPABLE_MAGIC.to_le_bytes());
    let entries = data.len() / 8;
    let len = entries * 8 + seek::FOOTER;
    made.extend(u32::try_from(len).unwrap_or(0).to_le_bytes());
    made.extend(data.iter().take(entries * 8));
    made.extend(u32::try_from(entries).unwrap_or(0).to_le_bytes());
    made.push(0);
    made.extend(seek::SEEKABLE_MAGIC.to_le_bytes());
    for frame in [data, &made] {
        let Some(footer) = frame.last_chunk() else {
            continue;
        };
        let Ok(Some(footer)) = Footer::decode(footer, &limits()) else {
            continue;
        };
        let Ok(found) = seek::decode(frame, footer) else {
            continue;
        };
        assert_eq!(found.len(), footer.entries as usize);
        let again = holds("a table encodes", seek::encode(&found));
        if footer.descriptor == 0 && again.len() == frame.len() {
            assert_eq!(again, frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes(data: Vec<u8>) {
            fuzz_container(&data);
            fuzz_manifest(&data);
            fuzz_seek_table(&data);
        }

        #[test]
        fn one_byte_changed(piece: u8, at: u16, change: u8, plain: Vec<u8>) {
            let [low, high] = at.to_le_bytes();
            fuzz_container(&[&[piece, low, high, change], plain.as_slice()].concat());
        }
    }

    #[test]
    fn good_inputs_are_reached() {
        let archive = pack(&[7; 1000], 300).unwrap();
        fuzz_container(&archive);
        fuzz_manifest(br#"{"format":1,"needs":"","made":{"by":"","tool":"","at":""}}"#);
    }
}
