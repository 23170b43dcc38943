//! How old the newest proved backup is: what monitoring goes by.

use jiff::{SignedDuration, Timestamp};

use super::item::Item;
use super::keep::last_verified;

/// Whether there is a proved backup that is young enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The newest proved one has this age.
    Fresh(SignedDuration),
    /// The newest proved one has this age.
    TooOld(SignedDuration),
    /// Every proved one is dated in the future: a clock is or was wrong, and nobody knows how old they are.
    Future,
    /// No backup is proved.
    Missing,
}

/// How old the newest proved backup is. One that is dated in the future has no age, and is passed over: it would
/// look young for years.
pub fn freshness(items: &[Item], max_age: SignedDuration, now: Timestamp) -> Freshness {
    match last_verified(items, now) {
        None => Freshness::Missing,
        Some(last) if last.at > now => Freshness::Future,
        Some(last) => {
            let age = now.duration_since(last.at);
            match age <= max_age {
                true => Freshness::Fresh(age),
                false => Freshness::TooOld(age),
            }
        }
    }
}
