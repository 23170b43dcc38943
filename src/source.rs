//! What the user points at, found out by content: a snapshot, a raw copy, a data dir, standard input.

use std::path::PathBuf;

/// INPUT as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file or a directory.
    Path(PathBuf),
    /// `-`
    Stdin,
}
