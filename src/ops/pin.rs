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
    let archive = Archive::open(Image::open(path)?, limits)?;
    let Some(id) = archive.id() else {
        return Err(Error::refused(format!(
            "{} is not an archive of this program: it is never pruned",
            path.display()
        )));
    };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let now = Timestamp::now();
    let verb = if request.pin { "pin" } else { "unpin" };
    let command = format!("{verb} {}", path.display());
    let lock = DirLock::hold(dir, command, now, request.lock_wait, observer)?;
    let mut catalogue = Catalogue::load(dir)?;
    match request.pin {
        true => catalogue.entry(id).pin(now),
        false => catalogue.entry(id).unpin(now),
    }
    catalogue.save(&lock, now)?;
    Ok(())
}
