//! A set of page numbers.

/// One bit for each page.
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// All bits clear.
    pub fn new(pages: u64) -> Bitmap {
        let words = usize::try_from(pages.div_ceil(64)).unwrap_or(0);
        Bitmap {
            words: vec![0; words],
        }
    }

    /// Sets the bit; false if it was set already or is out of range.
    pub fn set(&mut self, page: u64) -> bool {
        let bit = 1 << (page % 64);
        let word = usize::try_from(page / 64)
            .ok()
            .and_then(|word| self.words.get_mut(word));
        word.is_some_and(|word| {
            let fresh = *word & bit == 0;
            *word |= bit;
            fresh
        })
    }

    /// Whether the bit is set.
    pub fn get(&self, page: u64) -> bool {
        let bit = 1 << (page % 64);
        let word = usize::try_from(page / 64)
            .ok()
            .and_then(|word| self.words.get(word));
        word.is_some_and(|word| word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_set_once_and_nothing_is_out_of_range() {
        let mut bitmap = Bitmap::new(65);
        assert!(bitmap.set(0) && bitmap.set(64) && !bitmap.set(64));
        assert!(bitmap.get(64) && !bitmap.get(63));
        assert!(!bitmap.set(128) && !bitmap.get(128) && !bitmap.get(u64::MAX));
        assert!(!Bitmap::new(0).set(0));
    }
}
