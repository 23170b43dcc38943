//! Status: what `etcdutl snapshot status` says, and what it leaves out.

use crate::archive::Manifest;
use crate::error::Result;
use crate::etcd::facts::Facts;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::Report;
use crate::snapshot;
use crate::source::Source;

/// What to look at.
#[derive(Clone, Debug)]
pub struct Request {
    /// One input.
    pub source: Source,
    /// Look inside an archive; otherwise its manifest is the answer.
    pub full: bool,
}

/// What was seen.
#[derive(Debug)]
pub struct Outcome {
    /// What the input was found to be.
    pub input: String,
    /// The manifest, where nothing else was read: the facts are what it says.
    pub manifest: Option<Manifest>,
    /// Meaningless where `report.is_damaged()`.
    pub facts: Facts,
    /// Structure and meaning findings; the SHA-256 is not checked here.
    pub report: Report,
}

/// Walks the structure once; does not check the SHA-256.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<Outcome> {
    let candidate = request.source.open(limits, observer)?;
    if let Some(archive) = candidate.archive()
        && let Some(manifest) = archive.manifest()
        && !request.full
    {
        return Ok(Outcome {
            input: candidate.called("archive"),
            facts: told(manifest),
            manifest: Some(manifest.clone()),
            report: archive.findings().clone(),
        });
    }
    let verdict = snapshot::survey(&candidate, limits, observer)?;
    Ok(Outcome {
        manifest: None,
        input: verdict.input,
        facts: verdict.facts,
        report: verdict.report,
    })
}

/// The facts that a manifest has.
fn told(manifest: &Manifest) -> Facts {
    let (snapshot, etcd) = (&manifest.snapshot, &manifest.etcd);
    Facts {
        page_size: snapshot.page_size,
        size: etcd.db_size,
        in_use: etcd.in_use,
        free: etcd.free,
        hash: etcd.hash,
        revision: etcd.revision,
        live_keys: etcd.live_keys,
        total_keys: etcd.total_keys,
        storage_version: etcd.storage_version.clone(),
        ..Facts::default()
    }
}
