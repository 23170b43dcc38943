//! What was compressed once more: by who moved it, by a file system that was told to, by mistake.

use super::filter;
use super::site::{ARCHIVE, LARGE, SMALL, Site, assemble, packed, parts};
use crate::util::tree::names;

/// Compressed once more, by whom; zstd with and without the size in its header.
fn around(inner: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let size = format!("--stream-size={}", inner.len());
    [
        ("gzip", filter("gzip", &["-c"], inner)),
        ("zstd", filter("zstd", &["-c"], inner)),
        ("zstd", filter("zstd", &["-c", &size], inner)),
    ]
}

#[test]
fn every_command_takes_two_layers() {
    for (what, inner) in [
        ("archive of a snapshot", packed(&SMALL)),
        ("snapshot in gzip", filter("gzip", &["-c"], &SMALL)),
        ("snapshot in zstd", filter("zstd", &["-c"], &SMALL)),
    ] {
        for (number, (outer, bytes)) in around(&inner).into_iter().enumerate() {
            println!("{what}, {outer}, number {number}");
            let site = Site::with("input", &bytes);
            let told = format!("{what}, {outer}-compressed");
            site.run(&["verify", "input"])
                .ok()
                .stdout_has(&format!("GOOD      input  {told}, revision 308"))
                .stderr_is("");
            site.pipe(&["verify", "-"], &bytes).ok().stdout_has(&told);
            site.run(&["status", "input"])
                .ok()
                .stdout_is("2ea5aecf, 308, 275, 295 kB, \n");
            site.run(&["status", "-w=table", "input"])
                .ok()
                .stdout_has(&format!("{outer}-compressed"));
            site.run(&["pack", "input", "packed"]).ok();
            assert!(filter("zstd", &["-d", "-c"], &site.read("packed")) == *SMALL);
            site.run(&["unpack", "input", "unpacked"]).ok();
            assert!(site.read("unpacked") == *SMALL);
            site.run(&["restore", "input", "--data-dir", "new"]).ok();
            site.run(&["verify", "--raw", "new"]).ok();
            assert!(site.read("input") == bytes);
            assert_eq!(names(site.dir()), ["input", "new", "packed", "unpacked"]);
        }
    }
}

#[test]
fn a_third_layer_is_too_many() {
    for (_, two) in around(&packed(&SMALL)) {
        for (_, three) in around(&two) {
            let site = Site::with("input", &three);
            for args in [
                &["verify", "input"][..],
                &["status", "input"],
                &["unpack", "input", "y"],
                &["restore", "input", "--data-dir", "y"],
            ] {
                site.run(args)
                    .code(1)
                    .stderr_has("error: input ")
                    .stderr_has("compressed more than twice")
                    .stderr_has("hint: ");
            }
            assert_eq!(names(site.dir()), ["input"]);
        }
    }
}

/// The frame is named as if the archive were alone, and nothing is made of it.
#[test]
fn damage_inside_is_told_as_ever() {
    let mut archive = ARCHIVE.clone();
    archive[600_000] ^= 1;
    for (outer, bytes) in around(&archive) {
        let site = Site::with("input", &bytes);
        site.run(&["verify", "input"])
            .code(3)
            .stdout_has(&format!("archive of a snapshot, {outer}-compressed"))
            .stdout_has("container damaged")
            .stderr_has("frame 1 at offset");
        site.run(&["unpack", "input", "y"]).code(3);
        assert_eq!(names(site.dir()), ["input"]);
    }
    // The outer layer is cut.
    for (_, bytes) in around(&packed(&LARGE)) {
        let site = Site::with("input", &bytes[..bytes.len() / 2]);
        site.run(&["verify", "input"]).code(3);
        site.run(&["unpack", "input", "y"]).code(3);
        assert_eq!(names(site.dir()), ["input"]);
    }
}

/// What can be done without in the outer layer is told all the same.
#[test]
fn a_flaw_of_the_outer_layer_is_told() {
    let inner = filter("gzip", &["-c"], &SMALL);
    let size = format!("--stream-size={}", inner.len());
    let (mut manifest, _) = parts(&packed(&SMALL));
    manifest.snapshot.size = inner.len() as u64;
    let mut outer = assemble(manifest, &[filter("zstd", &["-c", &size], &inner)]);
    let format = outer.windows(9).rposition(|it| it == b"\"format\":");
    outer[format.unwrap() + 1] ^= 1;
    let site = Site::with("input", &outer);
    site.run(&["verify", "input"])
        .ok()
        .stdout_has("snapshot in gzip, zstd-compressed")
        .stderr_has("the manifest has CRC-32")
        .stderr_has("no sound manifest in front of the seek table");
}

/// An archive does not get smaller: what grows like this is no archive, and must not fill a disk.
#[test]
fn a_bomb_that_begins_like_an_archive() {
    let zeros = vec![0; 256 << 20];
    let bomb = [packed(&SMALL), zeros].concat();
    for (outer, bytes) in around(&bomb) {
        println!("{outer}");
        let site = Site::with("bomb", &bytes);
        let verify = site.run(&["verify", "bomb"]);
        verify
            .code(3)
            .stderr_has("error: bomb (")
            .stderr_has("more than")
            .stderr_lacks("TMPDIR");
        assert_eq!(names(site.dir()), ["bomb"]);
    }
}
