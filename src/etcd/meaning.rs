//! Everything that a walk over an etcd db learns: HASH, facts, and findings about what the bytes mean.

use super::buckets::{self, Marks};
use super::facts::{BucketFacts, Facts};
use super::keyspace::{self, Counts, Keyspace};
use crate::bolt::walk::{Misplaced, Spot, Visitor};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::report::{Place, Report, printable};

/// A [`Visitor`] that makes sense of what it is shown.
pub struct Meaning<'l> {
    limits: &'l Limits,
    report: Report,
    facts: Facts,
    marks: Marks,
    keyspace: Keyspace,
    hash: u32,
    bucket: Vec<u8>,
    is_key: bool,
    small: Small,
    /// Bytes of member records that were decoded: all of them are kept.
    member_bytes: usize,
}

/// An entry of a small bucket, gathered.
#[derive(Default)]
struct Small {
    key: Vec<u8>,
    value: Vec<u8>,
    at: Spot,
    too_large: bool,
}

impl<'l> Meaning<'l> {
    /// Starts. `leases` are the ids in the `lease` bucket, ascending: see [`LeaseIds`].
    pub fn new(leases: Vec<i64>, limits: &'l Limits) -> Meaning<'l> {
        Meaning {
            limits,
            report: Report::new(limits.findings),
            facts: Facts::default(),
            marks: Marks::default(),
            keyspace: Keyspace::new(leases, limits.user_keys),
            hash: 0,
            bucket: Vec::new(),
            is_key: false,
            small: Small::default(),
            member_bytes: 0,
        }
    }

    /// Counts of the key space so far; complete when its bucket has ended.
    pub fn counts(&self) -> &Counts {
        &self.keyspace.counts
    }

    /// Ends the pass: facts about the content, and findings. What is missing is one only if the pass came to the
    /// end of the `whole` db.
    pub fn finish(mut self, whole: bool) -> (Facts, Report) {
        for required in ["key", "meta"] {
            let found = |bucket: &BucketFacts| bucket.name == required;
            if whole && !self.facts.buckets.iter().any(found) {
                self.report.error(
                    Place::file(),
                    format!("bucket {required} is missing: no server starts without it"),
                );
            }
        }
        // Not when its bucket ends: a hostile file has thousands of that name.
        self.keyspace.finish(&mut self.report);
        let counts = self.keyspace.counts;
        if self.limits.user_keys > 0 && counts.live_keys == 0 && !self.report.is_damaged() {
            self.report.warning(
                Place::bucket(keyspace::BUCKET),
                "there is no live key in it: is it of the right cluster?",
            );
        }
        self.facts.hash = self.hash;
        self.facts.revision = counts.revision;
        self.facts.records = counts.records;
        self.facts.tombstones = counts.tombstones;
        self.facts.live_keys = counts.live_keys;
        self.facts.bump_markers = counts.markers;
        self.facts.total_keys = counts.live_keys + u64::from(counts.markers > 0);
        self.facts.kubernetes = counts.kubernetes;
        self.facts.members.sort_by_key(|member| member.id);
        self.facts.total_entries = self.facts.buckets.iter().map(|bucket| bucket.entries).sum();
        buckets::finish(&mut self.facts, &self.marks, whole, &mut self.report);
        if whole && counts.last_marker > self.facts.compact_revision.unwrap_or(0) {
            self.report.error(
                Place::bucket(keyspace::BUCKET).at_key(format!("{}/0", counts.last_marker)),
                "record without a value; a bump would have marked its revision as compacted",
            );
        }
        (self.facts, self.report)
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.hash = crc32c::crc32c_append(self.hash, bytes);
    }

    /// What is kept of each bucket, member and alarm is bounded: only a hostile file has thousands.
    fn bounded(&self) -> Result<()> {
        let facts = &self.facts;
        let most = self.limits.members;
        match [facts.members.len(), facts.alarms.len(), facts.buckets.len()] {
            lens if lens.iter().all(|len| *len <= most) => Ok(()),
            _ => Err(Error::damaged(format!(
                "more than {most} members, alarms or buckets"
            ))),
        }
    }

    fn small_end(&mut self) {
        let Small {
            key,
            value,
            at,
            too_large,
        } = &self.small;
        let place = || {
            Place::from(*at)
                .in_bucket(&self.bucket)
                .at_key(printable(key))
        };
        if *too_large {
            let most = self.limits.small_value;
            self.report
                .error(place(), format!("value of more than {most} bytes"));
            return;
        }
        if self.bucket == b"members" {
            self.member_bytes = self.member_bytes.saturating_add(value.len());
            if self.member_bytes > self.limits.small_value {
                let most = self.limits.small_value;
                self.report
                    .error(place(), format!("members of more than {most} bytes in all"));
                return;
            }
        }
        let entry = buckets::entry(&self.bucket, key, value, &mut self.facts, &mut self.marks);
        if let Err((severity, what)) = entry {
            self.report.add(severity, place(), what);
        }
        if self.facts.members.len() > self.limits.members {
            self.facts.members.pop();
            self.report.error(
                place(),
                format!("more than {} members", self.limits.members),
            );
        }
    }
}

impl Visitor for Meaning<'_> {
    fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<()> {
        self.bounded()?;
        self.hash(name);
        self.bucket = name.to_vec();
        self.is_key = name == keyspace::BUCKET;
        self.facts.buckets.push(BucketFacts {
            name: printable(name),
            entries: 0,
            bytes: 0,
        });
        if !buckets::KNOWN.iter().any(|known| known.as_bytes() == name) {
            self.report.warning(
                Place::bucket(name),
                "not a bucket that etcd 3.4 to 3.8 makes",
            );
        }
        if sequence != 0 {
            self.report.error(
                Place::bucket(name),
                format!("bucket with sequence {sequence}: etcd never uses sequences"),
            );
        }
        Ok(())
    }

    fn bucket_end(&mut self) -> Result<()> {
        Ok(())
    }

    fn item(&mut self, key: &[u8], value_len: u64, at: Spot) -> Result<()> {
        self.hash(key);
        if let Some(bucket) = self.facts.buckets.last_mut() {
            bucket.entries += 1;
            bucket.bytes += key.len() as u64 + value_len;
        }
        if self.is_key {
            self.keyspace.item(key, value_len, at, &mut self.report);
        } else {
            self.small.key.clear();
            self.small.key.extend_from_slice(key);
            self.small.value.clear();
            self.small.at = at;
            self.small.too_large = value_len > self.limits.small_value as u64;
        }
        Ok(())
    }

    fn value(&mut self, chunk: &[u8]) -> Result<()> {
        self.hash(chunk);
        if self.is_key {
            self.keyspace.value(chunk);
        } else if !self.small.too_large {
            self.small.value.extend_from_slice(chunk);
        }
        Ok(())
    }

    fn item_end(&mut self) -> Result<()> {
        match self.is_key {
            true => self.keyspace.item_end(&mut self.report),
            false => {
                self.small_end();
                self.bounded()
            }
        }
    }

    fn misplaced(&mut self, key: &[u8], what: Misplaced, at: Spot) -> Result<()> {
        let what = match what {
            Misplaced::Item => {
                "a key beside the top-level buckets: etcd keeps everything in buckets"
            }
            Misplaced::Bucket => "a bucket inside a bucket: etcd has none",
        };
        self.report.error(
            Place::from(at)
                .in_bucket(&self.bucket)
                .at_key(printable(key)),
            what,
        );
        Ok(())
    }
}

/// Gathers the ids of the `lease` bucket, which comes after `key` in the file and is needed before.
#[derive(Debug, Default)]
pub struct LeaseIds(Vec<i64>);

impl LeaseIds {
    /// All of them, ascending.
    pub fn ascending(mut self) -> Vec<i64> {
        self.0.sort_unstable();
        self.0
    }
}

impl Visitor for LeaseIds {
    fn bucket(&mut self, _name: &[u8], _sequence: u64) -> Result<()> {
        Ok(())
    }
    fn bucket_end(&mut self) -> Result<()> {
        Ok(())
    }
    fn item(&mut self, key: &[u8], _value_len: u64, _at: Spot) -> Result<()> {
        if let Ok(id) = crate::bytes::u64_be(key, 0) {
            self.0.push(id.cast_signed());
        }
        Ok(())
    }
    fn value(&mut self, _chunk: &[u8]) -> Result<()> {
        Ok(())
    }
    fn item_end(&mut self) -> Result<()> {
        Ok(())
    }
    fn misplaced(&mut self, _key: &[u8], _what: Misplaced, _at: Spot) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(buckets: &[(&str, u64)]) -> Vec<String> {
        let limits = Limits {
            members: 3,
            ..Limits::default()
        };
        let mut meaning = Meaning::new(Vec::new(), &limits);
        for (name, sequence) in buckets {
            if let Err(error) = meaning.bucket(name.as_bytes(), *sequence) {
                return vec![error.to_string()];
            }
            meaning.bucket_end().unwrap();
        }
        let (_, report) = meaning.finish(true);
        report.listed().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        let index = "warning: bucket meta: no consistent_index: every server writes one";
        let nothing =
            "warning: bucket key: there is no live key in it: is it of the right cluster?";
        assert_eq!(told(&[("key", 0), ("meta", 0)]), [nothing, index]);
        assert!(told(&[("key", 0)])[0].contains("bucket meta is missing"));
        assert!(told(&[("key", 7), ("meta", 0)])[0].contains("sequence 7"));
        let many = [("a", 0), ("b", 0), ("c", 0), ("d", 0), ("e", 0)];
        assert!(told(&many)[0].contains("more than 3 members, alarms or buckets"));
    }

    #[test]
    fn hash_goes_over_names_keys_and_values() {
        let limits = Limits::default();
        let mut meaning = Meaning::new(Vec::new(), &limits);
        meaning.bucket(b"meta", 0).unwrap();
        meaning.item(b"term", 8, Spot::default()).unwrap();
        meaning.value(&[0; 5]).unwrap();
        meaning.value(&[0; 3]).unwrap();
        meaning.item_end().unwrap();
        let (facts, _) = meaning.finish(true);
        assert_eq!(facts.hash, crc32c::crc32c(b"metaterm\0\0\0\0\0\0\0\0"));
        assert_eq!((facts.total_entries, facts.term), (1, Some(0)));
    }
}
