//! Files, as the rest of the crate needs them: read-only images, and outputs that are whole or absent.

pub mod image;
pub mod lock;
pub mod spool;
pub mod staged;

pub use image::Image;
