//! Retention carried out: what a policy lets go is removed, oldest first.

use jiff::Timestamp;

use super::entry::{self, Entry};
use super::keep::{self, Decision, Fate, Plan};
use super::lock::DirLock;
use super::policy::Policy;
use super::records::Catalogue;
use super::run::{Pruned, Removed};
use super::scan::{self, Scan};
use crate::error::Result;
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

    /// What is removed, as a report has it.
    pub fn pruned(&self) -> Pruned {
        let removed: Vec<Removed> = self
            .plan
            .removed()
            .filter_map(|decision| Some((decision, self.entry(decision)?)))
            .map(|(decision, entry)| Removed {
                file: entry.backup.file_name(),
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

    /// Removes what the plan lets go, and forgets it; `check` is asked before each one.
    pub fn carry_out(
        &self,
        lock: &DirLock,
        catalogue: &mut Catalogue,
        now: Timestamp,
        limits: &Limits,
        check: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Pruned> {
        let mut changed = false;
        let mut result = Ok(());
        for decision in self.plan.removed() {
            let Some(entry) = self.entry(decision) else {
                continue;
            };
            result = check().and_then(|()| scan::remove(lock, &entry.backup, limits));
            if result.is_err() {
                break;
            }
            catalogue.forget(&entry.backup.id);
            changed = true;
        }
        if changed {
            catalogue.save(lock, now)?;
        }
        result.map(|()| self.pruned())
    }
}
