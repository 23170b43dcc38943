//! A stream made into a file without a name, so that it can be read at any offset.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::dirs::free_space;
use crate::error::{Error, Result};
use crate::observe::Observer;

/// Bytes of a stream that are judged before the rest is kept: both metas of a db with the largest pages.
const HEAD: usize = 128 << 10;

/// How much of a stream is kept, and what is said when there is more.
#[derive(Debug)]
pub struct Bound {
    /// Bytes.
    pub most: u64,
    /// The error for what comes beyond.
    pub beyond: Error,
}
/// What helps where a temporary file does not fit.
pub const MORE_ROOM: &str = "point TMPDIR at a directory with more room";

/// Copies everything from `reader` into an unnamed file in the first of `dirs` that takes one. `judge`
/// gets the first `HEAD` bytes, if there are that many, and says how much may come in all: an endless
/// stream must not fill a disk.
pub fn spool(
    reader: impl Read + AsFd,
    name: &str,
    dirs: &[PathBuf],
    observer: &dyn Observer,
    judge: impl Fn(&[u8]) -> Result<Option<Bound>>,
) -> Result<File> {
    let mut patient = Patient { reader, observer };
    keep(&mut patient, name, dirs, observer, judge)
}

/// As [`spool`], for a reader that never waits.
pub fn keep(
    reader: &mut dyn Read,
    name: &str,
    dirs: &[PathBuf],
    observer: &dyn Observer,
    judge: impl Fn(&[u8]) -> Result<Option<Bound>>,
) -> Result<File> {
    let (mut file, dir) = unnamed(dirs)?;
    observer.stage("reading", None);
    let mut buffer = vec![0; 256 << 10];
    let mut head = Vec::new();
    let (mut kept, mut bound) = (0_u64, None);
    loop {
        observer.check()?;
        let len = match reader.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(len) => len,
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                continue;
            }
            Err(e) => return Err(read_error(name, e)),
        };
        let piece = buffer.get(..len).unwrap_or_default();
        if head.len() < HEAD {
            head.extend(piece.iter().take(HEAD - head.len()));
            if head.len() == HEAD {
                bound = judge(&head)?;
            }
        }
        kept = kept.saturating_add(len as u64);
        if let Some(Bound { beyond, .. }) = bound.take_if(|bound| kept > bound.most) {
            return Err(beyond);
        }
        file.write_all(piece).map_err(|e| not_kept(name, &dir, e))?;
        observer.advance(len as u64);
    }
}

/// A temporary file that cannot be written.
pub fn not_kept(name: &str, dir: &Path, source: std::io::Error) -> Error {
    let what = format!(
        "cannot keep {name} in a temporary file in {}",
        dir.display()
    );
    Error::failed(what).because(source).hint(MORE_ROOM)
}

/// The same directories, those first that have room for so many bytes.
pub fn roomy_first(dirs: &[PathBuf], bytes: u64) -> Vec<PathBuf> {
    let mut dirs = dirs.to_vec();
    dirs.sort_by_key(|dir| !free_space(dir).is_ok_and(|free| free >= bytes));
    dirs
}

/// An [`Error`] inside comes out as it is: whoever made it knew more.
fn read_error(name: &str, error: std::io::Error) -> Error {
    let damage = match error.kind() {
        ErrorKind::InvalidData => "is damaged",
        ErrorKind::UnexpectedEof => "is cut: its compressed data has no end",
        ErrorKind::FileTooLarge => "gives more bytes than any snapshot of its size would",
        ErrorKind::Unsupported => {
            return Error::damaged(format!("cannot unpack {name}")).because(error);
        }
        _ => {
            return match error.downcast::<Error>() {
                Ok(inner) => inner,
                Err(error) => Error::failed(format!("cannot read {name}")).because(error),
            };
        }
    };
    Error::damaged(format!("{name} {damage}")).because(error)
}

/// Waits before it reads, so that a signal is heard.
struct Patient<'o, R> {
    reader: R,
    observer: &'o dyn Observer,
}

impl<R: Read + AsFd> Read for Patient<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        wait_until_readable(&self.reader, self.observer).map_err(std::io::Error::other)?;
        self.reader.read(buffer)
    }
}

/// Waits for bytes or the end of them, and looks up ten times a second: whoever writes into a pipe
/// may take their time, and a signal must not have to wait for them.
fn wait_until_readable(reader: impl AsFd, observer: &dyn Observer) -> Result<()> {
    const TICK: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    loop {
        observer.check()?;
        match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&TICK)) {
            Ok(0) | Err(Errno::INTR) => {}
            // What cannot be waited for can be read, or says why not.
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

/// A new file without a name, 0600, that is gone when it is closed; and the directory it is in.
pub fn unnamed(dirs: &[PathBuf]) -> Result<(File, PathBuf)> {
    for dir in dirs {
        if let Ok(file) = open_tmpfile(dir) {
            return Ok((file, dir.clone()));
        }
        let path = dir.join(format!(".etcd-rescue-spool-{}", std::process::id()));
        let created = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        if let Ok(file) = created
            && std::fs::remove_file(&path).is_ok()
        {
            return Ok((file, dir.clone()));
        }
    }
    let tried: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    Err(Error::failed(format!(
        "a temporary file is needed, and none can be made in {}",
        tried.join(", ")
    ))
    .hint("point TMPDIR at a writable directory, or give a file name instead of -"))
}

/// `O_TMPFILE`: a file without a name in `dir`.
pub fn open_tmpfile(dir: &Path) -> std::io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Unobserved;

    #[test]
    fn what_goes_in_comes_out_and_no_name_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [PathBuf::from("/nonexistent"), dir.path().to_owned()];
        let pipe = || {
            let (reader, mut writer) = std::io::pipe().unwrap();
            // The last one goes unread.
            std::thread::spawn(move || writer.write_all(&[5; 600_000]));
            reader
        };
        let file = spool(pipe(), "stdin", &dirs, &Unobserved, |_| Ok(None)).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 600_000);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let error = spool(pipe(), "stdin", &dirs[..1], &Unobserved, |_| Ok(None)).unwrap_err();
        assert!(error.to_string().contains("/nonexistent"));
    }

    #[test]
    fn a_stream_is_judged_by_its_head() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_owned()];
        let zero = || File::open("/dev/zero").unwrap();
        let judge = |head: &[u8]| match head.iter().all(|byte| *byte == 0) && head.len() == HEAD {
            true => Err(Error::damaged("zeros")),
            false => Ok(None),
        };
        let error = spool(zero(), "stdin", &dirs, &Unobserved, judge).unwrap_err();
        assert_eq!(error.to_string(), "zeros");
        let bounded = |_: &[u8]| {
            let (most, beyond) = (1 << 20, Error::damaged("longer than it says"));
            Ok(Some(Bound { most, beyond }))
        };
        let error = spool(zero(), "stdin", &dirs, &Unobserved, bounded).unwrap_err();
        assert_eq!(error.to_string(), "longer than it says");
        let megabyte = std::io::Read::take(zero(), 1 << 20);
        let file = keep(&mut { megabyte }, "stdin", &dirs, &Unobserved, bounded).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
