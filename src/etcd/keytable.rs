//! What is known of every user key while its records stream by: 16 bytes each, whatever its length.
//!
//! Keys are told apart by 63 bits of a keyed 128-bit hash; the key of the hash is random, so nobody can
//! make two user keys collide, and for a million keys chance does with probability 2^-24. Of create
//! revision and version the low 32 bits are kept: a record must continue them exactly, so what 32 bits
//! let through is a damage of exactly 2^32.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::error::{Error, Result};

/// The last record of a user key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Low bits of the revision in which the key was created; 0 after a tombstone.
    create_revision: u32,
    /// Low bits of its version; 0 after a tombstone.
    version: u32,
}

impl Last {
    /// After a tombstone.
    pub const DELETED: Last = Last {
        create_revision: 0,
        version: 0,
    };

    /// After a put. A version is never 0, and never 2^32 either: that is 68 years of two puts a second.
    pub fn put(create_revision: i64, version: i64) -> Last {
        Last {
            create_revision: create_revision as u32,
            version: (version as u32).max(1),
        }
    }

    /// Whether the key exists.
    pub fn is_live(&self) -> bool {
        *self != Last::DELETED
    }

    /// What a put must leave that follows this record at revision `main`.
    pub fn next(&self, main: i64) -> Last {
        match self.is_live() {
            true => Last {
                version: self.version.wrapping_add(1).max(1),
                ..*self
            },
            false => Last::put(main, 1),
        }
    }
}

impl std::fmt::Display for Last {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "version {} created at {}",
            self.version, self.create_revision
        )
    }
}

/// The hash of a user key, fed in pieces.
#[derive(Clone, Debug)]
pub struct KeyHash(SipHasher13);

impl KeyHash {
    /// The next piece of the key.
    pub fn feed(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }

    /// 128 bits that stand for the key, in this table only.
    pub fn finish(&self) -> u128 {
        self.0.finish128().as_u128()
    }
}

/// All user keys that were seen: extendible hashing over pages of one size, so that growing never moves
/// more than a page, and what the allocator holds is what is used.
pub struct KeyTable {
    hasher: SipHasher13,
    /// Indexes into `pages`, by the low `depth` bits of the hash; 2^depth of them.
    directory: Vec<u32>,
    depth: u32,
    pages: Vec<Page>,
    len: usize,
    limit: usize,
}

/// Slots of a page: 4 KiB.
const SLOTS: usize = 256;

/// A page is split when so many of its slots are taken: there is always an empty one.
const FULL: usize = 240;

/// Bits of the hash that choose the page; far more than a table of any size needs.
const DEEPEST: u32 = 30;

struct Page {
    slots: Box<[Slot; SLOTS]>,
    len: usize,
    /// How many bits of the hash all keys in it share.
    depth: u32,
}

/// Two words of hash, never both zero in use.
#[derive(Clone, Copy)]
struct Slot {
    hash: [u32; 2],
    last: Last,
}

const EMPTY: Slot = Slot {
    hash: [0; 2],
    last: Last::DELETED,
};

impl KeyTable {
    /// An empty table for at most `limit` keys, hashing with a random key.
    pub fn new(limit: usize) -> KeyTable {
        KeyTable {
            hasher: SipHasher13::new_with_key(&random_key()),
            directory: vec![0],
            depth: 0,
            pages: vec![Page::new(0)],
            len: 0,
            limit,
        }
    }

    /// A hash to feed a key to.
    pub fn hash(&self) -> KeyHash {
        KeyHash(self.hasher)
    }

    /// Puts the key's last record, and returns the one before.
    pub fn replace(&mut self, key: &KeyHash, last: Last) -> Result<Option<Last>> {
        let hash = key.finish();
        let hash = [hash as u32 | 1, (hash >> 32) as u32];
        loop {
            let index = self.page_of(hash);
            let Some(page) = self.pages.get_mut(index) else {
                return Err(Error::failed("key table without a page for a key"));
            };
            let full = page.len >= FULL && page.depth < DEEPEST;
            let Some(slot) = page.find(hash) else {
                return Err(Error::failed("key table with a page that cannot be split"));
            };
            if slot.hash == hash {
                return Ok(Some(std::mem::replace(&mut slot.last, last)));
            }
            if !full {
                *slot = Slot { hash, last };
                page.len += 1;
                self.len += 1;
                return match self.len > self.limit {
                    true => Err(Error::failed(format!("more than {} user keys", self.limit))),
                    false => Ok(None),
                };
            }
            self.split(index, hash);
        }
    }

    fn page_of(&self, [_, chooser]: [u32; 2]) -> usize {
        let entry = chooser & ((1 << self.depth) - 1);
        self.directory
            .get(entry as usize)
            .map_or(usize::MAX, |page| *page as usize)
    }

    /// Moves the keys of a page whose next bit is set to a page of their own; a key of it shows which it is.
    fn split(&mut self, index: usize, [_, chooser]: [u32; 2]) {
        let new_index = self.pages.len() as u32;
        let Some(page) = self.pages.get_mut(index) else {
            return;
        };
        let bit: u32 = 1 << page.depth;
        page.depth += 1;
        let depth = page.depth;
        let old = std::mem::replace(page, Page::new(depth));
        let mut new = Page::new(depth);
        for slot in old.slots.iter().filter(|slot| slot.hash != EMPTY.hash) {
            let [_, its_chooser] = slot.hash;
            let home = if its_chooser & bit == 0 {
                &mut *page
            } else {
                &mut new
            };
            if let Some(place) = home.find(slot.hash) {
                *place = *slot;
                home.len += 1;
            }
        }
        self.pages.push(new);
        if depth > self.depth {
            self.directory.extend_from_within(..);
            self.depth = depth;
        }
        // Those of its entries that have the bit: they share the lower bits of any key in it.
        let first = (chooser & (bit - 1)) | bit;
        let entries = self.directory.iter_mut().skip(first as usize);
        for entry in entries.step_by(bit as usize * 2) {
            *entry = new_index;
        }
    }
}

impl Page {
    fn new(depth: u32) -> Page {
        Page {
            slots: Box::new([EMPTY; SLOTS]),
            len: 0,
            depth,
        }
    }

    /// The key's slot, or the empty one where it belongs.
    fn find(&mut self, hash: [u32; 2]) -> Option<&mut Slot> {
        let [spread, _] = hash;
        let home = (spread >> 24) as usize % SLOTS;
        let (front, back) = self.slots.split_at_mut(home);
        back.iter_mut()
            .chain(front)
            .find(|slot| slot.hash == hash || slot.hash == EMPTY.hash)
    }
}

/// From the kernel; where it has none to give yet, time and addresses must do.
fn random_key() -> [u8; 16] {
    let mut key = [0; 16];
    if rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::NONBLOCK) != Ok(key.len()) {
        use std::hash::BuildHasher;
        let random = std::collections::hash_map::RandomState::new();
        let (low, high) = key.split_at_mut(8);
        low.copy_from_slice(&random.hash_one(1).to_le_bytes());
        high.copy_from_slice(&random.hash_one(2).to_le_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn agrees_with_a_map() {
        let mut table = KeyTable::new(usize::MAX);
        let mut model = HashMap::new();
        for n in 0..200_000i64 {
            let key = (n * 7919 % 60_000).to_string();
            let last = match n % 7 {
                0 => Last::DELETED,
                _ => Last::put(n << 20, n),
            };
            let mut hash = table.hash();
            hash.feed(key.as_bytes());
            assert_eq!(table.replace(&hash, last).unwrap(), model.insert(key, last));
        }
        assert_eq!(table.len, model.len());
    }

    #[test]
    fn pieces_make_the_same_key_and_the_limit_holds() {
        let mut table = KeyTable::new(1);
        let (mut whole, mut pieces, mut other) = (table.hash(), table.hash(), table.hash());
        whole.feed(b"abc");
        pieces.feed(b"a");
        pieces.feed(b"bc");
        other.feed(b"abd");
        assert_eq!(table.replace(&whole, Last::DELETED).unwrap(), None);
        assert_eq!(
            table.replace(&pieces, Last::DELETED).unwrap(),
            Some(Last::DELETED)
        );
        assert!(table.replace(&other, Last::DELETED).is_err());
    }
}
