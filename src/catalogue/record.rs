//! What is known of one archive; [`super::records`] keeps these.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::compare::Vitals;

/// What is known of one archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number among the backups that were made here: later ones have higher ones, whatever the clock says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u64>,
    /// The name that it was given, or was last found under: of several copies this one is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What the next backup is compared with, also when nothing is left of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Vitals>,
    /// The last time it was read from the disk and found whole and good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// What was odd beside the backup before it; nothing if nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspicious: Vec<String>,
    /// When a person said that what was odd is fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Timestamp>,
    /// When a person pinned it; nothing if it is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Timestamp>,
    /// When it was last found damaged, unless it was found whole since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<Damaged>,
    /// When retention removed it; what is left of it are copies that somebody else made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
    /// When a person was told that it is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Timestamp>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// That it was found whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub how: How,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What proved an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The run that made it, reading it back from the disk.
    Backup,
    /// `check --full` or `check --sample`.
    Check,
    /// Something of another version.
    #[serde(untagged)]
    Other(String),
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            How::Backup => "backup",
            How::Check => "check",
            How::Other(other) => other,
        })
    }
}

/// That it was found damaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Damaged {
    /// When.
    pub at: Timestamp,
    /// What was wrong, in words.
    pub what: String,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Record {
    /// It was read from the disk and is good: an earlier damage was the disk's mood.
    pub fn found_good(&mut self, at: Timestamp, how: How) {
        let extra = Map::new();
        self.verified = Some(Verified { at, how, extra });
        self.damaged = None;
    }

    /// It was read from the disk and is not good.
    pub fn found_damaged(&mut self, at: Timestamp, what: impl Into<String>) {
        let (what, extra) = (what.into(), Map::new());
        self.damaged = Some(Damaged { at, what, extra });
    }

    /// `pin`
    pub fn pin(&mut self, at: Timestamp) {
        self.pinned.get_or_insert(at);
    }

    /// `unpin`: the rules decide about it again, also if it was kept because it is suspicious.
    pub fn unpin(&mut self, at: Timestamp) {
        self.pinned = None;
        if !self.suspicious.is_empty() {
            self.accepted.get_or_insert(at);
        }
    }

    /// Where it was found. Among several names the one that is known stays ours.
    pub fn found_as(&mut self, names: &[String]) {
        self.missed = None;
        if let [only] = names {
            self.file = Some(only.clone());
        }
    }

    /// What a broken catalogue's predecessor is still good for.
    pub(super) fn without_proof(mut self) -> Record {
        self.verified = None;
        self
    }

    /// Something is odd about it, and nobody has said that it is fine.
    pub fn is_suspicious(&self) -> bool {
        !self.suspicious.is_empty() && self.accepted.is_none()
    }
}
