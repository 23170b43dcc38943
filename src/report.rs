//! What a check discovered: findings with a severity and a place, never an early return.
//!
//! A damaged file can have a million things wrong with it. A [`Report`] keeps the first
//! [`crate::limits::Limits::findings`] of them and counts the rest, so that checking a hostile file costs bounded memory.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, no harm in it (auth is on, an alarm is set).
    Note,
    /// Suspicious, or something a restore must deal with; the data itself is whole.
    Warning,
    /// The data is damaged.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// Where in the input a finding is: as much of it as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Byte offset in the file.
    pub offset: Option<u64>,
    /// bbolt page number.
    pub page: Option<u64>,
    /// Top-level bucket name, printable.
    pub bucket: Option<String>,
    /// Key inside the bucket, printable; a revision for the `key` bucket. Never a user's value.
    pub key: Option<String>,
}

impl Place {
    /// The whole file.
    pub fn file() -> Place {
        Place::default()
    }

    /// A byte offset.
    pub fn offset(offset: u64) -> Place {
        Place {
            offset: Some(offset),
            ..Place::default()
        }
    }

    /// A page; its offset is `page * page_size`.
    pub fn page(page: u64, page_size: u64) -> Place {
        Place {
            offset: page.checked_mul(page_size),
            page: Some(page),
            ..Place::default()
        }
    }

    /// A top-level bucket.
    pub fn bucket(name: &[u8]) -> Place {
        Place {
            bucket: Some(printable(name)),
            ..Place::default()
        }
    }

    /// The same place, inside the named bucket.
    #[must_use]
    pub fn in_bucket(mut self, name: &[u8]) -> Place {
        self.bucket = Some(printable(name));
        self
    }

    /// The same place, at the given key.
    #[must_use]
    pub fn at_key(mut self, key: impl Into<String>) -> Place {
        self.key = Some(key.into());
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(bucket) = &self.bucket {
            parts.push(format!("bucket {bucket}"));
        }
        if let Some(key) = &self.key {
            parts.push(format!("key {key}"));
        }
        if let Some(page) = self.page {
            parts.push(format!("page {page}"));
        }
        if let Some(offset) = self.offset {
            parts.push(format!("offset {offset}"));
        }
        if parts.is_empty() {
            parts.push("file".into());
        }
        f.write_str(&parts.join(", "))
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What it is: found and expected.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.place, self.what)
    }
}

/// The findings of one check: the first few whole, the rest counted.
#[derive(Clone, Debug)]
pub struct Report {
    listed: Vec<Finding>,
    keep: usize,
    notes: u64,
    warnings: u64,
    errors: u64,
}

impl Report {
    /// An empty report that lists at most `keep` findings.
    pub fn new(keep: usize) -> Report {
        Report {
            listed: Vec::new(),
            keep,
            notes: 0,
            warnings: 0,
            errors: 0,
        }
    }

    /// Adds one finding.
    pub fn add(&mut self, severity: Severity, place: Place, what: impl Into<String>) {
        self.push(Finding {
            severity,
            place,
            what: what.into(),
        });
    }

    /// Adds an [`Severity::Error`].
    pub fn error(&mut self, place: Place, what: impl Into<String>) {
        self.add(Severity::Error, place, what);
    }

    /// Adds a [`Severity::Warning`].
    pub fn warning(&mut self, place: Place, what: impl Into<String>) {
        self.add(Severity::Warning, place, what);
    }

    /// Adds a [`Severity::Note`].
    pub fn note(&mut self, place: Place, what: impl Into<String>) {
        self.add(Severity::Note, place, what);
    }

    /// Adds one finding that exists already. When the list is full, an error takes the place of a
    /// listed finding that is less severe: what damns the file is never hidden behind remarks.
    pub fn push(&mut self, mut finding: Finding) {
        cut(&mut finding.what);
        match finding.severity {
            Severity::Note => self.notes += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Error => self.errors += 1,
        }
        if self.listed.len() < self.keep {
            self.listed.push(finding);
        } else if finding.severity == Severity::Error
            && let Some(lesser) = self
                .listed
                .iter_mut()
                .rev()
                .find(|listed| listed.severity < Severity::Error)
        {
            *lesser = finding;
        }
    }

    /// Adds one finding in front of all others: what they come to. The last one listed makes room.
    pub fn lead(&mut self, severity: Severity, place: Place, what: impl Into<String>) {
        let mut rest = std::mem::replace(self, Report::new(self.keep));
        self.add(severity, place, what);
        rest.listed.truncate(self.keep.saturating_sub(1));
        self.listed.append(&mut rest.listed);
        self.notes += rest.notes;
        self.warnings += rest.warnings;
        self.errors += rest.errors;
    }

    /// Takes over everything from another report.
    pub fn absorb(&mut self, other: Report) {
        let (notes, warnings, errors) = (
            self.notes + other.notes,
            self.warnings + other.warnings,
            self.errors + other.errors,
        );
        for finding in other.listed {
            self.push(finding);
        }
        (self.notes, self.warnings, self.errors) = (notes, warnings, errors);
    }

    /// The findings that are listed, in the order in which they were found.
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// How many findings there are, listed or not.
    pub fn total(&self) -> u64 {
        self.notes + self.warnings + self.errors
    }

    /// How many are not listed.
    pub fn unlisted(&self) -> u64 {
        self.total() - self.listed.len() as u64
    }

    /// How many findings have the given severity.
    pub fn count(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Note => self.notes,
            Severity::Warning => self.warnings,
            Severity::Error => self.errors,
        }
    }

    /// Whether anything damning was found.
    pub fn is_damaged(&self) -> bool {
        self.errors > 0
    }
}

/// No finding is longer than a person reads: what a decoder quotes from a file can be megabytes.
fn cut(what: &mut String) {
    const LONGEST: usize = 1000;
    if let Some((end, _)) = what.char_indices().nth(LONGEST) {
        what.truncate(end);
        what.push('…');
        what.shrink_to_fit();
    }
}

/// Bytes as a person reads them: text as it is, anything else escaped, long ones cut.
pub fn printable(bytes: &[u8]) -> String {
    const LONGEST: usize = 96;
    let head = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut text = head.escape_ascii().to_string();
    if head.len() < bytes.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_first_and_counts_the_rest() {
        let mut report = Report::new(2);
        report.note(Place::file(), "a");
        report.error(Place::page(3, 4096), "b");
        report.error(Place::file(), "c");
        report.warning(Place::file(), "d");
        let what: Vec<_> = report.listed().iter().map(|f| f.what.as_str()).collect();
        assert_eq!(what, ["c", "b"]);
        assert_eq!((report.total(), report.unlisted()), (4, 2));
        assert!(report.is_damaged());
    }

    #[test]
    fn what_leads_is_listed_first_even_in_a_full_list() {
        let mut report = Report::new(2);
        report.error(Place::file(), "a");
        report.error(Place::file(), "b");
        report.lead(Severity::Warning, Place::file(), "sum");
        let what: Vec<_> = report.listed().iter().map(|f| f.what.as_str()).collect();
        assert_eq!(what, ["sum", "a"]);
        assert_eq!((report.total(), report.unlisted()), (3, 1));
        assert_eq!(report.count(Severity::Error), 2);
    }

    #[test]
    fn a_long_finding_is_cut() {
        let mut report = Report::new(1);
        report.error(Place::file(), "ä".repeat(1 << 20));
        assert_eq!(report.listed()[0].what.chars().count(), 1001);
    }

    #[test]
    fn a_place_names_what_is_known() {
        let place = Place::page(3, 4096).in_bucket(b"key").at_key("12_0");
        assert_eq!(
            place.to_string(),
            "bucket key, key 12_0, page 3, offset 12288"
        );
        assert_eq!(printable(b"a\xff\n"), "a\\xff\\n");
    }
}
