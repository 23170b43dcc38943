//! `verify`: a line for each input, the details, or one document.

use serde::Serialize;

use super::super::humanize::{count, size, size_exact, tame};
use super::super::raw::Format;
use super::super::ui::Paint;
use super::facts::{self, FactsView};
use super::pack::ManifestView;
use super::sheet::Sheet;
use super::{FindingsView, finding_rows, input_name, input_word, json};
use crate::error::Error;
use crate::report::{Report, Severity};
use crate::snapshot::{Level, Packed, Sum, Verdict};
use crate::source::Input;

/// What goes to standard output for one input, as soon as it is known. JSON comes at the end.
pub fn text(input: &Input, verdict: &Verdict, format: Format, paint: Paint) -> String {
    let name = tame(&input_name(input));
    match format {
        Format::Simple => {
            // As wide as the longest of the three words.
            let word = format!("{:8}", word(verdict.sum));
            let word = painted(verdict.sum, &word, paint);
            format!("{word}  {name}  {}\n", tame(&summary(verdict)))
        }
        Format::Table => {
            let word = painted(verdict.sum, word(verdict.sum), paint);
            format!("{word}  {name}\n{}", details(verdict).table())
        }
        Format::Fields => fields(&input_word(input), verdict),
        Format::Json => String::new(),
    }
}

/// The word for a sum.
pub fn word(sum: Sum) -> &'static str {
    match sum {
        Sum::Good => "GOOD",
        Sum::Damaged => "DAMAGED",
        Sum::Unproven => "UNPROVEN",
    }
}

fn painted(sum: Sum, text: &str, paint: Paint) -> String {
    match sum {
        Sum::Good => paint.green(text),
        Sum::Damaged => paint.red(text),
        Sum::Unproven => paint.yellow(text),
    }
}

/// One line: `snapshot, revision 308, 275 live keys, 295 kB`
pub fn summary(verdict: &Verdict) -> String {
    let mut parts = vec![verdict.input.clone()];
    match (verdict.transport, verdict.sum) {
        (Level::Absent, Sum::Good) => parts.push("no SHA-256 (accepted with --raw)".into()),
        (Level::Absent, _) => parts.push("no SHA-256".into()),
        _ => {}
    }
    if verdict.sum == Sum::Damaged {
        if let Some(packed) = &verdict.packed {
            parts.push(format!("container {}", level_word(packed.container)));
        }
        for (what, level) in levels(verdict) {
            parts.push(format!("{what} {}", level_word(level)));
        }
        parts.push(problems(&verdict.report));
    }
    if verdict.structure == Level::Good {
        parts.push(format!("revision {}", verdict.facts.revision));
        parts.push(count(verdict.facts.live_keys, "live key"));
    }
    parts.push(size(verdict.length));
    parts.join(", ")
}

/// `3 errors, 1 warning`
pub fn problems(report: &Report) -> String {
    let errors = count(report.count(Severity::Error), "error");
    match report.count(Severity::Warning) {
        0 => errors,
        warnings => format!("{errors}, {}", count(warnings, "warning")),
    }
}

fn levels(verdict: &Verdict) -> [(&'static str, Level); 3] {
    [
        ("transport", verdict.transport),
        ("structure", verdict.structure),
        ("meaning", verdict.meaning),
    ]
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Flawed => "flawed",
        Level::Damaged => "damaged",
        Level::Absent => "absent",
        Level::Unchecked => "unchecked",
    }
}

/// The three levels, what was learned, what was found.
fn details(verdict: &Verdict) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.row(
        "input",
        format!("{}, {}", verdict.input, size_exact(verdict.length)),
    );
    if let Some(packed) = &verdict.packed {
        sheet.row("container", container(packed));
    }
    for (what, level) in levels(verdict) {
        sheet.row(
            what,
            format!("{}{}", level_word(level), remark(what, level, verdict)),
        );
    }
    let sha256 = &verdict.sha256;
    if let (Some(trailer), Some(computed)) = (&sha256.trailer, &sha256.computed)
        && trailer != computed
    {
        sheet.row("SHA-256 at the end", trailer);
        sheet.row("SHA-256 of the data", computed);
    } else if let Some(either) = sha256.computed.as_ref().or(sha256.trailer.as_ref()) {
        sheet.row("SHA-256", either);
    }
    if verdict.structure == Level::Good {
        facts::rows(&mut sheet, &verdict.facts);
    }
    finding_rows(&mut sheet, &verdict.report);
    sheet
}

/// What is to be said of the archive.
fn container(packed: &Packed) -> String {
    let word = level_word(packed.container);
    match (packed.container, packed.frames_damaged) {
        (Level::Good, _) if packed.manifest.is_some() => {
            format!("{word}: every frame is whole, and the manifest says what is inside")
        }
        (Level::Good, _) => format!("{word}: every byte could be unpacked"),
        (Level::Flawed, _) => {
            format!("{word}: every byte could be unpacked, and there is more to say, see below")
        }
        (Level::Damaged, frames @ 1..) => format!("{word}: {} lost", count(frames, "frame")),
        _ => word.into(),
    }
}

fn remark(what: &str, level: Level, verdict: &Verdict) -> &'static str {
    match (what, level) {
        (_, Level::Unchecked) => ": what comes before left nothing to check",
        ("transport", Level::Absent) if verdict.sum == Sum::Good => {
            ": no SHA-256 at the end, accepted with --raw"
        }
        ("transport", Level::Absent) => {
            ": no SHA-256 at the end, nothing shows that it arrived whole"
        }
        ("transport", Level::Damaged) if verdict.sha256.trailer.is_some() => {
            ": the SHA-256 at the end is not that of the data"
        }
        ("transport", Level::Good) => ": the SHA-256 at the end is right",
        ("structure", Level::Good) => ": a sound bbolt file",
        ("meaning", Level::Good) => ": an etcd store that makes sense",
        _ => "",
    }
}

fn fields(path: &str, verdict: &Verdict) -> String {
    let mut sheet = Sheet::default();
    sheet.row("file", path);
    sheet.row("sum", word(verdict.sum));
    for (what, level) in levels(verdict) {
        sheet.row(what, level_word(level));
    }
    sheet.row("input", &verdict.input);
    if let Some(packed) = &verdict.packed {
        sheet.row("container", level_word(packed.container));
    }
    sheet.row("length", verdict.length);
    for (label, sha256) in [
        ("trailer", &verdict.sha256.trailer),
        ("computed", &verdict.sha256.computed),
    ] {
        sheet.row(label, sha256.as_deref().unwrap_or_default());
    }
    sheet.row("errors", verdict.report.count(Severity::Error));
    sheet.row("warnings", verdict.report.count(Severity::Warning));
    sheet.row("notes", verdict.report.count(Severity::Note));
    if verdict.structure == Level::Good {
        facts::rows(&mut sheet, &verdict.facts);
    }
    sheet.fields() + "\n"
}

/// The document of a whole run.
pub fn document(results: &[(&Input, Result<Verdict, Error>)], exit_code: u8) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        results: Vec<ResultView<'a>>,
        exit_code: u8,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ResultView<'a> {
        path: String,
        #[serde(flatten)]
        verdict: Option<VerdictView<'a>>,
        error: Option<String>,
        hint: Option<&'a str>,
    }
    let results = results.iter().map(|(input, result)| {
        let error = result.as_ref().err();
        ResultView {
            path: input_word(input),
            verdict: result.as_ref().ok().map(VerdictView::of),
            error: error.map(Error::to_string),
            hint: error.and_then(Error::hint_text),
        }
    });
    json(&Document {
        results: results.collect(),
        exit_code,
    })
}

/// [`Verdict`] as JSON has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictView<'a> {
    sum: Sum,
    input: &'a str,
    length: u64,
    /// What it was packed in; null for what was not.
    packed: Option<PackedView<'a>>,
    transport: Level,
    structure: Level,
    meaning: Level,
    sha256: Sha256View<'a>,
    report: FindingsView,
    /// Null where the structure is damaged: what was learned then is not all there is.
    facts: Option<FactsView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PackedView<'a> {
    kind: &'static str,
    container: Level,
    size: Option<u64>,
    frames_damaged: u64,
    manifest: Option<ManifestView<'a>>,
}

#[derive(Serialize)]
struct Sha256View<'a> {
    trailer: Option<&'a str>,
    computed: Option<&'a str>,
}

impl VerdictView<'_> {
    /// The view of this verdict.
    pub fn of(verdict: &Verdict) -> VerdictView<'_> {
        VerdictView {
            sum: verdict.sum,
            input: &verdict.input,
            length: verdict.length,
            packed: verdict.packed.as_ref().map(|packed| PackedView {
                kind: packed.kind,
                container: packed.container,
                size: packed.compressed,
                frames_damaged: packed.frames_damaged,
                manifest: packed.manifest.as_ref().map(ManifestView::of),
            }),
            transport: verdict.transport,
            structure: verdict.structure,
            meaning: verdict.meaning,
            sha256: Sha256View {
                trailer: verdict.sha256.trailer.as_deref(),
                computed: verdict.sha256.computed.as_deref(),
            },
            report: FindingsView::of(&verdict.report),
            facts: (verdict.structure == Level::Good).then(|| FactsView::of(&verdict.facts)),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::etcd::facts::{Facts, Member};
    use crate::report::Place;
    use crate::snapshot::Sha256s;

    /// A verdict with the given levels and sum.
    pub fn verdict(transport: Level, structure: Level, sum: Sum) -> Verdict {
        Verdict {
            packed: None,
            input: "snapshot".into(),
            length: 24_608,
            transport,
            sha256: Sha256s {
                trailer: Some("aa".repeat(32)),
                computed: Some("aa".repeat(32)),
            },
            structure,
            meaning: structure,
            sum,
            report: Report::new(100),
            facts: Facts {
                revision: 6,
                current_revision: 6,
                live_keys: 2,
                total_keys: 2,
                size: 24_576,
                storage_version: Some("3.7.0".into()),
                members: vec![Member {
                    id: 0x8e9e_05c5_2164_694d,
                    name: "default".into(),
                    peer_urls: vec!["http://localhost:2380".into()],
                    ..Member::default()
                }],
                ..Facts::default()
            },
        }
    }

    fn input(path: &str) -> Input {
        Input::Path(path.into())
    }

    fn simple(verdict: &Verdict) -> String {
        text(&input("x.db"), verdict, Format::Simple, Paint::PLAIN)
    }

    #[test]
    fn a_line_for_each_verdict() {
        let good = verdict(Level::Good, Level::Good, Sum::Good);
        assert_eq!(
            simple(&good),
            "GOOD      x.db  snapshot, revision 6, 2 live keys, 25 kB\n"
        );
        let mut unproven = verdict(Level::Absent, Level::Good, Sum::Unproven);
        unproven.input = "raw copy".into();
        assert_eq!(
            simple(&unproven),
            "UNPROVEN  x.db  raw copy, no SHA-256, revision 6, 2 live keys, 25 kB\n"
        );
        unproven.sum = Sum::Good;
        assert!(simple(&unproven).contains("no SHA-256 (accepted with --raw)"));
        let mut damaged = verdict(Level::Good, Level::Damaged, Sum::Damaged);
        damaged.report.error(Place::page(3, 4096), "what");
        assert_eq!(
            simple(&damaged),
            "DAMAGED   x.db  snapshot, transport good, structure damaged, meaning damaged, 1 error, 25 kB\n"
        );
    }

    #[test]
    fn details_have_levels_facts_and_findings() {
        let mut verdict = verdict(Level::Good, Level::Good, Sum::Good);
        verdict.report.note(Place::bucket(b"auth"), "auth is on");
        let text = text(&input("x.db"), &verdict, Format::Table, Paint::PLAIN);
        for expected in [
            "GOOD  x.db\n",
            "transport           good: the SHA-256 at the end is right",
            "default (8e9e05c52164694d)  peers http://localhost:2380",
            "note                bucket auth: auth is on",
        ] {
            assert!(text.contains(expected), "{expected:?} not in\n{text}");
        }
    }

    #[test]
    fn a_wrong_sha256_is_shown_beside_the_right_one() {
        let mut verdict = verdict(Level::Damaged, Level::Good, Sum::Damaged);
        verdict.sha256.computed = Some("bb".repeat(32));
        let text = details(&verdict).table();
        assert!(
            text.contains(&"aa".repeat(32)) && text.contains(&"bb".repeat(32)),
            "{text}"
        );
    }

    #[test]
    fn one_document_has_verdicts_and_errors() {
        let (good, missing) = (input("x.db"), input("y.db"));
        let error = Error::failed("cannot open y.db").hint("look");
        let results = [
            (&good, Ok(verdict(Level::Good, Level::Good, Sum::Good))),
            (&missing, Err(error)),
        ];
        let document = document(&results, 1);
        assert_eq!(document.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["exitCode"], 1);
        let results = value["results"].as_array().unwrap();
        assert_eq!(results[0]["sum"], "GOOD");
        assert_eq!(results[0]["transport"], "good");
        assert_eq!(results[0]["facts"]["members"][0]["id"], "8e9e05c52164694d");
        assert_eq!(results[0]["error"], serde_json::Value::Null);
        assert_eq!(results[1]["error"], "cannot open y.db");
        assert_eq!(results[1]["hint"], "look");
    }
}
