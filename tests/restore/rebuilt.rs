//! What the new db has of the old one, and what it must not have.

use etcd_rescue::bolt::collect::Collect;
use etcd_rescue::bolt::{Db, walk};
use etcd_rescue::io::Image;
use etcd_rescue::limits::Limits;
use etcd_rescue::observe::Unobserved;

use super::Place;
use crate::hostile::house::{Content, House, content, revision};

type Entry = (Vec<u8>, Vec<u8>);

fn entries<'c>(content: &'c mut Content, bucket: &str) -> &'c mut Vec<Entry> {
    let mut buckets = content.iter_mut();
    let found = buckets.find(|(name, _)| name == bucket.as_bytes());
    &mut found.unwrap().1
}

/// A small cluster's snapshot, changed like this, in a file of its own.
fn input(place: &Place, change: impl Fn(&mut Content)) -> String {
    let mut content = content(4096);
    change(&mut content);
    let path = place.root().join("input.db");
    std::fs::write(&path, House::of(&content, 4096).file.sealed()).unwrap();
    path.display().to_string()
}

/// A bucket of the restored db.
fn restored(place: &Place, name: &str) -> Vec<Entry> {
    let limits = Limits::default();
    let image = Image::open(&place.member().join("snap/db")).unwrap();
    let db = Db::open(&image, &limits).unwrap().unwrap();
    let mut collect = Collect::up_to(limits.small_value);
    walk::bucket(&db, name.as_bytes(), &limits, &Unobserved, &mut collect).unwrap();
    collect.buckets.pop().unwrap().1
}

/// The new cluster has no leader yet that could end it, and no old version to go down to.
#[test]
fn a_downgrade_under_way_is_left_behind() {
    let place = Place::new();
    let input = input(&place, |content| {
        let downgrade = br#"{"target-version":"3.5.0","enabled":true}"#.to_vec();
        entries(content, "cluster").push((b"downgrade".to_vec(), downgrade));
        entries(content, "cluster").push((b"other".to_vec(), b"value".to_vec()));
    });
    place.restore_of(&input, &[]).run().ok();
    let kept = (b"other".to_vec(), b"value".to_vec());
    assert_eq!(restored(&place, "cluster"), [kept]);
}

/// A compaction takes the last tombstones with it: then its mark alone says how far the revisions went.
#[test]
fn a_bump_begins_where_the_last_compaction_was() {
    let place = Place::new();
    let input = input(&place, |content| {
        for (key, value) in entries(content, "meta") {
            if key.ends_with(b"CompactRev") {
                *value = revision(5_000, 0);
            }
        }
    });
    let document = place.restore_of(&input, &["-w", "json"]).run().ok().json();
    assert_eq!(document["plan"]["revisionBefore"], 5_000);
    assert_eq!(document["plan"]["revisionAfter"], 1_000_005_000);
    let mark = (b"scheduledCompactRev".to_vec(), revision(1_000_005_000, 0));
    assert!(restored(&place, "meta").contains(&mark));
}

/// What a server of tomorrow has in its db, nobody knows today.
#[test]
fn a_version_that_nobody_knows_yet_is_refused() {
    for version in ["3.99.0", "4.0.0"] {
        let place = Place::new();
        let input = input(&place, |content| {
            entries(content, "cluster")[0].1 = version.into();
        });
        for flags in [&["--dry-run"][..], &[]] {
            let refused = place.restore_of(&input, flags).run().code(4);
            refused.stderr_has(&format!("the snapshot is of etcd {version}"));
            assert!(!place.data().exists());
        }
    }
}

/// What is kept in memory of a small bucket is bounded; no new db is made without the rest.
#[test]
fn a_small_bucket_that_is_no_small_one_is_damage() {
    let place = Place::new();
    let input = input(&place, |content| {
        let many = (0..60_000_u32).map(|n| (format!("k{n:08}").into_bytes(), b"v".to_vec()));
        entries(content, "cluster").extend(many);
    });
    let damaged = place.restore_of(&input, &[]).run().code(3);
    damaged.stderr_has("implausibly large");
    assert!(!place.data().exists());
}
