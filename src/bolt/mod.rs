//! The bbolt file: a copy-on-write B+tree of fixed-size pages.
//!
//! ```text
//! page 0   page 1   page 2 ...                                    high-water mark
//! +------+--------+---------------------------------------------+
//! | meta |  meta  | branch, leaf, freelist and free pages       |  (a live file goes on with zeros)
//! +------+--------+---------------------------------------------+
//!     \_______/
//!      the newer valid one names the root page of the root bucket,
//!      whose leaves hold the top-level buckets: a root page each, or the whole bucket inline
//! ```
//!
//! [`meta`] and [`page`] are the layout; [`db`] opens; [`walk`] reads everything that the root reaches
//! and finds what is wrong with it; [`build`] writes a clean file from sorted items. There is no
//! editing in place.
//!
//! Source: etcd-io/bbolt v1.5.0. All versions that etcd has used share this format.

pub mod bitmap;
pub mod block;
pub mod build;
pub mod collect;
pub mod db;
pub mod freelist;
pub mod meta;
pub mod packed;
pub mod page;
pub mod walk;

pub use db::{Db, NotBolt};
