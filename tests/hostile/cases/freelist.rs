//! Damage to a file whose freelist is persisted, as on macOS and Windows.

use super::Expect::{Nothing, Structure};
use super::{Case, file};
use crate::hostile::craft::{header, meta};
use crate::hostile::house::House;

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
        "freelist-names-the-high-water-mark",
        |h| {
            persist(h, false, |_| {});
            let (list, mark) = (h.file.u64(0, meta::FREELIST), h.file.u64(0, meta::MARK));
            let count = h.file.u16(list, header::COUNT);
            h.file.set_u64(list, 16 + 8 * usize::from(count), mark);
            h.file.set_u16(list, header::COUNT, count + 1);
        },
        Structure("outside of 2 to"),
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
