//! From a snapshot that was proved to an archive of it: the manifest out of the verdict.

use crate::archive::manifest::{Etcd, Made, Manifest, Snapshot, Source};
use crate::archive::{self, Archive, Written};
use crate::error::{Error, Result};
use crate::io::{Image, cores};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::snapshot::Verdict;

/// Who makes an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `save OUT.zst`
    Save,
    /// `pack`
    Pack,
    /// `backup`: only these are ever pruned.
    Backup,
}

impl By {
    /// As the manifest has it.
    pub fn word(self) -> &'static str {
        match self {
            By::Save => "save",
            By::Pack => "pack",
            By::Backup => "backup",
        }
    }
}

/// How to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// zstd's level.
    pub level: i32,
    /// Threads that compress; `None`: what suits the machine.
    pub threads: Option<usize>,
}

impl Effort {
    /// For work that has the machine to itself.
    pub fn alone(self) -> archive::Options {
        self.options(cores().min(8))
    }

    /// For work beside a server, which may be on this very machine.
    pub fn beside_a_server(self) -> archive::Options {
        self.options((cores() / 2).min(4))
    }

    fn options(self, threads: usize) -> archive::Options {
        archive::Options {
            level: self.level,
            threads: self.threads.unwrap_or(threads),
            ..archive::Options::default()
        }
    }
}

/// The manifest of `written`, which `verdict` is about. `at` is when the snapshot was taken.
pub fn manifest(
    by: By,
    at: jiff::Timestamp,
    verdict: &Verdict,
    written: &Written,
    source: Option<Source>,
) -> Manifest {
    let facts = &verdict.facts;
    let made = Made {
        by: by.word().into(),
        tool: concat!("etcd-rescue ", env!("CARGO_PKG_VERSION")).into(),
        at: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ..Made::default()
    };
    let snapshot = Snapshot {
        size: written.size,
        sha256: verdict.sha256.computed.clone().unwrap_or_default(),
        trailer: verdict.sha256.trailer.is_some(),
        page_size: facts.page_size,
        ..Snapshot::default()
    };
    let etcd = Etcd {
        revision: facts.revision,
        compacted_revision: facts.compact_revision.unwrap_or(0),
        live_keys: facts.live_keys,
        total_keys: facts.total_keys,
        hash: facts.hash,
        storage_version: facts.storage_version.clone(),
        db_size: facts.size,
        in_use: facts.in_use,
        free: facts.free,
        kubernetes: facts.kubernetes,
        auth_enabled: facts.auth_enabled,
        members: facts.members.len() as u64,
        ..Etcd::default()
    };
    let mut manifest = Manifest::new(made, snapshot, etcd, written.frames.clone());
    manifest.source = source;
    manifest
}

/// Reads an archive back that was just written: every frame, and the manifest.
pub fn check_written(
    image: Image,
    meant: &Manifest,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<()> {
    let name = image.name().to_owned();
    let archive = Archive::open(image, limits)?;
    let threads = cores().min(4);
    let checked = archive.check_container(threads, limits, observer, &mut |_, _| Ok(()))?;
    if archive.manifest() == Some(meant) && checked.report.total() == 0 {
        return Ok(());
    }
    let first = checked.report.listed().first();
    Err(Error::failed(format!(
        "{name}: what was read back is not what was written: {}",
        first.map_or("another manifest".into(), ToString::to_string)
    ))
    .hint("the disk or the memory of this machine cannot be trusted: write to another place"))
}
