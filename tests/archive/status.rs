//! `status` of an archive: the manifest alone, unless --full.

use super::site::{ARCHIVE, LARGE, Site, parts};
use crate::util::run::Rescue;
use crate::util::strace;

#[test]
fn no_data_frame_is_read() {
    let site = Site::with("x.zst", &ARCHIVE);
    let path = site.path("x.zst");
    let data = parts(&ARCHIVE).1.concat().len() as u64;
    let read_of_data = |args: &[&str]| -> u64 {
        let run = Rescue::new(args).arg(&path);
        let (output, calls) = strace::trace(&run, "read,readv,pread64,preadv,mmap", &[]);
        output.ok();
        let of_file = calls.iter().filter(|call| call.mentions(&path));
        let read = of_file.map(|call| {
            assert!(call.is("pread64"), "the test knows no {call:?}");
            let (_, numbers) = call.args.split_once(">, ").unwrap();
            let offset = numbers.split(") = ").next().unwrap();
            let offset: u64 = offset.rsplit(", ").next().unwrap().parse().unwrap();
            let len: u64 = call.result.parse().unwrap();
            (offset + len).min(data).saturating_sub(offset)
        });
        read.sum()
    };
    let head = read_of_data(&["status"]);
    assert!(head < 4096, "{head} bytes of the data were read");
    let full = read_of_data(&["status", "--full"]);
    assert!(full > data / 2, "{full} of {data} bytes");
}

#[test]
fn the_manifest_says_what_is_inside() {
    let site = Site::with("x.zst", &ARCHIVE);
    site.write("x.db", &LARGE);
    let simple = site.run(&["status", "x.db"]).ok().stdout_str();
    site.run(&["status", "x.zst"]).ok().stdout_is(&simple);
    site.run(&["status", "--full", "x.zst"])
        .ok()
        .stdout_is(&simple);
    let json = |args: &[&str]| {
        site.run(&[&["status", "-w", "json"], args].concat())
            .ok()
            .json()
    };
    let (told, read, plain) = (
        json(&["x.zst"]),
        json(&["--full", "x.zst"]),
        json(&["x.db"]),
    );
    assert_eq!(read["facts"], plain["facts"]);
    assert_eq!(told["facts"], serde_json::Value::Null);
    let (etcd, facts) = (&told["manifest"]["etcd"], &plain["facts"]);
    for (manifest, fact) in [
        ("revision", "revision"),
        ("live_keys", "liveKeys"),
        ("total_keys", "totalKeys"),
        ("hash", "hash"),
        ("storage_version", "storageVersion"),
        ("db_size", "size"),
        ("in_use", "inUse"),
        ("free", "free"),
        ("kubernetes", "kubernetes"),
        ("auth_enabled", "authEnabled"),
    ] {
        assert_eq!(etcd[manifest], facts[fact], "{manifest}");
    }
    assert_eq!(etcd["members"], facts["members"].as_array().unwrap().len());
    for key in ["hash", "revision", "totalKey", "totalSize", "version"] {
        assert_eq!(told[key], plain[key], "{key}");
    }
}

/// A frame that is lost does not show in the manifest; `--full` and `verify` see it.
#[test]
fn damage_inside_shows_with_full() {
    let mut bytes = ARCHIVE.clone();
    let middle = parts(&ARCHIVE).1.concat().len() / 2;
    bytes[middle] ^= 1;
    let site = Site::with("x.zst", &bytes);
    site.run(&["status", "x.zst"]).ok();
    site.run(&["status", "-w", "table", "x.zst"])
        .ok()
        .stdout_has("not read; etcd-rescue status --full x.zst does");
    site.run(&["status", "--full", "x.zst"])
        .code(3)
        .stderr_has("frame ");
}
