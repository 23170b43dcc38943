//! Files, as the rest of the crate needs them: read-only images, and outputs that are whole or absent.

mod claim;
pub mod dirs;
pub mod fault;
pub mod image;
pub mod lock;
pub mod outlet;
pub mod pace;
pub mod sendout;
pub mod spool;
pub mod staged;
pub mod steady;
mod target;

pub use image::{Image, ReadAt};

/// Processors that this process may use, at least one.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
