//! Bytes and frames that are not of the archive they are in: what is inside is proved all the same, and
//! nobody is told that the file is as it was made.

use std::process::Command;

use super::filter;
use super::site::{ARCHIVE, LARGE, SMALL, Site, packed, parts};

/// What `zstd -t` says of the file, in its own words; nothing when it takes it.
fn zstd_says(site: &Site, name: &str) -> String {
    let output = Command::new("zstd")
        .args(["-q", "-t", name])
        .current_dir(site.dir())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    let words = said.rsplit(" : ").next().unwrap_or_default();
    let words = words.rsplit(": ").next().unwrap_or_default();
    words.trim().to_owned()
}

/// GOOD with a warning at `offset` that has these words, in every format; the container is not good.
#[track_caller]
fn warns(site: &Site, offset: usize, told: &str) {
    site.run(&["verify", "x.zst"])
        .ok()
        .stdout_has("GOOD")
        .stderr_has(&format!("warning: x.zst: offset {offset}: {told}"));
    let table = site.run(&["verify", "-w=table", "x.zst"]).ok();
    let table = table
        .stdout_has(&format!("offset {offset}: {told}"))
        .stdout_str();
    assert!(table.contains("  container           flawed: "), "{table}");
    assert!(!table.contains("every frame is whole"), "{table}");
    let json = site.run(&["verify", "-w=json", "x.zst"]).ok().json();
    assert_eq!(json["results"][0]["packed"]["container"], "flawed");
    site.run(&["unpack", "--force", "x.zst", "y"]).ok();
    assert!(site.read("y") == *LARGE);
}

#[test]
fn bytes_that_are_no_frame() {
    let data = parts(&ARCHIVE).1;
    let third: usize = data[..2].iter().map(Vec::len).sum();
    let tail: usize = data.concat().len();
    for (at, stray) in [
        (0, &b"hello"[..]),
        (third, b"hello"),
        (tail, b"hello"),
        (ARCHIVE.len(), b"hello"),
        (ARCHIVE.len(), b"x"),
        (ARCHIVE.len(), &[0; 5000]),
    ] {
        println!("{} bytes at {at}", stray.len());
        let mut bytes = ARCHIVE.clone();
        bytes.splice(at..at, stray.iter().copied());
        let site = Site::with("x.zst", &bytes);
        let said = zstd_says(&site, "x.zst");
        assert!(!said.is_empty());
        let told = format!(
            "{} bytes that are no zstd frame; zstd -t and zstd -d fail on them: {said}",
            stray.len()
        );
        warns(&site, at, &told);
    }
}

/// Half an archive behind a whole one: its first frame is whole, its second has no end.
#[test]
fn a_cut_archive_behind_another() {
    let frames = parts(&ARCHIVE).1;
    let cut = &ARCHIVE[..frames[0].len() + frames[1].len() / 2];
    let site = Site::with("x.zst", &[&ARCHIVE, cut].concat());
    assert!(!zstd_says(&site, "x.zst").is_empty());
    warns(&site, ARCHIVE.len(), "a frame that is not of this archive");
    let at = ARCHIVE.len() + frames[0].len();
    warns(
        &site,
        at,
        &format!("{} bytes that are no zstd frame", frames[1].len() / 2),
    );
}

/// `zstd -t` is content, and `zstd -d` gives two snapshots.
#[test]
fn two_archives_in_one_file() {
    let small = packed(&SMALL);
    let data = parts(&ARCHIVE).1.len();
    let again = format!("{data} frames that are not of this archive: zstd -d gives");
    for (bytes, offset, told, more) in [
        (
            [&**ARCHIVE, &ARCHIVE].concat(),
            ARCHIVE.len(),
            again.as_str(),
            LARGE.len(),
        ),
        (
            [&small, &**ARCHIVE].concat(),
            0,
            "a frame that is not of this archive: zstd -d gives",
            SMALL.len(),
        ),
    ] {
        let site = Site::with("x.zst", &bytes);
        assert_eq!(zstd_says(&site, "x.zst"), "");
        assert_eq!(filter("zstd", &["-dc"], &bytes).len(), LARGE.len() + more);
        warns(&site, offset, &format!("{told} {more} bytes more"));
    }
}

/// What a manifest or a seek table cost is told in the same way.
#[test]
fn a_broken_end() {
    let tail: usize = parts(&ARCHIVE).1.concat().len();
    for at in [tail + 100, ARCHIVE.len() - 5, ARCHIVE.len() - 1] {
        let mut bytes = ARCHIVE.clone();
        bytes[at] ^= 1;
        let site = Site::with("x.zst", &bytes);
        let table = site.run(&["verify", "-w=table", "x.zst"]).ok();
        table
            .stdout_has("  container           flawed: ")
            .stdout_has("  warning ");
        assert_eq!(
            zstd_says(&site, "x.zst"),
            "",
            "byte {at} is in a skippable frame"
        );
    }
}
