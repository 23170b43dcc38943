//! Damage by name: what is done to a sound file, and what has to be said of it.
//!
//! Every file is sealed after it was damaged: checksums of the metas and SHA-256 are right, so that only
//! the structure or the meaning can give the damage away.

use super::craft::{BRANCH, FREELIST, File, LEAF, NO_FREELIST, element, header, meta};
use super::house::{
    Content, House, bytes_field, field, key_value, lease, put, revision, tombstone,
};

/// A kind of damage.
pub struct Case {
    /// What it is, in the words of a file name.
    pub name: &'static str,
    pub make: Make,
    pub expect: Expect,
}

/// How a damaged file is made.
pub enum Make {
    /// Bytes of a sound file are changed.
    File(fn(&mut House)),
    /// A sound file with another content.
    Content(fn(&mut Content)),
}

/// What is said of it; the text is part of a finding.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// Structure damaged.
    Structure(&'static str),
    /// Structure good, meaning damaged.
    Meaning(&'static str),
    /// Good, with a warning or a note.
    Remark(&'static str),
    /// Not a bbolt file, with these words.
    NotBolt(&'static str),
    /// Good, and nothing is said.
    Nothing,
    /// Good, nothing is said, and a restore refuses it with these words.
    Unrestorable(&'static str),
}

use Expect::{Meaning, NotBolt, Nothing, Remark, Structure, Unrestorable};

/// Damage to pages and metas.
pub const STRUCTURE: &[Case] = &[
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
    // --- who points to whom
    file(
        "branch-points-to-itself",
        |h| child(h, 1, h.branch),
        Structure("page reached twice"),
    ),
    file(
        "branch-points-to-the-root",
        |h| child(h, 1, h.root),
        Structure("page reached twice"),
    ),
    file(
        "branch-points-to-a-sibling-twice",
        |h| child(h, 1, h.leaves[0]),
        Structure("page reached twice"),
    ),
    file(
        "branch-points-to-another-bucket",
        |h| child(h, 1, h.lease),
        Structure("page reached twice"),
    ),
    file(
        "branch-points-to-a-meta",
        |h| child(h, 1, 0),
        Structure("page number outside"),
    ),
    file(
        "branch-points-into-overflow",
        |h| child(h, 0, h.large + 1),
        Structure("page"),
    ),
    file(
        "branch-points-to-a-free-page",
        |h| child(h, 1, h.free),
        Structure("unknown (flags 0xdead)"),
    ),
    file(
        "branch-points-past-the-end",
        |h| child(h, 1, h.file.u64(0, meta::MARK)),
        Structure("page number outside"),
    ),
    file(
        "branch-points-to-all-ones",
        |h| child(h, 1, u64::MAX),
        Structure("page number outside"),
    ),
    file(
        "branch-children-swapped",
        |h| {
            let [a, b, _] = h.leaves;
            child(h, 0, b);
            child(h, 1, a);
        },
        Structure("is not below"),
    ),
    file(
        "two-buckets-share-a-root",
        |h| {
            let (at, branch, root) = (h.value_of("lease"), h.branch, h.root);
            h.file.set_u64(root, at, branch);
        },
        Structure("page reached twice"),
    ),
    file(
        "bucket-root-is-the-root",
        |h| {
            let (at, root) = (h.value_of("lease"), h.root);
            h.file.set_u64(root, at, root);
        },
        Structure("page reached twice"),
    ),
    file(
        "bucket-root-past-the-end",
        |h| {
            let (at, root) = (h.value_of("lease"), h.root);
            let mark = h.file.u64(0, meta::MARK);
            h.file.set_u64(root, at, mark);
        },
        Structure("page number outside"),
    ),
    // --- elements
    file(
        "leaf-key-of-0-bytes",
        |h| leaf(h, 1, element::KSIZE, 0),
        Structure("key of 0 bytes"),
    ),
    file(
        "leaf-key-of-32769-bytes",
        |h| leaf(h, 1, element::KSIZE, 32769),
        Structure("key of 32769 bytes"),
    ),
    file(
        "leaf-key-of-4g",
        |h| leaf(h, 1, element::KSIZE, u32::MAX),
        Structure("key of 4294967295 bytes"),
    ),
    file(
        "leaf-value-of-4g",
        |h| leaf(h, 1, element::VSIZE, u32::MAX),
        Structure("value of 4294967295 bytes"),
    ),
    file(
        "leaf-value-past-the-page",
        |h| leaf(h, 1, element::VSIZE, h.file.page_size as u32),
        Structure("key and value at"),
    ),
    file(
        "leaf-pos-wraps-around",
        |h| leaf(h, 1, element::POS, u32::MAX - 15),
        Structure("key and value at"),
    ),
    file(
        "leaf-pos-in-the-table",
        |h| leaf(h, 0, element::POS, 16),
        Structure("leaf element 0"),
    ),
    file(
        "leaf-pos-0",
        |h| leaf(h, 0, element::POS, 0),
        Structure("leaf element 0"),
    ),
    file(
        "leaf-elements-overlap",
        |h| {
            let page = h.leaves[0];
            let pos = h.file.u32(page, File::element(0) + element::POS);
            h.file
                .set_u32(page, File::element(1) + element::POS, pos - 16);
        },
        Structure("leaf element 1"),
    ),
    file(
        "leaf-with-a-gap",
        |h| {
            let page = h.leaves[0];
            let size = h.file.u32(page, File::element(0) + element::VSIZE);
            h.file
                .set_u32(page, File::element(0) + element::VSIZE, size - 1);
        },
        Structure("leaf element 1"),
    ),
    file(
        "leaf-element-with-flags-2",
        |h| leaf(h, 1, element::FLAGS, 2),
        Structure("leaf element with flags 0x2"),
    ),
    file(
        "leaf-element-with-flags-all-ones",
        |h| leaf(h, 1, element::FLAGS, u32::MAX),
        Structure("leaf element with flags"),
    ),
    file(
        "branch-key-of-0-bytes",
        |h| branch(h, 1, 4, 0),
        Structure("branch element 1: key of 0 bytes"),
    ),
    file(
        "branch-key-of-4g",
        |h| branch(h, 1, 4, u32::MAX),
        Structure("branch element 1: key of"),
    ),
    file(
        "branch-pos-wraps-around",
        |h| branch(h, 1, 0, u32::MAX - 31),
        Structure("branch element 1: key and value at"),
    ),
    file(
        "branch-pos-in-the-table",
        |h| branch(h, 0, 0, 16),
        Structure("branch element 0"),
    ),
    // --- order
    file(
        "leaf-keys-swapped",
        |h| {
            let page = h.leaves[0];
            let at =
                |h: &House, n| File::element(n) + h.file.u32(page, File::element(n) + 4) as usize;
            let (a, b) = (at(h, 0), at(h, 1));
            let (one, two) = (
                h.file.page(page)[a..a + 17].to_vec(),
                h.file.page(page)[b..b + 17].to_vec(),
            );
            h.file.set(page, a, &two);
            h.file.set(page, b, &one);
        },
        Structure("does not ascend"),
    ),
    file(
        "leaf-key-twice",
        |h| {
            let page = h.leaves[0];
            let at =
                |h: &House, n| File::element(n) + h.file.u32(page, File::element(n) + 4) as usize;
            let key = h.file.page(page)[at(h, 0)..at(h, 0) + 17].to_vec();
            let to = at(h, 1);
            h.file.set(page, to, &key);
        },
        Structure("does not ascend"),
    ),
    file(
        "leaf-key-below-its-parents",
        |h| key_main(h, h.leaves[1], 0, 0),
        Structure("does not ascend"),
    ),
    file(
        "leaf-key-above-the-next-page",
        |h| {
            let last = h.file.u16(h.leaves[0], header::COUNT) - 1;
            key_main(h, h.leaves[0], last.into(), 0x7f);
        },
        Structure("is not below"),
    ),
    file(
        "branch-first-key-above-its-leaf",
        |h| {
            let branch = h.branch;
            let at = File::element(0) + h.file.u32(branch, File::element(0)) as usize;
            h.file.set(branch, at + 16, &[9]);
        },
        Structure("is below its parent's"),
    ),
    file(
        "branch-keys-do-not-ascend",
        |h| {
            let branch = h.branch;
            let at = File::element(1) + h.file.u32(branch, File::element(1)) as usize;
            h.file.set(branch, at, &[0; 17]);
        },
        Structure("does not ascend"),
    ),
    // --- buckets
    file(
        "bucket-header-of-15-bytes",
        |h| {
            let (at, root) = (File::element(h.index_of("lease")), h.root);
            h.file.set_u32(root, at + element::VSIZE, 15);
        },
        Structure("bucket header of 15 bytes, expected 16"),
    ),
    file(
        "bucket-header-of-0-bytes",
        |h| {
            let (at, root) = (File::element(h.index_of("lease")), h.root);
            h.file.set_u32(root, at + element::VSIZE, 0);
        },
        Structure("bucket header of 0 bytes"),
    ),
    file(
        "bucket-with-more-behind-its-header",
        |h| {
            let (at, root) = (h.value_of("alarm"), h.root);
            let free = h.lease;
            h.file.set_u64(root, at, free);
        },
        Structure("bytes behind a bucket header"),
    ),
    file(
        "inline-bucket-without-a-page",
        |h| {
            let (at, root) = (h.value_of("lease"), h.root);
            h.file.set_u64(root, at, 0);
        },
        Structure("inline bucket of 0 bytes"),
    ),
    file(
        "inline-bucket-with-an-id",
        |h| inline_u64(h, 16, 1),
        Structure("inline bucket with page id 1"),
    ),
    file(
        "inline-bucket-that-is-a-branch",
        |h| inline_u16(h, 24, BRANCH),
        Structure("kind branch"),
    ),
    file(
        "inline-bucket-with-overflow",
        |h| inline_u32(h, 28, 1),
        Structure("overflow 1"),
    ),
    file(
        "inline-bucket-counts-1-more",
        |h| inline_u16(h, 26, 1),
        Structure("elements do not fit"),
    ),
    file(
        "inline-bucket-counts-65535",
        |h| inline_u16(h, 26, u16::MAX),
        Structure("elements do not fit"),
    ),
    file(
        "bucket-that-is-an-item",
        |h| {
            let (at, root) = (File::element(h.index_of("lease")), h.root);
            h.file.set_u32(root, at, 0);
        },
        Meaning("a key beside the top-level buckets"),
    ),
    file(
        "item-that-is-a-bucket",
        |h| leaf(h, 0, element::FLAGS, 1),
        Structure("bucket header of 14 bytes"),
    ),
];

/// Damage to a file whose freelist is persisted, as on macOS and Windows.
pub const PERSISTED_FREELIST: &[Case] = &[
    file("freelist-right", |h| persist(h, false, |_| {}), Nothing),
    file(
        "freelist-right-in-the-long-form",
        |h| persist(h, true, |_| {}),
        Nothing,
    ),
    file(
        "freelist-of-many-pages",
        // More numbers than a page of elements could have.
        |h| many_free(h, h.file.page_size.min(4096) / 16 + 8, false),
        Nothing,
    ),
    file(
        "freelist-of-70000-pages",
        |h| {
            // As many as the short form cannot count, where that is a file of some megabytes.
            let pages = if h.file.page_size == 512 { 70_000 } else { 7 };
            many_free(h, pages, true);
        },
        Nothing,
    ),
    file(
        "freelist-names-a-page-in-use",
        |h| {
            let leaf = h.leaves[0];
            persist(h, false, |free| free.push(leaf));
        },
        Structure("page in use and in the freelist"),
    ),
    file(
        "freelist-leaves-a-page-out",
        |h| persist(h, false, |free| free.clear()),
        Structure("page neither reachable nor in the freelist"),
    ),
    file(
        "freelist-names-a-page-twice",
        |h| persist(h, false, |free| free.push(free[0])),
        Structure("page twice in the freelist"),
    ),
    file(
        "freelist-names-a-meta",
        |h| persist(h, false, |free| free.push(1)),
        Structure("freelist names page 1, outside of 2 to"),
    ),
    file(
        "freelist-names-all-ones",
        |h| persist(h, false, |free| free.push(u64::MAX)),
        Structure("freelist names page 18446744073709551615"),
    ),
    file(
        "freelist-counts-more-than-its-page-holds",
        |h| {
            persist(h, false, |_| {});
            let list = h.file.u64(0, meta::FREELIST);
            h.file.set_u16(list, header::COUNT, 0xFFFE);
        },
        Structure("freelist claims 65534 pages"),
    ),
    file(
        "freelist-counts-all-ones",
        |h| {
            persist(h, true, |_| {});
            let list = h.file.u64(0, meta::FREELIST);
            h.file.set_u64(list, 16, u64::MAX);
        },
        Structure("freelist claims 18446744073709551615 pages"),
    ),
    file(
        "freelist-is-a-leaf",
        |h| h.file.both_metas(meta::FREELIST, h.lease),
        Structure("expected a freelist page, found leaf"),
    ),
    file(
        "freelist-is-a-meta",
        |h| h.file.both_metas(meta::FREELIST, 1),
        Structure("page number outside"),
    ),
    file(
        "freelist-past-the-end",
        |h| h.file.both_metas(meta::FREELIST, 1 << 40),
        Structure("page number outside"),
    ),
    file(
        "freelist-is-the-root",
        |h| h.file.both_metas(meta::FREELIST, h.root),
        Structure("page reached twice"),
    ),
];

/// Damage to what the bytes mean.
pub const MEANING: &[Case] = &[
    // --- buckets
    content(
        "no-key-bucket",
        |c| c.retain(|(name, _)| name != b"key"),
        Meaning("bucket key is missing"),
    ),
    content(
        "no-meta-bucket",
        |c| c.retain(|(name, _)| name != b"meta"),
        Meaning("bucket meta is missing"),
    ),
    content(
        "no-bucket-at-all",
        |c| c.clear(),
        Meaning("bucket key is missing"),
    ),
    content("only-key-members-and-meta", only_needed, Nothing),
    content(
        "a-bucket-that-etcd-does-not-make",
        |c| c.insert(0, (b"aaa".to_vec(), vec![])),
        Remark("not a bucket that etcd 3.4 to 3.8 makes"),
    ),
    content(
        "a-bucket-name-in-control-characters",
        |c| c.insert(0, (b"\x1b[2J\n".to_vec(), vec![])),
        Remark("not a bucket"),
    ),
    content("key-bucket-empty", |c| entries(c, "key").clear(), Nothing),
    file(
        "bucket-with-a-sequence",
        |h| {
            let (at, root) = (h.value_of("lease"), h.root);
            h.file.set_u64(root, at + 8, 1);
        },
        Meaning("sequence 1"),
    ),
    // --- revision keys
    content(
        "revision-of-16-bytes",
        |c| rekey(c, |key| key.truncate(16)),
        Meaning("revision key of 16 bytes"),
    ),
    content(
        "revision-of-1-byte",
        |c| rekey(c, |key| *key = vec![1]),
        Meaning("revision key of 1 bytes"),
    ),
    content(
        "revision-of-19-bytes",
        |c| rekey(c, |key| key.extend(b"tt")),
        Meaning("revision key of 19 bytes"),
    ),
    content(
        "revision-ending-in-x",
        |c| rekey(c, |key| key.push(b'x')),
        Meaning("ending in 0x78"),
    ),
    content(
        "revision-without-separator",
        |c| rekey(c, |key| key[8] = b'-'),
        Meaning("without '_'"),
    ),
    content(
        "revision-negative",
        |c| entries(c, "key").push((revision(-1, 0), key_value(b"n", 1, -1, 1, b"", 0))),
        Meaning("negative main revision"),
    ),
    content(
        "revision-with-negative-sub",
        |c| rekey(c, |key| key[9] = 0xff),
        Meaning("negative sub revision"),
    ),
    content(
        "revision-at-the-end-of-numbers",
        |c| entries(c, "key").push(put(i64::MAX, 0, b"z", i64::MAX, 1, b"", 0)),
        Unrestorable("cannot be bumped by 1000000000"),
    ),
    // --- KeyValue
    content(
        "record-of-garbage",
        |c| revalue(c, |value| value.fill(0xff)),
        Meaning("number of more than 64 bits"),
    ),
    content(
        "record-cut",
        |c| revalue(c, |value| value.truncate(value.len() - 1)),
        Meaning("KeyValue ends 1 bytes before"),
    ),
    content(
        "record-cut-in-a-number",
        |c| revalue(c, |value| value.extend([0x30, 0x80])),
        Meaning("KeyValue ends within a number"),
    ),
    content(
        "record-with-field-7",
        |c| revalue(c, |value| value.extend([0x38, 1])),
        Meaning("KeyValue with a field 7"),
    ),
    content(
        "record-with-field-0",
        |c| revalue(c, |value| value.extend([0, 1])),
        Meaning("KeyValue with a field 0"),
    ),
    content(
        "record-with-a-field-twice",
        |c| revalue(c, |value| value.extend([0x2a, 1, 1])),
        Meaning("field 5 behind field 5"),
    ),
    content(
        "record-with-a-wrong-type",
        |c| revalue(c, |value| value[0] = 0x08),
        Meaning("wire type 0, expected 2"),
    ),
    content(
        "record-with-a-key-of-all-ones-bytes",
        |c| {
            revalue(c, |value| {
                value.splice(
                    1..2,
                    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                );
            });
        },
        Meaning("before the end of its field 1"),
    ),
    content(
        "record-of-another-revision",
        |c| remake(c, |_| key_value(b"x", 2, 3, 2, b"", 0)),
        Meaning("mod revision 3"),
    ),
    content(
        "record-created-later",
        |c| remake(c, |main| key_value(b"x", main + 1, main, 1, b"", 0)),
        Meaning("create revision"),
    ),
    content(
        "record-created-at-0",
        |c| remake(c, |main| key_value(b"x", 0, main, 1, b"", 0)),
        Meaning("create revision 0"),
    ),
    content(
        "record-created-at-a-negative",
        |c| remake(c, |main| key_value(b"x", -1, main, 2, b"", 0)),
        Meaning("create revision -1"),
    ),
    content(
        "record-of-version-0",
        |c| remake(c, |main| key_value(b"x", main, main, 0, b"", 0)),
        Meaning("version 0"),
    ),
    content(
        "record-of-version-minus-1",
        |c| remake(c, |main| key_value(b"x", main, main, -1, b"", 0)),
        Meaning("version -1"),
    ),
    content(
        "record-of-version-1-that-does-not-create",
        |c| remake(c, |main| key_value(b"x", 1, main, 1, b"", 0)),
        Meaning("version 1 is the one that creates"),
    ),
    content(
        "record-of-version-2-that-creates",
        |c| remake(c, |main| key_value(b"x", main, main, 2, b"", 0)),
        Meaning("version 1 is the one that creates"),
    ),
    content(
        "record-without-a-key",
        |c| remake(c, |main| key_value(b"", main, main, 1, b"v", 0)),
        Meaning("without a key"),
    ),
    content(
        "version-skipped",
        |c| append(c, put(11, 0, b"a", 2, 5, b"", 0)),
        Meaning("expected version 4"),
    ),
    content(
        "version-repeated",
        |c| append(c, put(11, 0, b"a", 2, 3, b"", 0)),
        Meaning("expected version 4"),
    ),
    content(
        "version-of-another-generation",
        |c| append(c, put(11, 0, b"a", 7, 4, b"", 0)),
        Meaning("created at 2"),
    ),
    content(
        "version-goes-on-after-a-delete",
        |c| {
            append(c, tombstone(11, 0, b"a"));
            append(c, put(12, 0, b"a", 2, 4, b"", 0));
        },
        Meaning("expected version 1 created at 12"),
    ),
    content(
        "version-starts-again-without-a-delete",
        |c| append(c, put(11, 0, b"a", 11, 1, b"", 0)),
        Meaning("expected version 4"),
    ),
    content(
        "version-at-the-end-of-numbers",
        |c| {
            append(c, put(11, 0, b"v", 2, i64::MAX, b"", 0));
            append(c, put(12, 0, b"v", 2, i64::MAX, b"", 0));
        },
        // Nobody gets there; what matters is that nothing overflows.
        Meaning("is missing or wrong"),
    ),
    content(
        "tombstone-with-a-value",
        |c| {
            append(
                c,
                (tombstone(11, 0, b"a").0, key_value(b"a", 0, 0, 0, b"v", 0)),
            )
        },
        Meaning("tombstone with more than a key"),
    ),
    content(
        "tombstone-with-a-revision",
        |c| {
            append(
                c,
                (tombstone(11, 0, b"a").0, key_value(b"a", 0, 11, 0, b"", 0)),
            )
        },
        Meaning("tombstone with more than a key"),
    ),
    content(
        "tombstone-without-a-key",
        |c| append(c, (tombstone(11, 0, b"a").0, vec![0x0a, 0])),
        Meaning("without a key"),
    ),
    content(
        "tombstone-of-nothing",
        |c| append(c, (tombstone(11, 0, b"a").0, vec![])),
        Meaning("without a key"),
    ),
    content(
        "tombstone-twice",
        |c| {
            append(c, tombstone(11, 0, b"a"));
            append(c, tombstone(12, 0, b"a"));
        },
        Remark("deleted already"),
    ),
    content(
        "bump-marker",
        |c| {
            append(c, (revision(1_000_000, 0), vec![]));
            meta_entry(c, "scheduledCompactRev", &revision(1_000_000, 0));
        },
        Remark("1 revision-bump markers"),
    ),
    content(
        "bump-marker-without-a-compaction-mark",
        |c| append(c, (revision(1_000_000, 0), vec![])),
        Meaning("record without a value"),
    ),
    content(
        "bump-marker-with-a-sub-revision",
        |c| append(c, (revision(1_000_000, 3), vec![])),
        Meaning("without a key"),
    ),
    // --- leases
    content(
        "lease-that-does-not-exist",
        |c| append(c, put(11, 0, b"l", 11, 1, b"", 99)),
        Remark("attached to lease 0000000000000063, which does not exist"),
    ),
    content(
        "no-lease-bucket",
        |c| c.retain(|(name, _)| name != b"lease"),
        Remark("which does not exist"),
    ),
    content(
        "lease-with-another-id-inside",
        |c| entries(c, "lease")[0].1 = lease(5, 60).1,
        Meaning("lease has id 0000000000000005 inside"),
    ),
    content(
        "lease-id-of-7-bytes",
        |c| entries(c, "lease")[0].0.truncate(7),
        Meaning("number of 7 bytes, expected 8"),
    ),
    content(
        "lease-of-garbage",
        |c| entries(c, "lease")[0].1.fill(0xff),
        Meaning("leasepb.Lease"),
    ),
    content(
        "lease-with-negative-ttl",
        |c| {
            let id = super::house::LEASE;
            entries(c, "lease")[0] = lease(id, -1);
        },
        Remark("TTL of -1 seconds"),
    ),
    // --- members
    content(
        "member-with-another-id-inside",
        |c| entries(c, "members")[0].0 = b"1".to_vec(),
        Meaning("member has id 8e9e05c52164694d inside"),
    ),
    content(
        "member-id-with-leading-zero",
        |c| entries(c, "members")[0].0 = b"08e9e05c52164694d".to_vec(),
        Meaning("not a member id"),
    ),
    content(
        "member-id-in-capitals",
        |c| entries(c, "members")[0].0 = b"8E9E05C52164694D".to_vec(),
        Meaning("not a member id"),
    ),
    content(
        "member-that-is-not-json",
        |c| entries(c, "members")[0].1 = b"{".to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-that-is-an-array",
        |c| entries(c, "members")[0].1 = b"[1]".to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-of-deep-json",
        |c| entries(c, "members")[0].1 = [br#"{"x":"#.to_vec(), b"[".repeat(5000)].concat(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-with-an-id-of-65-bits",
        |c| entries(c, "members")[0].1 = br#"{"id":18446744073709551616}"#.to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-with-a-negative-id",
        |c| entries(c, "members")[0].1 = br#"{"id":-1}"#.to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-with-an-id-of-64-bits",
        |c| {
            entries(c, "members").push((
                b"ffffffffffffffff".to_vec(),
                br#"{"id":18446744073709551615,"peerURLs":["http://h:1"]}"#.to_vec(),
            ))
        },
        Nothing,
    ),
    content(
        "member-whose-name-is-a-number",
        |c| entries(c, "members")[0].1 = br#"{"id":10276657743932975437,"name":7}"#.to_vec(),
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-whose-id-is-a-long-text",
        |c| {
            entries(c, "members")[0].1 = [
                br#"{"id":""#.to_vec(),
                b"x".repeat(100_000),
                br#""}"#.to_vec(),
            ]
            .concat()
        },
        Meaning("not the JSON of a member"),
    ),
    content(
        "member-that-is-a-learner",
        |c| {
            entries(c, "members")[0].1 = br#"{"id":10276657743932975437,"isLearner":true}"#.to_vec()
        },
        Remark("is a learner"),
    ),
    content(
        "removed-member-with-another-value",
        |c| entries(c, "members_removed")[0].1 = b"gone".to_vec(),
        Meaning("value is gone, expected removed"),
    ),
    content(
        "removed-member-that-is-no-id",
        |c| entries(c, "members_removed")[0].0 = b"zz".to_vec(),
        Meaning("not a member id"),
    ),
    // --- meta
    content(
        "no-consistent-index",
        |c| entries(c, "meta").retain(|(key, _)| key != b"consistent_index"),
        Remark("no consistent_index"),
    ),
    content(
        "consistent-index-of-7-bytes",
        |c| meta_entry(c, "consistent_index", &[0; 7]),
        Meaning("number of 7 bytes, expected 8"),
    ),
    content(
        "consistent-index-of-0-bytes",
        |c| meta_entry(c, "consistent_index", &[]),
        Meaning("number of 0 bytes, expected 8"),
    ),
    content(
        "term-of-9-bytes",
        |c| meta_entry(c, "term", &[0; 9]),
        Meaning("number of 9 bytes, expected 8"),
    ),
    content(
        "conf-state-that-is-not-json",
        |c| meta_entry(c, "confState", b"voters"),
        Meaning("confState is not a JSON object"),
    ),
    content(
        "conf-state-that-is-a-list",
        |c| meta_entry(c, "confState", b"[]"),
        Meaning("confState is not a JSON object"),
    ),
    content(
        "compaction-mark-of-16-bytes",
        |c| meta_entry(c, "finishedCompactRev", &[0; 16]),
        Meaning("revision key"),
    ),
    content(
        "compaction-mark-that-is-a-tombstone",
        |c| {
            meta_entry(
                c,
                "finishedCompactRev",
                &[&revision(1, 0)[..], b"t"].concat(),
            )
        },
        Meaning("tombstone's ending"),
    ),
    content(
        "compaction-pending",
        |c| meta_entry(c, "scheduledCompactRev", &revision(5, 0)),
        Remark("a compaction at revision 5 is not finished"),
    ),
    content(
        "compaction-finished-before-scheduled",
        |c| meta_entry(c, "finishedCompactRev", &revision(5, 0)),
        Remark("finished at 5 but scheduled at 1"),
    ),
    content(
        "storage-version-of-garbage",
        |c| meta_entry(c, "storageVersion", b"newest"),
        Meaning("version is newest, expected one like 3.5.0"),
    ),
    content(
        "storage-version-with-escapes",
        |c| meta_entry(c, "storageVersion", b"3.6.0\x1b[31m"),
        Meaning("expected one like 3.5.0"),
    ),
    content(
        "storage-version-of-an-alpha",
        |c| meta_entry(c, "storageVersion", b"3.8.0-alpha.0"),
        Nothing,
    ),
    content(
        "meta-with-an-unknown-key",
        |c| meta_entry(c, "zzz", b"1"),
        Remark("not a key that etcd 3.4 to 3.8 writes here"),
    ),
    // --- the others
    content(
        "cluster-version-of-garbage",
        |c| entries(c, "cluster")[0].1 = b"\xff".to_vec(),
        Meaning("expected one like 3.5.0"),
    ),
    content(
        "downgrade-that-is-not-json",
        |c| entries(c, "cluster").push((b"downgrade".to_vec(), b"x".to_vec())),
        Meaning("downgrade is not JSON"),
    ),
    content(
        "downgrade-under-way",
        |c| {
            entries(c, "cluster").push((
                b"downgrade".to_vec(),
                br#"{"target-version":"3.5.0","enabled":true}"#.to_vec(),
            ))
        },
        Remark("a downgrade is under way"),
    ),
    content(
        "auth-on",
        |c| entries(c, "auth")[0].1 = vec![1],
        Remark("auth is on: 1 users and 1 roles"),
    ),
    content(
        "auth-maybe",
        |c| entries(c, "auth")[0].1 = vec![2],
        Meaning("expected one byte, 0 or 1"),
    ),
    content(
        "auth-of-no-bytes",
        |c| entries(c, "auth")[0].1 = vec![],
        Meaning("expected one byte, 0 or 1"),
    ),
    content(
        "auth-revision-of-3-bytes",
        |c| entries(c, "auth")[1].1.truncate(3),
        Meaning("number of 3 bytes"),
    ),
    content(
        "role-with-another-name-inside",
        |c| entries(c, "authRoles")[0].1 = b"\x0a\x01x".to_vec(),
        Meaning("role is called x inside"),
    ),
    content(
        "role-of-garbage",
        |c| entries(c, "authRoles")[0].1 = b"\x0a\x05x".to_vec(),
        Meaning("authpb.Role"),
    ),
    content(
        "user-with-another-name-inside",
        |c| entries(c, "authUsers")[0].1 = b"\x0a\x01x".to_vec(),
        Meaning("user is called x inside"),
    ),
    content(
        "user-of-garbage",
        |c| entries(c, "authUsers")[0].1 = b"\xff\xff".to_vec(),
        Meaning("authpb.User"),
    ),
    content(
        "alarm-of-no-space",
        |c| entries(c, "alarm").push((b"\x08\x07\x10\x01".to_vec(), vec![])),
        Remark("alarm NOSPACE of member 7 is set"),
    ),
    content(
        "alarm-of-garbage",
        |c| entries(c, "alarm").push((b"\xff".to_vec(), vec![])),
        Meaning("etcdserverpb.AlarmMember"),
    ),
    content(
        "alarm-with-a-value",
        |c| entries(c, "alarm").push((b"\x08\x07\x10\x02".to_vec(), b"x".to_vec())),
        Remark("alarm with a value of 1 bytes"),
    ),
];

const fn file(name: &'static str, edit: fn(&mut House), expect: Expect) -> Case {
    let make = Make::File(edit);
    Case { name, make, expect }
}

const fn content(name: &'static str, edit: fn(&mut Content), expect: Expect) -> Case {
    let make = Make::Content(edit);
    Case { name, make, expect }
}

impl Case {
    /// The damaged file, with a trailer that is right.
    pub fn bytes(&self, page_size: usize) -> Vec<u8> {
        let house = match self.make {
            Make::File(edit) => {
                let mut house = House::new(page_size);
                edit(&mut house);
                house
            }
            Make::Content(edit) => {
                let mut content = super::house::content(page_size);
                edit(&mut content);
                House::of(&content, page_size)
            }
        };
        house.file.sealed()
    }
}

/// Every case there is.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [STRUCTURE, PERSISTED_FREELIST, MEANING]
        .into_iter()
        .flatten()
}

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

/// The child of element `index` of the branch.
fn child(h: &mut House, index: usize, to: u64) {
    let branch = h.branch;
    h.file
        .set_u64(branch, File::element(index) + element::CHILD, to);
}

/// A field of an element of the first leaf.
fn leaf(h: &mut House, index: usize, field: usize, value: u32) {
    let page = h.leaves[0];
    h.file.set_u32(page, File::element(index) + field, value);
}

fn branch(h: &mut House, index: usize, field: usize, value: u32) {
    let page = h.branch;
    h.file.set_u32(page, File::element(index) + field, value);
}

/// The first byte of the main revision of a record's key.
fn key_main(h: &mut House, page: u64, index: usize, byte: u8) {
    let at = File::element(index);
    let key = at + h.file.u32(page, at + element::POS) as usize;
    h.file.set(page, key, &[byte, 0, 0, 0, 0, 0, 0, 0]);
}

/// Fields of the inline bucket `alarm`, whose page starts 16 bytes into the value.
fn inline_u64(h: &mut House, at: usize, value: u64) {
    let (root, bucket) = (h.root, h.value_of("alarm"));
    h.file.set_u64(root, bucket + at, value);
}

fn inline_u32(h: &mut House, at: usize, value: u32) {
    let (root, bucket) = (h.root, h.value_of("alarm"));
    h.file.set_u32(root, bucket + at, value);
}

fn inline_u16(h: &mut House, at: usize, value: u16) {
    let (root, bucket) = (h.root, h.value_of("alarm"));
    h.file.set_u16(root, bucket + at, value);
}

/// A persisted freelist at the end of the file: the free page, changed by `edit`.
fn persist(h: &mut House, long: bool, edit: impl Fn(&mut Vec<u64>)) {
    let mut free = vec![h.free];
    edit(&mut free);
    let list = h.file.freelist(&free, long);
    h.file.metas(h.root, list);
}

/// `count` free pages more, and a freelist that has them.
fn many_free(h: &mut House, count: usize, long: bool) {
    let first = (h.file.bytes.len() / h.file.page_size) as u64;
    h.file
        .bytes
        .resize(h.file.bytes.len() + count * h.file.page_size, 0xfe);
    let free: Vec<u64> = std::iter::once(h.free)
        .chain(first..first + count as u64)
        .collect();
    let list = h.file.freelist(&free, long);
    h.file.metas(h.root, list);
}

fn entries<'c>(content: &'c mut Content, bucket: &str) -> &'c mut Vec<(Vec<u8>, Vec<u8>)> {
    let found = content
        .iter_mut()
        .find(|(name, _)| name == bucket.as_bytes());
    &mut found.unwrap().1
}

fn append(content: &mut Content, record: (Vec<u8>, Vec<u8>)) {
    entries(content, "key").push(record);
}

fn only_needed(content: &mut Content) {
    content.retain(|(name, _)| {
        ["key", "members", "meta"]
            .iter()
            .any(|kept| kept.as_bytes() == name)
    });
    // The lease is gone, and what was attached to it.
    entries(content, "key").retain(|(key, _)| *key != revision(5, 0));
}

/// Changes the key of the last record, 10/0.
fn rekey(content: &mut Content, edit: fn(&mut Vec<u8>)) {
    edit(&mut entries(content, "key").last_mut().unwrap().0);
}

/// Changes the KeyValue of the record at 8/0, which is the only one of its key and has a value.
fn revalue(content: &mut Content, edit: impl Fn(&mut Vec<u8>)) {
    let record = entries(content, "key")
        .iter_mut()
        .find(|(key, _)| *key == revision(8, 0));
    edit(&mut record.unwrap().1);
}

/// Gives that record another KeyValue, for its main revision.
fn remake(content: &mut Content, make: fn(i64) -> Vec<u8>) {
    revalue(content, |value| *value = make(8));
}

fn meta_entry(content: &mut Content, key: &str, value: &[u8]) {
    let entries = entries(content, "meta");
    entries.retain(|(found, _)| found != key.as_bytes());
    entries.push((key.as_bytes().to_vec(), value.to_vec()));
    entries.sort();
}

#[test]
fn names_are_unique_and_could_be_file_names() {
    let mut names: Vec<_> = all().map(|case| case.name).collect();
    let plain = |name: &&str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    assert!(names.iter().all(plain));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count > 150, "{count}");
    // Used by no case, and easily mistaken for the absence of a freelist.
    assert_eq!(NO_FREELIST, u64::MAX);
    let mut unused = Vec::new();
    field(&mut unused, 1, 0);
    bytes_field(&mut unused, 1, b"");
    assert!(unused.is_empty());
}
