//! zstd's golden files and what broke other decoders: nothing but what `zstd` itself gives comes out.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_rescue::archive::{Archive, Layout};
use etcd_rescue::io::Image;
use etcd_rescue::limits::Limits;

/// More than any of the files gives, and little enough to hold.
const MOST: u64 = 256 << 20;

fn files(set: &str) -> Vec<PathBuf> {
    let dir = crate::util::target_dir()
        .join("tools/zstd-corpora")
        .join(set);
    let mut found = Vec::new();
    let mut dirs = vec![dir.clone()];
    while let Some(dir) = dirs.pop() {
        let entries = std::fs::read_dir(&dir)
            .unwrap_or_else(|e| panic!("{}: {e}: run tests/setup.sh oracles", dir.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                // Beside each good frame lies what it gives.
                false if set == "good" && path.extension().is_none() => {}
                false => found.push(path),
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {}", dir.display());
    found.sort();
    found
}

/// What zstd's own program makes of a file.
fn theirs(path: &Path) -> Option<Vec<u8>> {
    let output = Command::new("zstd")
        .args(["-q", "-d", "-c"])
        .arg(path)
        .output()
        .unwrap();
    output.status.success().then_some(output.stdout)
}

/// What we make of it, by the way that suits its layout.
fn ours(bytes: Vec<u8>) -> Option<Vec<u8>> {
    let archive = Archive::open(Image::from_memory(bytes), &Limits::default()).ok()?;
    let mut plain = Vec::new();
    match archive.layout() {
        Layout::Stream => {
            let mut stream = archive.stream().ok()?.take(MOST);
            stream.read_to_end(&mut plain).ok()?;
        }
        Layout::Ours | Layout::Frames => {
            let image = archive.snapshot().ok()?;
            image.reader().take(MOST).read_to_end(&mut plain).ok()?;
        }
    }
    // Nothing is no snapshot, whatever the checksum behind it says.
    let something = !plain.is_empty() && !archive.findings().is_damaged();
    something.then_some(plain)
}

/// Compares, and says how many of the files both sides take.
fn agree(set: &str) -> (usize, usize) {
    let files = files(set);
    let mut taken = 0;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let (ours, theirs) = (ours(bytes), theirs(path));
        if let Some(ours) = &ours {
            let same = theirs.as_ref() == Some(ours);
            assert!(same, "{}: what came out is not zstd's", path.display());
            taken += 1;
        }
        let refused = ours.is_none() && theirs.is_some_and(|theirs| !theirs.is_empty());
        assert!(
            set != "good" || !refused,
            "{}: good, and refused",
            path.display()
        );
    }
    (taken, files.len())
}

#[test]
fn bad_frames_give_nothing() {
    for set in ["bad", "decode-regression"] {
        let (taken, all) = agree(set);
        assert!(all > 0);
        println!("{set}: {taken} of {all} taken");
    }
}

#[test]
fn good_frames_give_what_zstd_gives() {
    for (set, at_least) in [("good", 8), ("decoder", 90)] {
        let (taken, all) = agree(set);
        println!("{set}: {taken} of {all} taken");
        assert!(taken >= at_least, "only {taken} of {all} in {set}");
    }
}
