//! Where the frames of an archive are and which bytes they give: from the manifest, from the seek
//! table, or found by their headers.

use super::frame::{Header, Headers};
use super::manifest::Frames;
use super::seek::Entry;
use crate::error::{Error, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::report::{Place, Report};

/// One data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its bytes in the file.
    pub compressed: u32,
    /// Where its piece starts in the snapshot.
    pub start: u64,
    /// Bytes of the piece.
    pub len: u32,
    /// CRC-32 of its bytes in the file, where a manifest has one.
    pub crc: Option<u32>,
}

/// All data frames, in order; their pieces lie one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub frames: Vec<Frame>,
    /// Bytes of the snapshot.
    pub size: u64,
    /// Where the data ends in the file.
    pub end: u64,
}

impl Table {
    /// As the manifest has it: it has been checked against itself.
    pub(super) fn from_manifest(frames: &Frames, size: u64) -> Result<Table> {
        let mut table = Table::default();
        for (compressed, crc) in &frames.list {
            let left = size.saturating_sub(table.size).min(frames.piece);
            let len = u32::try_from(left).map_err(|_| too_large())?;
            table.push(*compressed, len, Some(*crc))?;
        }
        if table.size != size {
            return Err(Error::damaged(format!(
                "the frames hold {} bytes, expected {size}",
                table.size
            )));
        }
        Ok(table)
    }

    /// As the seek table has it. `Ok(None)` when a frame is too large to be read at random.
    pub(super) fn from_seek_table(entries: &[Entry], limits: &Limits) -> Result<Option<Table>> {
        let mut table = Table::default();
        for entry in entries {
            if u64::from(entry.decompressed) > limits.frame {
                return Ok(None);
            }
            if entry.decompressed == 0 {
                table.end = table
                    .end
                    .checked_add(entry.compressed.into())
                    .ok_or_else(too_large)?;
            } else {
                table.push(entry.compressed, entry.decompressed, None)?;
            }
        }
        Ok(Some(table))
    }

    fn push(&mut self, compressed: u32, len: u32, crc: Option<u32>) -> Result<()> {
        self.frames.push(Frame {
            offset: self.end,
            compressed,
            start: self.size,
            len,
            crc,
        });
        self.end = self
            .end
            .checked_add(compressed.into())
            .ok_or_else(too_large)?;
        self.size = self.size.checked_add(len.into()).ok_or_else(too_large)?;
        Ok(())
    }

    /// The frame whose piece has the byte at `offset` of the snapshot.
    pub(super) fn find(&self, offset: u64) -> Option<usize> {
        let behind = self.frames.partition_point(|frame| frame.start <= offset);
        let index = behind.checked_sub(1)?;
        (offset < self.size).then_some(index)
    }
}

/// What walking over the headers found.
pub(super) enum Scanned {
    /// Frames with known sizes that are small enough.
    Frames(Table),
    /// It can only be read from front to back.
    Stream,
}

/// Finds the frames by their headers. A stretch that is no frame is a finding and taken for one piece
/// as large as the first, so that what is behind it keeps its place where pieces are equal.
pub(super) fn scan(image: &Image, limits: &Limits, report: &mut Report) -> Result<Scanned> {
    let mut headers = Headers::new(image);
    let mut table = Table::default();
    let mut usual = None;
    while table.end < image.len() {
        let at = table.end;
        let header = headers.header(at)?;
        let (mut content, mut why) = (None, String::new());
        match &header {
            Ok(Header::Data { content: None, .. }) => return Ok(Scanned::Stream),
            Ok(Header::Data {
                content: Some(len), ..
            }) if *len > limits.frame => {
                return Ok(Scanned::Stream);
            }
            Ok(Header::Data { content: len, .. }) => content = *len,
            Ok(Header::Skippable(_)) => content = Some(0),
            Err(what) => why.clone_from(what),
        }
        let mut end = None;
        if let Ok(header) = header {
            match headers.len(at, header)? {
                Ok(len) => end = at.checked_add(len),
                Err(what) => why = what,
            }
        }
        let sound = end.is_some();
        let end = match end {
            Some(end) => end,
            None => resync(&mut headers, at, limits)?.unwrap_or(image.len()),
        };
        if !sound {
            let bytes = end - at;
            report.error(
                Place::offset(at),
                format!("{bytes} bytes that are no whole frame: {why}"),
            );
        }
        let len = content.or(usual).unwrap_or(0);
        if len > 0 {
            let compressed = u32::try_from(end - at).unwrap_or(u32::MAX);
            let len = u32::try_from(len).map_err(|_| too_large())?;
            table.push(compressed, len, None)?;
            usual = usual.or(content);
        }
        table.end = end;
        if table.frames.len() > limits.frames {
            return Err(Error::damaged(format!(
                "more than {} frames",
                limits.frames
            )));
        }
    }
    Ok(Scanned::Frames(table))
}

/// Where the next sound frame begins behind `at`, unless finding it would take for ever.
pub(super) fn resync(headers: &mut Headers<'_>, at: u64, limits: &Limits) -> Result<Option<u64>> {
    let mut next = at.saturating_add(1);
    while !headers.are_a_maze()
        && let Some(found) = headers.next_magic(next)?
    {
        let plausible = match headers.header(found)? {
            Ok(
                header @ Header::Data {
                    content: Some(len), ..
                },
            ) if len <= limits.frame => Some(header),
            Ok(header @ Header::Skippable(_)) => Some(header),
            _ => None,
        };
        if let Some(header) = plausible
            && headers.len(found, header)?.is_ok()
        {
            return Ok(Some(found));
        }
        next = found + 1;
    }
    Ok(None)
}

fn too_large() -> Error {
    Error::damaged("the frames are larger than any file")
}
