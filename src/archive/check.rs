//! Reads through an archive from front to back, decompressing ahead on threads.

use std::ops::Range;

use super::cache::Cache;
use super::pool::{Pool, Work};
use super::read::{Archive, Layout, Scratch};
use super::stray;
use crate::error::{Error, Kind, Result};
use crate::io::pace::Reader;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::{Place, Report};

/// A frame that cannot be had, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the frame, from 0.
    pub frame: usize,
    /// Where it starts in the file.
    pub offset: u64,
    /// The bytes of the snapshot that are lost with it.
    pub bytes: Range<u64>,
    /// The pages that have bytes among them, where the manifest tells the page size.
    pub pages: Option<Range<u64>>,
    /// The whole story in one line.
    pub what: String,
}

/// What checking a container found.
#[derive(Debug)]
pub struct Checked {
    /// Everything that is wrong, the findings of opening it included.
    pub report: Report,
    /// The frames that failed, as many as findings are listed.
    pub damaged: Vec<Damage>,
    /// How many frames failed.
    pub frames_damaged: u64,
}

/// A piece of the snapshot, or the reason why it cannot be had.
pub type Piece<'p> = std::result::Result<&'p [u8], &'p Error>;

/// What goes to a worker and comes back.
struct Job {
    index: usize,
    plain: Vec<u8>,
}

type Loaded = (Job, Result<()>);

/// Gets the number of a frame with its piece.
type Numbered<'s> = dyn FnMut(usize, Result<&[u8]>) -> Result<()> + 's;

impl Archive {
    /// Gives every piece to `sink`, in order, with its offset in the snapshot. The first frame that
    /// fails ends it with its error, and so does an error of the sink. `threads` decompress ahead, two
    /// pieces each; with 0 or 1 the caller's does it. `Error::failed` for a [`Layout::Stream`].
    pub fn read_through(
        &self,
        threads: usize,
        observer: &dyn Observer,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.pieces(threads, observer, &mut |index, piece| {
            let start = self.frames().get(index).map_or(0, |frame| frame.start);
            sink(start, piece?)
        })
    }

    /// Checks every frame: its CRC-32, header and size, its content checksum; and that every byte of the
    /// file is accounted for: what is not of the archive is a warning, where no frame failed. `sink` gets every piece in order, or why it cannot be had, so that one
    /// pass serves the hash of what is inside too. Findings never end it.
    pub fn check_container(
        &self,
        threads: usize,
        limits: &Limits,
        observer: &dyn Observer,
        sink: &mut dyn FnMut(u64, Piece<'_>) -> Result<()>,
    ) -> Result<Checked> {
        let mut checked = Checked {
            report: self.findings().clone(),
            damaged: Vec::new(),
            frames_damaged: 0,
        };
        self.pieces(threads, observer, &mut |index, piece| {
            let Some(frame) = self.frames().get(index) else {
                return Ok(());
            };
            let error = match piece {
                Ok(plain) => return sink(frame.start, Ok(plain)),
                Err(error) if error.kind() == Kind::Damaged => error,
                Err(error) => return Err(error),
            };
            checked.frames_damaged += 1;
            checked
                .report
                .error(Place::offset(frame.offset), error.to_string());
            if checked.damaged.len() < limits.findings {
                checked.damaged.push(Damage {
                    frame: index,
                    offset: frame.offset,
                    bytes: frame.start..frame.start.saturating_add(frame.len.into()),
                    pages: self.pages(frame),
                    what: error.to_string(),
                });
            }
            sink(frame.start, Err(&error))
        })?;
        if checked.frames_damaged == 0 && !self.inner.accounted {
            let image = self.image();
            stray::find(image, self.frames(), limits, observer, &mut checked.report)?;
        }
        Ok(checked)
    }

    /// Every piece or its error, in order, in bounded memory.
    fn pieces(
        &self,
        threads: usize,
        observer: &dyn Observer,
        sink: &mut Numbered<'_>,
    ) -> Result<()> {
        if self.layout() == Layout::Stream {
            let name = self.image().name();
            return Err(Error::failed(format!(
                "the frames of {name} are not known: it can only be read from front to back"
            )));
        }
        if threads <= 1
            && let Some(cache) = self.shared_cache()
        {
            let passed = self.in_step(&cache, observer, sink);
            cache.done(Reader::Pass);
            return passed;
        }
        let mut pool = Pool::new(threads, || worker(self.clone()))?;
        let (mut next, mut spare) = (0, Vec::new());
        loop {
            while next < self.frames().len() && pool.under_way() < pool.capacity() {
                let plain = spare.pop().unwrap_or_default();
                pool.submit(Job { index: next, plain })?;
                next += 1;
            }
            observer.check()?;
            let Some((job, loaded)) = pool.take(true)? else {
                return Ok(());
            };
            let piece = loaded.map(|()| job.plain.as_slice());
            sink(job.index, piece)?;
            observer.advance(
                self.frames()
                    .get(job.index)
                    .map_or(0, |frame| frame.len.into()),
            );
            spare.push(job.plain);
        }
    }
}

impl Archive {
    /// Beside somebody who walks through the snapshot: each frame is decompressed once for both.
    fn in_step(
        &self,
        cache: &Cache,
        observer: &dyn Observer,
        sink: &mut Numbered<'_>,
    ) -> Result<()> {
        for (index, frame) in self.frames().iter().enumerate() {
            observer.check()?;
            match cache.step(Reader::Pass, index) {
                Ok(plain) => sink(index, Ok(&plain))?,
                Err(error) => sink(index, Err(error))?,
            }
            observer.advance(frame.len.into());
        }
        Ok(())
    }
}

/// Decompresses frames in a context of its own.
fn worker(archive: Archive) -> Result<Work<Job, Loaded>> {
    let mut scratch = Scratch::new()?;
    Ok(Box::new(move |mut job| {
        let loaded = archive.load(job.index, &mut scratch, &mut job.plain);
        (job, loaded)
    }))
}
