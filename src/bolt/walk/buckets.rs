//! Buckets inside the root bucket: their headers, and where their own trees are.

use super::super::block::Block;
use super::super::page::{self, BUCKET_HEADER, BucketHeader};
use super::tree::{Bounds, Kind, Tree};
use super::{Spot, Walk};
use crate::error::Result;

impl Walk<'_, '_> {
    /// A top-level bucket.
    pub(super) fn bucket(
        &mut self,
        block: &Block<'_>,
        name: &[u8],
        value_at: u64,
        vsize: u32,
        spot: Spot,
        depth: usize,
    ) -> Result<()> {
        let sequence = self
            .bucket_header(block, value_at, vsize, spot)?
            .map_or(0, |header| header.sequence);
        self.visitor.bucket(name, sequence)?;
        self.descend(block, value_at, vsize, spot, Kind::Bucket, depth)?;
        match self.lost {
            true => Ok(()),
            false => self.visitor.bucket_end(),
        }
    }

    fn bucket_header(
        &mut self,
        block: &Block<'_>,
        value_at: u64,
        vsize: u32,
        spot: Spot,
    ) -> Result<Option<BucketHeader>> {
        if (vsize as usize) < BUCKET_HEADER {
            let what = format!("bucket header of {vsize} bytes, expected {BUCKET_HEADER}");
            self.report.error(spot.into(), what);
            return Ok(None);
        }
        let mut scratch = Vec::new();
        Ok(BucketHeader::decode(block.get(value_at, BUCKET_HEADER, &mut scratch)?).ok())
    }

    /// Into the tree of a bucket, wherever it is.
    pub(super) fn descend(
        &mut self,
        block: &Block<'_>,
        value_at: u64,
        vsize: u32,
        spot: Spot,
        kind: Kind,
        depth: usize,
    ) -> Result<()> {
        let Some(header) = self.bucket_header(block, value_at, vsize, spot)? else {
            return Ok(());
        };
        let mut tree = Tree::new(kind, spot.page);
        if header.root != 0 {
            if vsize as usize > BUCKET_HEADER {
                let extra = vsize as usize - BUCKET_HEADER;
                self.report.error(
                    spot.into(),
                    format!("{extra} bytes behind a bucket header that names a root page"),
                );
            }
            return self.tree(header.root, &mut tree, depth + 1);
        }
        let len = vsize as usize - BUCKET_HEADER;
        let most = self.db.page_size() as usize / 4;
        if len < page::HEADER || len > most {
            let what = format!(
                "inline bucket of {len} bytes, expected {} to {most}",
                page::HEADER
            );
            self.report.error(spot.into(), what);
            return Ok(());
        }
        if depth + 1 >= self.limits.tree_depth {
            let what = format!("tree deeper than {} levels", self.limits.tree_depth);
            self.report.error(spot.into(), what);
            return Ok(());
        }
        let at = value_at + BUCKET_HEADER as u64;
        self.inline(block, at, len, spot, &mut tree, depth + 1)
    }

    /// The page of an inline bucket.
    fn inline(
        &mut self,
        holder: &Block<'_>,
        at: u64,
        len: usize,
        spot: Spot,
        tree: &mut Tree,
        depth: usize,
    ) -> Result<()> {
        let mut scratch = Vec::new();
        let bytes = holder.get(at, len, &mut scratch)?.to_vec();
        let Ok(block) = Block::inline(bytes, holder.offset_of(at)) else {
            return Ok(());
        };
        let header = block.header();
        if header.id != 0 || header.flags != page::LEAF || header.overflow != 0 {
            let what = format!(
                "inline bucket with page id {}, kind {}, overflow {}; expected 0, leaf, 0",
                header.id,
                header.kind(),
                header.overflow
            );
            self.report.error(spot.into(), what);
            return Ok(());
        }
        if block.table_end() > block.size() {
            let what = format!(
                "inline bucket: {} elements do not fit in {len} bytes",
                header.count
            );
            self.report.error(spot.into(), what);
            return Ok(());
        }
        let bounds = Bounds {
            lower: &[],
            upper: None,
        };
        self.leaf(&block, bounds, tree, depth, true)
    }
}
