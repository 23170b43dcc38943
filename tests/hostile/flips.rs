//! Every byte flipped, one at a time. With a trailer no flip is missed; without one, only flips in what the
//! structure and the meaning leave free.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::anatomy::{self, Part};
use super::craft::{File, meta};
use super::doors;
use super::house::House;

/// Snapshots of real servers, and hand-made ones: name, and the file with its trailer.
pub fn snapshots() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hostile");
    let mut files = Vec::new();
    for name in ["rich-3.4.db", "rich-3.7.db"] {
        files.push((name.to_owned(), std::fs::read(dir.join(name)).unwrap()));
    }
    for page_size in [512, 4096] {
        let name = format!("house in pages of {page_size}");
        files.push((name, House::new(page_size).file.sealed()));
    }
    files
}

/// The image of a snapshot whose page size is in its first meta.
pub fn image(snapshot: &[u8]) -> File {
    let size = &snapshot[meta::PAGE_SIZE..meta::PAGE_SIZE + 4];
    File {
        page_size: u32::from_le_bytes(size.try_into().unwrap()) as usize,
        bytes: snapshot[..snapshot.len() - 32].to_vec(),
    }
}

/// Flips one byte after the other, on all cores; `judge` gets the place and the damaged bytes.
fn flip_all(bytes: &[u8], parts: &[Part], judge: &(dyn Fn(usize, &[u8]) + Sync)) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut bytes = bytes.to_vec();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&sound) = bytes.get(at) else {
                        break;
                    };
                    for mask in masks(at, parts) {
                        bytes[at] = sound ^ mask;
                        judge(at, &bytes);
                    }
                    bytes[at] = sound;
                }
            });
        }
    });
}

/// All bits at once and one bit alone, a different one in each byte; every bit of the metas, and of what
/// is behind the image: the trailer.
fn masks(at: usize, parts: &[Part]) -> Vec<u8> {
    match parts.get(at) {
        Some(Part::Unused) => vec![0xff],
        Some(Part::Meta) | None => (0..8).map(|bit| 1 << bit).chain([0xff]).collect(),
        Some(_) => vec![0xff, 1 << (at % 8)],
    }
}

#[test]
fn no_flip_is_missed_in_a_snapshot() {
    for (name, bytes) in snapshots() {
        assert!(doors::is_good(&bytes, false), "{name}");
        let parts = anatomy::of(&image(&bytes));
        // What --raw does not take, nothing takes.
        flip_all(&bytes, &parts, &|at, flipped| {
            assert!(
                !doors::is_good(flipped, true),
                "{name}: byte {at} was missed"
            );
        });
    }
}

#[test]
fn without_a_trailer_only_free_bytes_can_change_in_silence() {
    for (name, bytes) in snapshots() {
        let file = image(&bytes);
        let parts = anatomy::of(&file);
        let quiet = doors::verify(&file.bytes, true).unwrap().report.total();
        let missed: BTreeMap<Part, AtomicUsize> = parts
            .iter()
            .map(|part| (*part, AtomicUsize::new(0)))
            .collect();
        flip_all(&file.bytes, &parts, &|at, flipped| {
            if !doors::is_good(flipped, true) {
                return;
            }
            let part = parts[at];
            // A bucket or a key that etcd does not know: good, with a warning.
            let told = doors::verify(flipped, true).unwrap().report.total() > quiet;
            assert!(
                told || part.is_free_to_change(),
                "{name}: byte {at} ({part:?}), {:#04x} made {:#04x}, was missed",
                file.bytes[at],
                flipped[at]
            );
            missed[&part].fetch_add(1, Ordering::Relaxed);
        });
        let mut flips = BTreeMap::<Part, usize>::new();
        for (at, part) in parts.iter().enumerate() {
            *flips.entry(*part).or_default() += masks(at, &parts).len();
        }
        for (part, missed) in missed {
            let flips = flips[&part];
            println!("{name}: {part:?}: {missed:?} of {flips} flips left it good");
        }
    }
}
