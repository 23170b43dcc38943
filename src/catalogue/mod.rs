//! A directory of backups that is kept for years: what lies in it, what is known of each backup, which
//! ones stay, who works on it, and what a run tells the world.
//!
//! [`scan`] reads the manifests; [`records`] is what is known beyond them (proved when, pinned, damaged);
//! [`entry`] brings the two together;
//! [`keep`] decides what stays, from these two and the time alone; [`compare`] says what is odd about a new
//! backup; [`fresh`] how old the last one is; [`lock`] keeps two runs apart; [`prune`] removes; [`latest`] is the
//! one to take; [`run`] and [`metrics`] tell the world how a run went, in the files that [`telling`] writes.
//! Nothing here reads a clock: the time is passed in, so that a
//! year can be simulated.

pub mod compare;
pub mod entry;
pub mod fate;
pub mod fresh;
pub mod item;
pub mod keep;
pub mod latest;
pub mod lock;
pub mod metrics;
pub mod policy;
pub mod prune;
pub mod record;
pub mod records;
pub mod run;
pub mod scan;
pub mod telling;
pub mod within;
