//! A [`Visitor`] that keeps what it is shown: for small buckets, and for tests.

use super::walk::{Misplaced, Spot, Visitor};
use crate::error::{Error, Result};

/// What an item costs besides its bytes: two vectors and their allocations. Without it, millions of
/// one-byte keys would be next to nothing.
const OVERHEAD: usize = 64;

/// Gathers the items of all buckets that are walked, up to a number of bytes.
#[derive(Debug, Default)]
pub struct Collect {
    /// Bucket name and its items, key and value, in order.
    pub buckets: Vec<(Vec<u8>, Vec<Item>)>,
    /// Keys that are not where etcd puts them.
    pub misplaced: Vec<(Vec<u8>, Misplaced)>,
    left: usize,
}

/// Key and value.
pub type Item = (Vec<u8>, Vec<u8>);

impl Collect {
    /// Keeps at most `bytes` bytes of keys and values, and what keeping them costs; more is an error.
    pub fn up_to(bytes: usize) -> Collect {
        Collect {
            left: bytes,
            ..Collect::default()
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.saturating_add(OVERHEAD))
            .ok_or_else(|| Error::damaged("a small bucket is implausibly large"))?;
        Ok(())
    }
}

impl Visitor for Collect {
    fn bucket(&mut self, name: &[u8], _sequence: u64) -> Result<()> {
        self.spend(name.len())?;
        self.buckets.push((name.to_vec(), Vec::new()));
        Ok(())
    }

    fn bucket_end(&mut self) -> Result<()> {
        Ok(())
    }

    fn item(&mut self, key: &[u8], _value_len: u64, _at: Spot) -> Result<()> {
        self.spend(key.len())?;
        if let Some((_, items)) = self.buckets.last_mut() {
            items.push((key.to_vec(), Vec::new()));
        }
        Ok(())
    }

    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        self.spend(chunk.len())?;
        if let Some((_, value)) = self
            .buckets
            .last_mut()
            .and_then(|(_, items)| items.last_mut())
        {
            value.extend_from_slice(chunk);
        }
        Ok(())
    }

    fn item_end(&mut self) -> Result<()> {
        Ok(())
    }

    fn misplaced(&mut self, key: &[u8], what: Misplaced, _at: Spot) -> Result<()> {
        self.spend(key.len())?;
        self.misplaced.push((key.to_vec(), what));
        Ok(())
    }
}
