//! What becomes of a backup, and why.

use std::fmt;

use super::item::Item;
use super::policy::Rule;
use super::within::Within;

/// Why a backup stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No keep rule was given.
    NoRule,
    /// A rule that counts; `oldest` if only because it is the oldest of all, and the rule had some left.
    Rule {
        /// Which one.
        rule: Rule,
        /// It is the second one of its bucket.
        oldest: bool,
    },
    /// `--keep-within`
    Within(Within),
    /// `pin`
    Pinned,
    /// Odd beside the one before it.
    Suspicious,
    /// The last one before a suspicious one, whose id this is.
    BeforeSuspicious(String),
    /// Made by `save` or `pack`, or by something else.
    NotByBackup,
    /// Nothing says that it was proved.
    NotVerified,
    /// A check found it damaged.
    Damaged,
    /// Its date is in the future.
    Future,
    /// The newest one that is proved.
    LastVerified,
    /// The last one that was made here, whatever its date says.
    LastMade,
    /// Of the same cluster as the newest one, with a higher revision than any other.
    HighestRevision,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoRule => f.write_str("no keep rule given"),
            Reason::Rule { rule, oldest: true } => write!(f, "oldest {rule}"),
            Reason::Rule { rule, .. } => rule.fmt(f),
            Reason::Within(span) => write!(f, "within {span}"),
            Reason::Pinned => f.write_str("pinned"),
            Reason::Suspicious => f.write_str("suspicious"),
            Reason::BeforeSuspicious(id) => write!(f, "last before suspicious {}", short(id)),
            Reason::NotByBackup => f.write_str("not made by backup"),
            Reason::NotVerified => f.write_str("not verified"),
            Reason::Damaged => f.write_str("damaged"),
            Reason::Future => f.write_str("dated in the future"),
            Reason::LastVerified => f.write_str("last verified"),
            Reason::LastMade => f.write_str("last made"),
            Reason::HighestRevision => f.write_str("highest revision"),
        }
    }
}

/// The first eight characters of an id: enough to tell the backups of one directory apart.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What becomes of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays; at least one reason.
    Kept(Vec<Reason>),
    /// No rule keeps it.
    Expired,
    /// The rules keep it, but `--max-size` has no room for it.
    OverSize,
}

impl Fate {
    /// It stays.
    pub fn is_kept(&self) -> bool {
        matches!(self, Fate::Kept(_))
    }
}

/// One backup and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The backup.
    pub item: Item,
    /// What becomes of it.
    pub fate: Fate,
}

/// What a policy makes of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Newest first; of the same date, what was made later first.
    pub decisions: Vec<Decision>,
    /// Bytes by which the proved backups that stay are more than `--max-size`.
    pub over: u64,
}

impl Plan {
    /// What is to be removed, oldest first: a run that is interrupted has removed what is worth least.
    pub fn removed(&self) -> impl Iterator<Item = &Decision> {
        let newest_last = self.decisions.iter().rev();
        newest_last.filter(|decision| !decision.fate.is_kept())
    }
}
