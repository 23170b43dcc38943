//! A file that was proved, to standard output.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::observe::Observer;

/// The proved bytes, to standard output. Whoever reads there may stop and never go on: a thread of its own
/// writes, so that a signal need not wait for it.
pub fn send(file: &File, bytes: u64, stdout: &File, observer: &dyn Observer) -> Result<()> {
    const TICK: Duration = Duration::from_millis(100);
    observer.stage("writing", Some(bytes));
    let failed = |e| Error::failed("cannot write to standard output").because(e);
    let stdout = stdout.try_clone().map_err(failed)?;
    let file = file.try_clone().map_err(failed)?;
    let (done, progress) = mpsc::channel();
    let writer = std::thread::spawn(move || copy(file, stdout, &done));
    loop {
        observer.check()?;
        match progress.recv_timeout(TICK) {
            Ok(len) => observer.advance(len),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let written = writer
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    written.map_err(failed)
}

/// All of `from`, told in pieces.
fn copy(mut from: File, mut to: File, done: &mpsc::Sender<u64>) -> std::io::Result<()> {
    from.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..len).unwrap_or_default())?;
        // Nobody listens any more after a signal.
        let _ = done.send(len as u64);
    }
}
