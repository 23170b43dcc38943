//! `pack` and `unpack`: what became of what.

use serde::Serialize;

use super::super::humanize::{size_exact, tame};
use super::super::raw::Format;
use super::json;
use super::sheet::Sheet;
use super::verify::VerdictView;
use crate::archive::manifest::Manifest;
use crate::ops::{pack, unpack};
use crate::snapshot::Verdict;
use crate::source::Input;

/// What `pack` prints.
pub fn packed(request: &pack::Request, outcome: &pack::Outcome, format: Format) -> String {
    let done = Done {
        verb: "Packed",
        input: super::input_word(&request.source.input),
        output: word(request.output.as_deref()),
        compressed: Some(outcome.bytes),
        manifest: Some(&outcome.manifest),
        verdict: &outcome.verdict,
    };
    done.text(format)
}

/// What `unpack` prints.
pub fn unpacked(request: &unpack::Request, verdict: &Verdict, format: Format) -> String {
    let packed = verdict.packed.as_ref();
    let done = Done {
        verb: "Unpacked",
        input: super::input_word(&request.source.input),
        output: word(request.output.as_deref()),
        compressed: packed.and_then(|packed| packed.compressed),
        manifest: packed.and_then(|packed| packed.manifest.as_ref()),
        verdict,
    };
    done.text(format)
}

/// The document for an input that is not good.
pub fn bad_input(input: &Input, verdict: &Verdict) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        input: String,
        output: Option<&'a str>,
        verdict: VerdictView<'a>,
    }
    json(&Document {
        input: super::input_word(input),
        output: None,
        verdict: VerdictView::of(verdict),
    })
}

fn word(output: Option<&std::path::Path>) -> String {
    output.map_or("-".into(), |path| path.display().to_string())
}

struct Done<'a> {
    verb: &'a str,
    input: String,
    output: String,
    compressed: Option<u64>,
    manifest: Option<&'a Manifest>,
    verdict: &'a Verdict,
}

impl Done<'_> {
    fn text(&self, format: Format) -> String {
        match format {
            Format::Json => self.document(),
            Format::Fields => {
                let mut sheet = Sheet::default();
                sheet.row("input", &self.input);
                sheet.row("output", &self.output);
                self.rows(&mut sheet);
                sheet.fields()
            }
            Format::Simple | Format::Table => {
                let mut sheet = Sheet::default();
                self.rows(&mut sheet);
                let (input, output) = (tame(&self.input), tame(&self.output));
                format!("{} {input} into {output}\n{}", self.verb, sheet.table())
            }
        }
    }

    fn rows(&self, sheet: &mut Sheet) {
        let (verdict, plain) = (self.verdict, self.verdict.length);
        sheet.row_with("snapshot", size_exact(plain), plain);
        if let Some(compressed) = self.compressed {
            let ratio = plain as f64 / compressed.max(1) as f64;
            sheet.row_with(
                "archive",
                format!("{}, 1/{ratio:.1} of it", size_exact(compressed)),
                compressed,
            );
        }
        let sha256 = verdict.sha256.computed.as_deref();
        sheet.row("SHA-256", sha256.unwrap_or_default());
        sheet.row("revision", verdict.facts.revision);
        sheet.row("live keys", verdict.facts.live_keys);
    }

    fn document(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            input: &'a str,
            output: &'a str,
            size: u64,
            archive_size: Option<u64>,
            manifest: Option<ManifestView<'a>>,
            verdict: VerdictView<'a>,
        }
        json(&Document {
            input: &self.input,
            output: &self.output,
            size: self.verdict.length,
            archive_size: self.compressed,
            manifest: self.manifest.map(ManifestView::of),
            verdict: VerdictView::of(self.verdict),
        })
    }
}

/// A manifest without its list of frames.
#[derive(Serialize)]
pub struct ManifestView<'a> {
    format: u32,
    made: &'a crate::archive::manifest::Made,
    snapshot: &'a crate::archive::manifest::Snapshot,
    etcd: &'a crate::archive::manifest::Etcd,
    source: Option<&'a crate::archive::manifest::Source>,
    frames: usize,
    piece: u64,
    level: i32,
}

impl ManifestView<'_> {
    /// What is worth showing.
    pub fn of(manifest: &Manifest) -> ManifestView<'_> {
        ManifestView {
            format: manifest.format,
            made: &manifest.made,
            snapshot: &manifest.snapshot,
            etcd: &manifest.etcd,
            source: manifest.source.as_ref(),
            frames: manifest.frames.list.len(),
            piece: manifest.frames.piece,
            level: manifest.frames.level,
        }
    }
}
