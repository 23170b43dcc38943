//! What a file system refuses, in the words of an operator.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

use super::dirs::nearest;
use crate::error::{Error, Kind, Result};

/// Errors of writing: a full disk is named as one.
pub fn write_error(path: &Path, source: std::io::Error) -> Error {
    explain("write", path, source)
}

/// Errors of making files and directories: a read-only file system is named as one.
pub fn create_error(path: &Path, source: std::io::Error) -> Error {
    let kind = source.kind();
    let error = explain("create", path, source);
    match kind {
        ErrorKind::PermissionDenied => error.hint("run it as root, or choose another place"),
        _ => error,
    }
}

/// An [`Error`] inside comes out as it is: whoever made it knew more.
fn explain(what: &str, path: &Path, source: std::io::Error) -> Error {
    let source = match source.downcast::<Error>() {
        Ok(inner) => return inner,
        Err(source) => source,
    };
    let kind = source.kind();
    let error = Error::io(what, path, source);
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => error.hint(
            "the disk is full; nothing was left behind: free some space, or choose another place",
        ),
        ErrorKind::ReadOnlyFilesystem => error
            .with_kind(Kind::Refused)
            .hint("the file system is mounted read-only; remount it, or choose another place"),
        _ => error,
    }
}

/// Errors of naming what is finished: a name that is taken is refused.
pub fn name_error(target: &Path, source: Errno) -> Error {
    match source {
        Errno::EXIST | Errno::NOTEMPTY => {
            Error::refused(format!("{} exists already", target.display()))
                .hint("choose another name, or move it away first")
        }
        other => explain("give the finished file the name", target, other.into()),
    }
}

/// Refuses early what could only fail later. `dir` is a directory, or a path that nothing has yet.
pub fn refuse_read_only(dir: &Path) -> Result<()> {
    let existing = nearest(dir);
    match rustix::fs::statvfs(existing) {
        Ok(stat) if stat.f_flag.contains(StatVfsMountFlags::RDONLY) => {
            Err(create_error(dir, ErrorKind::ReadOnlyFilesystem.into()))
        }
        _ => Ok(()),
    }
}
