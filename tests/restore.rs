//! What `restore` refuses, what it does to a data dir besides, and what it says.

mod findings;
mod owner;
mod places;
mod rebuilt;
mod refusals;
mod streams;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::util::run::Rescue;
use crate::util::temp_dir;

/// Of a Kubernetes API server: 294,944 bytes.
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/k8s-plain-3.5.db");

/// A directory to restore into.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(temp_dir())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    fn member(&self) -> PathBuf {
        self.data().join("member")
    }

    /// A restore of the snapshot into `data`, with these flags.
    fn restore(&self, flags: &[&str]) -> Rescue {
        self.restore_of(SNAPSHOT, flags)
    }

    fn restore_of(&self, input: &str, flags: &[&str]) -> Rescue {
        let run = Rescue::new(["restore", input, "--data-dir"]);
        run.arg(self.data()).args(flags)
    }

    /// A file below, with the directories it needs.
    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
