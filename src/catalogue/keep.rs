//! Which backups stay: restic's rules over what has been proved, and what no rule may touch.
//!
//! # The rules
//!
//! As in restic (restic/restic `internal/data/snapshot_policy.go`, v0.18; `tests/catalogue/oracle.rs` holds this
//! module against the real one): going from the newest backup to the oldest, each rule keeps the newest one of
//! every hour, day, ISO week, month or year, in UTC, until it has kept as many as it was given. The oldest backup
//! of all is kept by every rule that has some left. `--keep-within` keeps what is younger than the newest one
//! minus the span. What any rule keeps is kept; what none keeps is removed.
//!
//! # What counts
//!
//! Only what was made by `backup`, is proved and is not suspicious counts, so that nothing else takes the place
//! of a good backup. Everything else stays, with its reason:
//!
//! - not made by `backup`, damaged, or not verified: not ours to judge;
//! - suspicious ([`super::compare`]): it is proved, but it may be the first sign of a disaster. It stays until a
//!   person has looked (`unpin`), and so does the last good one before it: a cluster that was wiped and goes on
//!   being backed up must not push out the last backup that has the data;
//! - dated in the future: its clock was wrong, or ours is. It neither counts nor is it the newest one that
//!   `--keep-within` starts from. If the clock has been set back, everything older is kept until it has caught up.
//!
//! A pinned backup stays and counts, as `--keep-tag` does in restic.
//!
//! # What no policy may remove
//!
//! The last verified backup. That is the newest one by its date. But a clock may have been behind when a later one
//! was made, so it is also the one that was made last by the count of the catalogue, and, where that was lost, the
//! one with the highest revision of the same cluster: no clock can change these. Neither the rules nor `--max-size`
//! touch them. Without any rule nothing is removed.
//!
//! One thing cannot be seen from here: a clock that ran ahead when the newest backup was made *and* still does.
//! `--keep-within` alone then counts from that date, as in restic; a count beside it (`--keep-last 5`) is the
//! protection.
//!
//! # `--max-size`
//!
//! Comes after the rules and removes the oldest of what counts until the proved backups fit, pinned, suspicious
//! and future ones included in the sum, what `backup` did not make left out; it stops at what no policy may remove. Given alone, it is the only rule.

use std::cmp::Reverse;
use std::collections::HashSet;

use jiff::Timestamp;

pub use super::fate::{Decision, Fate, Plan, Reason, short};
pub use super::item::{Item, Marks};
pub use super::policy::{Count, Policy, Rule};
pub use super::within::Within;

/// The newest proved backup: what `--latest` and `check` go by, and what is never removed. One that is dated
/// in the future is taken only if there is no other; one that was packed by hand has no date.
pub fn last_verified(items: &[Item], now: Timestamp) -> Option<&Item> {
    let good = items.iter().filter(|item| item.may_be_latest());
    good.max_by_key(|item| (item.at <= now, item.age()))
}

/// Decides what becomes of each backup. Pure: nothing but the arguments matters, and not their order.
pub fn decide(items: &[Item], policy: &Policy, now: Timestamp) -> Plan {
    let mut items = items.to_vec();
    items.sort_by(|a, b| b.age().cmp(&a.age()));
    let counting: Vec<usize> = (0..)
        .zip(&items)
        .filter(|(_, item)| item.counts(now))
        .map(|(nth, _)| nth)
        .collect();

    let mut reasons: Vec<Vec<Reason>> = items.iter().map(|item| exempt(item, now)).collect();
    for (place, reason) in protect(&items, &counting, now) {
        push(&mut reasons, place, reason);
    }
    let untouchable: HashSet<usize> = (0..)
        .zip(&reasons)
        .filter(|(_, reasons)| !reasons.is_empty())
        .map(|(place, _)| place)
        .collect();
    for (place, reason) in apply(&items, &counting, policy) {
        push(&mut reasons, place, reason);
    }

    let (squeezed, over) = squeeze(&items, &reasons, &untouchable, policy.max_size);
    let fates = (0..).zip(reasons).map(|(place, reasons)| {
        if reasons.is_empty() {
            Fate::Expired
        } else if squeezed.contains(&place) {
            Fate::OverSize
        } else {
            Fate::Kept(reasons)
        }
    });
    let decisions = items.iter().cloned().zip(fates);
    let decisions = decisions.map(|(item, fate)| Decision { item, fate });
    Plan {
        decisions: decisions.collect(),
        over,
    }
}

fn push(reasons: &mut [Vec<Reason>], place: usize, reason: Reason) {
    if let Some(reasons) = reasons.get_mut(place) {
        reasons.push(reason);
    }
}

/// Why no rule is asked about a backup, or why it stays whatever they say.
fn exempt(item: &Item, now: Timestamp) -> Vec<Reason> {
    let marks = item.marks;
    let reasons = [
        (!marks.by_backup, Reason::NotByBackup),
        (marks.damaged, Reason::Damaged),
        (!marks.verified && !marks.damaged, Reason::NotVerified),
        (marks.suspicious, Reason::Suspicious),
        (item.at > now, Reason::Future),
        (marks.pinned, Reason::Pinned),
    ];
    let reasons = reasons.into_iter().filter(|(holds, _)| *holds);
    reasons.map(|(_, reason)| reason).collect()
}

/// What no policy may remove. `items` are sorted, newest first.
fn protect(items: &[Item], counting: &[usize], now: Timestamp) -> Vec<(usize, Reason)> {
    let counting = || {
        let places = counting.iter().copied();
        places.filter_map(|place| Some((place, items.get(place)?)))
    };
    let mut found = Vec::new();
    if let Some((first, newest)) = counting().next() {
        found.push((first, Reason::LastVerified));
        // Usually these are the newest one again.
        let last = counting().max_by_key(|(_, item)| item.order);
        let last = last.filter(|(_, item)| item.order.is_some());
        let highest = counting()
            .filter(|(_, item)| item.cluster == newest.cluster)
            .max_by_key(|(place, item)| (item.revision, Reverse(*place)));
        let others = [(last, Reason::LastMade), (highest, Reason::HighestRevision)];
        for (other, reason) in others {
            let other = other.filter(|(place, _)| *place != first);
            found.extend(other.map(|(place, _)| (place, reason)));
        }
    }
    for (place, odd) in (0..).zip(items) {
        if odd.marks.suspicious && odd.is_good() && odd.at <= now {
            let before = counting().find(|(other, _)| *other > place);
            found
                .extend(before.map(|(place, _)| (place, Reason::BeforeSuspicious(odd.id.clone()))));
        }
    }
    found
}

/// restic's rules over what counts. `items` are sorted, newest first.
fn apply(items: &[Item], counting: &[usize], policy: &Policy) -> Vec<(usize, Reason)> {
    let mut kept = Vec::new();
    if policy.keeps_all() {
        kept.extend(counting.iter().map(|place| (*place, Reason::NoRule)));
        return kept;
    }
    let mut rules = policy.counts().map(|(rule, left)| (rule, left, None));
    let newest = counting.first().and_then(|place| items.get(*place));
    let start = newest.and_then(|newest| policy.within.before(newest.at));
    for (nth, place) in counting.iter().enumerate() {
        let Some(item) = items.get(*place) else {
            continue;
        };
        if !policy.within.is_zero() && start.is_none_or(|start| item.at > start) {
            kept.push((*place, Reason::Within(policy.within)));
        }
        let oldest_of_all = nth + 1 == counting.len();
        for (rule, left, last) in &mut rules {
            let bucket = rule.bucket(item.at, nth);
            let again = *last == Some(bucket);
            if *left == Count::Off || (again && !oldest_of_all) {
                continue;
            }
            *last = Some(bucket);
            *left = left.less_one();
            let (rule, oldest) = (*rule, again);
            kept.push((*place, Reason::Rule { rule, oldest }));
        }
    }
    kept
}

/// What `--max-size` removes of what the rules keep, and by how much what stays is still over it.
fn squeeze(
    items: &[Item],
    reasons: &[Vec<Reason>],
    untouchable: &HashSet<usize>,
    max_size: Option<u64>,
) -> (HashSet<usize>, u64) {
    let mut removed = HashSet::new();
    let Some(max_size) = max_size else {
        return (removed, 0);
    };
    let kept: Vec<(usize, &Item)> = (0..)
        .zip(items.iter().zip(reasons))
        .filter(|(_, (item, reasons))| {
            item.marks.by_backup && item.is_good() && !reasons.is_empty()
        })
        .map(|(place, (item, _))| (place, item))
        .collect();
    let sum = |total: u64, (_, item): &(usize, &Item)| total.saturating_add(item.bytes);
    let mut total = kept.iter().fold(0, sum);
    for (place, item) in kept.iter().rev() {
        if total > max_size && !untouchable.contains(place) {
            removed.insert(*place);
            total = total.saturating_sub(item.bytes);
        }
    }
    (removed, total.saturating_sub(max_size))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A proved backup of the given hour of a day in 2026, its revision the hour.
    fn good(hour: u32) -> Item {
        Item {
            id: format!("{hour:032x}"),
            at: time("2026-03-10T00:00:00Z") + SignedDuration::from_hours(hour.into()),
            bytes: 100,
            cluster: Some("c".into()),
            revision: hour.into(),
            order: None,
            marks: Marks {
                by_backup: true,
                dated: true,
                verified: true,
                ..Marks::default()
            },
        }
    }

    fn marked(hour: u32, mark: impl Fn(&mut Marks)) -> Item {
        let mut item = good(hour);
        mark(&mut item.marks);
        item
    }

    fn last(count: u32) -> Policy {
        Policy {
            last: Count::Newest(count),
            ..Policy::default()
        }
    }

    /// `HOUR: reason, reason` or `HOUR: removed`, newest first.
    fn fates(items: &[Item], policy: &Policy, now: u32) -> Vec<String> {
        let plan = decide(items, policy, good(now).at);
        let line = |decision: &Decision| {
            let fate = match &decision.fate {
                Fate::Kept(reasons) => {
                    let reasons: Vec<_> = reasons.iter().map(Reason::to_string).collect();
                    reasons.join(", ")
                }
                Fate::Expired => "removed".into(),
                Fate::OverSize => "over size".into(),
            };
            format!("{}: {fate}", decision.item.revision)
        };
        plan.decisions.iter().map(line).collect()
    }

    #[test]
    fn a_rule_keeps_the_newest_of_each_bucket_and_the_oldest_of_all() {
        let items = [1, 5, 20, 26, 27, 50].map(good);
        let policy = Policy {
            daily: Count::Newest(5),
            ..Policy::default()
        };
        let expected = [
            "50: last verified, daily",
            "27: daily",
            "26: removed",
            "20: daily",
            "5: removed",
            "1: oldest daily",
        ];
        assert_eq!(fates(&items, &policy, 60), expected);
    }

    #[test]
    fn nothing_is_removed_without_a_rule() {
        let expected = [
            "2: last verified, no keep rule given",
            "1: no keep rule given",
        ];
        assert_eq!(fates(&[1, 2].map(good), &Policy::default(), 9), expected);
    }

    #[test]
    fn what_is_not_proved_neither_counts_nor_goes() {
        let items = [
            good(1),
            good(2),
            marked(3, |m| m.verified = false),
            marked(4, |m| m.damaged = true),
            marked(5, |m| m.by_backup = false),
            good(6),
        ];
        let expected = [
            "6: last verified, last",
            "5: not made by backup",
            "4: damaged",
            "3: not verified",
            "2: last",
            "1: removed",
        ];
        assert_eq!(fates(&items, &last(2), 9), expected);
    }

    #[test]
    fn a_pinned_one_stays_and_counts() {
        let items = [good(1), good(2), marked(3, |m| m.pinned = true), good(4)];
        let expected = [
            "4: last verified, last",
            "3: pinned, last",
            "2: removed",
            "1: removed",
        ];
        assert_eq!(fates(&items, &last(2), 9), expected);
    }

    #[test]
    fn a_wiped_cluster_does_not_push_out_the_last_backup_with_the_data() {
        let mut items = [1, 2, 4, 5, 6].map(good).to_vec();
        items.push(marked(3, |m| m.suspicious = true));
        let expected = [
            "6: last verified, last",
            "5: removed",
            "4: removed",
            "3: suspicious",
            "2: last before suspicious 00000000",
            "1: removed",
        ];
        assert_eq!(fates(&items, &last(1), 9), expected);
    }

    #[test]
    fn the_future_neither_counts_nor_moves_the_window() {
        let policy = Policy {
            within: Within {
                hours: 3,
                ..Within::default()
            },
            ..last(1)
        };
        let items = [1, 4, 5, 9_000].map(good);
        let expected = [
            "9000: dated in the future",
            "5: last verified, within 3h, last",
            "4: within 3h",
            "1: removed",
        ];
        assert_eq!(fates(&items, &policy, 6), expected);
        // The clock was set back: all but the newest are in its future.
        let expected = [
            "9000: dated in the future",
            "5: dated in the future",
            "4: dated in the future",
            "1: last verified, within 3h, last",
        ];
        assert_eq!(fates(&items, &policy, 2), expected);
    }

    #[test]
    fn the_highest_revision_stays_though_its_clock_was_behind() {
        let mut behind = good(1);
        behind.revision = 77;
        let mut other_cluster = good(2);
        other_cluster.cluster = Some("other".into());
        other_cluster.revision = 99;
        let items = [behind, other_cluster, good(3), good(4)];
        let expected = [
            "4: last verified, last",
            "3: removed",
            "99: removed",
            "77: highest revision",
        ];
        assert_eq!(fates(&items, &last(1), 9), expected);
    }

    #[test]
    fn the_last_one_made_stays_though_its_clock_was_behind() {
        let order = |hour, order| Item {
            order: Some(order),
            revision: 7,
            ..good(hour)
        };
        let items = [order(3, 1), order(4, 2), order(1, 3), order(2, 0)];
        let kept: Vec<_> = decide(&items, &last(1), good(9).at)
            .decisions
            .into_iter()
            .filter_map(|decision| match decision.fate {
                Fate::Kept(reasons) => Some((decision.item.order, reasons)),
                _ => None,
            })
            .collect();
        let rule = Reason::Rule {
            rule: Rule::Last,
            oldest: false,
        };
        let expected = [
            (Some(2), vec![Reason::LastVerified, rule]),
            (Some(3), vec![Reason::LastMade]),
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn max_size_takes_the_oldest_and_stops_at_the_last_verified() {
        let items = [
            good(1),
            marked(2, |m| m.pinned = true),
            good(3),
            marked(4, |m| m.verified = false),
            good(5),
        ];
        let room = |bytes| Policy {
            max_size: Some(bytes),
            ..Policy::default()
        };
        let expected = [
            "5: last verified, no keep rule given",
            "4: not verified",
            "3: no keep rule given",
            "2: pinned, no keep rule given",
            "1: over size",
        ];
        assert_eq!(fates(&items, &room(399), 9), expected);
        // What just fits stays.
        assert_eq!(fates(&items, &room(400), 9)[4], "1: no keep rule given");
        let plan = decide(&items, &room(0), good(9).at);
        let removed: Vec<_> = plan.removed().map(|d| d.item.revision).collect();
        assert_eq!(removed, [1, 3]);
        assert_eq!(plan.over, 200);
    }

    fn marks() -> impl Strategy<Value = Marks> {
        let mark = |odds| prop::bool::weighted(odds);
        (mark(0.9), mark(0.8), mark(0.1), mark(0.1), mark(0.1)).prop_map(
            |(by_backup, verified, damaged, suspicious, pinned)| Marks {
                by_backup,
                dated: true,
                verified,
                damaged,
                suspicious,
                pinned,
            },
        )
    }

    fn items() -> impl Strategy<Value = Vec<Item>> {
        let item = (
            0_u32..2_000,
            marks(),
            0_i64..50,
            0_u64..1_000,
            prop::option::of(0_u64..99),
        );
        prop::collection::vec(item, 0..40).prop_map(|found| {
            let item = |(nth, (hour, marks, revision, bytes, order))| Item {
                order,
                id: format!("{nth:032x}"),
                marks,
                revision,
                bytes,
                ..good(hour)
            };
            (0_u32..).zip(found).map(item).collect()
        })
    }

    fn count() -> impl Strategy<Value = Count> {
        prop_oneof![
            4 => Just(Count::Off),
            3 => (1_u32..6).prop_map(Count::Newest),
            1 => Just(Count::Unlimited),
        ]
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let counts = (count(), count(), count(), count(), count(), count());
        (counts, 0_u32..100, prop::option::of(0_u64..20_000)).prop_map(|(c, hours, max_size)| {
            Policy {
                last: c.0,
                hourly: c.1,
                daily: c.2,
                weekly: c.3,
                monthly: c.4,
                yearly: c.5,
                within: Within {
                    hours,
                    ..Within::default()
                },
                max_size,
            }
        })
    }

    proptest! {
        #[test]
        fn whatever_the_policy(items in items(), policy in policies(), now in 0_u32..2_500) {
            let now = good(now).at;
            let plan = decide(&items, &policy, now);
            prop_assert_eq!(plan.decisions.len(), items.len());
            for decision in plan.removed() {
                let marks = decision.item.marks;
                prop_assert!(marks.by_backup && marks.verified, "{:?}", decision);
                prop_assert!(!marks.damaged && !marks.suspicious && !marks.pinned, "{:?}", decision);
                prop_assert!(decision.item.at <= now, "{:?}", decision);
                prop_assert!(!policy.keeps_all() || policy.max_size.is_some());
            }
            if let Some(last) = last_verified(&items, now) {
                let kept = |d: &Decision| d.item.id == last.id && d.fate.is_kept();
                prop_assert!(plan.decisions.iter().any(kept), "{:?} is gone", last);
            }
            let mut backwards = items.clone();
            backwards.reverse();
            prop_assert_eq!(&decide(&backwards, &policy, now), &plan, "the order of the items matters");
            // A second run finds nothing more to do.
            let left: Vec<_> = plan.decisions.iter().filter(|d| d.fate.is_kept()).map(|d| d.item.clone()).collect();
            if policy.max_size.is_none() {
                prop_assert_eq!(decide(&left, &policy, now).removed().count(), 0);
            }
        }
    }
}
