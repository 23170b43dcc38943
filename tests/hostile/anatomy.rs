//! What every byte of a sound image is for, so that a flip that nobody noticed can be judged.
//!
//! A reader of its own, without any checks: it is for files that are known to be sound.

use std::ops::Range;

use super::craft::{BRANCH, File, LEAF, element, header, meta};

/// What a byte is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Nothing: free pages, the ends of pages, what bbolt never looks at in a meta page.
    Unused,
    /// A meta, with its page's number and flags.
    Meta,
    /// A page header, an inline one included.
    Header,
    /// An element of a branch or a leaf.
    Element,
    /// A key in a branch: a bound, which need not be the first key of the page below.
    BranchKey,
    /// The name of a bucket.
    BucketName,
    /// Root and sequence of a bucket.
    BucketHeader,
    /// Main revision of a record that puts, and the separator; the same of a tombstone, and its mark.
    RecordKey,
    TombstoneKey,
    /// Sub revision of a record.
    Sub,
    /// KeyValue of a record.
    Record,
    /// Key of an entry of a small bucket.
    SmallKey,
    /// Value of an entry of a small bucket.
    SmallValue,
}

impl Part {
    /// Whether structure and meaning leave it free: a change may go unnoticed where there is no SHA-256.
    pub fn is_free_to_change(self) -> bool {
        match self {
            Part::Unused | Part::SmallKey | Part::SmallValue => true,
            // A lower bound is as good as another as long as nothing is below it.
            Part::BranchKey => true,
            // Subs may have gaps after a compaction, and a tombstone says its revision only once.
            Part::Sub | Part::TombstoneKey => true,
            // Keys, values, leases; and revision and version of a key whose history was compacted.
            Part::Record => true,
            Part::Meta | Part::Header | Part::Element => false,
            Part::BucketName | Part::BucketHeader | Part::RecordKey => false,
        }
    }
}

/// The parts of an image, byte by byte.
pub fn of(file: &File) -> Vec<Part> {
    let mut anatomy = Anatomy {
        parts: vec![Part::Unused; file.bytes.len()],
    };
    for page in [0, 1] {
        let at = page * file.page_size;
        anatomy.mark(at..at + header::COUNT, Part::Meta);
        anatomy.mark(at + 16..at + meta::END, Part::Meta);
    }
    anatomy.page(file, file.u64(0, meta::ROOT), None);
    anatomy.parts
}

struct Anatomy {
    parts: Vec<Part>,
}

impl Anatomy {
    fn mark(&mut self, bytes: Range<usize>, part: Part) {
        self.parts[bytes].fill(part);
    }

    fn page(&mut self, file: &File, page: u64, bucket: Option<&[u8]>) {
        let at = page as usize * file.page_size;
        match file.u16(page, header::FLAGS) {
            BRANCH => {
                self.mark(at..at + 16, Part::Header);
                for index in 0..file.u16(page, header::COUNT).into() {
                    let element = File::element(index);
                    let key = at + element + file.u32(page, element) as usize;
                    let size = file.u32(page, element + 4) as usize;
                    self.mark(at + element..at + element + 16, Part::Element);
                    self.mark(key..key + size, Part::BranchKey);
                    self.page(file, file.u64(page, element + element::CHILD), bucket);
                }
            }
            LEAF => self.leaf(file, at, bucket),
            flags => panic!("page {page} has flags {flags:#x}"),
        }
    }

    /// A leaf at any offset: the page of a bucket or an inline one.
    fn leaf(&mut self, file: &File, at: usize, bucket: Option<&[u8]>) {
        let u32_at = |at| u32::from_le_bytes(file.bytes[at..at + 4].try_into().unwrap()) as usize;
        let count = u32_at(at + header::COUNT) & 0xffff;
        self.mark(at..at + 16, Part::Header);
        for index in 0..count {
            let element = at + File::element(index);
            let key = element + u32_at(element + element::POS);
            let value = key + u32_at(element + element::KSIZE);
            let end = value + u32_at(element + element::VSIZE);
            self.mark(element..element + 16, Part::Element);
            match bucket {
                None => {
                    self.mark(key..value, Part::BucketName);
                    self.mark(value..value + 16, Part::BucketHeader);
                    let name = &file.bytes[key..value];
                    match u32_at(value) {
                        0 => self.leaf(file, value + 16, Some(name)),
                        root => self.page(file, root as u64, Some(name)),
                    }
                }
                Some(b"key") => {
                    let main = match value - key {
                        17 => Part::RecordKey,
                        _ => Part::TombstoneKey,
                    };
                    self.mark(key..value, main);
                    self.mark(key + 9..key + 17, Part::Sub);
                    self.mark(value..end, Part::Record);
                }
                Some(_) => {
                    self.mark(key..value, Part::SmallKey);
                    self.mark(value..end, Part::SmallValue);
                }
            }
        }
    }
}
