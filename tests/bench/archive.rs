//! Measures archives in memory, for the table in the rustdoc of `archive`: `bench-archive [MIB]`.
//!
//! Three kinds of data, MIB of each as a bbolt file: Kubernetes objects as protobuf (a real snapshot
//! multiplied, with ids, secrets and counters made new in every copy), custom resources as JSON, and
//! random bytes. No disk, so that it is zstd that is measured; the speed tables use a quarter of the data.

// A command for people, and it may fail by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Cursor, Write};
use std::sync::Arc;
use std::time::Instant;

use etcd_rescue::archive::manifest::{Etcd, Made, Snapshot};
use etcd_rescue::archive::{Archive, Manifest, Options, PIECE, Writer, tail};
use etcd_rescue::bolt::Db;
use etcd_rescue::bolt::build::Builder;
use etcd_rescue::bolt::collect::{Collect, Item};
use etcd_rescue::bolt::walk::{self, Misplaced, Spot, Visitor};
use etcd_rescue::error::Result;
use etcd_rescue::io::{Image, ReadAt};
use etcd_rescue::limits::Limits;
use etcd_rescue::observe::Unobserved;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const PAGE: usize = 4 * KIB;
const SEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/k8s-plain-3.5.db");

fn main() {
    let size = std::env::args()
        .nth(1)
        .map_or(64, |mib| mib.parse().unwrap())
        * MIB;
    let kinds = |size| {
        [
            ("Kubernetes protobuf", protobuf(size)),
            ("JSON resources", json(size)),
            ("random bytes", random(size)),
        ]
    };
    speed(&kinds(size / 4));
    access(&kinds(size));
}

fn speed(kinds: &[(&str, Vec<u8>)]) {
    println!("| data | level | piece KiB | threads | ratio | compress MB/s | decompress MB/s |");
    println!("|---|---|---|---|---|---|---|");
    for (kind, plain) in kinds {
        for level in [-1, 1, 2, 3, 6, 9] {
            row(kind, plain, level, PIECE);
        }
        for level in [1, 3] {
            for piece in [128 * KIB, 256 * KIB, MIB, 4 * MIB] {
                row(kind, plain, level, piece);
            }
        }
    }
    println!("\n| data | level 1, 1 thread | ratio | compress MB/s | decompress MB/s |");
    println!("|---|---|---|---|---|");
    for (kind, plain) in kinds {
        others(kind, plain);
    }
}

fn access(kinds: &[(&str, Vec<u8>)]) {
    println!("\n| data | piece KiB | a page at random, µs | pages in order, µs each |");
    println!("|---|---|---|---|");
    for (kind, plain) in kinds {
        for piece in [
            64 * KIB,
            128 * KIB,
            256 * KIB,
            512 * KIB,
            MIB,
            2 * MIB,
            4 * MIB,
        ] {
            scattered(kind, plain, piece);
        }
    }
    println!(
        "\n| data | piece KiB | walk, s | frames read, of | walk of shuffled pages, s | frames read |"
    );
    println!("|---|---|---|---|---|---|");
    for (kind, plain) in kinds {
        for piece in [128 * KIB, 256 * KIB, 512 * KIB, MIB] {
            walks(kind, plain, piece);
        }
    }
}

/// One level and piece size, with one and two threads.
fn row(kind: &str, plain: &[u8], level: i32, piece: usize) {
    for threads in [1, 2] {
        let options = Options {
            piece,
            level,
            threads,
        };
        let mut bytes = Vec::new();
        let compress = fastest(|| bytes = pack(plain, options));
        let archive = open(&bytes);
        let decompress = fastest(|| {
            let mut sink = |_: u64, _: &[u8]| Ok(());
            archive
                .read_through(threads, &Unobserved, &mut sink)
                .unwrap();
        });
        let (ratio, kib) = (plain.len() as f64 / bytes.len() as f64, piece / KIB);
        let rate = |seconds: f64| plain.len() as f64 / 1e6 / seconds;
        println!(
            "| {kind} | {level} | {kib} | {threads} | {ratio:.2} | {:.0} | {:.0} |",
            rate(compress),
            rate(decompress)
        );
    }
}

/// Pages of an archive in an order without any sense, as the leaves of a churned db lie; and in order.
fn scattered(kind: &str, plain: &[u8], piece: usize) {
    let options = Options {
        piece,
        level: 1,
        threads: 2,
    };
    let archive = open(&pack(plain, options));
    let (pages, reads) = (plain.len() / PAGE, 300);
    let time = |page_of: &dyn Fn(usize) -> usize| {
        let seconds = fastest(|| {
            let image = archive.snapshot().unwrap();
            let mut buffer = [0; PAGE];
            for n in 0..reads {
                let at = page_of(n) * PAGE;
                image.read_at(at as u64, &mut buffer).unwrap();
                assert!(buffer[..] == plain[at..at + PAGE]);
            }
        });
        seconds * 1e6 / reads as f64
    };
    let step = far_step(pages);
    let at_random = time(&|n| n * step % pages);
    let in_order = time(&|n| n % pages);
    println!(
        "| {kind} | {} | {at_random:.0} | {in_order:.1} |",
        piece / KIB
    );
}

/// A step that reaches every page, each far from the one before: it shares no factor with their number.
fn far_step(pages: usize) -> usize {
    let factor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut steps = pages * 618 / 1000..;
    steps.find(|step| factor(*step, pages) == 1).unwrap()
}

/// The walk of verification through an archive: pages where the builder put them, and pages in an order
/// without any sense, which is worse than what years of churn do.
fn walks(kind: &str, plain: &[u8], piece: usize) {
    let options = Options {
        piece,
        level: 1,
        threads: 2,
    };
    let limits = Limits::default();
    let walk = |image: Image| {
        let start = Instant::now();
        let db = Db::open(&image, &limits).unwrap().unwrap();
        let walked = walk::check(&db, &limits, &Unobserved, &mut Nobody).unwrap();
        assert_eq!(walked.report.total(), 0, "{:?}", walked.report);
        start.elapsed().as_secs_f64()
    };
    let archive = open(&pack(plain, options));
    let in_order = walk(archive.snapshot().unwrap());

    let pages = plain.len() / PAGE;
    let step = far_step(pages);
    let mut shuffled = vec![0; plain.len()];
    for (page, bytes) in plain.chunks(PAGE).enumerate() {
        shuffled[page * step % pages * PAGE..][..PAGE].copy_from_slice(bytes);
    }
    let scattered = open(&pack(&shuffled, options));
    let reader = Shuffled {
        image: scattered.snapshot().unwrap(),
        step,
        pages,
    };
    let len = plain.len() as u64;
    let out_of_order = walk(Image::from_reader(Arc::new(reader), "shuffled", len));
    println!(
        "| {kind} | {} | {in_order:.2} | {} of {} | {out_of_order:.2} | {} |",
        piece / KIB,
        archive.loads(),
        archive.frames().len(),
        scattered.loads()
    );
}

/// Page `n` is where page `n * step` is.
#[derive(Debug)]
struct Shuffled {
    image: Image,
    step: usize,
    pages: usize,
}

impl ReadAt for Shuffled {
    fn read_at(&self, offset: u64, mut buffer: &mut [u8]) -> Result<()> {
        let mut at = offset as usize;
        while !buffer.is_empty() {
            let (page, inside) = (at / PAGE, at % PAGE);
            let len = buffer.len().min(PAGE - inside);
            let (now, later) = buffer.split_at_mut(len);
            let place = page * self.step % self.pages * PAGE + inside;
            self.image.read_at(place as u64, now)?;
            buffer = later;
            at += len;
        }
        Ok(())
    }
}

/// Looks at nothing.
struct Nobody;

impl Visitor for Nobody {
    fn bucket(&mut self, _: &[u8], _: u64) -> Result<()> {
        Ok(())
    }
    fn bucket_end(&mut self) -> Result<()> {
        Ok(())
    }
    fn item(&mut self, _: &[u8], _: u64, _: Spot) -> Result<()> {
        Ok(())
    }
    fn value(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn item_end(&mut self) -> Result<()> {
        Ok(())
    }
    fn misplaced(&mut self, _: &[u8], _: Misplaced, _: Spot) -> Result<()> {
        Ok(())
    }
}

/// What is not done: dictionaries for each piece, long-distance matching over the whole.
fn others(kind: &str, plain: &[u8]) {
    // A dictionary of raw content, as large as zstd trains them, from the middle of the data.
    let dictionary = &plain[plain.len() / 2..][..110 * KIB];
    for piece in [64 * KIB, 256 * KIB, MIB] {
        for (name, dictionary) in [("plain", &[][..]), ("dictionary", dictionary)] {
            let mut compressor = Compressor::with_dictionary(1, dictionary).unwrap();
            let mut frames = Vec::new();
            let compress = fastest(|| {
                frames = plain
                    .chunks(piece)
                    .map(|part| compressor.compress(part).unwrap())
                    .collect();
            });
            let mut decompressor = Decompressor::with_dictionary(dictionary).unwrap();
            let decompress = fastest(|| {
                for frame in &frames {
                    decompressor.decompress(frame, piece).unwrap();
                }
            });
            let name = format!("{name}, pieces of {} KiB", piece / KIB);
            let out: usize = frames.iter().map(Vec::len).sum();
            other_row(kind, &name, plain.len(), out, compress, decompress);
        }
    }
    for long in [false, true] {
        let mut compressor = Compressor::new(1).unwrap();
        let parameter = CParameter::EnableLongDistanceMatching(long);
        compressor.set_parameter(parameter).unwrap();
        if long {
            compressor.set_parameter(CParameter::WindowLog(27)).unwrap();
        }
        let mut frame = Vec::new();
        let compress = fastest(|| frame = compressor.compress(plain).unwrap());
        let mut decompressor = Decompressor::new().unwrap();
        let decompress = fastest(|| drop(decompressor.decompress(&frame, plain.len()).unwrap()));
        let name = if long {
            "one frame, long-distance"
        } else {
            "one frame"
        };
        other_row(kind, name, plain.len(), frame.len(), compress, decompress);
    }
}

fn other_row(kind: &str, name: &str, plain: usize, out: usize, compress: f64, decompress: f64) {
    let rate = |seconds: f64| plain as f64 / 1e6 / seconds;
    println!(
        "| {kind} | {name} | {:.2} | {:.0} | {:.0} |",
        plain as f64 / out as f64,
        rate(compress),
        rate(decompress)
    );
}

fn pack(plain: &[u8], options: Options) -> Vec<u8> {
    let out = Vec::with_capacity(plain.len() + plain.len() / 8);
    let mut writer = Writer::new(out, options).unwrap();
    // As a stream brings them.
    for part in plain.chunks(32 * KIB) {
        writer.write_all(part).unwrap();
    }
    let (mut bytes, written) = writer.finish_frames().unwrap();
    let snapshot = Snapshot {
        size: written.size,
        page_size: PAGE as u32,
        ..Snapshot::default()
    };
    let manifest = Manifest::new(Made::default(), snapshot, Etcd::default(), written.frames);
    bytes.extend(tail(&manifest).unwrap());
    bytes
}

fn open(bytes: &[u8]) -> Archive {
    Archive::open(Image::from_memory(bytes.to_vec()), &Limits::default()).unwrap()
}

/// Seconds of the fastest of seven runs: the one that was disturbed least by what else the machine does.
fn fastest(mut run: impl FnMut()) -> f64 {
    let times = (0..7).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// The records of a real snapshot, again and again, in a file of `size` bytes.
fn protobuf(size: usize) -> Vec<u8> {
    let image = Image::from_memory(std::fs::read(SEED).unwrap());
    let limits = Limits::default();
    let db = Db::open(&image, &limits).unwrap().unwrap();
    let mut found = Collect::up_to(64 * MIB);
    walk::bucket(&db, b"key", &limits, &Unobserved, &mut found).unwrap();
    let records = found.buckets.remove(0).1;
    let mut random = Random(1);
    let mut revision = 0u64;
    file(size, || {
        // In no order: a cycle as long as the snapshot would suit one window and not the other.
        let (_, value) = &records[random.next() as usize % records.len()];
        revision += 1;
        (key(revision), vary(value, &mut random))
    })
}

/// Custom resources as the API server stores them: JSON, half of it `managedFields`.
fn json(size: usize) -> Vec<u8> {
    let mut random = Random(2);
    let mut revision = 0u64;
    file(size, || {
        revision += 1;
        let words = [
            "shop",
            "payments",
            "team-a",
            "ingress",
            "monitoring",
            "default",
        ];
        let mut word = || words[random.next() as usize % words.len()];
        let (namespace, app, owner) = (word(), word(), word());
        let (uid, hash) = (random.next(), random.next());
        let (day, second, port) = (
            random.next() % 28,
            random.next() % 86_400,
            random.next() % 60_000,
        );
        let value = format!(
            r#"{{"apiVersion":"widgets.example.com/v1","kind":"Widget","metadata":{{"annotations":{{"checksum/config":"{hash:016x}{uid:016x}"}},"creationTimestamp":"2026-10-{day:02}T11:{second:05}Z","generation":{},"labels":{{"app.kubernetes.io/instance":"{app}","app.kubernetes.io/managed-by":"{owner}"}},"managedFields":[{{"apiVersion":"widgets.example.com/v1","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:annotations":{{".":{{}},"f:checksum/config":{{}}}},"f:labels":{{".":{{}},"f:app.kubernetes.io/instance":{{}},"f:app.kubernetes.io/managed-by":{{}}}}}},"f:spec":{{".":{{}},"f:host":{{}},"f:port":{{}},"f:replicas":{{}}}},"f:status":{{"f:conditions":{{}}}}}},"manager":"{owner}-controller","operation":"Update","time":"2026-10-{day:02}T12:{second:05}Z"}}],"name":"{app}-{:x}","namespace":"{namespace}","resourceVersion":"{revision}","uid":"{uid:016x}"}},"spec":{{"host":"{app}.{namespace}.svc.cluster.local","port":{port},"replicas":{}}},"status":{{"conditions":[{{"lastTransitionTime":"2026-10-{day:02}T13:{second:05}Z","message":"{app} is up","reason":"Ready","status":"True","type":"Ready"}}]}}}}"#,
            day % 5,
            hash >> 40,
            port % 4
        );
        (key(revision), value.into_bytes())
    })
}

/// Values that do not compress: secrets encrypted at rest.
fn random(size: usize) -> Vec<u8> {
    let mut random = Random(3);
    let mut revision = 0u64;
    file(size, || {
        revision += 1;
        let value = (0..400).flat_map(|_| random.next().to_le_bytes()).collect();
        (key(revision), value)
    })
}

/// A bbolt file of about `size` bytes.
fn file(size: usize, mut next: impl FnMut() -> Item) -> Vec<u8> {
    let mut builder = Builder::new(Cursor::new(Vec::new()), PAGE as u32).unwrap();
    builder.bucket(b"key", 0).unwrap();
    let mut bytes = 0;
    while bytes < size {
        let (key, value) = next();
        builder.item(&key, value.len() as u64).unwrap();
        builder.value(&value).unwrap();
        builder.item_end().unwrap();
        bytes += key.len() + value.len();
    }
    builder.bucket_end().unwrap();
    let (out, _) = builder.finish().unwrap();
    out.into_inner()
}

/// A revision as the `key` bucket has it.
fn key(main: u64) -> Vec<u8> {
    [&main.to_be_bytes()[..], b"_", &[0; 8]].concat()
}

/// Makes new what differs from object to object: runs of hex digits and of base64, and counters behind a
/// dash. Lengths stay, so that it stays protobuf.
fn vary(value: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = value.to_vec();
    let is_code = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let mut at = 0;
    while at < out.len() {
        let len = out[at..].iter().take_while(|byte| is_code(byte)).count();
        let run = &mut out[at..at + len];
        let hex = run.iter().all(|byte| b"0123456789abcdef".contains(byte));
        if len >= 40 || hex && len >= 4 || run.iter().all(u8::is_ascii_digit) {
            for byte in run {
                *byte = match *byte {
                    b'0'..=b'9' => b'0' + (random.next() % 10) as u8,
                    b'a'..=b'f' if hex => b'a' + (random.next() % 6) as u8,
                    b'a'..=b'z' => b'a' + (random.next() % 26) as u8,
                    b'A'..=b'Z' => b'A' + (random.next() % 26) as u8,
                    other => other,
                };
            }
        }
        at += len.max(1);
    }
    out
}

/// xorshift64*: no statistics are asked of it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
