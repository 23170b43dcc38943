//! The archive's side of a verification: every frame, and what the manifest says against what is inside.

use aws_lc_rs::digest::{Context, SHA256};

use super::{Level, Verdict};
use crate::archive::manifest::Manifest;
use crate::archive::{Archive, Checked};
use crate::error::Result;
use crate::io::cores;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::{Place, Severity};
use crate::transport::{self, Tee};

/// What reading everything from front to back brings home.
pub(super) struct Passed {
    /// SHA-256 of the image; `None` when bytes of it could not be had.
    pub digest: Option<[u8; 32]>,
    /// What is wrong with the archive, if it is one.
    pub container: Option<Checked>,
}

impl Passed {
    pub(super) fn known(digest: [u8; 32]) -> Passed {
        Passed {
            digest: Some(digest),
            container: None,
        }
    }
}

/// Decompresses and checks every frame; hashes the first `size` bytes of the snapshot on the way, and
/// gives them to `tee`.
pub(super) fn pass(
    archive: &Archive,
    size: u64,
    limits: &Limits,
    observer: &dyn Observer,
    mut tee: Option<&mut Tee<'_>>,
) -> Result<Passed> {
    observer.stage("checking", archive.size());
    let mut context = Context::new(&SHA256);
    let mut whole = true;
    let container = archive.check_container(threads(), limits, observer, &mut |start, piece| {
        let Ok(piece) = piece else {
            whole = false;
            return Ok(());
        };
        let wanted = size.saturating_sub(start).min(piece.len() as u64);
        let image = piece.get(..wanted as usize).unwrap_or_default();
        context.update(image);
        match &mut tee {
            Some(tee) if whole => tee(image),
            _ => Ok(()),
        }
    })?;
    Ok(Passed {
        digest: whole.then(|| transport::finish(context)),
        container: Some(container),
    })
}

/// What opening it found, for an archive that was read through before.
pub(super) fn opened(archive: &Archive) -> Checked {
    Checked {
        report: archive.findings().clone(),
        damaged: Vec::new(),
        frames_damaged: 0,
    }
}

/// Threads that decompress ahead: none of their own on two cores, where the walk has the other one.
pub(super) fn threads() -> usize {
    (cores() / 2).min(4)
}

impl Verdict {
    /// Takes in what was found wrong with the archive.
    pub(super) fn judge_container(&mut self, checked: Option<Checked>) {
        let Some(checked) = checked else {
            return;
        };
        let level = match checked.report.total() {
            _ if checked.report.is_damaged() => Level::Damaged,
            0 => Level::Good,
            _ => Level::Flawed,
        };
        if let Some(packed) = &mut self.packed {
            packed.container = level;
            packed.frames_damaged = checked.frames_damaged;
        }
        self.report.absorb(checked.report);
    }

    /// Neither meta page could be had.
    pub(super) fn nothing_to_reach(&mut self, manifest: Option<&Manifest>) {
        let lost = self
            .packed
            .as_ref()
            .map_or(0, |packed| packed.frames_damaged);
        if let (Some(manifest), 1..) = (manifest, lost) {
            let all = manifest.etcd.live_keys;
            self.report.lead(
                Severity::Warning,
                Place::file(),
                format!("none of the {all} live keys can be reached: the pages that lead to all others are lost"),
            );
        }
    }

    /// The manifest was written when the snapshot was proved: it must say what is inside.
    pub(super) fn compare_with_manifest(&mut self, manifest: &Manifest) {
        let before = self.report.count(Severity::Error);
        let (snapshot, etcd, facts) = (&manifest.snapshot, &manifest.etcd, &self.facts);
        let computed = self.sha256.computed.clone().unwrap_or_default();
        let mut wrong = Vec::new();
        let mut same = |what: &str, says: String, has: String| {
            if says != has {
                wrong.push(format!(
                    "the manifest says {what} {says}, inside it is {has}"
                ));
            }
        };
        if !computed.is_empty() {
            same("SHA-256", snapshot.sha256.clone(), computed);
            let trailer = self.sha256.trailer.is_some();
            same("trailer", snapshot.trailer.to_string(), trailer.to_string());
        }
        if self.structure == Level::Good && self.meaning == Level::Good {
            let number = |n: u64| n.to_string();
            same(
                "page size",
                number(snapshot.page_size.into()),
                number(facts.page_size.into()),
            );
            same(
                "revision",
                etcd.revision.to_string(),
                facts.revision.to_string(),
            );
            same("live keys", number(etcd.live_keys), number(facts.live_keys));
            same(
                "total keys",
                number(etcd.total_keys),
                number(facts.total_keys),
            );
            same("hash", number(etcd.hash.into()), number(facts.hash.into()));
            same("db size", number(etcd.db_size), number(facts.size));
            same("in use", number(etcd.in_use), number(facts.in_use));
            same(
                "compacted revision",
                etcd.compacted_revision.to_string(),
                facts.compact_revision.unwrap_or(0).to_string(),
            );
            let version = |version: &Option<String>| version.clone().unwrap_or("none".into());
            same(
                "storage version",
                version(&etcd.storage_version),
                version(&facts.storage_version),
            );
        } else if etcd.live_keys > facts.live_keys {
            let (all, left) = (etcd.live_keys, facts.live_keys);
            let lost = all - left;
            self.report.lead(
                Severity::Warning,
                Place::file(),
                format!("{lost} of {all} live keys cannot be reached any more, or more of them where old values came up in their place"),
            );
        }
        let frames_damaged = self.packed.as_ref().is_some_and(|p| p.frames_damaged > 0);
        if frames_damaged && self.structure == Level::Good && wrong.is_empty() {
            let all = facts.live_keys;
            self.report.lead(
                Severity::Warning,
                Place::file(),
                format!("the frames that are lost held nothing that is in use: all {all} live keys can still be reached"),
            );
        }
        for what in wrong {
            self.report.error(Place::file(), what);
        }
        if self.report.count(Severity::Error) > before
            && let Some(packed) = &mut self.packed
        {
            packed.container = Level::Damaged;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::archive::{Options, Writer};
    use crate::io::Image;

    /// Counts what it is told.
    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Observer for Counting {
        fn stage(&self, _name: &str, _total: Option<u64>) {}
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn notice(&self, _text: &str) {}
        fn check(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn progress_ends_where_the_snapshot_does() {
        let mut writer = Writer::new(Vec::new(), Options::default()).unwrap();
        writer.write_all(&vec![7; 3 << 20]).unwrap();
        let (bytes, written) = writer.finish_frames().unwrap();
        let limits = Limits::default();
        let image = Image::from_memory(bytes);
        let archive = Archive::from_frames(image, &written.frames, written.size, &limits).unwrap();
        let counting = Counting::default();
        pass(&archive, written.size, &limits, &counting, None).unwrap();
        assert_eq!(counting.0.into_inner(), 3 << 20);
    }
}
