//! What the commands print. Everything here makes text out of outcomes; `ui` prints it.
//!
//! `simple` is for scripts and keeps to what etcdctl and etcdutl print; `table` is laid out for a
//! person; `json` is one document with everything, its keys in camelCase as etcdutl's are, ids in
//! hexadecimal as logs have them; `fields` is a line for each value.

pub mod backup;
pub mod facts;
pub mod pack;
pub mod restore;
pub mod save;
pub mod sheet;
pub mod status;
pub mod verify;

use serde::Serialize;

use crate::report::{Finding, Place, Report, Severity};
use crate::source::Input;

/// One document, one line, as Go's encoder ends it.
fn json(document: &impl Serialize) -> String {
    // Nothing here has a map with keys that are not text, the only way in which this can fail.
    serde_json::to_string(document).unwrap_or_default() + "\n"
}

/// An input as a person calls it.
pub fn input_name(input: &Input) -> String {
    match input {
        Input::Path(path) => path.display().to_string(),
        Input::Latest(dir) => format!("the newest backup in {}", dir.display()),
        Input::Stdin => "standard input".into(),
    }
}

/// An input as it was typed.
pub fn input_word(input: &Input) -> String {
    match input {
        Input::Path(path) | Input::Latest(path) => path.display().to_string(),
        Input::Stdin => "-".into(),
    }
}

/// A finding without its severity; the place only where there is one to name.
pub fn finding_text(finding: &Finding) -> String {
    if finding.place == Place::file() {
        finding.what.clone()
    } else {
        format!("{}: {}", finding.place, finding.what)
    }
}

/// The findings of a report, worst first, and how many are not listed.
fn finding_rows(sheet: &mut sheet::Sheet, report: &Report) {
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        let listed = report.listed().iter();
        for finding in listed.filter(|finding| finding.severity == severity) {
            sheet.row(&severity.to_string(), finding_text(finding));
        }
    }
    if report.unlisted() > 0 {
        sheet.row("not listed", format!("{} more", report.unlisted()));
    }
}

/// The findings of a report, as JSON has them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingsView {
    errors: u64,
    warnings: u64,
    notes: u64,
    unlisted: u64,
    findings: Vec<FindingView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingView {
    severity: String,
    offset: Option<u64>,
    page: Option<u64>,
    bucket: Option<String>,
    key: Option<String>,
    what: String,
}

impl FindingsView {
    fn of(report: &Report) -> FindingsView {
        FindingsView {
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            notes: report.count(Severity::Note),
            unlisted: report.unlisted(),
            findings: report.listed().iter().map(FindingView::of).collect(),
        }
    }
}

impl FindingView {
    fn of(finding: &Finding) -> FindingView {
        FindingView {
            severity: finding.severity.to_string(),
            offset: finding.place.offset,
            page: finding.place.page,
            bucket: finding.place.bucket.clone(),
            key: finding.place.key.clone(),
            what: finding.what.clone(),
        }
    }
}
