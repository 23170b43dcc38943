//! Where a file is to be made: what can be known of it before there is one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::claim::staged_name;
use super::dirs::parent_of;
use super::fault::{name_error, refuse_read_only};
use crate::error::{Error, Result};
use crate::shell;

/// Refuses a target that exists (dangling links included) unless `force`, one that is no file (a device, say,
/// or a link to a directory) in any case, one that no file can have as its name, and one on a read-only file system.
pub fn check_target(target: &Path, force: bool) -> Result<()> {
    let dir = parent_of(target);
    let above = std::fs::metadata(&dir).map_err(|e| {
        Error::io("write into", &dir, e)
            .hint(format!("make it first: mkdir -p {}", shell::path(&dir)))
    })?;
    if target.is_dir() {
        return Err(
            Error::refused(format!("{} is a directory", target.display()))
                .hint("name a file in it"),
        );
    }
    if !above.is_dir() {
        return Err(Error::refused(format!(
            "cannot make {}: {} is no directory",
            target.display(),
            dir.display()
        ))
        .hint("choose another place"));
    }
    refuse_slash(target)?;
    refuse_long(target, force)?;
    let special = |path: &Path| ["/dev", "/proc"].iter().any(|dir| path.starts_with(dir));
    match (target.symlink_metadata(), target.metadata()) {
        (Ok(_), Ok(found)) if !found.is_file() || special(target) => Err(Error::refused(format!(
            "{} is neither a file nor free to become one",
            target.display()
        ))
        .hint("for standard output say -")),
        (Ok(_), _) if !force => Err(name_error(target, Errno::EXIST)
            .hint("choose another name, or replace it in one step with --force")),
        _ => refuse_read_only(&dir),
    }
}

/// `Path` looks through it, the kernel does not.
fn refuse_slash(target: &Path) -> Result<()> {
    let typed = target.as_os_str().as_bytes();
    if !typed.ends_with(b"/") && !typed.ends_with(b"/.") {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} ends in a slash, as directories do, and there is no such directory",
        target.display()
    ))
    .hint(format!(
        "name a file: {0}, or mkdir {0} and name one in it",
        shell::path(target.components().as_path())
    )))
}

/// How long a name may be is for the file system to say. What replaces a file has a longer one for a moment.
fn refuse_long(target: &Path, force: bool) -> Result<()> {
    let too_long = |path: &Path| {
        let looked = path.symlink_metadata().err();
        looked.is_some_and(|e| Errno::from_io_error(&e) == Some(Errno::NAMETOOLONG))
    };
    let name = target.file_name().unwrap_or(OsStr::new(""));
    let temporary = target.with_file_name(staged_name(name));
    if too_long(target) || (force && too_long(&temporary)) {
        return Err(
            Error::refused(format!("{} is too long a name", target.display()))
                .hint("choose one of at most 200 bytes"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::staged::StagedFile;
    use super::*;

    #[test]
    fn a_name_that_no_file_can_get_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let longest = "n".repeat(255);
        for (name, force, wanted) in [
            ("new/", false, "ends in a slash"),
            ("new/.", false, "ends in a slash"),
            ("file/", true, "ends in a slash"),
            ("file/out.db", false, "file is no directory"),
            (&format!("{longest}n"), false, "is too long a name"),
            (&format!("{longest}/out.db"), false, "cannot write into"),
            // Nothing is replaced but by a file that has a name already.
            (&longest, true, "is too long a name"),
        ] {
            // Not `join`, which would take the slash away.
            let target = PathBuf::from(format!("{}/{name}", dir.path().display()));
            let error = check_target(&target, force).unwrap_err();
            let text = format!("{error} | {}", error.hint_text().unwrap_or("no hint"));
            assert!(text.contains(wanted), "{name}: {text}");
            assert!(!text.ends_with("no hint"), "{text}");
        }
        let target = dir.path().join(&longest);
        let staged = StagedFile::create(&target, false).unwrap();
        staged.commit().unwrap();
        assert!(target.exists());
    }
}
