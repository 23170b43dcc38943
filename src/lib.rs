//! etcd-rescue: saves, proves, archives and restores etcd snapshots.
//!
//! The way of the bytes, and with it the order of the modules:
//!
//! ```text
//! endpoint ----+
//! file, stdin -+                          +-> archive -> .db.zst, alone or in a directory of backups
//! archive -----+-> Candidate --verify--> Snapshot
//! data dir ----+       |                  +-> rebuild -> data dir (db, wal, snap)
//!                      +-> Report, always
//! ```
//!
//! Layers point down: [`bytes`], [`limits`], [`error`], [`report`], [`observe`], [`shell`] know nothing of files;
//! [`io`] and [`proto`] know nothing of bbolt; the formats [`archive`], [`bolt`], [`wal`], [`snap`] know
//! nothing of paths and of each other; [`etcd`] says what the buckets mean; [`source`] and [`snapshot`] turn what
//! was found into what was proved, [`packed`] that into an archive; [`catalogue`] is a directory of backups
//! over the years; [`client`] speaks to servers, [`intake`] takes what they send into a file; [`ops`] are the
//! operations; [`cli`] alone reads arguments, prints and exits.

pub mod bytes;
pub mod error;
pub mod limits;
pub mod observe;
pub mod report;
pub mod shell;

pub mod io;
pub mod proto;

pub mod archive;
pub mod bolt;
pub mod snap;
pub mod wal;

pub mod etcd;

pub mod catalogue;
pub mod datadir;
pub mod scattered;
pub mod snapshot;
pub mod source;
pub mod transport;

pub mod packed;

pub mod client;
pub mod intake;

pub mod ops;

pub mod cli;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
