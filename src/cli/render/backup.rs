//! `backup`, `list`, `prune` and `check`: directories of backups, for people and for programs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::super::humanize::{count, duration, size, size_exact, tame};
use super::super::raw::Format;
use super::super::table;
use super::json;
use super::pack::ManifestView;
use super::sheet::Sheet;
use crate::catalogue::entry::Entry;
use crate::catalogue::keep::Fate;
use crate::catalogue::run::{RunReport, Totals};
use crate::catalogue::scan;
use crate::observe::rough;
use crate::ops::check::End;
use crate::ops::{check, list, prune};

/// What `backup` prints on a terminal, or where a format is asked for.
pub fn made(report: &RunReport, format: Format) -> String {
    if format == Format::Json {
        return json(report);
    }
    let mut sheet = Sheet::default();
    if let Some(saved) = &report.saved {
        sheet.row("file", &saved.file);
        sheet.row_with("archive", size_exact(saved.bytes), saved.bytes);
        sheet.row_with(
            "snapshot",
            size_exact(saved.snapshot_bytes),
            saved.snapshot_bytes,
        );
        sheet.row("revision", saved.revision);
        sheet.row("live keys", saved.live_keys);
        sheet.row("endpoint", saved.endpoint.as_deref().unwrap_or_default());
        sheet.row(
            "verified",
            "read back from the disk: container, transport, structure, meaning",
        );
    }
    for what in &report.suspicious {
        sheet.row("suspicious", what);
    }
    if let Some(pruned) = &report.pruned {
        let removed = match &pruned.skipped {
            Some(why) => format!("nothing, because {why}"),
            None if pruned.removed.is_empty() => "nothing".into(),
            None => {
                let files = count(pruned.removed.len() as u64, "backup");
                format!("{files}, {}", size(pruned.removed_bytes))
            }
        };
        sheet.row("pruned", removed);
    }
    if let Some(totals) = &report.backups {
        sheet.row("now there", total(totals));
    }
    let took = Duration::try_from_secs_f64(report.duration_seconds).unwrap_or_default();
    sheet.row_with("took", duration(took), report.duration_seconds);
    match format {
        Format::Fields => sheet.fields(),
        _ => sheet.table(),
    }
}

/// `24 verified, 1 damaged, 12 MB`
pub fn total(totals: &Totals) -> String {
    let mut parts = vec![format!("{} verified", totals.verified)];
    for (number, what) in [
        (totals.unverified, "not verified"),
        (totals.damaged, "damaged"),
        (totals.suspicious, "suspicious"),
        (totals.pinned, "pinned"),
        (totals.strangers, "other files"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    parts.push(size(totals.bytes));
    parts.join(", ")
}

/// What `list` prints.
pub fn listed(outcome: &list::Outcome, format: Format) -> String {
    match format {
        Format::Json => json(&Listed::of(outcome)),
        Format::Fields => {
            let mut text = String::new();
            for entry in &outcome.entries {
                let mut sheet = Sheet::default();
                for (label, cell) in COLUMNS.iter().zip(cells(entry, outcome)) {
                    sheet.row(label, cell);
                }
                text += &(sheet.fields() + "\n");
            }
            text
        }
        Format::Simple => {
            let line = |entry: &Entry| cells(entry, outcome).join(", ") + "\n";
            outcome.entries.iter().map(line).collect()
        }
        Format::Table => {
            let rows: Vec<_> = outcome
                .entries
                .iter()
                .map(|entry| cells(entry, outcome))
                .collect();
            let others = others(outcome).into_iter().map(|line| line + "\n");
            let total = format!("{}\n", total(&outcome.totals));
            table::render(&COLUMNS, &rows) + &others.collect::<String>() + &total
        }
    }
}

/// What looks like a backup and is none, a line each.
pub fn others(outcome: &list::Outcome) -> Vec<String> {
    let strangers = outcome.found.strangers.iter().map(|stranger| {
        let word = match outcome.unsound.contains(&stranger.path) {
            true => "damaged",
            false => "no backup",
        };
        let name = tame(&stranger.file_name());
        format!("{word}: {name}: {}", tame(&stranger.why))
    });
    let partials = outcome.found.partials.iter().map(|partial| {
        let name = tame(&scan::file_name(partial));
        format!("no backup: {name}: unfinished")
    });
    strangers.chain(partials).collect()
}

const COLUMNS: [&str; 10] = [
    "time", "age", "size", "ratio", "revision", "keys", "etcd", "verified", "tags", "file",
];

fn cells(entry: &Entry, outcome: &list::Outcome) -> Vec<String> {
    let (backup, manifest) = (&entry.backup, &entry.backup.manifest);
    let ratio = manifest.snapshot.size as f64 / backup.bytes.max(1) as f64;
    let source = manifest.source.as_ref();
    let verified = match (&entry.record.verified, &entry.record.damaged) {
        (_, Some(damaged)) => format!("DAMAGED {:.0}", damaged.at),
        (Some(verified), None) => format!("{} {:.0}", verified.how, verified.at),
        (None, None) => "no".into(),
    };
    vec![
        format!("{:.0}", backup.at),
        age(outcome.now.duration_since(backup.at)),
        size(backup.bytes),
        format!("{ratio:.1}"),
        manifest.etcd.revision.to_string(),
        manifest.etcd.live_keys.to_string(),
        tame(source.map_or("", |source| source.server_version.as_str())),
        verified,
        tags(entry, outcome.latest.as_deref()).join(" "),
        tame(&backup.file_name()),
    ]
}

fn age(age: SignedDuration) -> String {
    let span = rough(age.unsigned_abs());
    match age.is_negative() {
        true => format!("in {span}"),
        false => span,
    }
}

/// What is special about a backup.
fn tags(entry: &Entry, latest: Option<&str>) -> Vec<&'static str> {
    let marks = entry.marks();
    let all = [
        (latest == Some(&entry.backup.id), "latest"),
        (marks.pinned, "pinned"),
        (marks.suspicious, "suspicious"),
        (marks.damaged, "damaged"),
        (!marks.by_backup, "by-hand"),
        (!entry.backup.copies.is_empty(), "copied"),
    ];
    all.into_iter()
        .filter_map(|(is, tag)| is.then_some(tag))
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    now: Timestamp,
    latest: Option<&'a str>,
    backups: Vec<EntryView<'a>>,
    strangers: Vec<StrangerView<'a>>,
    partials: Vec<String>,
    totals: TotalsView,
    problem: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryView<'a> {
    file: String,
    copies: Vec<String>,
    id: &'a str,
    at: Timestamp,
    age_seconds: i64,
    bytes: u64,
    ratio: f64,
    verified_at: Option<Timestamp>,
    verified_how: Option<String>,
    damaged_at: Option<Timestamp>,
    damage: Option<&'a str>,
    suspicious: &'a [String],
    tags: Vec<&'static str>,
    manifest: ManifestView<'a>,
}

#[derive(Serialize)]
struct StrangerView<'a> {
    file: String,
    why: &'a str,
    /// It was an archive.
    damaged: bool,
}

#[derive(Serialize)]
struct TotalsView {
    verified: u64,
    unverified: u64,
    damaged: u64,
    suspicious: u64,
    pinned: u64,
    strangers: u64,
    bytes: u64,
}

impl TotalsView {
    fn of(totals: &Totals) -> TotalsView {
        TotalsView {
            verified: totals.verified,
            unverified: totals.unverified,
            damaged: totals.damaged,
            suspicious: totals.suspicious,
            pinned: totals.pinned,
            strangers: totals.strangers,
            bytes: totals.bytes,
        }
    }
}

impl Listed<'_> {
    fn of(outcome: &list::Outcome) -> Listed<'_> {
        let entry = |entry: &Entry| -> (String, SignedDuration) {
            (
                entry.backup.file_name(),
                outcome.now.duration_since(entry.backup.at),
            )
        };
        let view = |each| -> EntryView<'_> {
            let each: &Entry = each;
            let (file, age) = entry(each);
            let (backup, record) = (&each.backup, &each.record);
            let damaged = record.damaged.as_ref();
            EntryView {
                file,
                copies: backup.copies.iter().map(|it| scan::file_name(it)).collect(),
                id: &backup.id,
                at: backup.at,
                age_seconds: age.as_secs(),
                bytes: backup.bytes,
                ratio: backup.manifest.snapshot.size as f64 / backup.bytes.max(1) as f64,
                verified_at: record.verified.as_ref().map(|verified| verified.at),
                verified_how: record
                    .verified
                    .as_ref()
                    .map(|verified| verified.how.to_string()),
                damaged_at: damaged.map(|damaged| damaged.at),
                damage: damaged
                    .map(|damaged| damaged.what.as_str())
                    .or(backup.flaw.as_deref()),
                suspicious: &record.suspicious,
                tags: tags(each, outcome.latest.as_deref()),
                manifest: ManifestView::of(&backup.manifest),
            }
        };
        Listed {
            now: outcome.now,
            latest: outcome.latest.as_deref(),
            backups: outcome.entries.iter().map(view).collect(),
            strangers: outcome
                .found
                .strangers
                .iter()
                .map(|stranger| StrangerView {
                    file: stranger.file_name(),
                    why: &stranger.why,
                    damaged: outcome.unsound.contains(&stranger.path),
                })
                .collect(),
            partials: outcome
                .found
                .partials
                .iter()
                .map(|partial| scan::file_name(partial))
                .collect(),
            totals: TotalsView::of(&outcome.totals),
            problem: outcome.problem.as_deref(),
        }
    }
}

/// What `prune` prints.
pub fn pruned(request: &prune::Request, outcome: &prune::Outcome, format: Format) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        dry_run: bool,
        decisions: Vec<DecisionView>,
        pruned: &'a crate::catalogue::run::Pruned,
    }
    #[derive(Serialize)]
    struct DecisionView {
        file: String,
        id: String,
        at: Timestamp,
        keep: bool,
        reasons: Vec<String>,
    }
    let decisions: Vec<DecisionView> = outcome
        .pruning
        .plan
        .decisions
        .iter()
        .map(|decision| DecisionView {
            file: outcome
                .pruning
                .entry(decision)
                .map(|entry| match (decision.fate.is_kept(), entry.own_path()) {
                    (false, Some(path)) => scan::file_name(path),
                    _ => entry.backup.file_name(),
                })
                .unwrap_or_default(),
            id: decision.item.id.clone(),
            at: decision.item.at,
            keep: decision.fate.is_kept(),
            reasons: match &decision.fate {
                Fate::Kept(reasons) => reasons.iter().map(ToString::to_string).collect(),
                Fate::Expired => vec!["no rule keeps it".into()],
                Fate::OverSize => vec!["no room in --max-size".into()],
            },
        })
        .collect();
    if format == Format::Json {
        return json(&Document {
            dry_run: request.dry_run,
            decisions,
            pruned: &outcome.pruned,
        });
    }
    let rows: Vec<Vec<String>> = decisions
        .iter()
        .map(|decision| {
            vec![
                format!("{:.0}", decision.at),
                if decision.keep { "keep" } else { "remove" }.into(),
                decision.reasons.join(", "),
                tame(&decision.file),
            ]
        })
        .collect();
    let mut text = match format {
        Format::Table => table::render(&["time", "what", "why", "file"], &rows),
        _ => rows.iter().map(|row| row.join("  ") + "\n").collect(),
    };
    let (files, bytes) = (
        outcome.pruned.removed.len() as u64,
        outcome.pruned.removed_bytes,
    );
    let verb = if request.dry_run {
        "would remove"
    } else {
        "removed"
    };
    text += &format!("{verb} {}, {}\n", count(files, "backup"), size(bytes));
    if outcome.pruned.over_bytes > 0 {
        text += &format!(
            "still {} more than --max-size\n",
            size(outcome.pruned.over_bytes)
        );
    }
    text
}

/// What `check` prints.
pub fn checked(outcome: &check::Outcome, format: Format) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        ok: bool,
        reason: Option<&'a str>,
        newest: Option<String>,
        newest_at: Option<Timestamp>,
        age_seconds: Option<i64>,
        readings: Vec<ReadingView<'a>>,
        totals: TotalsView,
        warnings: &'a [String],
    }
    #[derive(Serialize)]
    struct ReadingView<'a> {
        file: &'a str,
        damage: Option<&'a str>,
        unreadable: Option<&'a str>,
    }
    let newest = outcome
        .newest
        .as_ref()
        .map(|entry| entry.backup.file_name());
    if format == Format::Json {
        return json(&Document {
            ok: outcome.late.is_none(),
            reason: outcome.late.as_deref(),
            newest,
            newest_at: outcome.newest.as_ref().map(|entry| entry.backup.at),
            age_seconds: outcome.age.map(|age| age.as_secs()),
            readings: outcome
                .readings
                .iter()
                .map(|reading| ReadingView {
                    file: &reading.file,
                    damage: reading.damage(),
                    unreadable: reading.unreadable(),
                })
                .collect(),
            totals: TotalsView::of(&outcome.totals),
            warnings: &outcome.warnings,
        });
    }
    let mut sheet = Sheet::default();
    if let (Some(newest), Some(at)) = (&newest, outcome.age) {
        sheet.row("newest verified", newest);
        sheet.row("age", age(at));
    }
    let (mut good, mut damaged, mut unreadable) = (0, 0, 0);
    for reading in &outcome.readings {
        match &reading.end {
            End::Good => good += 1,
            End::Damaged(what) => {
                damaged += 1;
                sheet.row("DAMAGED", format!("{}: {what}", reading.file));
            }
            End::Unreadable(why) => {
                unreadable += 1;
                sheet.row("NOT READ", format!("{}: {why}", reading.file));
            }
        }
    }
    if !outcome.readings.is_empty() {
        let all = outcome.readings.len();
        let not_read = match unreadable {
            0 => String::new(),
            number => format!(", {number} not read"),
        };
        sheet.row(
            "read from the disk",
            format!("{all}, {good} good, {damaged} damaged{not_read}"),
        );
    }
    sheet.row("there", total(&outcome.totals));
    match format {
        Format::Fields => sheet.fields(),
        _ => sheet.table(),
    }
}

/// The line and the exit code of a Nagios plug-in.
pub fn nagios(request: &check::Request, outcome: &check::Outcome) -> (String, u8) {
    let totals = &outcome.totals;
    let damaged = outcome
        .readings
        .iter()
        .find(|reading| reading.damage().is_some());
    let unreadable = outcome.unreadable();
    let (word, code, text) = match (&outcome.late, damaged, &outcome.newest) {
        (Some(late), ..) => ("CRITICAL", 2, late.clone()),
        (None, Some(reading), _) => ("WARNING", 1, format!("{} is damaged", reading.file)),
        (None, None, _) if totals.damaged > 0 => (
            "WARNING",
            1,
            format!("{} damaged", count(totals.damaged, "backup")),
        ),
        (None, None, _) if totals.suspicious > 0 => (
            "WARNING",
            1,
            format!("{} suspicious", count(totals.suspicious, "backup")),
        ),
        (None, None, _) if unreadable > 0 => (
            "WARNING",
            1,
            format!("{} could not be read", count(unreadable, "backup")),
        ),
        (None, None, Some(newest)) => {
            let age = outcome.age.map(age).unwrap_or_default();
            let file = newest.backup.file_name();
            (
                "OK",
                0,
                format!("the newest verified backup is {age} old: {file}"),
            )
        }
        (None, None, None) => ("UNKNOWN", 3, "no answer".into()),
    };
    // Bars and line ends would end the text where Nagios reads it.
    let text = tame(&text).replace('|', "/");
    let age = outcome.age.map(|age| age.as_secs().to_string());
    let line = format!(
        "ETCD-RESCUE {word} - {text} | age={}s;;{} verified={} unverified={} damaged={} suspicious={} bytes={}B\n",
        age.as_deref().unwrap_or("U"),
        request.max_age.as_secs(),
        totals.verified,
        totals.unverified,
        totals.damaged,
        totals.suspicious,
        totals.bytes
    );
    (line, code)
}
