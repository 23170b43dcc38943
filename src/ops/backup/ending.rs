//! How a run ends: what its error means to somebody outside, and what is there then.

use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;

use crate::catalogue::entry::{self, Entry};
use crate::catalogue::records::Catalogue;
use crate::catalogue::run::{Outcome, RunReport, Stage};
use crate::catalogue::scan;
use crate::error::{Error, Kind};
use crate::limits::Limits;
use crate::shell;

/// What it means that the time is up depends on what had been done by then.
pub(super) fn overdue(stage: Stage, what: String) -> Error {
    let as_before = "give --timeout more time; the directory is as it was before";
    match stage {
        Stage::Space | Stage::Save => Error::unreachable(what).hint(as_before),
        Stage::Prune | Stage::Report | Stage::Done => {
            Error::failed(what).hint("give --timeout more time; the next run prunes what is left")
        }
        Stage::Arguments | Stage::Lock | Stage::Clean | Stage::Verify | Stage::Compare => {
            Error::failed(what).hint(as_before)
        }
    }
}

/// What a step says of itself, and what it means for the run.
pub(super) fn seen_from_outside(error: Error, report: &RunReport) -> Error {
    match (report.outcome, error.io_kind()) {
        _ if error.kind() == Kind::Interrupted => error,
        // As the same disk would have been refused, had it been known how much is needed.
        (Outcome::Failed, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) => {
            error.with_kind(Kind::Refused)
        }
        (Outcome::Failed, _) => error,
        (Outcome::Saved | Outcome::Suspicious, _) => {
            let hinted = error.hint_text().is_some();
            let saved = report.saved.as_ref();
            let file = saved.map_or("the new backup", |saved| saved.file.as_str());
            let error = error.within(format!("{file} is made, and what came after it failed"));
            match hinted {
                true => error,
                false => error.hint(format!(
                    "the new backup is whole and counts; see what is in the way, and try again: etcd-rescue prune {} --keep-...",
                    shell::path(Path::new(&report.directory))
                )),
            }
        }
    }
}

/// What is there now. Nothing that goes wrong here may hide what went wrong before.
pub(super) fn look_around(report: &mut RunReport, dir: &Path, limits: &Limits) {
    let looked = scan::scan(dir, limits).and_then(|found| {
        let catalogue = Catalogue::load(dir)?;
        let entries = entry::entries(&found, &catalogue);
        let totals = entry::totals(&entries, &found, &catalogue);
        Ok((entries, totals))
    });
    if let Ok((entries, totals)) = looked {
        report.last_good = entry::last_verified(&entries, Timestamp::now()).and_then(Entry::report);
        report.backups = Some(totals);
    }
}
