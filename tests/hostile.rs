//! Hostile files: every kind of damage by name, through every door. Right verdict, no panic, bounded time
//! and memory, and the input as it was.

mod anatomy;
mod bombs;
mod cases;
pub mod craft;
mod cuts;
mod doors;
mod flips;
pub mod house;
mod oracle;
mod program;

use house::PAGE_SIZES;

/// Every case at every page size, so that each message is the same wherever the damage is. All failures
/// are told at once.
fn run(cases: &[cases::Case]) {
    let mut failures = 0;
    for case in cases {
        for page_size in PAGE_SIZES {
            let name = format!("{} in pages of {page_size}", case.name);
            let bytes = case.bytes(page_size);
            let run = || doors::all(&name, &bytes, case.expect);
            failures += usize::from(std::panic::catch_unwind(run).is_err());
        }
    }
    assert_eq!(failures, 0, "failures, told above");
}

#[test]
fn structure() {
    run(cases::METAS);
    run(cases::PAGES);
}

#[test]
fn persisted_freelist() {
    run(cases::PERSISTED_FREELIST);
}

#[test]
fn meaning() {
    run(cases::RECORDS);
    run(cases::SMALL);
}
