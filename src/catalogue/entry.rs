//! A backup as a person sees it: what its manifest says, together with what is known of it.

use jiff::{SignedDuration, Timestamp};

use super::compare::Vitals;
use super::keep::{Item, Marks};
use super::records::{Catalogue, Record};
use super::run;
use super::scan::{Backup, Scan};

/// An archive and its record.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The archive.
    pub backup: Backup,
    /// What is known of it; empty if nothing is.
    pub record: Record,
}

/// The archives of a directory with their records, newest first.
pub fn entries(scan: &Scan, catalogue: &Catalogue) -> Vec<Entry> {
    let entry = |backup: &Backup| Entry {
        record: catalogue.get(&backup.id).cloned().unwrap_or_default(),
        backup: backup.clone(),
    };
    let mut entries: Vec<Entry> = scan.backups.iter().map(entry).collect();
    // Several of the same second: as retention sees them.
    entries.sort_by(|a, b| b.item().age().cmp(&a.item().age()));
    entries
}

/// The newest proved one, see [`super::keep::last_verified`].
pub fn last_verified(entries: &[Entry], now: Timestamp) -> Option<&Entry> {
    let items: Vec<Item> = entries.iter().map(Entry::item).collect();
    let last = super::keep::last_verified(&items, now)?;
    entries.iter().find(|entry| entry.backup.id == last.id)
}

/// The backup before a new one, to compare it with: the one that was made last by the count of the catalogue,
/// whatever its date says; where that was lost, the newest proved one.
pub fn previous(entries: &[Entry], now: Timestamp) -> Option<&Entry> {
    let good = entries.iter().filter(|entry| {
        let marks = entry.marks();
        marks.by_backup && marks.verified && !marks.damaged && entry.record.order.is_some()
    });
    good.max_by_key(|entry| entry.record.order)
        .or_else(|| last_verified(entries, now))
}

/// Whether there is a proved backup that is young enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The newest proved one has this age.
    Fresh(SignedDuration),
    /// The newest proved one has this age.
    TooOld(SignedDuration),
    /// Every proved one is dated in the future: a clock is or was wrong, and nobody knows how old they are.
    Future,
    /// No backup is proved.
    Missing,
}

/// How old the newest proved backup is. One that is dated in the future has no age, and is passed over: it would
/// look young for years.
pub fn freshness(entries: &[Entry], max_age: SignedDuration, now: Timestamp) -> Freshness {
    match last_verified(entries, now) {
        None => Freshness::Missing,
        Some(last) if last.backup.at > now => Freshness::Future,
        Some(last) => {
            let age = now.duration_since(last.backup.at);
            match age <= max_age {
                true => Freshness::Fresh(age),
                false => Freshness::TooOld(age),
            }
        }
    }
}

/// How many there are of each kind.
pub fn totals(entries: &[Entry], scan: &Scan) -> run::Totals {
    let mut totals = run::Totals {
        strangers: scan.strangers.len() as u64,
        ..run::Totals::default()
    };
    for entry in entries {
        let marks = entry.marks();
        let state = match (marks.damaged, marks.verified) {
            (true, _) => &mut totals.damaged,
            (false, true) => &mut totals.verified,
            (false, false) => &mut totals.unverified,
        };
        *state += 1;
        totals.suspicious += u64::from(marks.suspicious);
        totals.pinned += u64::from(marks.pinned);
        let names = 1 + entry.backup.copies.len() as u64;
        totals.bytes = totals
            .bytes
            .saturating_add(entry.backup.bytes.saturating_mul(names));
    }
    totals
}

impl Entry {
    /// What retention has to know. An archive whose container is visibly broken counts as damaged.
    pub fn marks(&self) -> Marks {
        Marks {
            by_backup: self.backup.by_backup(),
            verified: self.record.verified.is_some(),
            damaged: self.record.damaged.is_some() || self.backup.flaw.is_some(),
            suspicious: self.record.is_suspicious(),
            pinned: self.record.pinned.is_some(),
        }
    }

    /// The same as retention takes it.
    pub fn item(&self) -> Item {
        Item {
            id: self.backup.id.clone(),
            at: self.backup.at,
            bytes: self.backup.bytes,
            cluster: self.vitals().cluster_id,
            revision: self.backup.manifest.etcd.revision,
            order: self.record.order,
            marks: self.marks(),
        }
    }

    /// What a new backup is compared with.
    pub fn vitals(&self) -> Vitals {
        Vitals::of(&self.backup.manifest)
    }

    /// As a report has it; nothing unless it is proved.
    pub fn report(&self) -> Option<run::Backup> {
        let marks = self.marks();
        let verified = self.record.verified.as_ref()?;
        if marks.damaged {
            return None;
        }
        let manifest = &self.backup.manifest;
        let source = manifest.source.as_ref();
        Some(run::Backup {
            file: self.backup.file_name(),
            id: self.backup.id.clone(),
            at: self.backup.at,
            verified_at: verified.at,
            bytes: self.backup.bytes,
            snapshot_bytes: manifest.snapshot.size,
            revision: manifest.etcd.revision,
            live_keys: manifest.etcd.live_keys,
            db_size_bytes: manifest.etcd.db_size,
            db_in_use_bytes: manifest.etcd.in_use,
            cluster_id: source.map(|from| from.cluster_id.clone()),
            member_id: source.map(|from| from.member_id.clone()),
            member_name: source.and_then(|from| from.member_name.clone()),
            endpoint: source.map(|from| from.endpoint.clone()),
            server_version: source.map(|from| from.server_version.clone()),
            role: source.map(|from| from.role.clone()),
        })
    }
}
