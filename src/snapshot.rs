//! Bytes that were found become a snapshot that was proved: the one place where trust is made.

use serde::Serialize;

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
    /// Not reached, because an earlier level left nothing to check.
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
#[derive(Debug)]
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
    pub report: crate::report::Report,
    /// What was learned; incomplete when the structure is damaged.
    pub facts: crate::etcd::facts::Facts,
}

/// The two ends of the transport check, as lower-case hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sha256s {
    /// What the trailer says.
    pub trailer: Option<String>,
    /// What the image has.
    pub computed: Option<String>,
}
