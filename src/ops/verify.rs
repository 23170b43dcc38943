//! Verify: transport, structure and meaning of one input.

use crate::error::Result;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::snapshot::{self, Listeners, Options, Verdict, Verified};
use crate::source::Source;

/// Reads the whole input once. A bad verdict is a value; an error means that there is no verdict.
pub fn run(source: &Source, limits: &Limits, observer: &dyn Observer) -> Result<Verdict> {
    let candidate = source.open(limits, observer)?;
    let options = Options {
        raw: source.raw,
        digest: None,
    };
    snapshot::verify(candidate, options, limits, observer, Listeners::default())
        .map(Verified::into_verdict)
}
