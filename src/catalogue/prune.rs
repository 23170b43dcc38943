//! Retention carried out: what a policy lets go is removed, oldest first.

use std::path::Path;

use jiff::Timestamp;

use super::entry::{self, Entry};
use super::keep::{self, Decision, Fate, Plan};
use super::lock::DirLock;
use super::policy::Policy;
use super::records::Catalogue;
use super::run::{Pruned, Removed};
use super::scan::{self, Scan};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// What a policy would do with a directory.
#[derive(Debug)]
pub struct Pruning {
    /// Every backup, and what becomes of it.
    pub plan: Plan,
    /// The backups themselves.
    pub entries: Vec<Entry>,
}

impl Pruning {
    /// Decides; nothing is changed.
    pub fn plan(scan: &Scan, catalogue: &Catalogue, policy: &Policy, now: Timestamp) -> Pruning {
        let entries = entry::entries(scan, catalogue);
        let items: Vec<_> = entries.iter().map(Entry::item).collect();
        Pruning {
            plan: keep::decide(&items, policy, now),
            entries,
        }
    }

    /// The backup that a decision is about.
    pub fn entry(&self, decision: &Decision) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.backup.id == decision.item.id)
    }

    /// What the plan lets go, oldest first, and the name to remove of each.
    fn leaving(&self) -> impl Iterator<Item = (&Decision, &Entry, &Path)> {
        self.plan.removed().filter_map(|decision| {
            let entry = self.entry(decision)?;
            Some((decision, entry, entry.own_path()?))
        })
    }

    /// What would be removed, as a report has it.
    pub fn pruned(&self) -> Pruned {
        self.report(self.leaving())
    }

    fn report<'p>(
        &self,
        gone: impl Iterator<Item = (&'p Decision, &'p Entry, &'p Path)>,
    ) -> Pruned {
        let removed: Vec<Removed> = gone
            .map(|(decision, entry, path)| Removed {
                file: scan::file_name(path),
                id: entry.backup.id.clone(),
                at: entry.backup.at,
                bytes: entry.backup.bytes,
                reason: match decision.fate {
                    Fate::OverSize => "size".into(),
                    Fate::Expired | Fate::Kept(_) => "expired".into(),
                },
            })
            .collect();
        Pruned {
            skipped: None,
            removed_bytes: removed.iter().map(|removed| removed.bytes).sum(),
            removed,
            remaining: Vec::new(),
            over_bytes: self.plan.over,
        }
    }

    /// Removes what the plan lets go, and forgets it; `check` is asked before each one, and ends it. One that
    /// cannot be removed does not keep the others. Returns what was removed, and the first thing that went wrong.
    pub fn carry_out(
        &self,
        lock: &DirLock,
        catalogue: &mut Catalogue,
        now: Timestamp,
        limits: &Limits,
        check: &mut dyn FnMut() -> Result<()>,
    ) -> (Pruned, Option<Error>) {
        let (mut gone, mut remaining) = (Vec::new(), Vec::new());
        let mut failed = None;
        let mut leaving = self.leaving();
        for (decision, entry, path) in leaving.by_ref() {
            let over = check();
            let ended = over.is_err();
            if let Err(e) = over.and_then(|()| scan::remove(lock, &entry.backup, path, limits)) {
                failed = failed.or(Some(e));
                remaining.push(scan::file_name(path));
                match ended {
                    true => break,
                    false => continue,
                }
            }
            match entry.backup.copies.is_empty() {
                true => catalogue.forget(&entry.backup.id),
                // What is left of it is not ours.
                false => catalogue.entry(&entry.backup.id).removed = Some(now),
            }
            gone.push((decision, entry, path));
        }
        remaining.extend(leaving.map(|(_, _, path)| scan::file_name(path)));
        if !gone.is_empty()
            && let Err(e) = catalogue.save(lock, now)
        {
            failed = failed.or(Some(e));
        }
        let pruned = Pruned {
            remaining,
            ..self.report(gone.into_iter())
        };
        (pruned, failed)
    }
}
