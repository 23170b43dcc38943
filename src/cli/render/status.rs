//! `status`: byte for byte what etcdutl 3.6 and later print (`compat.md` 2.6), and what they leave out.

use serde::Serialize;

use super::super::humanize::{size, size_exact, tame};
use super::super::raw::Format;
use super::super::table;
use super::facts::{self, FactsView};
use super::pack::ManifestView;
use super::sheet::Sheet;
use super::{FindingsView, finding_rows, input_word, json};
use crate::archive::Manifest;
use crate::etcd::facts::Facts;
use crate::ops::status::{Outcome, Request};
use crate::report::Severity;
use crate::shell;

/// What goes to standard output; nothing for a damaged input, except as JSON: scripts must not take
/// numbers of a broken file for an answer.
pub fn text(request: &Request, outcome: &Outcome, format: Format) -> String {
    if format == Format::Json {
        return json(&Document::of(request, outcome));
    }
    if outcome.report.is_damaged() {
        return String::new();
    }
    let facts = &outcome.facts;
    match format {
        Format::Simple => cells(facts).join(", ") + "\n",
        Format::Fields => fields(facts),
        _ => table::render(&HEADER, &[cells(facts)]) + &second_block(request, outcome),
    }
}

const HEADER: [&str; 5] = ["hash", "revision", "total keys", "total size", "version"];

fn cells(facts: &Facts) -> Vec<String> {
    vec![
        format!("{:x}", facts.hash),
        facts.revision.to_string(),
        facts.total_keys.to_string(),
        size(facts.size),
        version(facts),
    ]
}

fn fields(facts: &Facts) -> String {
    format!(
        "\"Hash\" : {}\n\"Revision\" : {}\n\"Keys\" : {}\n\"Size\" : {}\n\"Version\" : {}\n",
        facts.hash,
        facts.revision,
        facts.total_keys,
        facts.size,
        version(facts)
    )
}

fn version(facts: &Facts) -> String {
    tame(facts.storage_version.as_deref().unwrap_or_default())
}

fn second_block(request: &Request, outcome: &Outcome) -> String {
    let mut sheet = Sheet::default();
    sheet.row("input", &outcome.input);
    if let Some(manifest) = &outcome.manifest {
        manifest_rows(&mut sheet, manifest);
        finding_rows(&mut sheet, &outcome.report);
        let full = [
            "etcd-rescue",
            "status",
            "--full",
            &input_word(&request.source.input),
        ];
        sheet.row("data", format!("not read; {} does", shell::command(full)));
        return sheet.table();
    }
    facts::rows(&mut sheet, &outcome.facts);
    finding_rows(&mut sheet, &outcome.report);
    let verify = shell::command(["etcd-rescue", "verify", &input_word(&request.source.input)]);
    sheet.row("SHA-256", format!("not checked here; {verify} does"));
    sheet.table()
}

/// What the manifest of an archive says.
fn manifest_rows(sheet: &mut Sheet, manifest: &Manifest) {
    let (made, snapshot, etcd) = (&manifest.made, &manifest.snapshot, &manifest.etcd);
    sheet.row("made", format!("{} by {} {}", made.at, made.tool, made.by));
    if let Some(source) = &manifest.source {
        let name = source.member_name.as_deref().unwrap_or("unnamed");
        sheet.row(
            "from",
            format!(
                "{} ({name}, {}), etcd {}, cluster {}",
                source.endpoint, source.role, source.server_version, source.cluster_id
            ),
        );
    }
    sheet.row("snapshot", size_exact(snapshot.size));
    sheet.row("SHA-256", &snapshot.sha256);
    sheet.row("live keys", etcd.live_keys);
    match etcd.compacted_revision {
        0 => sheet.row("compacted revision", "never compacted"),
        revision => sheet.row("compacted revision", revision),
    }
    let alarms = manifest.source.iter().flat_map(|source| &source.alarms);
    alarms.for_each(|alarm| sheet.row("alarm", alarm));
    sheet.row("in use", size_exact(etcd.in_use));
    sheet.row("free", size_exact(etcd.free));
    sheet.row("frames", manifest.frames.list.len());
}

/// etcdutl's keys come first, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    hash: Option<u32>,
    revision: Option<i64>,
    total_key: Option<u64>,
    total_size: Option<u64>,
    version: Option<&'a str>,
    path: String,
    input: &'a str,
    damaged: bool,
    sha256_checked: bool,
    facts: Option<FactsView<'a>>,
    manifest: Option<ManifestView<'a>>,
    report: FindingsView,
}

impl Document<'_> {
    fn of<'a>(request: &Request, outcome: &'a Outcome) -> Document<'a> {
        let sound = Some(&outcome.facts).filter(|_| outcome.report.count(Severity::Error) == 0);
        Document {
            hash: sound.map(|facts| facts.hash),
            revision: sound.map(|facts| facts.revision),
            total_key: sound.map(|facts| facts.total_keys),
            total_size: sound.map(|facts| facts.size),
            version: sound.map(|facts| facts.storage_version.as_deref().unwrap_or_default()),
            path: input_word(&request.source.input),
            input: &outcome.input,
            damaged: sound.is_none(),
            sha256_checked: false,
            facts: sound
                .filter(|_| outcome.manifest.is_none())
                .map(FactsView::of),
            manifest: outcome.manifest.as_ref().map(ManifestView::of),
            report: FindingsView::of(&outcome.report),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Place, Report};
    use crate::source::{Input, Source};

    fn outcome() -> (Request, Outcome) {
        let request = Request {
            source: Source {
                input: Input::Path("my snap.db".into()),
                raw: false,
                spool_dirs: Vec::new(),
            },
            full: false,
        };
        let facts = Facts {
            hash: 2_084_116_407,
            revision: 6,
            current_revision: 6,
            live_keys: 2,
            total_keys: 2,
            records: 11,
            size: 24_576,
            storage_version: Some("3.7.0".into()),
            ..Facts::default()
        };
        let outcome = Outcome {
            input: "snapshot".into(),
            manifest: None,
            facts,
            report: Report::new(10),
        };
        (request, outcome)
    }

    #[test]
    fn simple_and_fields_are_those_of_etcdutl() {
        let (request, mut outcome) = outcome();
        let text = |outcome: &Outcome, format| super::text(&request, outcome, format);
        assert_eq!(
            text(&outcome, Format::Simple),
            "7c3917b7, 6, 2, 25 kB, 3.7.0\n"
        );
        assert_eq!(
            text(&outcome, Format::Fields),
            "\"Hash\" : 2084116407\n\"Revision\" : 6\n\"Keys\" : 2\n\"Size\" : 24576\n\"Version\" : 3.7.0\n"
        );
        outcome.facts.storage_version = None;
        outcome.facts.hash = 0xe32eaf4;
        assert_eq!(text(&outcome, Format::Simple), "e32eaf4, 6, 2, 25 kB, \n");
        assert!(text(&outcome, Format::Fields).ends_with("\"Version\" : \n"));
    }

    #[test]
    fn json_begins_with_the_keys_of_etcdutl() {
        let (request, mut outcome) = outcome();
        let document = text(&request, &outcome, Format::Json);
        let theirs =
            r#"{"hash":2084116407,"revision":6,"totalKey":2,"totalSize":24576,"version":"3.7.0","#;
        assert!(document.starts_with(theirs), "{document}");
        outcome.facts.storage_version = None;
        assert!(text(&request, &outcome, Format::Json).contains(r#""version":"","#));
    }

    #[test]
    fn the_table_goes_on_where_etcdutl_stops() {
        let (request, outcome) = outcome();
        let text = text(&request, &outcome, Format::Table);
        assert!(text.contains("│ 7c3917b7 │"), "{text}");
        assert!(text.contains("2 live keys; 11 records"), "{text}");
        assert!(
            text.contains("etcd-rescue verify 'my snap.db' does"),
            "{text}"
        );
    }

    #[test]
    fn numbers_of_a_damaged_file_are_not_shown() {
        let (request, mut outcome) = outcome();
        outcome.report.error(Place::page(3, 4096), "nonsense");
        for format in [Format::Simple, Format::Fields, Format::Table] {
            assert_eq!(text(&request, &outcome, format), "");
        }
        let document = text(&request, &outcome, Format::Json);
        assert!(document.starts_with(r#"{"hash":null,"#), "{document}");
        assert!(document.contains(r#""damaged":true"#), "{document}");
        assert!(document.contains(r#""page":3"#), "{document}");
    }
}
