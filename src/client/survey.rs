//! What a survey of the endpoints found: members, and in which order to ask them.

/// What one member said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The endpoint as it was typed, with its port.
    pub endpoint: String,
    /// Its place in [`super::ConnectOptions::endpoints`].
    pub index: usize,
    /// Member id.
    pub member_id: u64,
    /// Member name; `None` when the member list could not be had.
    pub name: Option<String>,
    /// Cluster id.
    pub cluster_id: u64,
    /// etcd's version, e.g. `3.7.1`.
    pub version: String,
    /// Id of the leader that it sees; 0 for none.
    pub leader: u64,
    /// Whether it is a learner.
    pub is_learner: bool,
    /// Current revision of its store.
    pub revision: i64,
    /// Raft term.
    pub raft_term: u64,
    /// Index of the last raft entry that it knows to be committed; 0 if it does not say.
    pub raft_index: u64,
    /// Index of the last raft entry that it has applied.
    pub raft_applied_index: u64,
    /// Size of its db file in bytes.
    pub db_size: u64,
    /// Bytes of it that are in use.
    pub db_size_in_use: u64,
    /// Bytes that it may have before the cluster refuses writes; `None` before 3.6, and without a limit.
    pub db_size_quota: Option<u64>,
    /// Alarms of the whole cluster as this member knows them.
    pub alarms: Vec<Alarm>,
    /// What else it complains of, e.g. `etcdserver: no leader`.
    pub complaints: Vec<String>,
}

/// An alarm that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The member it is about; 0 when it could not be found out.
    pub member_id: u64,
    /// `NOSPACE` or `CORRUPT`, or what a later version calls its own.
    pub name: String,
}

impl Member {
    /// Whether it is the leader.
    pub fn is_leader(&self) -> bool {
        self.leader != 0 && self.leader == self.member_id
    }

    /// The last raft entry that it has heard of.
    pub(super) fn committed(&self) -> u64 {
        self.raft_index.max(self.raft_applied_index)
    }

    /// How many raft entries up to this one it has not applied.
    pub(super) fn behind(&self, index: u64) -> u64 {
        index.saturating_sub(self.raft_applied_index)
    }

    /// `leader`, `follower`, …
    pub(super) fn role(&self) -> &'static str {
        match self {
            m if m.is_learner => "learner",
            m if m.is_leader() => "leader",
            m if m.leader == 0 => "sees no leader",
            _ => "follower",
        }
    }

    /// `10.0.0.1:2379 (etcd-1)`.
    pub(super) fn label(&self) -> String {
        match &self.name {
            Some(name) if !name.is_empty() => format!("{} ({name})", self.endpoint),
            _ => self.endpoint.clone(),
        }
    }
}

/// A member that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub member: Member,
    /// Why it is in this place: `follower, revision 308, 3 endpoints probed`.
    pub because: String,
}

/// An endpoint that will not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The endpoint as it was typed.
    pub endpoint: String,
    /// Why not.
    pub because: String,
}

/// The outcome of asking every endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Best first; at least one.
    pub candidates: Vec<Candidate>,
    /// The others, in the order in which they were typed.
    pub left_out: Vec<LeftOut>,
    /// What an operator should know, one sentence each; already given to the observer.
    pub notices: Vec<String>,
    /// The same, where data may be missing or wrong.
    pub warnings: Vec<String>,
}
