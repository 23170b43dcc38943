//! Damage by name: what is done to a sound file, and what has to be said of it.
//!
//! Every file is sealed after it was damaged: checksums of the metas and SHA-256 are right, so that only
//! the structure or the meaning can give the damage away.

mod freelist;
mod metas;
mod pages;
mod records;
mod small;

pub use freelist::PERSISTED_FREELIST;
pub use metas::METAS;
pub use pages::PAGES;
pub use records::RECORDS;
pub use small::SMALL;

use super::house::{Content, House};

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
/// Every case there is.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [METAS, PAGES, PERSISTED_FREELIST, RECORDS, SMALL]
        .into_iter()
        .flatten()
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
}
