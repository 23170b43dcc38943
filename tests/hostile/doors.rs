//! Every door that bytes can come in by, in the library: what is said must agree, and nothing may be touched.

use std::path::Path;
use std::time::{Duration, Instant};

use etcd_rescue::error::Kind;
use etcd_rescue::io::Image;
use etcd_rescue::limits::Limits;
use etcd_rescue::observe::Unobserved;
use etcd_rescue::ops::restore::{self, Bump, Ending};
use etcd_rescue::report::Severity;
use etcd_rescue::snapshot::{self, Level, Listeners, Options, Sum, Verdict, Verified};
use etcd_rescue::source::{Candidate, Input, Origin, Source};

use super::cases::Expect;
use crate::util::temp_dir;

/// A small file is judged in a moment, however it is damaged.
const MOMENT: Duration = Duration::from_secs(10);

/// What `verify` says of bytes in memory. The bytes are not verified any further when that is an error.
pub fn verify(bytes: &[u8], raw: bool) -> etcd_rescue::error::Result<Verdict> {
    let options = Options { raw, digest: None };
    snapshot::verify(
        candidate(bytes),
        options,
        &Limits::default(),
        &Unobserved,
        Listeners::default(),
    )
    .map(Verified::into_verdict)
}

/// Whether `verify` finds them good.
pub fn is_good(bytes: &[u8], raw: bool) -> bool {
    match verify(bytes, raw) {
        Ok(verdict) => verdict.sum == Sum::Good,
        Err(error) => {
            assert_eq!(error.kind(), Kind::Damaged, "{error}");
            false
        }
    }
}

fn candidate(bytes: &[u8]) -> Candidate {
    Candidate::plain(
        Image::from_memory(bytes.to_vec()),
        Origin::File("memory".into()),
    )
}

/// Sends a sealed file through verify, verify --raw, status and restore, and compares with what is expected.
#[track_caller]
pub fn all(name: &str, bytes: &[u8], expect: Expect) {
    let started = Instant::now();
    let strict = verify(bytes, false).unwrap_or_else(|e| panic!("{name}: no verdict: {e}"));
    let raw = verify(bytes, true).unwrap_or_else(|e| panic!("{name}: no verdict with --raw: {e}"));
    let status = snapshot::survey(&candidate(bytes), &Limits::default(), &Unobserved);
    let status = status.unwrap_or_else(|e| panic!("{name}: no status: {e}"));
    for (door, verdict) in [
        ("verify", &strict),
        ("verify --raw", &raw),
        ("status", &status),
    ] {
        let name = format!("{name}: {door}");
        judge(&name, verdict, expect, door == "status");
    }
    restored(name, bytes, expect);
    let took = started.elapsed();
    assert!(took < MOMENT, "{name}: took {took:?}");
}

#[track_caller]
fn judge(name: &str, verdict: &Verdict, expect: Expect, is_status: bool) {
    let (structure, meaning, text, severities) = match expect {
        Expect::Structure(text) => (Level::Damaged, None, text, &[Severity::Error][..]),
        Expect::NotBolt(text) => (
            Level::Damaged,
            Some(Level::Unchecked),
            text,
            &[Severity::Error][..],
        ),
        Expect::Meaning(text) => (
            Level::Good,
            Some(Level::Damaged),
            text,
            &[Severity::Error][..],
        ),
        Expect::Remark(text) => (
            Level::Good,
            Some(Level::Good),
            text,
            &[Severity::Note, Severity::Warning][..],
        ),
        Expect::Nothing | Expect::Unrestorable(_) => (Level::Good, Some(Level::Good), "", &[][..]),
    };
    let report = &verdict.report;
    let listed: Vec<String> = report.listed().iter().map(ToString::to_string).collect();
    let listed = listed.join("\n");
    assert_eq!(verdict.structure, structure, "{name}: structure\n{listed}");
    if let Some(meaning) = meaning {
        assert_eq!(verdict.meaning, meaning, "{name}: meaning\n{listed}");
    }
    let damaged = structure == Level::Damaged || meaning == Some(Level::Damaged);
    if !is_status {
        let sum = if damaged { Sum::Damaged } else { Sum::Good };
        assert_eq!(verdict.sum, sum, "{name}\n{listed}");
    }
    assert_eq!(report.is_damaged(), damaged, "{name}\n{listed}");
    let found = report
        .listed()
        .iter()
        .any(|finding| severities.contains(&finding.severity) && finding.what.contains(text));
    assert!(
        found || (severities.is_empty() && report.total() == 0),
        "{name}: expected {text:?}, found\n{listed}"
    );
    let longest = report
        .listed()
        .iter()
        .map(|finding| finding.what.len())
        .max();
    assert!(
        longest < Some(2000),
        "{name}: a finding that nobody can read"
    );
    assert!(
        !listed.contains(|c: char| c.is_control() && c != '\n'),
        "{name}: control characters\n{listed}"
    );
}

/// Restores into a directory that does not exist and into one where something lies.
#[track_caller]
fn restored(name: &str, bytes: &[u8], expect: Expect) {
    let good = matches!(expect, Expect::Remark(_) | Expect::Nothing);
    let dir = temp_dir();
    let input = dir.path().join("input.db");
    std::fs::write(&input, bytes).unwrap();
    let taken = dir.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("keep"), "me").unwrap();
    for data_dir in [dir.path().join("new"), taken.clone()] {
        let ending = restore::run(&request(&input, &data_dir), &Limits::default(), &Unobserved);
        match (good, ending) {
            (true, Ok(Ending::Done(_))) => assert!(data_dir.join("member/snap/db").is_file()),
            (false, Ok(Ending::BadInput(_))) => {}
            (false, Err(error)) if let Expect::Unrestorable(text) = expect => {
                assert_eq!(error.kind(), Kind::Refused, "{name}: {error}");
                assert!(error.to_string().contains(text), "{name}: {error}");
            }
            (false, Err(error)) => assert_eq!(error.kind(), Kind::Damaged, "{name}: {error}"),
            (true, Err(error)) => panic!("{name}: restore: {error}"),
            (_, Ok(ending)) => panic!("{name}: restore ended with {ending:?}"),
        }
    }
    let names = |dir: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    if !good {
        assert_eq!(names(dir.path()), ["input.db", "taken"], "{name}");
        assert_eq!(names(&taken), ["keep"], "{name}");
    }
    assert!(
        std::fs::read(&input).unwrap() == bytes,
        "{name}: the input was changed"
    );
    assert_eq!(std::fs::read(taken.join("keep")).unwrap(), b"me");
}

/// A restore with every default, of a file that has a trailer or needs none.
pub fn request(input: &Path, data_dir: &Path) -> restore::Request {
    restore::Request {
        source: Source {
            input: Input::Path(input.into()),
            raw: false,
            spool_dirs: Vec::new(),
        },
        data_dir: data_dir.into(),
        wal_dir: None,
        name: "default".into(),
        initial_cluster: None,
        initial_cluster_token: None,
        initial_advertise_peer_urls: None,
        bump: Bump::Auto,
        owner: None,
        move_aside: false,
        dry_run: false,
    }
}
