//! An archive that can be read: what it is, where its frames are, and one frame at a time.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use zstd::bulk::Decompressor;
use zstd::zstd_safe::{compress_bound, find_frame_compressed_size};

use super::cache::Cache;
use super::frame::{self, Header};
use super::manifest::{Frames, Manifest};
use super::open::{self, Found, SeekTable};
use super::stream::Unpacked;
use super::table::{self, Frame, Scanned, Table};
use crate::error::{Error, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::report::{Place, Report};

/// How an archive can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Made by this program: it has a manifest.
    Ours,
    /// zstd frames of others with known sizes, small enough to be read at any place.
    Frames,
    /// One large frame, or sizes that nobody knows: only from front to back.
    Stream,
}

/// An archive, open for reading. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub image: Image,
    pub layout: Layout,
    pub table: Table,
    /// Whether every byte of the file is known to be of a frame, or told among the findings.
    pub accounted: bool,
    /// How far frames are from where the manifest has them, if bytes were lost or added in between.
    shift: i64,
    manifest: Option<Found>,
    findings: Report,
    limits: Limits,
    loads: AtomicU64,
    /// The cache of the snapshot that was asked for last, while somebody has it.
    cache: Mutex<Weak<Cache>>,
}

impl Archive {
    /// Finds out what the file is, from its end and if need be from its headers; no frame is
    /// decompressed. What is broken and can be done without is among [`Archive::findings`].
    ///
    /// `Error::refused` for an archive of a newer format, `Error::damaged` for what is not zstd.
    pub fn open(image: Image, limits: &Limits) -> Result<Archive> {
        let mut findings = Report::new(limits.findings);
        let end = open::read(&image, limits, &mut findings)?;
        if let Some(found) = end.manifest {
            let table = Table::from_manifest(&found.manifest.frames, found.manifest.snapshot.size)?;
            let shift = compare(&table, &found, end.seek.as_ref(), &mut findings);
            let parts = (Layout::Ours, table, shift);
            // Manifest and seek table agree with each other and with the length of the file.
            let accounted = findings.total() == 0;
            return Ok(Archive::new(
                image,
                parts,
                accounted,
                Some(found),
                findings,
                limits,
            ));
        }
        let mut layout = Layout::Frames;
        let mut known = None;
        if let Some(SeekTable { entries, .. }) = &end.seek {
            known = Table::from_seek_table(entries, limits)?;
            if known.is_none() {
                layout = Layout::Stream;
            }
            if entries.last().is_some_and(|entry| entry.decompressed == 0) {
                let what = "no sound manifest in front of the seek table";
                findings.warning(Place::offset(image.len()), what);
            }
        } else {
            refuse_foreign(&image)?;
            match table::scan(&image, limits, &mut findings)? {
                Scanned::Frames(table) => known = Some(table),
                Scanned::Stream => layout = Layout::Stream,
            }
        }
        let table = known.unwrap_or_default();
        Ok(Archive::new(
            image,
            (layout, table, 0),
            end.seek.is_none(),
            None,
            findings,
            limits,
        ))
    }

    /// The frames that a [`super::Writer`] has written and nothing behind them: to read an archive
    /// back before its manifest is written. `size` is that of the snapshot.
    pub fn from_frames(
        image: Image,
        frames: &Frames,
        size: u64,
        limits: &Limits,
    ) -> Result<Archive> {
        let table = Table::from_manifest(frames, size)?;
        let findings = Report::new(limits.findings);
        Ok(Archive::new(
            image,
            (Layout::Ours, table, 0),
            true,
            None,
            findings,
            limits,
        ))
    }

    fn new(
        image: Image,
        (layout, table, shift): (Layout, Table, i64),
        accounted: bool,
        manifest: Option<Found>,
        findings: Report,
        limits: &Limits,
    ) -> Archive {
        Archive {
            inner: Arc::new(Inner {
                image,
                layout,
                table,
                accounted,
                shift,
                manifest,
                findings,
                limits: limits.clone(),
                loads: AtomicU64::new(0),
                cache: Mutex::default(),
            }),
        }
    }

    /// How it can be read.
    pub fn layout(&self) -> Layout {
        self.inner.layout
    }

    /// Its manifest.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.inner.manifest.as_ref().map(|found| &found.manifest)
    }

    /// Its name that renaming the file does not change: see [`super::manifest::id`].
    pub fn id(&self) -> Option<&str> {
        self.inner.manifest.as_ref().map(|found| found.id.as_str())
    }

    /// Bytes of the snapshot; `None` when only reading to the end tells.
    pub fn size(&self) -> Option<u64> {
        (self.inner.layout != Layout::Stream).then_some(self.inner.table.size)
    }

    /// Bytes of the file.
    pub fn compressed(&self) -> u64 {
        self.inner.image.len()
    }

    /// The file.
    pub fn image(&self) -> &Image {
        &self.inner.image
    }

    /// The data frames; empty when they are not known.
    pub fn frames(&self) -> &[Frame] {
        &self.inner.table.frames
    }

    /// How many times a frame was decompressed so far: many more than there are frames means that the
    /// snapshot is read in an order that its pages do not have.
    pub fn loads(&self) -> u64 {
        self.inner.loads.load(Ordering::Relaxed)
    }

    /// What opening it found.
    pub fn findings(&self) -> &Report {
        &self.inner.findings
    }

    /// The snapshot inside, readable at any place by any number of threads. A frame that fails is
    /// `Error::damaged` each time it is needed. `Error::failed` for a [`Layout::Stream`].
    pub fn snapshot(&self) -> Result<Image> {
        let name = self.inner.image.name();
        let Some(size) = self.size() else {
            return Err(Error::failed(format!(
                "{name} can only be read from front to back"
            )));
        };
        let cache = Arc::new(Cache::new(self.clone()));
        *self.cache_of_others() = Arc::downgrade(&cache);
        Ok(Image::from_reader(cache, name, size))
    }

    /// The cache through which somebody else reads the snapshot, if anybody does.
    pub(super) fn shared_cache(&self) -> Option<Arc<Cache>> {
        self.cache_of_others().upgrade()
    }

    fn cache_of_others(&self) -> MutexGuard<'_, Weak<Cache>> {
        let cache = self.inner.cache.lock();
        cache.unwrap_or_else(PoisonError::into_inner)
    }

    /// The snapshot inside, from front to back in one thread: for a [`Layout::Stream`].
    pub fn stream(&self) -> Result<impl Read + '_> {
        Unpacked::zstd(self.inner.image.reader(), &self.inner.limits)
    }

    /// Decompresses the frame at `index` into `plain`. `Error::damaged` names the frame, its place in
    /// the file and what of the snapshot it costs.
    pub(super) fn load(
        &self,
        index: usize,
        scratch: &mut Scratch,
        plain: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(frame) = self.inner.table.frames.get(index) else {
            return Err(Error::failed(format!(
                "there is no frame {index}; this is a bug"
            )));
        };
        self.inner.loads.fetch_add(1, Ordering::Relaxed);
        let Err(first) = self.inner.load_at(frame.offset, frame, scratch, plain)? else {
            return Ok(());
        };
        let shifted = frame.offset.checked_add_signed(self.inner.shift);
        if self.inner.shift != 0
            && let Some(offset) = shifted
            && self.inner.load_at(offset, frame, scratch, plain)?.is_ok()
        {
            return Ok(());
        }
        Err(Error::damaged(self.inner.loss(index, frame, &first)))
    }

    /// Pages of the bbolt file that have bytes in the frame; `None` when the page size is unknown.
    pub(super) fn pages(&self, frame: &Frame) -> Option<Range<u64>> {
        let page = u64::from(self.manifest()?.snapshot.page_size);
        let end = frame.start.saturating_add(frame.len.into());
        let first = frame.start.checked_div(page)?;
        Some(first..end.div_ceil(page))
    }
}

impl Inner {
    /// The frame as if it were at `offset`. The outer error is I/O, the inner one says what is wrong.
    fn load_at(
        &self,
        offset: u64,
        frame: &Frame,
        scratch: &mut Scratch,
        plain: &mut Vec<u8>,
    ) -> Result<std::result::Result<(), String>> {
        plain.clear();
        let longest = compress_bound(self.limits.frame as usize);
        let compressed = frame.compressed as usize;
        if compressed > longest {
            return Ok(Err(format!("no frame has more than {longest} bytes")));
        }
        let end = offset.saturating_add(frame.compressed.into());
        if end > self.image.len() {
            return Ok(Err(format!("the file ends at {}", self.image.len())));
        }
        scratch.compressed.resize(compressed, 0);
        self.image.read_at(offset, &mut scratch.compressed)?;
        let bytes = scratch.compressed.as_slice();
        if let Some(expected) = frame.crc {
            let found = crc32fast::hash(bytes);
            if found != expected {
                return Ok(Err(format!("CRC-32 {found:08x}, expected {expected:08x}")));
            }
        }
        Ok(decompress(bytes, frame, &mut scratch.context, plain))
    }

    /// What is told about a frame that fails.
    fn loss(&self, index: usize, frame: &Frame, why: &str) -> String {
        let end = frame.start.saturating_add(frame.len.into());
        let page_size = self
            .manifest
            .as_ref()
            .map(|found| found.manifest.snapshot.page_size);
        let pages = match page_size.map(u64::from) {
            Some(page) if page > 0 => {
                format!(", pages {} to {}", frame.start / page, (end - 1) / page)
            }
            _ => String::new(),
        };
        format!(
            "frame {index} at offset {} ({} bytes) is damaged: {why}; it costs bytes {} to {} of the snapshot{pages}",
            frame.offset,
            frame.compressed,
            frame.start,
            end - 1
        )
    }
}

/// One whole frame, never more than its entry says.
fn decompress(
    bytes: &[u8],
    frame: &Frame,
    context: &mut Decompressor<'static>,
    plain: &mut Vec<u8>,
) -> std::result::Result<(), String> {
    let expected = u64::from(frame.len);
    match frame::header(bytes)? {
        Header::Skippable(_) => return Err("it is a skippable frame".into()),
        Header::Data {
            content: Some(content),
            ..
        } if content != expected => {
            return Err(format!("it holds {content} bytes, expected {expected}"));
        }
        // Without a size in the header, the room for it is the bound.
        Header::Data { .. } => {}
    }
    match find_frame_compressed_size(bytes) {
        Ok(len) if len == bytes.len() => {}
        Ok(len) => return Err(format!("it ends after {len} bytes")),
        Err(code) => return Err(zstd::zstd_safe::get_error_name(code).into()),
    }
    plain.reserve_exact(frame.len as usize);
    let len = context
        .decompress_to_buffer(bytes, plain)
        .map_err(|e| e.to_string())?;
    if len as u64 != expected {
        return Err(format!("it gives {len} bytes, expected {expected}"));
    }
    Ok(())
}

/// What one thread needs to decompress frames, used for all of them.
pub(super) struct Scratch {
    context: Decompressor<'static>,
    compressed: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        let context =
            Decompressor::new().map_err(|e| Error::failed("cannot decompress").because(e))?;
        Ok(Scratch {
            context,
            compressed: Vec::new(),
        })
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// The manifest against the seek table and the file; how far the data's end is from where it should be.
fn compare(table: &Table, found: &Found, seek: Option<&SeekTable>, findings: &mut Report) -> i64 {
    let shift = i128::from(found.start) - i128::from(table.end);
    if shift != 0 {
        let what = format!(
            "the frames of the manifest end at {}, it begins at {}",
            table.end, found.start
        );
        findings.warning(Place::offset(found.start), what);
    }
    if let Some(seek) = seek {
        let of_manifest = table
            .frames
            .iter()
            .map(|frame| (frame.compressed, frame.len));
        let own = (u32::try_from(found.end - found.start).unwrap_or(0), 0);
        let expected = of_manifest.chain([own]);
        let of_seek = seek
            .entries
            .iter()
            .map(|entry| (entry.compressed, entry.decompressed));
        if seek.descriptor != 0 || !expected.eq(of_seek) {
            let what = "the seek table does not agree with the manifest";
            findings.warning(Place::offset(found.end), what);
        }
    }
    i64::try_from(shift).unwrap_or(0)
}

/// What is not zstd at all is told apart from what is broken.
fn refuse_foreign(image: &Image) -> Result<()> {
    let mut headers = frame::Headers::new(image);
    let first = headers.header(0)?;
    if let Err(why) = first
        && headers.next_magic(0)?.is_none()
    {
        return Err(Error::damaged(format!(
            "{} is not a zstd file: {why}",
            image.name()
        )));
    }
    Ok(())
}
