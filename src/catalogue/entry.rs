//! A backup as a person sees it: what its manifest says, together with what is known of it.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::compare::Vitals;
use super::fresh;
pub use super::fresh::Freshness;
use super::keep::{Item, Marks};
use super::records::{Catalogue, Record};
use super::run;
use super::scan::{self, Backup, Scan, Strange, Stranger};

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

/// Whether there is a proved backup that is young enough, see [`fresh`].
pub fn freshness(entries: &[Entry], max_age: SignedDuration, now: Timestamp) -> Freshness {
    let items: Vec<Item> = entries.iter().map(Entry::item).collect();
    fresh::freshness(&items, max_age, now)
}

/// Files that were archives and are none any more: rot took the manifest, or somebody cut them. By the name that
/// the catalogue has for them, or one that `backup` gives.
pub fn unsound_files<'s>(
    scan: &'s Scan,
    catalogue: &'s Catalogue,
) -> impl Iterator<Item = &'s Stranger> {
    of_kind(Strange::Unsound, scan, catalogue)
}

/// Archives, by their names, that could not be read: what is in them nobody knows.
pub fn unread_files<'s>(
    scan: &'s Scan,
    catalogue: &'s Catalogue,
) -> impl Iterator<Item = &'s Stranger> {
    of_kind(Strange::Unread, scan, catalogue)
}

fn of_kind<'s>(
    kind: Strange,
    scan: &'s Scan,
    catalogue: &'s Catalogue,
) -> impl Iterator<Item = &'s Stranger> {
    scan.strangers.iter().filter(move |stranger| {
        let known = || catalogue.named(&stranger.file_name()).is_some();
        stranger.kind == kind && (stranger.named_by_backup() || known())
    })
}

/// The same in words.
pub fn unsound(scan: &Scan, catalogue: &Catalogue) -> Option<String> {
    let files = unsound_files(scan, catalogue);
    let told = files.map(|file| format!("{} ({})", file.file_name(), file.why));
    list(told).map(|files| format!("no archives any more: {files}"))
}

/// What could not be read, in words.
pub fn unread(scan: &Scan, catalogue: &Catalogue) -> Option<String> {
    let files = unread_files(scan, catalogue);
    let told = files.map(|file| format!("{} ({})", file.file_name(), file.why));
    list(told).map(|files| format!("archives that cannot be read: {files}"))
}

/// Pinned archives that are not there any more, in words.
pub fn missing_pins(scan: &Scan, catalogue: &Catalogue) -> Option<String> {
    let present = present(scan, catalogue);
    let absent = catalogue.absent(&present);
    let pinned = absent.filter(|(_, record)| record.pinned.is_some());
    let files = pinned.map(|(id, record)| record.file.clone().unwrap_or_else(|| id.to_owned()));
    list(files).map(|files| format!("pinned, and not there any more: {files}"))
}

/// Odd backups that nobody has accepted, in words.
pub fn suspicious(entries: &[Entry]) -> Option<String> {
    let odd = entries.iter().filter(|entry| entry.record.is_suspicious());
    let told = odd.map(|entry| {
        let why = entry.record.suspicious.join("; ");
        format!("{} ({why})", entry.backup.file_name())
    });
    list(told).map(|files| format!("suspicious until `unpin FILE` accepts it: {files}"))
}

/// The ids of the archives that are there, those that cannot be read included.
pub fn present(scan: &Scan, catalogue: &Catalogue) -> BTreeSet<String> {
    let unread = unread_files(scan, catalogue);
    let unread = unread.filter_map(|file| catalogue.named(&file.file_name()));
    let read = scan.backups.iter().map(|backup| backup.id.as_str());
    read.chain(unread).map(str::to_owned).collect()
}

/// The first few, and how many there are.
pub fn list(all: impl Iterator<Item = String>) -> Option<String> {
    const FEW: usize = 3;
    let all: Vec<String> = all.collect();
    let few = all.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    match all.len() {
        0 => None,
        number if number > FEW => Some(format!("{few} and {} more", number - FEW)),
        _ => Some(few),
    }
}

/// How many there are of each kind.
pub fn totals(entries: &[Entry], scan: &Scan, catalogue: &Catalogue) -> run::Totals {
    let unsound = unsound_files(scan, catalogue).count() as u64;
    let mut totals = run::Totals {
        damaged: unsound,
        strangers: (scan.strangers.len() as u64).saturating_sub(unsound),
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
            by_backup: self.backup.by_backup() && self.own_path().is_some(),
            dated: self.backup.dated(),
            verified: self.record.verified.is_some(),
            damaged: self.record.damaged.is_some() || self.backup.flaw.is_some(),
            suspicious: self.record.is_suspicious(),
            pinned: self.record.pinned.is_some(),
        }
    }

    /// The name that is ours to remove; all others are copies that somebody made. Nothing when ours is gone, or
    /// when it cannot be told which it was.
    pub fn own_path(&self) -> Option<&Path> {
        if self.record.removed.is_some() {
            return None;
        }
        if self.backup.copies.is_empty() {
            return Some(&self.backup.path);
        }
        let names = || self.backup.paths();
        let known = self.record.file.as_ref();
        let known = known.and_then(|file| names().find(|path| scan::file_name(path) == *file));
        known.or_else(|| names().find(|path| scan::named_by_backup(&scan::file_name(path))))
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
