//! A table of damage to an archive of many frames: what each one costs, in exit codes and words.

use std::ops::Range;

use super::site::{ARCHIVE, LARGE, Site, packed, parts};
use crate::hostile::house::{self, House};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::tree::names;

/// 50 of `fill::bulk`, 300 of `fill::kubernetes`.
const KEYS: u64 = 350;

/// What comes of it.
#[derive(Clone, Copy, Debug)]
enum Cost {
    /// All is there: GOOD, with this warning.
    Warning(&'static str),
    /// As [`Cost::Warning`], and nothing is known of the manifest any more.
    Unnoticed,
    /// This frame, and keys with it.
    Frame(usize),
    /// Everything from here on.
    Cut,
    /// It is no archive any more.
    NoZstd,
}

/// The frames of [`ARCHIVE`], then manifest, then seek table.
struct Anatomy {
    frames: Vec<Range<usize>>,
    manifest: Range<usize>,
    seek: Range<usize>,
}

impl Anatomy {
    fn new() -> Anatomy {
        let (mut frames, mut at) = (Vec::new(), 0);
        for frame in parts(&ARCHIVE).1 {
            frames.push(at..at + frame.len());
            at += frame.len();
        }
        let len = u32::from_le_bytes(ARCHIVE[at + 4..at + 8].try_into().unwrap());
        let end = at + 8 + len as usize;
        Anatomy {
            frames,
            manifest: at..end,
            seek: end..ARCHIVE.len(),
        }
    }
}

fn flipped(at: usize) -> Vec<u8> {
    let mut bytes = ARCHIVE.clone();
    bytes[at] ^= 0x10;
    bytes
}

fn with_inserted(at: usize) -> Vec<u8> {
    let mut bytes = ARCHIVE.clone();
    bytes.splice(at..at, *b"hello");
    bytes
}

fn without(range: Range<usize>) -> Vec<u8> {
    let mut bytes = ARCHIVE.clone();
    bytes.drain(range);
    bytes
}

fn middle(range: &Range<usize>) -> usize {
    range.start.midpoint(range.end)
}

#[test]
fn flipped_bytes() {
    let a = Anatomy::new();
    let last = a.frames.len() - 1;
    for frame in [0, 1, last / 2, last] {
        let range = &a.frames[frame];
        // zstd's magic, the header, the data, its checksum.
        for at in [range.start, range.start + 4, middle(range), range.end - 1] {
            check(&flipped(at), Cost::Frame(frame));
        }
    }
    let json = middle(&a.manifest);
    check(&flipped(json), Cost::Warning("the manifest has CRC-32"));
    check(
        &flipped(a.manifest.end - 1),
        Cost::Warning("no sound manifest"),
    );
    check(
        &flipped(a.manifest.end - 10),
        Cost::Warning("the manifest has CRC-32"),
    );
    check(&flipped(a.manifest.start), Cost::Warning("manifest"));
    check(&flipped(a.seek.start), Cost::Warning("seek table"));
    check(&flipped(a.seek.start + 9), Cost::Warning("seek table"));
    check(&flipped(a.seek.end - 5), Cost::Warning("seek table"));
    check(
        &flipped(a.seek.end - 1),
        Cost::Warning("no sound seek table"),
    );
}

#[test]
fn cuts() {
    let a = Anatomy::new();
    check(
        &ARCHIVE[..a.seek.end - 1],
        Cost::Warning("no sound seek table"),
    );
    check(
        &ARCHIVE[..a.seek.start],
        Cost::Warning("no sound seek table"),
    );
    check(&ARCHIVE[..a.manifest.start], Cost::Unnoticed);
    for range in &a.frames {
        check(&ARCHIVE[..middle(range)], Cost::Cut);
        if range.start > 0 {
            check(&ARCHIVE[..range.start], Cost::Cut);
        }
    }
    check(&ARCHIVE[..3], Cost::NoZstd);
    check(b"", Cost::NoZstd);
}

#[test]
fn bytes_inserted_and_lost() {
    let a = Anatomy::new();
    let hit = &a.frames[3];
    check(&with_inserted(middle(hit)), Cost::Frame(3));
    check(&without(middle(hit)..middle(hit) + 100), Cost::Frame(3));
    check(&without(hit.clone()), Cost::Frame(3));
    let moved = "the frames of the manifest end at";
    check(&with_inserted(hit.start), Cost::Warning(moved));
    check(&with_inserted(0), Cost::Warning(moved));
    check(&with_inserted(a.manifest.start), Cost::Warning(moved));
    check(&with_inserted(a.seek.start), Cost::Warning("seek table"));
    check(
        &with_inserted(a.seek.end),
        Cost::Warning("no sound seek table"),
    );
}

/// Two frames in each other's place: each is whole, and neither is where it should be.
#[test]
fn frames_in_the_wrong_order() {
    let (_, mut frames) = parts(&ARCHIVE);
    let data = frames.concat().len();
    frames.swap(4, 5);
    let mut bytes = frames.concat();
    bytes.extend(&ARCHIVE[data..]);
    check(&bytes, Cost::Frame(4));
    check(&bytes, Cost::Frame(5));
}

/// Every command on it, and what they leave behind.
#[track_caller]
fn check(bytes: &[u8], cost: Cost) {
    let site = Site::with("x.zst", bytes);
    println!("{} bytes, {cost:?}", bytes.len());
    let verify = site.run(&["verify", "x.zst"]);
    let verdict = verify.stdout_str();
    match cost {
        Cost::Warning(_) | Cost::Unnoticed => {
            let told = match cost {
                Cost::Warning(told) => told,
                _ => "",
            };
            verify.ok().stdout_has("GOOD").stderr_has(told);
            assert!(verdict.contains(&format!("{KEYS} live keys")), "{verdict}");
            site.run(&["unpack", "x.zst", "x.db"]).ok();
            assert!(site.read("x.db") == *LARGE);
            site.run(&["restore", "x.zst", "--data-dir", "new"]).ok();
            site.run(&["status", "--full", "x.zst"]).ok();
            site.run(&["pack", "x.zst", "again.zst"]).ok();
            site.run(&["verify", "again.zst"]).ok().stderr_is("");
        }
        Cost::Frame(_) | Cost::Cut | Cost::NoZstd => {
            verify.code(3);
            assert!(!verdict.contains("GOOD"), "{verdict}");
            for args in [
                &["unpack", "x.zst", "x.db"][..],
                &["unpack", "x.zst", "-"],
                &["pack", "x.zst", "again.zst"],
                &["restore", "x.zst", "--data-dir", "new"],
                &["restore", "x.zst", "--raw", "--data-dir", "new"],
            ] {
                let output = site.run(args);
                let refused = [Some(2), Some(3)].contains(&output.code);
                output
                    .expect(refused, "exit code 3 (2: not compressed)")
                    .stdout_is("");
            }
            assert_eq!(names(site.dir()), ["x.zst"]);
        }
    }
    if let Cost::Frame(frame) = cost {
        names_the_loss(&site, frame);
    }
    assert!(site.read("x.zst") == bytes, "the input was written to");
}

/// The frame, where it is, the pages it costs, and how many keys are out of reach.
#[track_caller]
fn names_the_loss(site: &Site, frame: usize) {
    let (manifest, frames) = parts(&ARCHIVE);
    let json = site.run(&["verify", "-w", "json", "x.zst"]).code(3);
    let result = &json.json()["results"][0];
    assert_eq!(result["packed"]["container"], "damaged");
    let lost = result["packed"]["framesDamaged"].as_u64().unwrap();
    assert!((1..=2).contains(&lost), "{lost} frames");
    let findings: Vec<String> = result["report"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["what"].as_str().unwrap().to_owned())
        .collect();
    let offset: usize = frames[..frame].iter().map(Vec::len).sum();
    let piece = manifest.frames.piece;
    let start = frame as u64 * piece;
    let end = (start + piece).min(LARGE.len() as u64);
    let (first, last) = (start / 4096, (end - 1) / 4096);
    let what = format!(
        "frame {frame} at offset {offset} ({} bytes)",
        frames[frame].len()
    );
    let costs = format!(
        "it costs bytes {start} to {} of the snapshot, pages {first} to {last}",
        end - 1
    );
    let told = findings
        .iter()
        .any(|finding| finding.contains(&what) && finding.contains(&costs));
    assert!(told, "{what}, {costs}: {findings:#?}");
    let keys = match frame {
        0 => format!("none of the {KEYS} live keys can be reached"),
        _ => format!("of {KEYS} live keys cannot be reached any more"),
    };
    assert!(findings[0].contains(&keys), "{keys}: {}", findings[0]);
    let lies = findings
        .iter()
        .any(|finding| finding.contains("manifest says"));
    assert!(
        !lies,
        "what is lost is no lie of the manifest: {findings:#?}"
    );
}

/// Most of the file is pages that are free: a frame of them costs the proof, and no key.
#[test]
fn a_damaged_frame_in_a_free_region() {
    let server = Etcd::new("3.7").start();
    let mut api = server.api();
    fill::bulk(&mut api, "bulk/", 60, 100_000);
    let all = etcd_client::DeleteOptions::new().with_prefix();
    let deleted = api.call(async |c| c.delete("bulk/", Some(all)).await);
    fill::compact(&mut api, deleted.header().unwrap().revision());
    api.put("left", "over");
    let archive = packed(&std::fs::read(server.snapshot_save("free.db")).unwrap());
    let site = Site::new();
    let (mut at, mut harmless) = (0, 0);
    for frame in parts(&archive).1 {
        let mut bytes = archive.clone();
        bytes[at + frame.len() / 2] ^= 1;
        at += frame.len();
        site.write("x.zst", &bytes);
        let output = site.run(&["verify", "x.zst"]).code(3).stdout_has("DAMAGED");
        let costs = output.stderr.contains("live keys cannot be reached")
            || output.stderr.contains("none of the 1 live keys");
        let none = output
            .stderr
            .contains("all 1 live keys can still be reached");
        harmless += usize::from(none);
        output.expect(costs != none || !none, "one or the other");
        // The last one has the trailer, without which a raw input will do.
        for flags in ["--data-dir=new", "--data-dir=new --dry-run"] {
            let args = ["restore", "x.zst", "--raw"].into_iter();
            let args: Vec<_> = args.chain(flags.split(' ')).collect();
            site.run(&args).code(3).stdout_is("");
        }
    }
    assert!(harmless > 5, "{harmless} frames were free");
}

/// A value of many frames, one of them lost: what is known of it ends there, and so does all that is made of it.
#[test]
fn a_value_that_breaks_off() {
    let mut content = house::content(4096);
    let mut buckets = content.iter_mut();
    let (_, keys) = buckets.find(|(name, _)| name == b"key").unwrap();
    let value = fill::noise(7, 6 << 20);
    keys.push(house::put(11, 0, b"long", 11, 1, &value, 0));
    let snapshot = House::of(&content, 4096).file.sealed();
    let mut archive = packed(&snapshot);
    let middle = archive.len() / 2;
    archive[middle] ^= 0x10;
    let site = Site::with("x.zst", &archive);
    // Nobody knows what comes after it: that it is missing would not be true.
    site.run(&["verify", "x.zst"])
        .code(3)
        .stdout_has("structure damaged, meaning unchecked")
        .stderr_has("1 of 7 live keys cannot be reached")
        .stderr_lacks("bucket meta is missing")
        .stderr_lacks("consistent_index");
    site.run(&["restore", "x.zst", "--data-dir", "y"]).code(3);
    assert_eq!(names(site.dir()), ["x.zst"]);
}
