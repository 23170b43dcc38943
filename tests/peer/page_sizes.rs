//! Page sizes other than this machine's: what the one writer of db files writes with them is sound for bbolt
//! and boots.

use std::fs::{self, File};
use std::path::Path;

use etcd_rescue::bolt::Db;
use etcd_rescue::bolt::build::Builder;
use etcd_rescue::bolt::walk::{self, Misplaced, Spot, Visitor};
use etcd_rescue::error::Result;
use etcd_rescue::io::Image;
use etcd_rescue::limits::Limits;
use etcd_rescue::observe::Unobserved;

use super::{history, looks_alike};
use crate::util::api::{Dump, assert_same};
use crate::util::etcd::Etcd;
use crate::util::run::Rescue;

const SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

#[test]
fn files_of_every_page_size_boot_3_5() {
    files_of_every_page_size_boot("3.5");
}

#[test]
fn files_of_every_page_size_boot_3_7() {
    files_of_every_page_size_boot("3.7");
}

fn files_of_every_page_size_boot(minor: &str) {
    let mut server = Etcd::new(minor).start();
    history::History::new(99).go_on(&mut server.api(), 300);
    let dump = server.api().dump();
    server.stop();
    let original = looks_alike(minor, &server.db());
    for size in SIZES {
        let copy = server.dir().join(format!("{size}.db"));
        rebuild(&server.db(), &copy, size);
        let found = looks_alike(minor, &copy);
        assert_eq!(found["facts"]["pageSize"], size);
        assert_eq!(found["facts"]["free"], 0);
        for key in ["hash", "revision", "totalKey", "version"] {
            assert_eq!(found[key], original[key], "{key} with pages of {size}");
        }
        boots_with(minor, &copy, size, &dump);
    }
}

/// Restored, it keeps its page size; the server writes to it, and bbolt finds nothing wrong.
#[track_caller]
fn boots_with(minor: &str, db: &Path, size: u32, dump: &Dump) {
    let data_dir = db.with_extension("restored");
    Rescue::new(["restore", "--raw", "--no-bump", "--data-dir"])
        .arg(&data_dir)
        .arg(db)
        .run()
        .ok();
    let mut restored = Etcd::new(minor).data_dir(&data_dir).start();
    let mut api = restored.api();
    assert_same(dump, &api.dump(), &format!("pages of {size}"));
    api.put("a new key", vec![7; 10_000]);
    let first = dump.keys().next().unwrap();
    api.delete(first.clone());
    drop(api); // A connection would hold up the server's end for seconds.
    restored.stop();
    let found = looks_alike(minor, &restored.db());
    assert_eq!(found["facts"]["pageSize"], size);
    fs::remove_dir_all(&data_dir).unwrap();
}

/// Copies every bucket and item into pages of `size` bytes.
#[track_caller]
fn rebuild(from: &Path, to: &Path, size: u32) {
    let limits = Limits::default();
    let image = Image::open(from).unwrap();
    let db = Db::open(&image, &limits).unwrap();
    let db = db.unwrap_or_else(|why| panic!("{why:?}"));
    let mut copy = Copy(Builder::new(File::create_new(to).unwrap(), size).unwrap());
    let walked = walk::check(&db, &limits, &Unobserved, &mut copy).unwrap();
    assert!(!walked.report.is_damaged(), "{:?}", walked.report);
    copy.0.finish().unwrap();
}

struct Copy(Builder<File>);

impl Visitor for Copy {
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()> {
        self.0.bucket(name, sequence)
    }
    fn bucket_end(&mut self) -> Result<()> {
        self.0.bucket_end()
    }
    fn item(&mut self, key: &[u8], value_len: u64, _at: Spot) -> Result<()> {
        self.0.item(key, value_len)
    }
    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        self.0.value(chunk)
    }
    fn item_end(&mut self) -> Result<()> {
        self.0.item_end()
    }
    fn misplaced(&mut self, key: &[u8], what: Misplaced, _at: Spot) -> Result<()> {
        panic!("{what:?} {}", key.escape_ascii());
    }
}
