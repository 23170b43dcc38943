//! The one integration binary: everything that needs the built program, real servers or both.
//!
//! `tests/setup.sh` makes the machine ready; `tests/run.sh` does that and runs this. A server that
//! is missing fails the tests that need it: nothing here is skipped.

// Tests fail by panicking, and may say so on stderr.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[allow(dead_code)] // a harness offers more than the tests of one day use
#[macro_use]
mod util;

mod archive;
mod backup;
mod catalogue;
mod cli;
mod corpora;
mod crash;
mod demo;
mod dist;
mod golden;
mod hostile;
mod interop;
mod layers;
mod network;
mod peer;
mod promises;
mod readme;
mod restore;
mod seeds;
mod servers;
