//! Archives as a whole: what went in comes out, and nothing wrong comes out of a broken one.

use std::io::{self, Read, Write};

use proptest::prelude::*;

use super::manifest::tests::sample;
use super::*;
use crate::error::{Error, Kind};
use crate::limits::Limits;
use crate::observe::Unobserved;

/// The archive of `plain`, whole.
fn pack(plain: &[u8], options: Options) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), options).unwrap();
    writer.write_all(plain).unwrap();
    let (mut bytes, written) = writer.finish_frames().unwrap();
    bytes.extend(tail(&manifest_of(&written)).unwrap());
    bytes
}

fn manifest_of(written: &Written) -> Manifest {
    let mut manifest = sample(written.size, written.frames.piece);
    manifest.frames = written.frames.clone();
    manifest
}

fn options(piece: usize, threads: usize) -> Options {
    Options {
        piece,
        level: 1,
        threads,
    }
}

fn open(bytes: &[u8]) -> crate::error::Result<Archive> {
    Archive::open(Image::from_memory(bytes.to_vec()), &Limits::default())
}

/// Everything inside, by every way there is; they agree.
fn unpack(archive: &Archive) -> crate::error::Result<Vec<u8>> {
    let mut all = Vec::new();
    archive.read_through(2, &Unobserved, &mut |start, piece| {
        assert_eq!(start, all.len() as u64);
        all.extend_from_slice(piece);
        Ok(())
    })?;
    let mut through_image = Vec::new();
    archive
        .snapshot()?
        .reader()
        .read_to_end(&mut through_image)
        .map_err(|e| Error::failed("image").because(e))?;
    assert!(through_image == all);
    Ok(all)
}

/// Findings of a check of the container.
fn check(archive: &Archive) -> Checked {
    archive
        .check_container(1, &Limits::default(), &Unobserved, &mut |_, _| Ok(()))
        .unwrap()
}

/// Bytes that compress, and differ everywhere.
fn text(len: usize) -> Vec<u8> {
    let words = (0u64..).flat_map(|n| format!("pod-{} ", n.wrapping_mul(n) % 10_007).into_bytes());
    words.take(len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_went_in_comes_out(
        plain in proptest::collection::vec(any::<u8>(), 0..5000),
        piece in 1usize..3000,
        threads in 0usize..4,
        level in -3i32..6,
        repeat in 1usize..4,
    ) {
        let plain = plain.repeat(repeat);
        let one = pack(&plain, Options { piece, level, threads: 1 });
        let bytes = pack(&plain, Options { piece, level, threads });
        prop_assert!(one == bytes, "threads change nothing");
        let archive = open(&bytes).unwrap();
        prop_assert_eq!(archive.layout(), Layout::Ours);
        prop_assert_eq!(archive.findings().total(), 0);
        prop_assert_eq!(archive.size(), Some(plain.len() as u64));
        prop_assert_eq!(archive.frames().len(), plain.len().div_ceil(piece));
        prop_assert!(unpack(&archive).unwrap() == plain);
        prop_assert_eq!(check(&archive).report.total(), 0);
        prop_assert!(zstd::decode_all(bytes.as_slice()).unwrap() == plain);
    }

    #[test]
    fn any_place_reads_the_same(
        len in 1usize..20_000,
        piece in 1usize..3000,
        reads in proptest::collection::vec((any::<u32>(), 0usize..6000), 1..30),
    ) {
        let plain = text(len);
        let image = open(&pack(&plain, options(piece, 1))).unwrap().snapshot().unwrap();
        for (at, wanted) in reads {
            let at = at as usize % len;
            let wanted = wanted.min(len - at);
            let mut found = vec![0; wanted];
            image.read_at(at as u64, &mut found).unwrap();
            prop_assert!(found == plain[at..at + wanted]);
        }
        prop_assert!(image.read_at(len as u64, &mut [0]).is_err());
    }
}

#[test]
fn sizes_around_whole_pieces() {
    for size in [0, 1, 4095, 4096, 4097, 8191, 8192, 8193] {
        for threads in [0, 2] {
            let plain = text(size);
            let archive = open(&pack(&plain, options(4096, threads))).unwrap();
            assert_eq!(archive.findings().total(), 0);
            assert!(unpack(&archive).unwrap() == plain, "{size}");
        }
    }
}

#[test]
fn frames_are_read_back_before_there_is_a_manifest() {
    let plain = text(10_000);
    let mut writer = Writer::new(Vec::new(), options(4096, 2)).unwrap();
    writer.write_all(&plain).unwrap();
    let (bytes, written) = writer.finish_frames().unwrap();
    let (image, limits) = (Image::from_memory(bytes), Limits::default());
    let archive = Archive::from_frames(image, &written.frames, written.size, &limits).unwrap();
    assert!(unpack(&archive).unwrap() == plain);
}

/// Whatever byte is changed: the right bytes come out, or an error; and the check has something to say.
#[test]
fn every_byte_flipped() {
    let plain = text(1500);
    let bytes = pack(&plain, options(512, 1));
    for at in 0..bytes.len() {
        for bit in [0, 4, 7] {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            let Ok(archive) = open(&broken) else {
                continue;
            };
            if let Ok(found) = unpack(&archive) {
                assert!(found == plain, "wrong bytes after byte {at}, bit {bit}");
            }
            if archive.layout() != Layout::Stream {
                assert!(
                    check(&archive).report.total() > 0,
                    "byte {at}, bit {bit} unseen"
                );
            }
        }
    }
}

/// A cut file has no manifest, so it does not pass for whole: what comes out is a beginning of what went in.
#[test]
fn cut_at_every_byte() {
    let plain = text(1500);
    let bytes = pack(&plain, options(512, 1));
    let data = open(&bytes)
        .unwrap()
        .frames()
        .last()
        .map(|f| f.offset + u64::from(f.compressed));
    for len in 0..bytes.len() {
        let Ok(archive) = open(&bytes[..len]) else {
            continue;
        };
        let whole = len as u64 >= data.unwrap();
        if let Some(manifest) = archive.manifest() {
            assert!(whole && manifest.snapshot.size == 1500);
            assert!(archive.findings().total() > 0, "cut at {len}");
        }
        if let Ok(found) = unpack(&archive) {
            assert!(plain.starts_with(&found), "cut at {len}");
            assert!(whole || found.len() < plain.len());
        }
    }
}

/// Bytes lost or added in the middle cost the frames they hit, and no other.
#[test]
fn a_hole_costs_what_it_touched() {
    let plain = text(20_000);
    let bytes = pack(&plain, options(1000, 1));
    let hit = open(&bytes).unwrap().frames()[7];
    let (at, mut longer) = (hit.offset as usize + 20, bytes.clone());
    longer.splice(at..at, [1, 2, 3]);
    let shorter = [&bytes[..at], &bytes[at + 5..]].concat();
    let mut zeroed = bytes.clone();
    zeroed[at..at + 50].fill(0);
    for (broken, findings) in [(longer, 3), (shorter, 3), (zeroed, 1)] {
        let archive = open(&broken).unwrap();
        let checked = check(&archive);
        assert_eq!(checked.report.total(), findings, "{:?}", checked.report);
        let [damage] = &checked.damaged[..] else {
            panic!("{:?}", checked.damaged);
        };
        assert_eq!((damage.frame, damage.bytes.clone()), (7, 7000..8000));
        assert_eq!(damage.pages, Some(1..2));
        let mut found = vec![0; 12_000];
        let image = archive.snapshot().unwrap();
        image.read_at(8000, &mut found).unwrap();
        assert!(found == plain[8000..]);
        let error = image.read_at(7999, &mut [0; 2]).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
        let told = format!("frame 7 at offset {}", hit.offset);
        assert!(error.to_string().contains(&told), "{error}");
        assert!(
            error
                .to_string()
                .contains("bytes 7000 to 7999 of the snapshot, pages 1 to 1")
        );
    }
}

/// Without seek table and manifest the frames are found by their headers, a broken one among them.
#[test]
fn frames_are_found_by_scanning() {
    let plain = text(20_000);
    let bytes = pack(&plain, options(1000, 1));
    let frames = open(&bytes).unwrap().frames().to_vec();
    let end = frames
        .last()
        .map(|f| f.offset as usize + f.compressed as usize)
        .unwrap();
    let mut only_frames = bytes[..end].to_vec();
    assert!(unpack(&open(&only_frames).unwrap()).unwrap() == plain);
    let hit = frames[4].offset as usize;
    for at in [hit, hit + 9] {
        only_frames[at..at + 2].fill(0xff);
        let archive = open(&only_frames).unwrap();
        assert!(archive.findings().is_damaged());
        let checked = check(&archive);
        assert_eq!(checked.frames_damaged, 1);
        let mut found = vec![0; 15_000];
        archive
            .snapshot()
            .unwrap()
            .read_at(5000, &mut found)
            .unwrap();
        assert!(found == plain[5000..]);
    }
}

#[test]
fn a_frame_that_holds_more_or_less_than_it_should_is_damage() {
    let plain = text(2000);
    for (claimed, piece) in [(1999, 1000), (2000, 1001), (1001, 1001)] {
        let mut writer = Writer::new(Vec::new(), options(1000, 1)).unwrap();
        writer.write_all(&plain).unwrap();
        let (mut bytes, mut written) = writer.finish_frames().unwrap();
        written.size = claimed;
        written.frames.piece = piece;
        written
            .frames
            .list
            .truncate(claimed.div_ceil(piece) as usize);
        bytes.extend(tail(&manifest_of(&written)).unwrap());
        let checked = check(&open(&bytes).unwrap());
        assert!(checked.report.is_damaged(), "{claimed} in {piece}");
        assert!(checked.frames_damaged > 0);
    }
}

#[test]
fn a_newer_archive_is_refused() {
    let mut writer = Writer::new(Vec::new(), options(1000, 1)).unwrap();
    writer.write_all(&text(1000)).unwrap();
    let (mut bytes, written) = writer.finish_frames().unwrap();
    let mut manifest = manifest_of(&written);
    (manifest.format, manifest.needs) = (2, "7.0.0".into());
    bytes.extend(tail(&manifest).unwrap());
    for len in [bytes.len(), bytes.len() - 1] {
        let error = open(&bytes[..len]).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("etcd-rescue 7.0.0"), "{error}");
    }
}

/// The CRC-32 is that of the wrong bytes: zstd's own checksum of the content is looked at too.
#[test]
fn the_content_checksum_counts() {
    let mut writer = Writer::new(Vec::new(), options(1000, 1)).unwrap();
    writer.write_all(&text(1000)).unwrap();
    let (mut bytes, mut written) = writer.finish_frames().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    written.frames.list[0].1 = crc32fast::hash(&bytes);
    bytes.extend(tail(&manifest_of(&written)).unwrap());
    let checked = check(&open(&bytes).unwrap());
    assert!(checked.damaged[0].what.contains("checksum"), "{checked:?}");
}

#[test]
fn threads_share_frames() {
    let plain = text(300_000);
    let archive = open(&pack(&plain, options(10_000, 1))).unwrap();
    let image = archive.snapshot().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (image, plain) = (&image, &plain);
            scope.spawn(move || {
                for n in 0..500usize {
                    let at = (n * 7919 * (thread / 2 + 1)) % 295_000;
                    let mut found = [0; 5000];
                    image.read_at(at as u64, &mut found).unwrap();
                    assert!(found == plain[at..at + 5000]);
                }
            });
        }
    });
    // The cache has room for all of them, so each was decompressed once.
    assert_eq!(archive.loads(), 30);
}

/// More frames than the cache keeps, asked for in turns: the ones asked for last are the ones kept.
#[test]
fn the_cache_is_bounded_and_forgets_the_oldest() {
    let plain = text(10 << 20);
    let archive = open(&pack(&plain, options(1 << 20, 2))).unwrap();
    let image = archive.snapshot().unwrap();
    let read = |mib: u64| image.read_at(mib << 20, &mut [0; 100]).unwrap();
    (0..8).for_each(read);
    (0..8).for_each(read);
    assert_eq!(archive.loads(), 8);
    read(8);
    (1..9).for_each(read);
    assert_eq!(archive.loads(), 9);
    read(0);
    assert_eq!(archive.loads(), 10);
}

#[test]
fn zstd_frames_without_a_manifest() {
    let plain = text(700_000);
    let frame = |part: &[u8]| zstd::bulk::compress(part, 1).unwrap();
    let archive = open(&frame(&plain)).unwrap();
    assert_eq!(archive.layout(), Layout::Frames);
    assert!(unpack(&archive).unwrap() == plain);
    let several: Vec<u8> = plain.chunks(100_000).flat_map(frame).collect();
    let archive = open(&several).unwrap();
    assert_eq!(
        (archive.layout(), archive.frames().len()),
        (Layout::Frames, 7)
    );
    assert!(unpack(&archive).unwrap() == plain);
    // A seek table that says of a frame that nothing is in it.
    let (first, second) = (frame(&plain[..400_000]), frame(&plain[400_000..]));
    let entry = |frame: &[u8], decompressed| seek::Entry {
        compressed: frame.len() as u32,
        decompressed,
    };
    let entries = [entry(&first, 400_000), entry(&second, 0)];
    let seekable = [&first[..], &second, &seek::encode(&entries).unwrap()].concat();
    let archive = open(&seekable).unwrap();
    assert!(unpack(&archive).unwrap() == plain[..400_000]);
    let told = format!("{:?}", check(&archive).report);
    assert!(told.contains("zstd -d gives 300000 bytes more"), "{told}");
    let unknown = zstd::encode_all(plain.as_slice(), 1).unwrap();
    let archive = open(&unknown).unwrap();
    assert_eq!((archive.layout(), archive.size()), (Layout::Stream, None));
    assert!(archive.snapshot().is_err());
    let mut found = Vec::new();
    archive.stream().unwrap().read_to_end(&mut found).unwrap();
    assert!(found == plain);
    assert_eq!(open(b"not zstd at all").unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_file_is_told_by_its_content() {
    let detect = |bytes: &[u8]| detect(&Image::from_memory(bytes.to_vec())).unwrap();
    let mut ours = pack(&text(10), options(512, 1));
    assert_eq!(detect(&ours), Some(Compression::Zstd));
    ours[0] ^= 1;
    assert_eq!(detect(&ours), Some(Compression::Zstd));
    assert_eq!(detect(&gzipped(b"x")), Some(Compression::Gzip));
    for other in [&b""[..], b"x", b"plain bytes"] {
        assert_eq!(detect(other), None);
    }
}

fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn streams_of_others() {
    let limits = Limits::default();
    let plain = text(700_000);
    let gzip = [gzipped(&plain[..300_000]), gzipped(&plain[300_000..])].concat();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    let all = |reader: &mut dyn Read| {
        let mut found = Vec::new();
        reader.read_to_end(&mut found).map(|_| found)
    };
    assert!(all(&mut Unpacked::gzip(gzip.as_slice(), &limits)).unwrap() == plain);
    assert!(all(&mut Unpacked::zstd(zstd.as_slice(), &limits).unwrap()).unwrap() == plain);
    let kind = |read: io::Result<Vec<u8>>| read.unwrap_err().kind();
    for cut in [5, 1000] {
        let short = &gzip[..gzip.len() - cut];
        assert_eq!(
            kind(all(&mut Unpacked::gzip(short, &limits))),
            io::ErrorKind::UnexpectedEof
        );
        let short = &zstd[..zstd.len() - cut];
        let read = all(&mut Unpacked::zstd(short, &limits).unwrap());
        assert_eq!(kind(read), io::ErrorKind::UnexpectedEof);
    }
    let (mut bad_gzip, mut bad_zstd) = (gzip.clone(), zstd.clone());
    bad_gzip[5000] ^= 0xff;
    bad_zstd[5000] ^= 0xff;
    let read = all(&mut Unpacked::gzip(bad_gzip.as_slice(), &limits));
    assert_eq!(kind(read), io::ErrorKind::InvalidData);
    let read = all(&mut Unpacked::zstd(bad_zstd.as_slice(), &limits).unwrap());
    assert_eq!(kind(read), io::ErrorKind::InvalidData);
}

#[test]
fn bombs_are_bounded() {
    let limits = Limits {
        stream: 1 << 20,
        ..Limits::default()
    };
    let zeros = vec![0; 64 << 20];
    let gzip = gzipped(&zeros);
    let zstd = zstd::encode_all(zeros.as_slice(), 1).unwrap();
    let mut readers: [Box<dyn Read>; 2] = [
        Box::new(Unpacked::gzip(gzip.as_slice(), &limits)),
        Box::new(Unpacked::zstd(zstd.as_slice(), &limits).unwrap()),
    ];
    for reader in &mut readers {
        let error = io::copy(reader, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
    }
}

#[test]
fn an_error_of_the_source_comes_through() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let limits = Limits::default();
    let mut readers: [Box<dyn Read>; 2] = [
        Box::new(Unpacked::gzip(Broken, &limits)),
        Box::new(Unpacked::zstd(Broken, &limits).unwrap()),
    ];
    for reader in &mut readers {
        let error = reader.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
    }
}
