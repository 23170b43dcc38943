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

mod container;
mod pair;
mod pass;
mod peek;
mod verdict;

use self::container::Passed;
use self::pair::both;
pub use self::pass::Follower;
use self::pass::walk_meaning;
pub use self::peek::{Peek, peek_meta};
use self::verdict::describe;
pub use self::verdict::{Level, Packed, Sha256s, Sum, Verdict};
use crate::archive::Archive;
use crate::bolt::Db;
use crate::error::{Kind, Result};
use crate::etcd::facts::Facts;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::Place;
use crate::source::{Candidate, Origin};
use crate::transport::{self, Tee, Trailer};

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

    /// Gives `tee` what lies behind the image: the trailer, or pages that a server had reserved.
    pub fn behind_image(
        &self,
        observer: &dyn Observer,
        tee: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let image = &self.candidate.image;
        let mut at = self.facts().size;
        let mut buffer = vec![0; 64 << 10];
        while at < image.len() {
            observer.check()?;
            let len = (image.len() - at).min(buffer.len() as u64);
            let (piece, _) = buffer.split_at_mut(len as usize);
            image.read_at(at, piece)?;
            tee(piece)?;
            at += len;
        }
        Ok(())
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

/// Who listens while the candidate is read.
#[derive(Default)]
pub struct Listeners<'l> {
    /// Gets every item.
    pub follower: Option<&'l mut dyn Follower>,
    /// Gets every byte of the image, in order, the trailer left out.
    pub tee: Option<&'l mut Tee<'l>>,
}

impl<'l> Listeners<'l> {
    /// A tee alone.
    pub fn tee(tee: &'l mut Tee<'l>) -> Listeners<'l> {
        Listeners {
            follower: None,
            tee: Some(tee),
        }
    }

    /// A follower alone.
    pub fn follower(follower: &'l mut dyn Follower) -> Listeners<'l> {
        Listeners {
            follower: Some(follower),
            tee: None,
        }
    }
}

/// Reads all of the candidate and says what it is worth.
pub fn verify(
    candidate: Candidate,
    options: Options,
    limits: &Limits,
    observer: &dyn Observer,
    listeners: Listeners<'_>,
) -> Result<Verified> {
    let mut verdict = Verdict::new(&candidate, limits);
    let opened = match readable(Db::open(&candidate.image, limits))? {
        Some(Ok(db)) => Some(db),
        Some(Err(not_bolt)) => {
            verdict.not_bolt(not_bolt, candidate.image.name());
            None
        }
        None => None,
    };
    let Some(db) = opened else {
        // What is inside is lost; what of the archive is whole can be told all the same.
        if let Some(archive) = candidate.archive() {
            verdict.input = candidate.called("archive");
            verdict.judge_container(container::pass(archive, 0, limits, observer, None)?.container);
            verdict.nothing_to_reach(archive.manifest());
        }
        return Ok(Verified::Bad(Box::new(verdict)));
    };
    let trailer = readable(Trailer::find(&candidate.image, db.size(), db.page_size()))?;
    let Listeners { follower, tee } = listeners;
    let known = options.digest.is_some();
    if known {
        observer.stage("checking", Some(db.size()));
    }
    let (walked, passed) = both(
        observer,
        known,
        |observer| walk_meaning(&db, limits, observer, follower),
        |observer| match (options.digest, candidate.archive()) {
            (Some(known), archive) => Ok(Passed {
                container: archive.map(container::opened),
                ..Passed::known(known)
            }),
            (None, None) => {
                transport::digest(&candidate.image, db.size(), observer, tee).map(Passed::known)
            }
            (None, Some(archive)) => container::pass(archive, db.size(), limits, observer, tee),
        },
    )?;
    verdict.input = describe(&candidate, trailer.as_ref());
    // What is wrong with a frame explains what is wrong with its pages.
    verdict.judge_container(passed.container);
    verdict.learn(walked);
    verdict.compare_with_wal(&candidate, limits);
    if let (Some(trailer), Some(digest)) = (&trailer, passed.digest) {
        verdict.judge_transport(trailer, digest);
    }
    if let Some(manifest) = candidate.archive().and_then(Archive::manifest) {
        verdict.compare_with_manifest(manifest);
    }
    verdict.sum_up(options.raw);
    match verdict.sum {
        Sum::Good => Ok(Verified::Good(Box::new(Snapshot { candidate, verdict }))),
        _ => Ok(Verified::Bad(Box::new(verdict))),
    }
}

/// `None` for what is damaged: the reason is told by whoever checks the container.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(e) if e.kind() == Kind::Damaged => Ok(None),
        read => read.map(Some),
    }
}

/// Structure and meaning alone, without the SHA-256: what `status` looks at.
pub fn survey(candidate: &Candidate, limits: &Limits, observer: &dyn Observer) -> Result<Verdict> {
    let mut verdict = Verdict::new(candidate, limits);
    let db = match Db::open(&candidate.image, limits) {
        Ok(Ok(db)) => db,
        Ok(Err(not_bolt)) => {
            verdict.not_bolt(not_bolt, candidate.image.name());
            return Ok(verdict);
        }
        Err(e) if e.kind() == Kind::Damaged => {
            verdict.report.error(Place::file(), e.to_string());
            return Ok(verdict);
        }
        Err(e) => return Err(e),
    };
    let trailer = readable(Trailer::find(&candidate.image, db.size(), db.page_size()))?;
    verdict.input = describe(candidate, trailer.as_ref());
    observer.stage("checking", Some(db.size()));
    verdict.learn(walk_meaning(&db, limits, observer, None)?);
    Ok(verdict)
}

/// For tests: verifies bytes in memory.
#[cfg(any(test, feature = "fuzzing"))]
pub fn verify_bytes(bytes: Vec<u8>, raw: bool) -> Result<Verdict> {
    let candidate = Candidate::plain(crate::io::Image::from_memory(bytes), Origin::Stdin);
    let options = Options { raw, digest: None };
    verify(
        candidate,
        options,
        &Limits::default(),
        &crate::observe::Unobserved,
        Listeners::default(),
    )
    .map(Verified::into_verdict)
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
