//! Bytes that were found become a snapshot that was proved: the one place where trust is made.
//!
//! ```text
//! Candidate --verify--> Verified::Good(Snapshot)   the only way to a Snapshot
//!                   \-> Verified::Bad(Verdict)
//! ```
//!
//! Verification reads the file twice at once, with constant memory: one thread hashes it front to back
//! for the SHA-256 trailer, the other walks the tree and makes sense of what it holds. A [`Follower`]
//! may listen to the walk, so that a restore writes while it is being proved; what it wrote is worth
//! something only together with the [`Snapshot`] that comes out.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::bolt::collect::Collect;
use crate::bolt::walk::{self, Misplaced, Spot, Visitor};
use crate::bolt::{Db, NotBolt};
use crate::datadir::tail;
use crate::error::{Error, Kind, Result};
use crate::etcd::facts::Facts;
use crate::etcd::keyspace::Counts;
use crate::etcd::meaning::{LeaseIds, Meaning};
use crate::limits::Limits;
use crate::observe::{Observer, Unobserved};
use crate::report::{Place, Report};
use crate::source::{Candidate, Origin};
use crate::transport::{self, Trailer};

/// How one level of the check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Checked, nothing wrong.
    Good,
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

/// The two ends of the transport check, as lower-case hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sha256s {
    /// What the trailer says.
    pub trailer: Option<String>,
    /// What the image has.
    pub computed: Option<String>,
}

/// A snapshot that was proved. There is no way to make one but [`verify`].
#[derive(Debug)]
pub struct Snapshot {
    candidate: Candidate,
    verdict: Verdict,
}

impl Snapshot {
    /// How it was proved, and what was learned.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What it holds.
    pub fn facts(&self) -> &Facts {
        &self.verdict.facts
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.candidate.origin
    }

    /// SHA-256 of the image, trailer excluded, lower-case hex.
    pub fn sha256(&self) -> &str {
        self.verdict.sha256.computed.as_deref().unwrap_or_default()
    }

    /// Gives up the proof and keeps the bytes, to be proved once more.
    pub fn into_candidate(self) -> Candidate {
        self.candidate
    }

    /// Gives up the bytes and keeps the verdict.
    pub fn into_verdict(self) -> Verdict {
        self.verdict
    }
}

/// How a verification ends.
#[derive(Debug)]
pub enum Verified {
    /// It may be restored.
    Good(Box<Snapshot>),
    /// It may not.
    Bad(Box<Verdict>),
}

impl Verified {
    /// The verdict alone.
    pub fn into_verdict(self) -> Verdict {
        match self {
            Verified::Good(snapshot) => snapshot.into_verdict(),
            Verified::Bad(verdict) => *verdict,
        }
    }
}

/// What is to be verified, and how much of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A missing trailer is fine.
    pub raw: bool,
    /// SHA-256 of the image, computed over these very bytes by whoever brought them; saves reading them
    /// once more.
    pub digest: Option<[u8; 32]>,
}

/// Listens to the walk of a verification: gets every item in order. `counts` says what is known of the
/// key space so far.
pub trait Follower {
    /// See [`Visitor::bucket`].
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()>;
    /// See [`Visitor::bucket_end`].
    fn bucket_end(&mut self, counts: &Counts) -> Result<()>;
    /// See [`Visitor::item`].
    fn item(&mut self, key: &[u8], value_len: u64) -> Result<()>;
    /// See [`Visitor::value`].
    fn value(&mut self, chunk: &[u8]) -> Result<()>;
    /// See [`Visitor::item_end`].
    fn item_end(&mut self) -> Result<()>;
}

/// Reads all of the candidate and says what it is worth.
pub fn verify(
    candidate: Candidate,
    options: Options,
    limits: &Limits,
    observer: &dyn Observer,
    follower: Option<&mut dyn Follower>,
) -> Result<Verified> {
    let mut verdict = Verdict::new(&candidate, limits);
    let db = match Db::open(&candidate.image, limits)? {
        Ok(db) => db,
        Err(not_bolt) => {
            verdict.not_bolt(not_bolt, candidate.image.name());
            return Ok(Verified::Bad(Box::new(verdict)));
        }
    };
    let trailer = Trailer::find(&candidate.image, db.size(), db.page_size())?;
    let (walked, digest) = both(
        observer,
        |observer| walk_meaning(&db, limits, observer, follower),
        |observer| match options.digest {
            Some(known) => Ok(known),
            None => transport::digest(&candidate.image, db.size(), observer),
        },
    )?;
    verdict.input = describe(&candidate, &trailer);
    verdict.learn(walked);
    verdict.compare_with_wal(&candidate, limits);
    verdict.judge_transport(&trailer, digest);
    verdict.sum_up(options.raw);
    match verdict.sum {
        Sum::Good => Ok(Verified::Good(Box::new(Snapshot { candidate, verdict }))),
        _ => Ok(Verified::Bad(Box::new(verdict))),
    }
}

/// Structure and meaning alone, without the SHA-256: what `status` looks at.
pub fn survey(candidate: &Candidate, limits: &Limits, observer: &dyn Observer) -> Result<Verdict> {
    let mut verdict = Verdict::new(candidate, limits);
    let db = match Db::open(&candidate.image, limits)? {
        Ok(db) => db,
        Err(not_bolt) => {
            verdict.not_bolt(not_bolt, candidate.image.name());
            return Ok(verdict);
        }
    };
    let trailer = Trailer::find(&candidate.image, db.size(), db.page_size())?;
    verdict.input = describe(candidate, &trailer);
    observer.stage("checking", Some(db.size()));
    verdict.learn(walk_meaning(&db, limits, observer, None)?);
    Ok(verdict)
}

/// The entries of the `meta` bucket, which lies behind `key`, and is needed by who follows the walk.
/// Empty when the file is too damaged to have one.
pub fn peek_meta(candidate: &Candidate, limits: &Limits) -> Result<Peek> {
    let Ok(db) = Db::open(&candidate.image, limits)? else {
        return Ok(Peek::default());
    };
    let mut collect = Collect::up_to(limits.small_value);
    walk::bucket(&db, b"meta", limits, &Unobserved, &mut collect)?;
    let meta = collect
        .buckets
        .pop()
        .map(|(_, items)| items)
        .unwrap_or_default();
    Ok(Peek {
        page_size: db.meta().page_size,
        size: db.size(),
        trailer: Trailer::find(&candidate.image, db.size(), db.page_size())?.bytes(),
        meta,
    })
}

/// What is known of a candidate before it is walked.
#[derive(Clone, Debug, Default)]
pub struct Peek {
    /// Bytes in a page; 0 when there is no usable meta page.
    pub page_size: u32,
    /// High-water mark times page size, in bytes.
    pub size: u64,
    /// The SHA-256 trailer, if there is one; not compared with anything yet.
    pub trailer: Option<[u8; 32]>,
    /// Entries of the `meta` bucket.
    pub meta: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a walk brings home.
struct Learned {
    structure: Report,
    meaning: Report,
    facts: Facts,
    /// A follower that could not go on with what it was given.
    lost: Option<Error>,
}

fn walk_meaning(
    db: &Db<'_>,
    limits: &Limits,
    observer: &dyn Observer,
    follower: Option<&mut dyn Follower>,
) -> Result<Learned> {
    let mut leases = LeaseIds::default();
    walk::bucket(db, b"lease", limits, &Quiet(observer), &mut leases)?;
    let mut pass = Pass {
        meaning: Meaning::new(leases.0, limits),
        follower,
        lost: None,
    };
    let walked = walk::check(db, limits, observer, &mut pass)?;
    let (mut facts, meaning) = pass.meaning.finish();
    facts.page_size = db.meta().page_size;
    facts.size = db.size();
    facts.in_use = walked.pages_in_use.saturating_mul(db.page_size());
    facts.free = facts.size.saturating_sub(facts.in_use);
    Ok(Learned {
        structure: walked.report,
        meaning,
        facts,
        lost: pass.lost,
    })
}

impl Verdict {
    fn new(candidate: &Candidate, limits: &Limits) -> Verdict {
        Verdict {
            input: "unknown".into(),
            length: candidate.image.len(),
            transport: Level::Unchecked,
            sha256: Sha256s::default(),
            structure: Level::Unchecked,
            meaning: Level::Unchecked,
            sum: Sum::Damaged,
            report: Report::new(limits.findings),
            facts: Facts::default(),
        }
    }

    fn not_bolt(&mut self, not_bolt: NotBolt, name: &str) {
        self.input = not_bolt.name().into();
        self.structure = Level::Damaged;
        self.report
            .error(Place::file(), not_bolt.into_error(name).to_string());
    }

    fn learn(&mut self, learned: Learned) {
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

    /// A data dir may hold committed entries that its db does not have: they would be lost.
    fn compare_with_wal(&mut self, candidate: &Candidate, limits: &Limits) {
        let Origin::DataDir { wal: Some(wal), .. } = &candidate.origin else {
            return;
        };
        let place = Place::bucket(b"meta").at_key("consistent_index");
        let applied = self.facts.consistent_index.unwrap_or(0);
        match tail::committed(wal, limits) {
            Ok(committed) if committed > applied => self.report.warning(
                place,
                format!(
                    "{} committed entries after {applied} are in the WAL and not in the db: a snapshot that etcd itself makes would have them",
                    committed - applied
                ),
            ),
            Ok(_) => {}
            Err(e) => self.report.warning(
                Place::file(),
                format!("whether the WAL has more than the db cannot be told: {e}"),
            ),
        }
    }

    fn judge_transport(&mut self, trailer: &Trailer, computed: [u8; 32]) {
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

    fn sum_up(&mut self, raw: bool) {
        let levels = [self.transport, self.structure, self.meaning];
        self.sum = if levels.contains(&Level::Damaged) || self.meaning != Level::Good {
            Sum::Damaged
        } else if self.transport == Level::Good || raw {
            Sum::Good
        } else {
            Sum::Unproven
        };
    }
}

fn level(report: &Report) -> Level {
    match report.is_damaged() {
        true => Level::Damaged,
        false => Level::Good,
    }
}

fn describe(candidate: &Candidate, trailer: &Trailer) -> String {
    let what = match &candidate.origin {
        Origin::DataDir { .. } => "data dir",
        _ if trailer.bytes().is_some() => "snapshot",
        _ => "raw copy",
    };
    match candidate.live {
        true => format!("{what} in use"),
        false => what.into(),
    }
}

/// The walk's visitor: makes sense of every item, then hands it on.
struct Pass<'l, 'f> {
    meaning: Meaning<'l>,
    follower: Option<&'f mut dyn Follower>,
    lost: Option<Error>,
}

impl Pass<'_, '_> {
    /// A follower that finds its input damaged is let go: the walk will say what the damage is.
    fn follow(
        &mut self,
        step: impl FnOnce(&mut dyn Follower, &Counts) -> Result<()>,
    ) -> Result<()> {
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        match step(*follower, self.meaning.counts()) {
            Err(e) if e.kind() == Kind::Damaged => {
                self.follower = None;
                self.lost = Some(e);
                Ok(())
            }
            other => other,
        }
    }
}

impl Visitor for Pass<'_, '_> {
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()> {
        self.meaning.bucket(name, sequence)?;
        self.follow(|follower, _| follower.bucket(name, sequence))
    }
    fn bucket_end(&mut self) -> Result<()> {
        self.meaning.bucket_end()?;
        self.follow(|follower, counts| follower.bucket_end(counts))
    }
    fn item(&mut self, key: &[u8], value_len: u64, at: Spot) -> Result<()> {
        self.meaning.item(key, value_len, at)?;
        self.follow(|follower, _| follower.item(key, value_len))
    }
    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        self.meaning.value(chunk)?;
        self.follow(|follower, _| follower.value(chunk))
    }
    fn item_end(&mut self) -> Result<()> {
        self.meaning.item_end()?;
        self.follow(|follower, _| follower.item_end())
    }
    fn misplaced(&mut self, key: &[u8], what: Misplaced, at: Spot) -> Result<()> {
        self.meaning.misplaced(key, what, at)
    }
}

/// Runs both at once; when one fails the other is stopped, and the failure that came first is returned.
fn both<A, B: Send>(
    observer: &dyn Observer,
    walk: impl FnOnce(&dyn Observer) -> Result<A>,
    hash: impl FnOnce(&dyn Observer) -> Result<B> + Send,
) -> Result<(A, B)> {
    let stop = AtomicBool::new(false);
    let run_until = |failed: bool| stop.fetch_or(failed, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(|| {
            let result = hash(&Partner {
                observer,
                stop: &stop,
                counts: true,
            });
            run_until(result.is_err());
            result
        });
        let walked = walk(&Partner {
            observer,
            stop: &stop,
            counts: false,
        });
        let walk_stopped_it = walked.is_err() && !run_until(true);
        let hashed = hashing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (walked, hashed) {
            (Ok(walked), Ok(hashed)) => Ok((walked, hashed)),
            (Err(e), Ok(_)) | (Ok(_), Err(e)) => Err(e),
            (Err(walked), Err(_)) if walk_stopped_it => Err(walked),
            (Err(_), Err(hashed)) => Err(hashed),
        }
    })
}

/// The observer of one of two threads: stops when its partner failed; only one of them counts bytes.
struct Partner<'a> {
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    counts: bool,
}

impl Observer for Partner<'_> {
    fn stage(&self, name: &str, total: Option<u64>) {
        self.observer.stage(name, total);
    }
    fn advance(&self, bytes: u64) {
        if self.counts {
            self.observer.advance(bytes);
        }
    }
    fn notice(&self, text: &str) {
        self.observer.notice(text);
    }
    fn check(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::interrupted()),
            false => self.observer.check(),
        }
    }
}

/// Interruptible, and silent.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn stage(&self, _name: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn notice(&self, text: &str) {
        self.0.notice(text);
    }
    fn check(&self) -> Result<()> {
        self.0.check()
    }
}

/// For tests: verifies bytes in memory.
#[cfg(any(test, feature = "fuzzing"))]
pub fn verify_bytes(bytes: Vec<u8>, raw: bool) -> Result<Verdict> {
    let candidate = Candidate {
        image: crate::io::Image::from_memory(bytes),
        origin: Origin::Stdin,
        live: false,
    };
    let options = Options { raw, digest: None };
    verify(candidate, options, &Limits::default(), &Unobserved, None).map(Verified::into_verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubernetes() -> Vec<u8> {
        std::fs::read(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/k8s-plain-3.5.db"
        ))
        .unwrap()
    }

    #[test]
    fn a_real_snapshot_is_good_and_says_what_it_holds() {
        let verdict = verify_bytes(kubernetes(), false).unwrap();
        assert_eq!(verdict.report.listed(), []);
        assert_eq!(
            (verdict.sum, verdict.input.as_str()),
            (Sum::Good, "snapshot")
        );
        let facts = verdict.facts;
        assert_eq!(
            (facts.hash, facts.revision, facts.total_keys, facts.size),
            (782_610_127, 308, 275, 294_912)
        );
        assert!(facts.kubernetes && !facts.auth_enabled);
    }

    #[test]
    fn without_a_trailer_it_is_unproven_unless_raw() {
        let mut bytes = kubernetes();
        bytes.truncate(294_912);
        let verdict = verify_bytes(bytes.clone(), false).unwrap();
        assert_eq!(
            (verdict.sum, verdict.transport),
            (Sum::Unproven, Level::Absent)
        );
        assert_eq!(verify_bytes(bytes.clone(), true).unwrap().sum, Sum::Good);
        bytes.resize(294_912 + 4096 * 4, 0);
        assert_eq!(verify_bytes(bytes.clone(), true).unwrap().sum, Sum::Good);
        bytes.resize(294_912 + 4096 * 4 + 5, 0);
        assert_eq!(verify_bytes(bytes, true).unwrap().sum, Sum::Damaged);
    }

    #[test]
    fn what_is_cut_or_longer_is_damaged() {
        let whole = kubernetes();
        for len in [
            0, 1, 15, 64, 80, 4095, 4096, 4175, 8192, 100_000, 294_911, 294_913, 294_943,
        ] {
            let verdict = verify_bytes(whole[..len].to_vec(), false).unwrap();
            assert_eq!(verdict.sum, Sum::Damaged, "{len}");
            assert_eq!(
                verify_bytes(whole[..len].to_vec(), true).unwrap().sum,
                Sum::Damaged,
                "{len} raw"
            );
        }
        let longer = [whole, vec![1; 4096 - 32]].concat();
        let verdict = verify_bytes(longer, true).unwrap();
        assert!(
            verdict.report.listed()[0]
                .what
                .contains("4064 bytes behind the end"),
            "{:?}",
            verdict.report
        );
    }
}
