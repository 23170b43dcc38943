//! `save`: what was saved, and from whom.

use serde::Serialize;

use super::super::humanize::{duration, size_exact, tame};
use super::super::raw::Format;
use super::facts::id;
use super::json;
use super::sheet::Sheet;
use super::verify::VerdictView;
use crate::ops::save::{Outcome, Output, Request};

/// What is printed. The first line of `simple` and `table` is etcdctl's.
pub fn text(request: &Request, outcome: &Outcome, format: Format) -> String {
    let first = match &request.output {
        Output::File(path) | Output::Archive(path) => {
            format!("Snapshot saved at {}", tame(&path.display().to_string()))
        }
        Output::Stdout => "Snapshot sent to standard output".into(),
    };
    match format {
        Format::Json => document(request, outcome),
        Format::Fields => {
            let mut sheet = Sheet::default();
            sheet.row("path", path(&request.output));
            rows(&mut sheet, outcome);
            sheet.fields()
        }
        Format::Simple | Format::Table => {
            let mut sheet = Sheet::default();
            rows(&mut sheet, outcome);
            format!("{first}\n{}", sheet.table())
        }
    }
}

/// What was saved, as a person calls it.
pub fn name(request: &Request) -> String {
    match &request.output {
        Output::Stdout => "the snapshot".into(),
        output => path(output),
    }
}

fn rows(sheet: &mut Sheet, outcome: &Outcome) {
    let facts = &outcome.verdict.facts;
    sheet.row_with("size", size_exact(outcome.bytes), outcome.bytes);
    if let Some(packed) = &outcome.packed {
        sheet.row_with("archive", size_exact(packed.bytes), packed.bytes);
    }
    sheet.row("SHA-256", sha256(outcome).unwrap_or_default());
    sheet.row("revision", facts.revision);
    sheet.row("live keys", facts.live_keys);
    let none = "none (etcd before 3.6)";
    let version = facts.storage_version.as_deref();
    sheet.row_with(
        "storage version",
        version.unwrap_or(none),
        version.unwrap_or_default(),
    );
    sheet.row_with(
        "endpoint",
        format!("{} ({})", outcome.endpoint, outcome.chosen_because),
        &outcome.endpoint,
    );
    let member = id(outcome.member_id);
    sheet.row(
        "member",
        match &outcome.member_name {
            Some(name) => format!("{name} ({member})"),
            None => member,
        },
    );
    sheet.row("cluster ID", id(outcome.cluster_id));
    sheet.row("server version", &outcome.server_version);
    sheet.row_with("took", duration(outcome.took), outcome.took.as_secs_f64());
}

fn sha256(outcome: &Outcome) -> Option<&str> {
    let both = &outcome.verdict.sha256;
    both.computed.as_deref().or(both.trailer.as_deref())
}

fn path(output: &Output) -> String {
    match output {
        Output::File(path) | Output::Archive(path) => path.display().to_string(),
        Output::Stdout => "-".into(),
    }
}

fn document(request: &Request, outcome: &Outcome) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        path: String,
        size: u64,
        archive_size: Option<u64>,
        sha256: Option<&'a str>,
        revision: i64,
        live_keys: u64,
        storage_version: Option<&'a str>,
        endpoint: &'a str,
        chosen_because: &'a str,
        member_id: String,
        member_name: Option<&'a str>,
        cluster_id: String,
        server_version: &'a str,
        took_seconds: f64,
        verdict: VerdictView<'a>,
    }
    let facts = &outcome.verdict.facts;
    json(&Document {
        path: path(&request.output),
        size: outcome.bytes,
        archive_size: outcome.packed.as_ref().map(|packed| packed.bytes),
        sha256: sha256(outcome),
        revision: facts.revision,
        live_keys: facts.live_keys,
        storage_version: facts.storage_version.as_deref(),
        endpoint: &outcome.endpoint,
        chosen_because: &outcome.chosen_because,
        member_id: id(outcome.member_id),
        member_name: outcome.member_name.as_deref(),
        cluster_id: id(outcome.cluster_id),
        server_version: &outcome.server_version,
        took_seconds: outcome.took.as_secs_f64(),
        verdict: VerdictView::of(&outcome.verdict),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::verify::tests::verdict;
    use super::*;
    use crate::client::ConnectOptions;
    use crate::snapshot::{Level, Sum};

    fn saved(output: Output) -> (Request, Outcome) {
        let request = Request {
            effort: crate::packed::Effort {
                level: 1,
                threads: None,
            },
            connect: ConnectOptions::default(),
            output,
            force: false,
            within: None,
            spool_dirs: Vec::new(),
        };
        let outcome = Outcome {
            endpoint: "https://127.0.0.1:2379".into(),
            chosen_because: "the only endpoint".into(),
            member_id: 0x8e9e_05c5_2164_694d,
            member_name: Some("default".into()),
            cluster_id: 0xcdf8_181e_3f83_1f3e,
            server_version: "3.7.1".into(),
            bytes: 24_608,
            packed: None,
            verdict: verdict(Level::Good, Level::Good, Sum::Good),
            took: Duration::from_millis(1_250),
        };
        (request, outcome)
    }

    #[test]
    fn the_first_line_is_that_of_etcdctl() {
        let (request, outcome) = saved(Output::File("/backup/x.db".into()));
        let text = text(&request, &outcome, Format::Simple);
        assert!(
            text.starts_with("Snapshot saved at /backup/x.db\n"),
            "{text}"
        );
        for part in [
            "25 kB (24608 bytes)",
            "https://127.0.0.1:2379 (the only endpoint)",
            "default (8e9e05c52164694d)",
            "3.7.0",
            "1.2s",
        ] {
            assert!(text.contains(part), "{part:?} not in\n{text}");
        }
    }

    #[test]
    fn json_has_the_same() {
        let (request, outcome) = saved(Output::Stdout);
        let document = text(&request, &outcome, Format::Json);
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["path"], "-");
        assert_eq!(value["size"], 24_608);
        assert_eq!(value["memberId"], "8e9e05c52164694d");
        assert_eq!(value["tookSeconds"], 1.25);
        assert_eq!(value["verdict"]["sum"], "GOOD");
        assert_eq!(value["liveKeys"], 2);
    }
}
