//! Where keys and values may lie in a page: behind the element table, one after the other, without gaps.
//!
//! Every bbolt writes a page in one go, so nothing else is sound. And nothing else is safe to read: a
//! hundred elements that all claim the same megabyte would make a hundred megabytes of work.
//!
//! Source: etcd-io/bbolt, `internal/common/inode.go` (WriteInodeToPage) and `node.go` (spill), v1.5.0;
//! the same in `node.go` (write) back to v1.3.0.

/// Follows the elements of a page.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    end: u64,
    /// No element before was wrong: the next one must start exactly at `end`.
    exact: bool,
}

impl Packed {
    /// Before the first element; keys and values start at `table_end`.
    pub fn behind(table_end: u64) -> Packed {
        Packed {
            end: table_end,
            exact: true,
        }
    }

    /// The next element has its key and value at `start` to `end`; or says in words why it can't have.
    pub fn next(&mut self, start: u64, end: u64) -> Result<(), String> {
        let expected = self.end;
        if start < expected || (self.exact && start > expected) {
            self.exact = false;
            self.end = self.end.max(end);
            return Err(format!(
                "key at {start} of the page, expected at {expected}, where the element before it ends"
            ));
        }
        self.end = end;
        Ok(())
    }

    /// An element that is wrong by itself: where the next one starts is not known.
    pub fn lost(&mut self) {
        self.exact = false;
    }

    /// The number of pages that hold all this, if that is known and `found` is another one. bbolt before
    /// v1.3.3 allocated one page more when the last one was full.
    pub fn fault(&self, page_size: u64, found: u64) -> Option<String> {
        let needed = self.end.div_ceil(page_size);
        let right = found == needed || found == self.end / page_size + 1;
        (self.exact && !right).then(|| {
            format!(
                "{} overflow pages, its elements need {}",
                found.saturating_sub(1),
                needed.saturating_sub(1)
            )
        })
    }

    /// Where the last element ends, if that is known.
    pub fn end(&self) -> Option<u64> {
        self.exact.then_some(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_follow_each_other() {
        let mut packed = Packed::behind(48);
        assert_eq!(packed.next(48, 60), Ok(()));
        assert_eq!(packed.next(60, 512), Ok(()));
        assert_eq!(packed.end(), Some(512));
        assert_eq!((packed.fault(512, 1), packed.fault(512, 2)), (None, None));
        let fault = packed.fault(512, 3).unwrap();
        assert!(fault.contains("2 overflow pages"), "{fault}");
        assert!(packed.fault(256, 1).unwrap().contains("need 1"));
    }

    #[test]
    fn overlaps_and_gaps_are_told_and_bytes_are_read_once() {
        let mut packed = Packed::behind(48);
        assert!(packed.next(47, 60).unwrap_err().contains("expected at 48"));
        assert!(packed.next(59, 70).is_err());
        // Behind a fault a gap is no news.
        assert_eq!(packed.next(80, 90), Ok(()));
        assert_eq!((packed.end(), packed.fault(512, 9)), (None, None));
        let mut gap = Packed::behind(48);
        assert!(gap.next(49, 60).is_err());
    }
}
