//! What is known of a candidate before it is walked.

use super::readable;
use crate::bolt::collect::Collect;
use crate::bolt::{Db, walk};
use crate::error::Result;
use crate::limits::Limits;
use crate::observe::Unobserved;
use crate::source::Candidate;
use crate::transport::Trailer;

/// What is known of a candidate before it is walked.
#[derive(Clone, Debug, Default)]
pub struct Peek {
    /// Bytes in a page; 0 when there is no usable meta page.
    pub page_size: u32,
    /// High-water mark times page size, in bytes.
    pub size: u64,
    /// The SHA-256 trailer, if there is one; not compared with anything yet.
    pub trailer: Option<[u8; 32]>,
    /// Entries of the `meta` bucket.
    pub meta: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The entries of the `meta` bucket, which lies behind `key`, and is needed by who follows the walk.
/// Empty when the file is too damaged to have one.
pub fn peek_meta(candidate: &Candidate, limits: &Limits) -> Result<Peek> {
    // In an archive the pages themselves may be lost; verification tells which.
    Ok(readable(peek(candidate, limits))?.unwrap_or_default())
}

fn peek(candidate: &Candidate, limits: &Limits) -> Result<Peek> {
    let Ok(db) = Db::open(&candidate.image, limits)? else {
        return Ok(Peek::default());
    };
    let mut collect = Collect::up_to(limits.small_value);
    walk::bucket(&db, b"meta", limits, &Unobserved, &mut collect)?;
    let meta = collect
        .buckets
        .pop()
        .map(|(_, items)| items)
        .unwrap_or_default();
    Ok(Peek {
        page_size: db.meta().page_size,
        size: db.size(),
        trailer: Trailer::find(&candidate.image, db.size(), db.page_size())?.bytes(),
        meta,
    })
}
