//! What is known of a candidate before it is walked.

use crate::bolt::collect::Collect;
use crate::bolt::{Db, walk};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::observe::Unobserved;
use crate::source::Candidate;
use crate::transport::Trailer;

/// What is known of a candidate before it is walked.
#[derive(Clone, Debug)]
pub struct Peek {
    /// Bytes in a page.
    pub page_size: u32,
    /// High-water mark times page size, in bytes.
    pub size: u64,
    /// The SHA-256 trailer, if there is one; not compared with anything yet.
    pub trailer: Option<[u8; 32]>,
    /// Entries of the `meta` bucket.
    pub meta: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Opens it, and reads the entries of the `meta` bucket, which lies behind `key`, and is needed by who follows the walk.
///
/// `Error::damaged` when that cannot be had, or the trailer: verification tells what is lost.
pub fn peek_meta(candidate: &Candidate, limits: &Limits) -> Result<Peek> {
    let name = candidate.image.name();
    let db = Db::open(&candidate.image, limits)?
        .map_err(|_| Error::damaged(format!("{name} has no usable meta page")))?;
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
