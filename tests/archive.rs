//! Archives and the programs of others: `zstd`, `gzip`, and a reader of zstd's seekable format that is
//! not ours. In the modules: archives through the program itself.

mod damage;
mod forged;
mod formats;
mod named;
mod raw;
mod saved;
mod site;
mod status;
mod stray;
mod twice;

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use etcd_rescue::archive::manifest::{Etcd, Made, Manifest, Snapshot};
use etcd_rescue::archive::{Archive, Layout, Options, Unpacked, Writer, tail};
use etcd_rescue::io::Image;
use etcd_rescue::limits::Limits;
use etcd_rescue::observe::Unobserved;

/// The archive of `plain`, whole.
fn pack(plain: &[u8], piece: usize) -> Vec<u8> {
    let options = Options {
        piece,
        level: 1,
        threads: 2,
    };
    let mut writer = Writer::new(Vec::new(), options).unwrap();
    writer.write_all(plain).unwrap();
    let (mut bytes, written) = writer.finish_frames().unwrap();
    let snapshot = Snapshot {
        size: written.size,
        ..Snapshot::default()
    };
    let (made, etcd) = (Made::default(), Etcd::default());
    bytes.extend(tail(&Manifest::new(made, snapshot, etcd, written.frames)).unwrap());
    bytes
}

fn open(bytes: &[u8]) -> Archive {
    Archive::open(Image::from_memory(bytes.to_vec()), &Limits::default()).unwrap()
}

fn unpack(archive: &Archive) -> Vec<u8> {
    let mut all = Vec::new();
    let mut sink = |_: u64, piece: &[u8]| {
        all.extend_from_slice(piece);
        Ok(())
    };
    archive.read_through(2, &Unobserved, &mut sink).unwrap();
    all
}

/// Bytes that compress, and differ everywhere.
fn text(len: usize) -> Vec<u8> {
    let words = (0u64..).flat_map(|n| format!("pod-{} ", n.wrapping_mul(n) % 10_007).into_bytes());
    words.take(len).collect()
}

/// What a program of the system makes of `input`.
fn filter(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} is needed: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    output.stdout
}

#[test]
fn zstd_files_of_others() {
    let plain = text(700_000);
    let known = filter("zstd", &["-c", "--stream-size=700000"], &plain);
    let archive = open(&known);
    assert_eq!(archive.layout(), Layout::Frames);
    assert!(unpack(&archive) == plain);
    let several = plain
        .chunks(100_000)
        .flat_map(|part| {
            filter(
                "zstd",
                &["-c", &format!("--stream-size={}", part.len())],
                part,
            )
        })
        .collect::<Vec<u8>>();
    let archive = open(&several);
    assert_eq!(
        (archive.layout(), archive.frames().len()),
        (Layout::Frames, 7)
    );
    assert!(unpack(&archive) == plain);
    let unknown = filter("zstd", &["-c"], &plain);
    let archive = open(&unknown);
    assert_eq!((archive.layout(), archive.size()), (Layout::Stream, None));
    assert!(archive.snapshot().is_err());
    let mut found = Vec::new();
    archive.stream().unwrap().read_to_end(&mut found).unwrap();
    assert!(found == plain);
}

#[test]
fn a_seekable_file_of_another_program() {
    let plain = text(50_000);
    let mut bytes = Vec::new();
    let mut encoder = zeekstd::EncodeOptions::new()
        .frame_size_policy(zeekstd::FrameSizePolicy::Uncompressed(4096))
        .into_encoder(&mut bytes)
        .unwrap();
    io::copy(&mut plain.as_slice(), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let archive = open(&bytes);
    assert_eq!(
        (archive.layout(), archive.frames().len()),
        (Layout::Frames, 13)
    );
    assert_eq!(archive.findings().total(), 0);
    assert!(unpack(&archive) == plain);
}

#[test]
fn another_program_reads_our_seek_table() {
    let plain = text(50_000);
    let bytes = pack(&plain, 4096);
    let mut decoder = zeekstd::Decoder::new(io::Cursor::new(&bytes)).unwrap();
    // The data frames and the manifest's.
    assert_eq!(decoder.seek_table().num_frames(), 14);
    let mut found = Vec::new();
    io::copy(&mut decoder, &mut found).unwrap();
    assert!(found == plain);
}

#[test]
fn the_zstd_program_reads_ours() {
    for size in [0, 1, 50_000] {
        let plain = text(size);
        let bytes = pack(&plain, 4096);
        assert!(filter("zstd", &["-d", "-c"], &bytes) == plain);
        filter("zstd", &["-q", "-t"], &bytes);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zst");
        std::fs::write(&path, &bytes).unwrap();
        let listed = filter("zstd", &["-l", path.to_str().unwrap()], b"");
        assert!(String::from_utf8(listed).unwrap().contains("a.zst"));
    }
}

#[test]
fn gzip_files() {
    let plain = text(700_000);
    let (first, second) = plain.split_at(300_000);
    let gzip = [
        filter("gzip", &["-c"], first),
        filter("gzip", &["-9c"], second),
    ]
    .concat();
    let mut found = Vec::new();
    let mut reader = Unpacked::gzip(gzip.as_slice(), &Limits::default());
    reader.read_to_end(&mut found).unwrap();
    assert!(found == plain);
}

/// pzstd makes many frames, and leaves out how large their content is.
#[test]
fn pzstd_files() {
    let plain = text(30_000_000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain");
    std::fs::write(&path, &plain).unwrap();
    let bytes = filter(
        "pzstd",
        &["-q", "-p", "2", "-c", path.to_str().unwrap()],
        b"",
    );
    let archive = open(&bytes);
    assert_eq!(archive.layout(), Layout::Stream);
    let mut found = Vec::new();
    archive.stream().unwrap().read_to_end(&mut found).unwrap();
    assert!(found == plain);
}
