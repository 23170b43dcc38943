//! Snapshots without a SHA-256 and data dirs, packed.

use super::filter;
use super::site::{SMALL, Site, parts};
use crate::util::etcd::Etcd;
use crate::util::tree::Tree;
use crate::util::{api, fill};

#[test]
fn a_raw_copy_needs_raw_at_every_step() {
    let raw = &SMALL[..SMALL.len() - 32];
    let site = Site::with("raw.db", raw);
    site.run(&["pack", "raw.db", "out.zst"])
        .code(3)
        .stderr_has("UNPROVEN");
    assert!(!site.has("out.zst"));
    site.run(&["pack", "--raw", "raw.db", "out.zst"]).ok();
    let archive = site.read("out.zst");
    assert!(filter("zstd", &["-d", "-c"], &archive) == raw);
    assert!(!parts(&archive).0.snapshot.trailer);

    site.run(&["verify", "out.zst"])
        .code(3)
        .stdout_has("UNPROVEN  out.zst  archive of a raw copy, no SHA-256");
    site.run(&["verify", "--raw", "out.zst"])
        .ok()
        .stdout_has("GOOD");
    site.run(&["unpack", "out.zst", "back.db"])
        .code(3)
        .stderr_has("UNPROVEN");
    site.run(&["restore", "out.zst", "--data-dir", "new"])
        .code(3);
    assert!(!site.has("back.db") && !site.has("new"));
    site.run(&["unpack", "--raw", "out.zst", "back.db"]).ok();
    assert!(site.read("back.db") == raw);
    site.run(&["restore", "--raw", "out.zst", "--data-dir", "new"])
        .ok();
    site.run(&["verify", "--raw", "new"]).ok();
}

/// Whatever lies behind the pages of a db comes back, too.
#[test]
fn pages_that_the_server_had_reserved_are_kept() {
    let mut raw = SMALL[..SMALL.len() - 32].to_vec();
    raw.resize(1 << 20, 0);
    let site = Site::with("raw.db", &raw);
    site.run(&["pack", "--raw", "raw.db", "out.zst"]).ok();
    assert!(filter("zstd", &["-d", "-c"], &site.read("out.zst")) == raw);
    site.run(&["unpack", "--raw", "out.zst", "back.db"]).ok();
    assert!(site.read("back.db") == raw);
}

per_version! { a_data_dir_is_packed_and_boots_again }

fn a_data_dir_is_packed_and_boots_again(minor: &str) {
    let mut server = Etcd::new(minor).start();
    let before = fill::plain(&server).dump;
    let site = Site::new();
    let dir = server.data_dir().display().to_string();
    // What is read while the server writes may be torn.
    server.settle();
    site.run(&["pack", "--raw", &dir, "out.zst"])
        .code(0)
        .stderr_has("is in use by");
    std::fs::remove_file(site.path("out.zst")).unwrap();
    site.run(&["pack", &dir, "out.zst"]).code(4);
    server.stop();
    let tree = Tree::exactly(server.data_dir());
    site.run(&["pack", &dir, "out.zst"])
        .code(3)
        .stderr_has("UNPROVEN");
    site.run(&["pack", "--raw", &dir, "out.zst"]).ok();
    tree.assert_unchanged(&Tree::exactly(server.data_dir()), "the data dir");
    let db = std::fs::read(server.db()).unwrap();
    assert!(filter("zstd", &["-d", "-c"], &site.read("out.zst")) == db);
    site.run(&[
        "restore",
        "--raw",
        "--no-bump",
        "out.zst",
        "--data-dir",
        "new",
    ])
    .ok();
    let restored = Etcd::new(minor).data_dir(site.path("new")).start();
    api::assert_same(&before, &restored.api().dump(), "the archive of a data dir");
}
