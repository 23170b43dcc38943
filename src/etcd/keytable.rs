//! What is known of every user key while its records stream by: 16 bytes each, whatever its length.
//!
//! Keys are told apart by 73 bits of a keyed 128-bit hash; the key of the hash is random, so nobody can
//! make two user keys collide, and for a million keys chance does with probability 2^-34. Of create
//! revision and version the low 32 bits are kept: a record must continue them exactly, so what 32 bits
//! let through is a damage of exactly 2^32. Open addressing in 1024 shards that grow one by one, at a
//! load of 64 to 80 %: small ones, so that what one leaves behind when it grows fits the next.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::error::{Error, Result};

const SHARDS: usize = 1024;

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

/// All user keys that were seen.
pub struct KeyTable {
    hasher: SipHasher13,
    shards: Vec<Shard>,
    len: usize,
    limit: usize,
}

#[derive(Clone, Default)]
struct Shard {
    slots: Vec<Slot>,
    len: usize,
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
            shards: vec![Shard::default(); SHARDS],
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
        let words = [hash as u32 | 1, (hash >> 32) as u32];
        let index = (hash >> 96) as usize % SHARDS;
        let Some(shard) = self.shards.get_mut(index) else {
            return Ok(None);
        };
        let before = shard.replace(words, last);
        if before.is_none() {
            self.len += 1;
            if self.len > self.limit {
                return Err(Error::failed(format!("more than {} user keys", self.limit)));
            }
        }
        Ok(before)
    }
}

impl Shard {
    fn replace(&mut self, hash: [u32; 2], last: Last) -> Option<Last> {
        if self.len * 5 >= self.slots.len() * 4 {
            self.grow();
        }
        let slot = self.find(hash)?;
        let before = (slot.hash == hash).then_some(slot.last);
        *slot = Slot { hash, last };
        if before.is_none() {
            self.len += 1;
        }
        before
    }

    /// The key's slot, or the empty one where it belongs. There is always an empty one.
    fn find(&mut self, hash: [u32; 2]) -> Option<&mut Slot> {
        let [_, spread] = hash;
        let home = (u64::from(spread) * self.slots.len() as u64) >> 32;
        let (front, back) = self.slots.split_at_mut(home as usize);
        back.iter_mut()
            .chain(front)
            .find(|slot| slot.hash == hash || slot.hash == EMPTY.hash)
    }

    fn grow(&mut self) {
        let size = self.slots.len() + self.slots.len() / 4 + 16;
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
        for slot in old.into_iter().filter(|slot| slot.hash != EMPTY.hash) {
            if let Some(place) = self.find(slot.hash) {
                *place = slot;
            }
        }
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
