//! Damage to the two meta pages, and to the headers of the others.

use super::Expect::{NotBolt, Nothing, Structure};
use super::{Case, file};
use crate::hostile::craft::{BRANCH, FREELIST, File, LEAF, element, header, meta};
use crate::hostile::house::House;

pub const METAS: &[Case] = &[
    file("sound", |_| {}, Nothing),
    // --- metas
    file(
        "meta-0-bad-checksum",
        |h| h.file.set_u64(0, meta::CHECKSUM, 1),
        Structure("meta page unusable: checksum 0000000000000001"),
    ),
    file(
        "meta-1-bad-checksum",
        |h| h.file.set_u64(1, meta::CHECKSUM, 1),
        Structure("meta page unusable"),
    ),
    file(
        "both-metas-bad-checksum",
        |h| {
            [0, 1]
                .into_iter()
                .for_each(|page| h.file.set_u64(page, meta::CHECKSUM, 1))
        },
        NotBolt("both meta pages are unusable"),
    ),
    file(
        "both-metas-bad-magic",
        |h| h.file.both_metas(meta::MAGIC, 0x2_ED0C_DAEC),
        NotBolt("no bbolt meta page"),
    ),
    file(
        "both-metas-of-version-3",
        |h| {
            for page in [0, 1] {
                h.file.set_u32(page, meta::VERSION, 3);
            }
            h.file.checksums();
        },
        NotBolt("format version 3, expected 2"),
    ),
    file(
        "meta-of-a-big-endian-machine",
        |h| {
            for page in [0, 1] {
                h.file.set(page, meta::MAGIC, &[0xed, 0x0c, 0xda, 0xed]);
            }
        },
        NotBolt("big-endian machine"),
    ),
    file(
        "meta-page-size-0",
        |h| page_sizes(h, 0),
        NotBolt("page size 0"),
    ),
    file(
        "meta-page-size-3",
        |h| page_sizes(h, 3),
        NotBolt("page size 3"),
    ),
    file(
        "meta-page-size-256",
        |h| page_sizes(h, 256),
        NotBolt("page size 256"),
    ),
    file(
        "meta-page-size-2g",
        |h| page_sizes(h, 1 << 31),
        NotBolt("page size 2147483648"),
    ),
    file(
        "meta-page-sizes-differ",
        |h| {
            h.file.set_u32(
                1,
                meta::PAGE_SIZE,
                if h.file.page_size == 512 { 1024 } else { 512 },
            );
            h.file.set_u64(1, meta::TXID, 9);
            h.file.checksums();
        },
        Structure("page size"),
    ),
    file(
        "meta-1-is-newer-and-right",
        |h| {
            h.file.set_u64(1, meta::TXID, 9);
            h.file.checksums();
        },
        Nothing,
    ),
    file(
        "meta-1-is-newer-and-its-root-is-wrong",
        |h| {
            let free = h.free;
            h.file.set_u64(1, meta::TXID, 9);
            h.file.set_u64(1, meta::ROOT, free);
            h.file.checksums();
        },
        Structure("expected a branch or leaf page, found unknown (flags 0xdead)"),
    ),
    file(
        "meta-page-header-of-another-page",
        |h| h.file.set_u64(1, header::ID, 7),
        Structure("page header says page 7, meta; expected page 1, meta"),
    ),
    file(
        "meta-page-header-says-leaf",
        |h| h.file.set_u16(0, header::FLAGS, LEAF),
        Structure("page header says page 0, leaf"),
    ),
    file(
        "root-is-page-0",
        |h| h.file.both_metas(meta::ROOT, 0),
        Structure("page number outside of 2 to"),
    ),
    file(
        "root-is-page-1",
        |h| h.file.both_metas(meta::ROOT, 1),
        Structure("page number outside of 2 to"),
    ),
    file(
        "root-is-the-high-water-mark",
        |h| {
            let mark = h.file.u64(0, meta::MARK);
            h.file.both_metas(meta::ROOT, mark);
        },
        Structure("page number outside of 2 to"),
    ),
    file(
        "root-is-all-ones",
        |h| h.file.both_metas(meta::ROOT, u64::MAX),
        Structure("page number outside of 2 to"),
    ),
    file(
        "high-water-mark-0",
        |h| h.file.both_metas(meta::MARK, 0),
        Structure("page number outside of 2 to 0"),
    ),
    file(
        "high-water-mark-1",
        |h| h.file.both_metas(meta::MARK, 1),
        Structure("page number outside of 2 to 1"),
    ),
    file(
        "high-water-mark-2",
        |h| h.file.both_metas(meta::MARK, 2),
        Structure("page number outside of 2 to 2"),
    ),
    file(
        "high-water-mark-one-short",
        |h| {
            let mark = h.file.u64(0, meta::MARK);
            h.file.both_metas(meta::MARK, mark - 1);
        },
        // The root is the last page; where it has overflow pages, it is those that are outside.
        Structure("page"),
    ),
    file(
        "high-water-mark-one-more",
        |h| {
            let mark = h.file.u64(0, meta::MARK);
            h.file.both_metas(meta::MARK, mark + 1);
        },
        Structure("bytes are missing"),
    ),
    file(
        "high-water-mark-8g",
        |h| h.file.both_metas(meta::MARK, 1 << 33),
        Structure("bytes are missing"),
    ),
    file(
        "high-water-mark-all-ones",
        |h| h.file.both_metas(meta::MARK, u64::MAX),
        NotBolt("more than any etcd db has"),
    ),
    // --- page headers
    file(
        "page-says-it-is-another",
        |h| {
            let page = h.leaves[1];
            h.file.set_u64(page, header::ID, page + 1);
        },
        Structure("page header says it is page"),
    ),
    file(
        "leaf-with-two-flags",
        |h| {
            let page = h.leaves[0];
            h.file.set_u16(page, header::FLAGS, LEAF | BRANCH);
        },
        Structure("found unknown (flags 0x0003)"),
    ),
    file(
        "leaf-without-flags",
        |h| {
            let page = h.leaves[0];
            h.file.set_u16(page, header::FLAGS, 0);
        },
        Structure("expected a branch or leaf page"),
    ),
    file(
        "leaf-says-freelist",
        |h| {
            let page = h.leaves[0];
            h.file.set_u16(page, header::FLAGS, FREELIST);
        },
        Structure("expected a branch or leaf page, found freelist"),
    ),
    file(
        "leaf-says-branch",
        |h| {
            let page = h.leaves[0];
            h.file.set_u16(page, header::FLAGS, BRANCH);
        },
        Structure("page"),
    ),
    file(
        "branch-says-leaf",
        |h| {
            let page = h.branch;
            h.file.set_u16(page, header::FLAGS, LEAF);
        },
        Structure("leaf element"),
    ),
    file(
        "leaf-counts-one-more",
        |h| add_u16(h, h.leaves[0], header::COUNT, 1),
        Structure("leaf element"),
    ),
    file(
        "leaf-counts-one-less",
        |h| add_u16(h, h.leaves[0], header::COUNT, -1),
        Structure("leaf element 0"),
    ),
    file(
        "branch-counts-one-less",
        |h| add_u16(h, h.branch, header::COUNT, -1),
        Structure("branch element 0"),
    ),
    file(
        "branch-counts-one-more",
        |h| add_u16(h, h.branch, header::COUNT, 1),
        Structure("branch element"),
    ),
    file(
        "leaf-counts-65535",
        |h| {
            let page = h.large;
            h.file.set_u16(page, header::COUNT, u16::MAX);
        },
        Structure("element"),
    ),
    file(
        "branch-without-elements",
        |h| {
            let page = h.branch;
            h.file.set_u16(page, header::COUNT, 0);
        },
        Structure("branch page without elements"),
    ),
    file(
        "empty-leaf-below-a-branch",
        |h| {
            let page = h.leaves[2];
            h.file.set_u16(page, header::COUNT, 0);
        },
        Structure("leaf page without elements below a branch"),
    ),
    file(
        "overflow-one-less",
        |h| {
            let page = h.large;
            h.file.set_u32(page, header::OVERFLOW, 1);
        },
        Structure("expected within"),
    ),
    file(
        "overflow-one-more",
        |h| {
            let page = h.leaves[0];
            h.file.set_u32(page, header::OVERFLOW, 1);
        },
        Structure("page reached twice"),
    ),
    file(
        "overflow-into-a-free-page",
        |h| {
            // The page before the first leaf is free: move that leaf there, and let it have two pages.
            let (from, to) = (h.leaves[0], h.free);
            let page = h.file.page(from).to_vec();
            h.file.set(to, 0, &page);
            h.file.set_u64(to, header::ID, to);
            h.file.set_u32(to, header::OVERFLOW, 1);
            let branch = h.branch;
            h.file
                .set_u64(branch, File::element(0) + element::CHILD, to);
        },
        Structure("overflow pages"),
    ),
    file(
        "overflow-past-the-end",
        |h| {
            let page = h.root;
            let overflow = h.file.u32(page, header::OVERFLOW);
            h.file.set_u32(page, header::OVERFLOW, overflow + 1);
        },
        Structure("overflow pages run past page"),
    ),
    file(
        "overflow-of-4g-pages",
        |h| {
            let page = h.leaves[0];
            h.file.set_u32(page, header::OVERFLOW, u32::MAX);
        },
        Structure("4294967295 overflow pages run past page"),
    ),
];

fn page_sizes(h: &mut House, page_size: u32) {
    for page in [0, 1] {
        h.file.set_u32(page, meta::PAGE_SIZE, page_size);
    }
    h.file.checksums();
}

fn add_u16(h: &mut House, page: u64, at: usize, add: i16) {
    let value = h.file.u16(page, at).wrapping_add_signed(add);
    h.file.set_u16(page, at, value);
}
