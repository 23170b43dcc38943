//! The one error type: whose fault it is, what happened, and the next thing to type.
//!
//! Every message reads on its own: place, what was found, what was expected. [`Error::kind`] decides
//! the exit code and nothing else; the text decides what a person does next.

use std::fmt;
use std::path::Path;

/// Shorthand used all over the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Whose fault an error is; `cli` turns it into the exit code of `product.md` section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that is none of the others: I/O, this machine, our bug. Exit 1.
    Failed,
    /// The command line makes no sense. Exit 2.
    Usage,
    /// The input is damaged, or its verdict is bad. Exit 3.
    Damaged,
    /// Going on would put data at risk. Exit 4.
    Refused,
    /// The server could not be reached, stopped half way, or refused us. Exit 5.
    Unreachable,
    /// A signal asked us to stop; the process ends by that signal.
    Interrupted,
}

/// What went wrong, in the words an operator reads.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    what: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            what: what.into(),
            hint: None,
            source: None,
        }))
    }

    /// See [`Kind::Failed`].
    pub fn failed(what: impl Into<String>) -> Error {
        Error::new(Kind::Failed, what)
    }

    /// See [`Kind::Usage`].
    pub fn usage(what: impl Into<String>) -> Error {
        Error::new(Kind::Usage, what)
    }

    /// See [`Kind::Damaged`].
    pub fn damaged(what: impl Into<String>) -> Error {
        Error::new(Kind::Damaged, what)
    }

    /// See [`Kind::Refused`].
    pub fn refused(what: impl Into<String>) -> Error {
        Error::new(Kind::Refused, what)
    }

    /// See [`Kind::Unreachable`].
    pub fn unreachable(what: impl Into<String>) -> Error {
        Error::new(Kind::Unreachable, what)
    }

    /// See [`Kind::Interrupted`].
    pub fn interrupted() -> Error {
        Error::new(Kind::Interrupted, "interrupted")
    }

    /// An operating-system error while doing `what` to `path`: `cannot open /x: No such file …`.
    pub fn io(what: &str, path: &Path, source: std::io::Error) -> Error {
        let denied = source.kind() == std::io::ErrorKind::PermissionDenied;
        let error = Error::failed(format!("cannot {what} {}", path.display())).because(source);
        match denied {
            true => error.hint("run it as root, or as a user who may do that"),
            false => error,
        }
    }

    /// The next thing to type or to look at.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// The cause underneath; shown after the message, each cause once.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The same error seen from further out: `context: what`.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Error {
        self.0.what = format!("{context}: {}", self.0.what);
        self
    }

    /// The same error, blamed on something else.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Error {
        self.0.kind = kind;
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The innermost operating-system error, if one is in the chain.
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        self.io_source().map(std::io::Error::kind)
    }

    /// The system's own error among the causes, if there is one.
    pub fn io_source(&self) -> Option<&std::io::Error> {
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                return Some(io);
            }
            next = cause.source();
        }
        None
    }
}

impl fmt::Display for Error {
    /// The message and its causes on one line; a cause whose text is already there is not repeated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.what.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            next = cause.source();
        }
        f.write_str(&text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_is_told_who_may() {
        let hint = |kind: std::io::ErrorKind| {
            let error = Error::io("open", Path::new("/x"), kind.into());
            error.hint_text().map(str::to_string)
        };
        let denied = hint(std::io::ErrorKind::PermissionDenied).unwrap();
        assert!(denied.starts_with("run it as root"), "{denied}");
        assert_eq!(hint(std::io::ErrorKind::NotFound), None);
    }

    #[test]
    fn a_cause_is_shown_once() {
        let inner = std::io::Error::other("disk on fire");
        let error = Error::io("read", Path::new("/x"), inner);
        assert_eq!(error.to_string(), "cannot read /x: disk on fire");
        let outer = Error::failed("page 3: disk on fire").because(error);
        assert_eq!(
            outer.to_string(),
            "page 3: disk on fire: cannot read /x: disk on fire"
        );
        assert_eq!(outer.io_kind(), Some(std::io::ErrorKind::Other));
    }
}
