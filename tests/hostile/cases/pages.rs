//! Damage to who points to whom, to elements, to their order, and to bucket headers.

use super::Expect::{Meaning, Structure};
use super::{Case, file};
use crate::hostile::craft::{BRANCH, File, element, header, meta};
use crate::hostile::house::House;

pub const PAGES: &[Case] = &[
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
    file(
        "branch-key-below-its-parents",
        |h| {
            // A level more, of two branches; the key that the second begins with is made smaller in it, and no more.
            let child = |h: &House, index: usize| {
                let at = File::element(index);
                let pos = h.file.u32(h.branch, at) as usize;
                let size = h.file.u32(h.branch, at + 4) as usize;
                let key = h.file.page(h.branch)[at + pos..][..size].to_vec();
                (key, h.file.u64(h.branch, at + element::CHILD))
            };
            let count = usize::from(h.file.u16(h.branch, header::COUNT));
            let children: Vec<_> = (0..count).map(|index| child(h, index)).collect();
            let (front, back) = children.split_at(2);
            let (first, second) = (front[0].0.clone(), back[0].0.clone());
            let mut back = back.to_vec();
            back[0].0 = front[1].0.clone();
            let front = h.file.branch(front);
            let back = h.file.branch(&back);
            let top = h.file.branch(&[(first, front), (second, back)]);
            let (at, root) = (h.value_of("key"), h.root);
            h.file.set_u64(root, at, top);
            h.file.both_metas(meta::MARK, top + 1);
        },
        Structure("first key "),
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
