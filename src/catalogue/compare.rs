//! What is odd about a backup beside the one before it.
//!
//! An odd backup is kept and counts as proved: its bytes are whole. But somebody has to look, because it may
//! show a cluster that was wiped, restored from too old a snapshot, or exchanged for another one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::archive::Manifest;

/// What of a backup is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// Cluster id in hex, if the manifest says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Revision of the store.
    pub revision: i64,
    /// Keys that live at that revision.
    pub live_keys: u64,
}

impl Vitals {
    /// As the manifest has them.
    pub fn of(manifest: &Manifest) -> Vitals {
        Vitals {
            cluster_id: manifest.source.as_ref().map(|from| from.cluster_id.clone()),
            revision: manifest.etcd.revision,
            live_keys: manifest.etcd.live_keys,
        }
    }
}

/// One odd thing; its text has the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// A store's revision never falls: this is another store, or one restored from an older snapshot.
    RevisionFell {
        /// Of the backup before.
        from: i64,
        /// Of this one.
        to: i64,
    },
    /// The same endpoints lead to another cluster, or to one that was made anew.
    OtherCluster {
        /// Of the backup before.
        from: String,
        /// Of this one.
        to: String,
    },
    /// More than half of the keys are gone.
    KeysFell {
        /// Of the backup before.
        from: u64,
        /// Of this one.
        to: u64,
    },
    /// There is nothing in it.
    NoKeys,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suspicion::RevisionFell { from, to } => write!(
                f,
                "the revision went back from {from} to {to}: etcd was restored or made anew since the backup before"
            ),
            Suspicion::OtherCluster { from, to } => {
                write!(
                    f,
                    "the cluster id changed from {from} to {to}: this is another cluster, or it was made anew"
                )
            }
            Suspicion::KeysFell { from, to } => {
                write!(f, "live keys fell by more than half, from {from} to {to}")
            }
            Suspicion::NoKeys => f.write_str("there are no keys in it"),
        }
    }
}

/// Compares a backup with the proved one before it, if there is one; nothing odd gives nothing.
pub fn suspicious(before: Option<&Vitals>, new: &Vitals) -> Vec<Suspicion> {
    let mut found = Vec::new();
    if let Some(before) = before {
        // Only two ids that are known can differ.
        if let (Some(from), Some(to)) = (&before.cluster_id, &new.cluster_id)
            && from != to
        {
            let (from, to) = (from.clone(), to.clone());
            found.push(Suspicion::OtherCluster { from, to });
        }
        if new.revision < before.revision {
            let (from, to) = (before.revision, new.revision);
            found.push(Suspicion::RevisionFell { from, to });
        }
        // Strictly more than half, without rounding: 3 to 1 is, 4 to 2 is not.
        if new.live_keys > 0 && new.live_keys < before.live_keys - before.live_keys / 2 {
            let (from, to) = (before.live_keys, new.live_keys);
            found.push(Suspicion::KeysFell { from, to });
        }
    }
    if new.live_keys == 0 {
        found.push(Suspicion::NoKeys);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(cluster: &str, revision: i64, live_keys: u64) -> Vitals {
        let cluster_id = (!cluster.is_empty()).then(|| cluster.to_owned());
        Vitals {
            cluster_id,
            revision,
            live_keys,
        }
    }

    fn found(before: Vitals, new: Vitals) -> Vec<String> {
        let found = suspicious(Some(&before), &new);
        found.iter().map(Suspicion::to_string).collect()
    }

    #[test]
    fn what_grows_is_not_odd() {
        let none: [String; 0] = [];
        assert_eq!(found(vitals("a", 5, 100), vitals("a", 5, 100)), none);
        assert_eq!(found(vitals("a", 5, 100), vitals("a", 9, 50)), none);
        assert_eq!(found(vitals("a", 5, 101), vitals("", 9, 51)), none);
        assert_eq!(found(vitals("", 5, 0), vitals("b", 9, 1)), none);
        assert_eq!(suspicious(None, &vitals("a", 1, 1)), []);
    }

    #[test]
    fn what_is_odd_is_said_with_its_numbers() {
        let all = found(vitals("a", 900, 100), vitals("b", 7, 49)).join("; ");
        for part in ["from a to b", "from 900 to 7", "from 100 to 49"] {
            assert!(all.contains(part), "{part} is not in {all}");
        }
        let fell = found(vitals("a", 1, 101), vitals("a", 1, 50));
        assert_eq!(fell, ["live keys fell by more than half, from 101 to 50"]);
        assert_eq!(found(vitals("a", 1, u64::MAX), vitals("a", 1, 1)).len(), 1);
        assert_eq!(suspicious(None, &vitals("a", 1, 0)), [Suspicion::NoKeys]);
        assert_eq!(
            found(vitals("a", 1, 9), vitals("a", 1, 0)),
            ["there are no keys in it"]
        );
    }
}
