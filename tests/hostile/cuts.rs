//! Files that lost, gained or mixed up whole stretches of bytes.

use etcd_rescue::snapshot::{Level, Sum};

use super::craft::{File, seal};
use super::flips::{image, snapshots};
use super::{anatomy, doors};

/// Pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn cut_anywhere() {
    for (name, bytes) in snapshots() {
        let file = image(&bytes);
        let pages = (0..=file.bytes.len()).step_by(file.page_size);
        let mut numbers = Numbers(1);
        let random = (0..500).map(|_| numbers.below(bytes.len()));
        let near = pages.flat_map(|at| [at.wrapping_sub(1), at, at + 1, at + 31, at + 32]);
        for len in near.chain(random).filter(|len| *len < bytes.len()) {
            let cut = &bytes[..len];
            let whole_image = len == file.bytes.len();
            for raw in [false, true] {
                let verdict = doors::verify(cut, raw).unwrap();
                let expected = match (whole_image, raw) {
                    (true, true) => Sum::Good,
                    (true, false) => Sum::Unproven,
                    _ => Sum::Damaged,
                };
                assert_eq!(verdict.sum, expected, "{name} cut to {len}, raw {raw}");
            }
        }
    }
}

#[test]
fn longer_than_it_should_be() {
    for (name, bytes) in snapshots() {
        let page_size = image(&bytes).page_size;
        for extra in [
            1,
            31,
            32,
            33,
            480,
            512,
            page_size - 32,
            page_size,
            page_size + 32,
        ] {
            for fill in [0, 0xff] {
                let longer = [&bytes[..], &vec![fill; extra]].concat();
                for raw in [false, true] {
                    let verdict = doors::verify(&longer, raw).unwrap();
                    assert_eq!(
                        verdict.sum,
                        Sum::Damaged,
                        "{name} and {extra} bytes, raw {raw}"
                    );
                }
            }
        }
        let twice = [&bytes[..], &bytes[..]].concat();
        assert!(!doors::is_good(&twice, true), "{name} twice");
    }
}

/// Every page, and what happens to the verdict when `damage` is done to it. Where it changes only what is
/// free to change (free pages, the rest of a value), SHA-256 is the only witness.
fn page_by_page(what: &str, least: usize, damage: impl Fn(&mut File, u64)) {
    for (name, bytes) in snapshots() {
        let file = image(&bytes);
        let parts = anatomy::of(&file);
        let mut noticed = 0;
        for page in 0..(file.bytes.len() / file.page_size) as u64 {
            let mut damaged = file.clone();
            damage(&mut damaged, page);
            if damaged.bytes == file.bytes {
                continue;
            }
            let trailer = &bytes[file.bytes.len()..];
            let strict = [&damaged.bytes[..], trailer].concat();
            let verdict = doors::verify(&strict, false).unwrap();
            assert_eq!(
                (verdict.sum, verdict.transport),
                (Sum::Damaged, Level::Damaged),
                "{name}: page {page} {what}"
            );
            let bytes = file.bytes.iter().zip(&damaged.bytes);
            let mut changed = bytes.zip(&parts).filter(|((a, b), _)| a != b);
            if changed.any(|(_, part)| !part.is_free_to_change()) {
                let good = doors::is_good(&seal(&damaged.bytes), false);
                assert!(!good, "{name}: page {page} {what}, and SHA-256 made right");
                noticed += 1;
            }
        }
        assert!(noticed >= least, "{name}: {noticed} pages {what}");
    }
}

#[test]
fn a_page_of_zeros() {
    page_by_page("zeroed", 3, |file, page| file.page_mut(page).fill(0));
}

#[test]
fn a_page_of_ones() {
    page_by_page("filled with ones", 3, |file, page| {
        file.page_mut(page).fill(0xff)
    });
}

#[test]
fn a_page_twice() {
    page_by_page("replaced by the one before", 3, |file, page| {
        if let Some(before) = page.checked_sub(1) {
            let copy = file.page(before).to_vec();
            file.page_mut(page).copy_from_slice(&copy);
        }
    });
}

#[test]
fn two_pages_swapped() {
    page_by_page("swapped with the first of the tree", 3, |file, page| {
        let other = file.u64(0, super::craft::meta::ROOT);
        let (one, two) = (file.page(page).to_vec(), file.page(other).to_vec());
        file.page_mut(page).copy_from_slice(&two);
        file.page_mut(other).copy_from_slice(&one);
    });
}

/// A disk that returned an older state of a page: its second half is of another page.
#[test]
fn a_torn_page() {
    page_by_page("torn", 0, |file, page| {
        let half = file.page_size / 2;
        let other = file.page(file.u64(0, super::craft::meta::ROOT))[half..].to_vec();
        file.page_mut(page)[half..].copy_from_slice(&other);
    });
}
