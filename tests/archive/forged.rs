//! Archives that lie, and bombs: refused, in bounded memory and time.

use std::time::Duration;

use etcd_rescue::archive::Manifest;

use super::filter;
use super::site::{ARCHIVE, LARGE, SMALL, Site, assemble, packed, parts};
use crate::util::mount::Namespace;
use crate::util::run::Rescue;
use crate::util::temp_dir;
use crate::util::tree::names;

type Lie = fn(&mut Manifest);

#[test]
fn a_newer_format_names_the_version_that_reads_it() {
    let (mut manifest, frames) = parts(&packed(&SMALL));
    (manifest.format, manifest.needs) = (2, "7.0.0".into());
    let site = Site::with("x.zst", &assemble(manifest, &frames));
    for args in [
        &["verify", "x.zst"][..],
        &["status", "x.zst"],
        &["status", "--full", "x.zst"],
        &["pack", "x.zst", "y"],
        &["unpack", "x.zst", "y"],
        &["restore", "x.zst", "--data-dir", "y"],
    ] {
        site.run(args).code(4).stderr_has("etcd-rescue 7.0.0");
    }
    assert_eq!(names(site.dir()), ["x.zst"]);
    // zstd needs no manifest: nobody is locked out.
    assert!(filter("zstd", &["-d", "-c"], &site.read("x.zst")) == *SMALL);
}

#[test]
fn what_the_manifest_says_must_be_inside() {
    let lies: [(&str, Lie); 11] = [
        ("revision", |m| m.etcd.revision += 1),
        ("live keys", |m| m.etcd.live_keys -= 1),
        ("total keys", |m| m.etcd.total_keys += 1),
        ("hash", |m| m.etcd.hash ^= 1),
        ("db size", |m| m.etcd.db_size -= 4096),
        ("SHA-256", |m| m.snapshot.sha256 = "00".repeat(32)),
        ("trailer", |m| m.snapshot.trailer = false),
        ("page size", |m| m.snapshot.page_size = 8192),
        ("compacted revision", |m| m.etcd.compacted_revision = 5),
        ("storage version", |m| {
            m.etcd.storage_version = Some("9.9.0".into())
        }),
        ("in use", |m| m.etcd.in_use -= 4096),
    ];
    let (manifest, frames) = parts(&packed(&SMALL));
    for (what, lie) in lies {
        let mut lying = manifest.clone();
        lie(&mut lying);
        let site = Site::with("x.zst", &assemble(lying, &frames));
        site.run(&["verify", "x.zst"])
            .code(3)
            .stdout_has("DAMAGED")
            .stdout_has("container damaged")
            .stderr_has(&format!("the manifest says {what} "));
        site.run(&["unpack", "x.zst", "y"]).code(3);
        site.run(&["restore", "x.zst", "--data-dir", "y"]).code(3);
        assert_eq!(names(site.dir()), ["x.zst"]);
    }
}

/// Sizes that are not those of the frames: the manifest contradicts itself, or the frames it.
#[test]
fn a_manifest_that_lies_about_sizes() {
    let (manifest, frames) = parts(&ARCHIVE);
    let lies: [Lie; 7] = [
        |m| m.snapshot.size -= 1,
        |m| m.snapshot.size += 1,
        |m| m.snapshot.size = u64::MAX,
        |m| m.frames.piece *= 2,
        |m| m.frames.piece = 1 << 40,
        |m| m.frames.piece = 0,
        |m| {
            m.frames.piece = 1 << 31;
            m.snapshot.size = (m.frames.list.len() as u64) << 31;
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        println!("lie {number}");
        let mut lying = manifest.clone();
        lie(&mut lying);
        let site = Site::with("x.zst", &assemble(lying, &frames));
        let verify = site.run(&["verify", "x.zst"]);
        let unpack = site.run(&["unpack", "x.zst", "y"]);
        assert_eq!(verify.code, unpack.code, "{verify}\n{unpack}");
        // A manifest that makes no sense is none; what is inside can be proved without it.
        match verify.code {
            Some(0) => {
                verify
                    .stdout_has("snapshot in zstd")
                    .stderr_has("warning: ");
                assert!(site.read("y") == *LARGE);
            }
            _ => drop(verify.code(3).stdout_has("DAMAGED")),
        }
    }
}

/// A frame in the place of another that gives 200 MiB, with a size in its header and without.
#[test]
fn a_frame_that_gives_more_than_it_should() {
    let zeros = vec![0; 200 << 20];
    let size = format!("--stream-size={}", zeros.len());
    for args in [&["-c", "-1", &size][..], &["-c", "-1", "--no-content-size"]] {
        let (manifest, mut frames) = parts(&ARCHIVE);
        frames[3] = filter("zstd", args, &zeros);
        let site = Site::with("x.zst", &assemble(manifest, &frames));
        site.run(&["verify", "x.zst"])
            .code(3)
            .stdout_has("DAMAGED")
            .stderr_has("frame 3 at offset");
        site.run(&["unpack", "x.zst", "y"]).code(3);
        site.run(&["restore", "x.zst", "--data-dir", "y"]).code(3);
        assert_eq!(names(site.dir()), ["x.zst"]);
    }
}

/// A header alone, which claims what no machine has.
#[test]
fn a_frame_that_claims_too_much() {
    for claim in [17 << 20, 1 << 40, u64::MAX] {
        let mut bytes = b"\x28\xb5\x2f\xfd\xe0".to_vec();
        bytes.extend(u64::to_le_bytes(claim));
        bytes.extend([0; 100]);
        let site = Site::with("x.zst", &bytes);
        site.run(&["verify", "x.zst"]).code(3);
        site.run(&["status", "x.zst"]).code(3);
        site.run(&["unpack", "x.zst", "y"]).code(3);
        site.pipe(&["verify", "-"], &bytes).code(3);
        assert_eq!(names(site.dir()), ["x.zst"]);
    }
}

/// A gigabyte of zeros in a few bytes is no snapshot, and nobody waits for it to be unpacked.
#[test]
fn bombs() {
    let zeros = vec![0; 256 << 20];
    for (program, args) in [("gzip", ["-c", "-1"]), ("zstd", ["-c", "-1"])] {
        let once = filter(program, &args, &zeros);
        let bomb = once.repeat(4);
        let site = Site::with("bomb", &bomb);
        for args in [
            &["verify", "bomb"][..],
            &["status", "bomb"],
            &["unpack", "bomb", "y"],
            &["pack", "bomb", "y"],
            &["restore", "bomb", "--data-dir", "y"],
        ] {
            site.run(args).code(3).stderr_has("is not an etcd snapshot");
        }
        site.pipe(&["verify", "-"], &bomb).code(3);
        assert_eq!(names(site.dir()), ["bomb"]);
        // With a snapshot in front: that one says how long it is.
        let bomb = [filter(program, &args, &SMALL), once.clone(), once].concat();
        let site = Site::with("bomb", &bomb);
        let told = format!("error: bomb ({program}-compressed): {BEHIND}");
        for args in [
            &["verify", "bomb"][..],
            &["status", "bomb"],
            &["unpack", "--raw", "bomb", "y"],
            &["restore", "bomb", "--data-dir", "y"],
        ] {
            site.run(args)
                .code(3)
                .stderr_has(&told)
                .stderr_has("hint: the snapshot itself ends after 294944 bytes")
                .stderr_lacks("TMPDIR");
        }
        let told = format!("error: standard input ({program}-compressed): {BEHIND}");
        site.pipe(&["verify", "-"], &bomb).code(3).stderr_has(&told);
        assert_eq!(names(site.dir()), ["bomb"]);
    }
}

/// Twice what the snapshot says, and 64 MiB that a server may have reserved.
const BEHIND: &str = "the snapshot says that it has 294912 bytes, and more than 67698688 came";

/// As long as pages behind it may be those that a server reserved, it is a raw copy.
#[test]
fn reserved_pages_are_no_bomb() {
    let mut raw = SMALL[..SMALL.len() - 32].to_vec();
    raw.resize(raw.len() + (64 << 20), 0);
    let site = Site::new();
    for bytes in [filter("gzip", &["-c", "-1"], &raw), raw] {
        site.pipe(&["verify", "--raw", "-"], &bytes)
            .ok()
            .stdout_has("GOOD");
    }
}

/// Whoever writes never stops: the snapshot says where it ends. Behind an archive only the disk does, and
/// nothing is left there.
#[test]
fn a_pipe_without_end() {
    let site = Site::new();
    let zeros = vec![0; 200 << 20];
    site.pipe(&["verify", "-"], &zeros)
        .code(3)
        .stderr_has("not an etcd snapshot");
    site.pipe(&["verify", "-"], &[&SMALL, &zeros[..]].concat())
        .code(3)
        .stderr_has(&format!("error: standard input: {BEHIND}"))
        .stderr_lacks("TMPDIR");
    assert!(names(site.dir()).is_empty());
    let dir = temp_dir();
    let disk = Namespace::tmpfs(dir.path(), "20m");
    let verify = Rescue::new(["verify", "-"]).env("TMPDIR", dir.path());
    disk.run_with(&verify, [packed(&SMALL), zeros].concat())
        .code(1)
        .stderr_has("No space left on device")
        .stderr_has("hint: point TMPDIR");
    assert!(names(&disk.outside(dir.path())).is_empty());
}

/// zstd holds the whole window in memory; `zstd -d` refuses the same ones.
#[test]
fn a_window_that_is_too_large() {
    for log in ["28", "31"] {
        let bytes = filter("zstd", &["-c", &format!("--long={log}")], &SMALL);
        let site = Site::with("wide.zst", &bytes);
        for args in [
            &["verify", "wide.zst"][..],
            &["status", "wide.zst"],
            &["restore", "wide.zst", "--data-dir", "y"],
        ] {
            site.run(args)
                .code(3)
                .stderr_has("error: cannot unpack wide.zst (zstd-compressed): it needs a window of more than 128 MiB\n")
                .stderr_has("hint: its header is damaged, or zstd made it with --long and")
                .stderr_has("zstd -dc --long=31 FILE | etcd-rescue verify -\n");
        }
        let plain = filter("zstd", &["-dc", "--long=31"], &bytes);
        site.pipe(&["verify", "-"], &plain).ok();
        assert_eq!(names(site.dir()), ["wide.zst"]);
    }
}

/// `--help` says 2 MiB for each thread at level 1, beside 30 MiB: 54 MiB, and 64 are the bound here.
#[test]
fn threads_need_what_the_help_says() {
    let mut noise = 1_u64;
    let reserved = std::iter::repeat_with(|| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise
    });
    let mut raw = SMALL[..SMALL.len() - 32].to_vec();
    raw.extend(reserved.take(8 << 20).flat_map(u64::to_le_bytes));
    let site = Site::with("raw.db", &raw);
    site.run(&["pack", "--raw", "-T12", "raw.db", "out.zst"])
        .ok();
}

/// More than anybody reads, most of it one unknown field: as if it were not there.
#[test]
fn a_manifest_that_is_too_much() {
    let (mut manifest, frames) = parts(&packed(&SMALL));
    let long = serde_json::Value::from("x".repeat(65 << 20));
    manifest.extra.insert("later".into(), long);
    let site = Site::with("x.zst", &assemble(manifest, &frames));
    site.run(&["verify", "x.zst"])
        .ok()
        .stdout_has("snapshot in zstd")
        .stderr_has("warning: ")
        .stderr_has("the manifest says that it has");
}

/// Each of 120,000 headers begins a frame whose blocks step over the headers of all others, up to the end of the
/// file: to look for a sound one among them, each to its end, would take hours.
#[test]
fn frames_that_overlap_take_no_time() {
    let header: &[u8] = b"\x28\xb5\x2f\xfd\x20\x01";
    let steps_over_the_next = (header.len() as u32) << 3;
    let unit = [header, &steps_over_the_next.to_le_bytes()[..3]].concat();
    let site = Site::with("maze.zst", &unit.repeat(120_000));
    site.run(&["verify", "maze.zst"])
        .code(3)
        .within(Duration::from_secs(10));
}
