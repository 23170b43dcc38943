//! Pin and unpin: a backup that no rule may remove.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::archive::Archive;
use crate::catalogue::lock::DirLock;
use crate::catalogue::records::Catalogue;
use crate::error::{Error, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::observe::Observer;

/// Which backup.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its file.
    pub file: PathBuf,
    /// Pin it; otherwise unpin it.
    pub pin: bool,
    /// How long to wait for another run to end.
    pub lock_wait: Duration,
}

/// Records it in the catalogue of the file's directory.
pub fn run(request: &Request, limits: &Limits, observer: &dyn Observer) -> Result<()> {
    let path = &request.file;
    if !request.pin && path.symlink_metadata().is_err() {
        return forget_pin(request, observer);
    }
    let archive = Archive::open(Image::open(path)?, limits).map_err(|e| {
        e.within(path.display())
            .hint("pin takes an archive that backup made")
    })?;
    let Some(id) = archive.id() else {
        return Err(Error::refused(format!(
            "{} is not an archive of this program: it is never pruned",
            path.display()
        ))
        .hint("backup and save OUT.db.zst make such archives; pack makes one of a snapshot"));
    };
    let (lock, mut catalogue, now) = hold(request, observer)?;
    match request.pin {
        true => catalogue.entry(id).pin(now),
        false => catalogue.entry(id).unpin(now),
    }
    if let Some(problem) = catalogue.problem() {
        observer.warn(&problem);
    }
    catalogue.save(&lock, now)?;
    Ok(())
}

/// The archive is gone: what the catalogue has for its name is what was pinned.
fn forget_pin(request: &Request, observer: &dyn Observer) -> Result<()> {
    let path = &request.file;
    let (lock, mut catalogue, now) = hold(request, observer)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(id) = catalogue.named(&name).map(str::to_owned) else {
        return Err(Error::refused(format!(
            "{} is not there, and nothing is known of it",
            path.display()
        )));
    };
    catalogue.entry(&id).unpin(now);
    catalogue.save(&lock, now)?;
    Ok(())
}

/// The directory of the file, locked, and its catalogue.
fn hold(request: &Request, observer: &dyn Observer) -> Result<(DirLock, Catalogue, Timestamp)> {
    let path = &request.file;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let now = Timestamp::now();
    let verb = if request.pin { "pin" } else { "unpin" };
    let command = format!("{verb} {}", path.display());
    let lock = DirLock::hold(dir, command, now, request.lock_wait, observer)?;
    let catalogue = Catalogue::load(dir)?;
    Ok((lock, catalogue, now))
}
