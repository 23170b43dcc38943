//! What a verification says: three levels, their sum, and everything that was found and learned.

use serde::Serialize;

use super::pass::Learned;
use crate::archive::Archive;
use crate::archive::manifest::Manifest;
use crate::bolt::NotBolt;
use crate::datadir::tail::{self, Tail};
use crate::etcd::facts::Facts;
use crate::limits::Limits;
use crate::proto::raft_internal::Change;
use crate::report::{Place, Report, Severity};
use crate::source::{Candidate, Container, Origin};
use crate::transport::{self, Trailer};

/// How one level of the check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Checked, nothing wrong.
    Good,
    /// Nothing is lost, and it is not as it should be: a container with findings that can be done without.
    Flawed,
    /// Checked, and wrong.
    Damaged,
    /// There is nothing to check it against (transport of a raw copy).
    Absent,
    /// Not checked, because another level left nothing to check or was not asked for.
    Unchecked,
}

/// The sum of the three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Sum {
    /// All three levels good, or the missing trailer was accepted with `--raw`.
    Good,
    /// At least one level is damaged.
    Damaged,
    /// Structure and meaning are good, and there is no SHA-256 to prove that nothing changed on the way.
    Unproven,
}

/// What `verify` says about one input: three levels, their sum, the findings, and what was learned.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the input was found to be: `snapshot`, `raw copy`, `data dir` …
    pub input: String,
    /// Length in bytes as found, trailer included.
    pub length: u64,
    /// What it was packed in, if it was.
    pub packed: Option<Packed>,
    /// Is the SHA-256 trailer there, and right?
    pub transport: Level,
    /// The trailer found, if any, and the SHA-256 computed over the image, both lower-case hex.
    pub sha256: Sha256s,
    /// Is it a sound bbolt file?
    pub structure: Level,
    /// Is what it holds an etcd db that makes sense?
    pub meaning: Level,
    /// The sum.
    pub sum: Sum,
    /// What was found, from all three levels.
    pub report: Report,
    /// What was learned; incomplete when the structure is damaged.
    pub facts: Facts,
}

/// What a snapshot was packed in.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Every frame gives what it should, and the manifest says what is inside.
    pub container: Level,
    /// `archive`, `zstd` or `gzip`.
    pub kind: &'static str,
    /// Bytes of the file, where they are known.
    pub compressed: Option<u64>,
    /// Frames that give nothing.
    pub frames_damaged: u64,
    /// The manifest, if there is one.
    pub manifest: Option<Manifest>,
}

impl Packed {
    fn of(container: &Container) -> Packed {
        let (kind, archive) = match container {
            Container::Archive(archive) if archive.manifest().is_some() => {
                ("archive", Some(archive))
            }
            Container::Archive(archive) => ("zstd", Some(archive)),
            Container::Stream(compression) => (compression.word(), None),
        };
        Packed {
            // A stream that was unpacked to its end was checked by that.
            container: match archive {
                Some(_) => Level::Unchecked,
                None => Level::Good,
            },
            kind,
            compressed: archive.map(Archive::compressed),
            frames_damaged: 0,
            manifest: archive.and_then(Archive::manifest).cloned(),
        }
    }
}

/// The two ends of the transport check, as lower-case hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sha256s {
    /// What the trailer says.
    pub trailer: Option<String>,
    /// What the image has.
    pub computed: Option<String>,
}

impl Verdict {
    pub(super) fn new(candidate: &Candidate, limits: &Limits) -> Verdict {
        Verdict {
            input: "unknown".into(),
            length: candidate.image.len(),
            packed: candidate.container.as_ref().map(Packed::of),
            transport: Level::Unchecked,
            sha256: Sha256s::default(),
            structure: Level::Unchecked,
            meaning: Level::Unchecked,
            sum: Sum::Damaged,
            report: Report::new(limits.findings),
            facts: Facts::default(),
        }
    }

    pub(super) fn not_bolt(&mut self, not_bolt: NotBolt, name: &str) {
        self.input = not_bolt.name().into();
        self.structure = Level::Damaged;
        self.report
            .error(Place::file(), not_bolt.into_error(name).to_string());
    }

    pub(super) fn learn(&mut self, learned: Learned) {
        self.structure = level(&learned.structure);
        self.meaning = match (self.structure, level(&learned.meaning)) {
            (Level::Damaged, Level::Good) => Level::Unchecked,
            (_, meaning) => meaning,
        };
        self.report.absorb(learned.structure);
        self.report.absorb(learned.meaning);
        self.facts = learned.facts;
        if let Some(lost) = learned.lost {
            self.report.error(Place::file(), lost.to_string());
            self.structure = Level::Damaged;
        }
    }

    /// A data dir may hold entries that its db does not have: they would be lost. That is what leads.
    pub(super) fn compare_with_wal(&mut self, candidate: &Candidate, limits: &Limits) {
        let Origin::DataDir { wal, .. } = &candidate.origin else {
            return;
        };
        let Some(wal) = wal else {
            let what = "there is no wal directory beside snap (is it at etcd's --wal-dir?): whether it had more than the db cannot be told";
            return self.report.lead(Severity::Warning, Place::file(), what);
        };
        let applied = self.facts.consistent_index.unwrap_or(0);
        // 3.4, which has no term, moves the index only with a change of keys, and writes the others at once.
        let least = match self.facts.term {
            Some(_) => Change::Grants,
            None => Change::Keys,
        };
        match tail::after(wal, applied, least, limits) {
            Ok(Tail { entries: 0, .. }) => {}
            Ok(tail) => self.report.lead(
                Severity::Warning,
                Place::bucket(b"meta").at_key("consistent_index"),
                only_in_the_wal(tail, applied),
            ),
            Err(e) => self.report.lead(
                Severity::Warning,
                Place::file(),
                format!("whether the WAL has more than the db cannot be told: {e}"),
            ),
        }
    }

    pub(super) fn judge_transport(&mut self, trailer: &Trailer, computed: [u8; 32]) {
        let found = trailer.bytes();
        self.sha256 = Sha256s {
            trailer: found.map(transport::hex),
            computed: Some(transport::hex(computed)),
        };
        match trailer.fault(computed) {
            None if found.is_some() => self.transport = Level::Good,
            None => self.transport = Level::Absent,
            Some((place, what)) => {
                self.transport = Level::Damaged;
                self.report.error(place, what);
            }
        }
    }

    pub(super) fn sum_up(&mut self, raw: bool) {
        let container = self.packed.as_ref().map(|packed| packed.container);
        let container = container.unwrap_or(Level::Good);
        let levels = [container, self.transport, self.structure, self.meaning];
        self.sum = if levels.contains(&Level::Damaged) || self.meaning != Level::Good {
            Sum::Damaged
        } else if self.transport == Level::Good || raw {
            Sum::Good
        } else {
            Sum::Unproven
        };
    }
}

/// What is lost with the WAL, and how it is not.
fn only_in_the_wal(tail: Tail, applied: u64) -> String {
    let Tail { entries, committed } = tail;
    let how_many = match committed {
        _ if committed == entries => format!("{entries} committed entries"),
        0 => format!("up to {entries} entries"),
        _ => format!("at least {committed} committed entries, up to {entries} in the log,"),
    };
    format!(
        "{how_many} that may change data come after {applied}; they are in the WAL and not in the db, and lost in what is made of it: \
         etcd has them once it has started on this data dir, or on a copy of it, and a snapshot saved from it too"
    )
}

fn level(report: &Report) -> Level {
    match report.is_damaged() {
        true => Level::Damaged,
        false => Level::Good,
    }
}

/// What the input was found to be.
pub(super) fn describe(candidate: &Candidate, trailer: Option<&Trailer>) -> String {
    let what = match &candidate.origin {
        Origin::DataDir { .. } => "data dir",
        _ => match trailer {
            Some(Trailer::Present(_)) => "snapshot",
            // Whether it was a snapshot or a raw copy can't be told any more.
            Some(Trailer::Cut { .. }) => "cut file",
            Some(Trailer::Absent | Trailer::Excess { .. }) => "raw copy",
            None => "db",
        },
    };
    match (candidate.live, &candidate.container) {
        (true, _) => format!("{what} in use"),
        (false, None) => what.into(),
        (false, Some(container)) => candidate.called(&match Packed::of(container).kind {
            "archive" => format!("archive of a {what}"),
            kind => format!("{what} in {kind}"),
        }),
    }
}
