//! How the process ends: the only place that knows exit codes (`product.md` section 3).

use std::process::ExitCode;

use super::{signals, ui};
use crate::error::{Error, Kind};
use crate::snapshot::Sum;

/// How a run ended, short of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; the verdict, if there is one, is good.
    Done,
    /// The input is damaged, or its verdict is bad.
    Bad,
    /// There is no verified backup that is young enough.
    Late,
    /// What a monitoring system expects.
    Nagios(u8),
    /// An error of this kind has been told already.
    Told(Kind),
}

/// The codes, as help shows them.
pub const CODES: &[(u8, &str)] = &[
    (0, "done; the verdict is good"),
    (1, "failed: disk, permissions, anything that is not below"),
    (2, "wrong usage"),
    (3, "the input is damaged, or its verdict is bad"),
    (
        4,
        "refused, to protect data: the target exists, is in use, or has no room",
    ),
    (
        5,
        "the server could not be reached, stopped half way, or refused us",
    ),
    (6, "check: no verified backup, or too old"),
];

/// Ends the process as its outcome says; an error is told first. After a signal the process ends by
/// that signal (in a container, with the code that stands for it), so that a shell or a supervisor sees what happened.
pub fn with(outcome: Result<Exit, Error>) -> ExitCode {
    let exit = outcome.unwrap_or_else(|error| {
        if error.kind() == Kind::Interrupted {
            ui::interrupted(signals::name());
        } else {
            ui::error(&error);
        }
        Exit::Told(error.kind())
    });
    if exit == Exit::Told(Kind::Interrupted)
        && let Some(code) = signals::end_by_signal()
    {
        return ExitCode::from(code);
    }
    ExitCode::from(exit.code())
}

impl Exit {
    /// What a verdict means for the exit code.
    pub fn of(sum: Sum) -> Exit {
        match sum {
            Sum::Good => Exit::Done,
            Sum::Damaged | Sum::Unproven => Exit::Bad,
        }
    }

    /// The worse of two, for several inputs: a bad verdict is worth more than an input that could not
    /// be read, and that more than one that was refused.
    #[must_use]
    pub fn worse(self, other: Exit) -> Exit {
        let rank = |exit: Exit| match exit.code() {
            0 => 0,
            4 => 1,
            3 => 9,
            _ => 5,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Told(Kind::Failed | Kind::Interrupted) => 1,
            Exit::Told(Kind::Usage) => 2,
            Exit::Bad | Exit::Told(Kind::Damaged) => 3,
            Exit::Told(Kind::Refused) => 4,
            Exit::Told(Kind::Unreachable) => 5,
            Exit::Late => 6,
            Exit::Nagios(code) => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        let kinds = [
            Kind::Failed,
            Kind::Usage,
            Kind::Damaged,
            Kind::Refused,
            Kind::Unreachable,
        ];
        let codes: Vec<u8> = std::iter::once(Exit::Done)
            .chain(kinds.map(Exit::Told))
            .chain([Exit::Late])
            .map(Exit::code)
            .collect();
        let explained: Vec<u8> = CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, explained);
        assert_eq!(Exit::of(Sum::Unproven).code(), 3);
    }

    #[test]
    fn the_worst_of_several_counts() {
        let failed = Exit::Told(Kind::Failed);
        let refused = Exit::Told(Kind::Refused);
        for (one, other, worst) in [
            (Exit::Done, failed, failed),
            (failed, Exit::Bad, Exit::Bad),
            (Exit::Bad, failed, Exit::Bad),
            (refused, failed, failed),
            (refused, Exit::Done, refused),
        ] {
            assert_eq!(one.worse(other), worst);
        }
    }
}
