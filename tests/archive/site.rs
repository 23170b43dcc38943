//! Snapshots to be packed, and a directory to do it in.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use etcd_rescue::archive::{Archive, Manifest, tail};
use etcd_rescue::io::Image;
use etcd_rescue::limits::Limits;
use tempfile::TempDir;

use crate::util::etcd::Etcd;
use crate::util::process::Output;
use crate::util::{fill, measured, temp_dir};

/// Of a Kubernetes API server: 294,944 bytes, one frame.
pub static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/k8s-plain-3.5.db");
    std::fs::read(path).unwrap()
});

/// More than ten frames: large values, and small ones that share pages.
pub static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let server = Etcd::new("3.7").start();
    let mut api = server.api();
    fill::bulk(&mut api, "bulk/", 50, 100_000);
    fill::kubernetes(&mut api, 300, 500);
    std::fs::read(server.snapshot_save("large.db")).unwrap()
});

/// The archive of [`LARGE`].
pub static ARCHIVE: LazyLock<Vec<u8>> = LazyLock::new(|| packed(&LARGE));

/// What the program makes of a snapshot.
pub fn packed(snapshot: &[u8]) -> Vec<u8> {
    let site = Site::with("in.db", snapshot);
    site.run(&["pack", "in.db", "out.zst"]).ok();
    site.read("out.zst")
}

/// Its manifest and the bytes of its data frames.
pub fn parts(archive: &[u8]) -> (Manifest, Vec<Vec<u8>>) {
    let image = Image::from_memory(archive.to_vec());
    let opened = Archive::open(image, &Limits::default()).unwrap();
    let frames = opened.frames().iter().map(|frame| {
        let start = frame.offset as usize;
        archive[start..start + frame.compressed as usize].to_vec()
    });
    (opened.manifest().unwrap().clone(), frames.collect())
}

/// An archive of these frames with this manifest, which may lie about everything but them.
pub fn assemble(mut manifest: Manifest, frames: &[Vec<u8>]) -> Vec<u8> {
    manifest.frames.list = frames
        .iter()
        .map(|frame| (frame.len() as u32, crc32fast::hash(frame)))
        .collect();
    let mut bytes = frames.concat();
    bytes.extend(tail(&manifest).unwrap());
    bytes
}

/// A directory for one test.
pub struct Site {
    dir: TempDir,
}

impl Site {
    pub fn new() -> Site {
        Site { dir: temp_dir() }
    }

    pub fn with(name: &str, bytes: &[u8]) -> Site {
        let site = Site::new();
        site.write(name, bytes);
        site
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// In bounded memory and time.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        measured::run(self.dir(), args, None)
    }

    /// The same with bytes on a pipe.
    #[track_caller]
    pub fn pipe(&self, args: &[&str], stdin: &[u8]) -> Output {
        measured::run(self.dir(), args, Some(stdin.to_vec()))
    }
}
