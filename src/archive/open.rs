//! Finds the seek table and the manifest from the end of the file.

use super::frame::{Header, Headers};
use super::manifest::{self, Manifest};
use super::seek::{self, Entry, Footer};
use crate::error::{Error, Kind, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::report::{Place, Report};

/// Bytes searched at once for a manifest.
const WINDOW: u64 = 256 << 10;

/// What stands at the end of a file.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The seek table.
    pub seek: Option<SeekTable>,
    /// The manifest.
    pub manifest: Option<Found>,
}

/// A seek table that was found.
#[derive(Debug)]
pub(super) struct SeekTable {
    pub entries: Vec<Entry>,
    /// See [`Footer::descriptor`].
    pub descriptor: u8,
    /// Where its frame starts.
    pub start: u64,
}

/// A manifest that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub manifest: Manifest,
    pub id: String,
    /// Where its frame starts, and where it ends.
    pub start: u64,
    pub end: u64,
}

/// Reads the end. What is broken is a warning: the data can be read without it. `Error::refused` for a
/// manifest of a newer format.
pub(super) fn read(image: &Image, limits: &Limits, report: &mut Report) -> Result<End> {
    let mut end = End::default();
    let broken = match seek_table(image, limits) {
        Ok(Some(seek)) => {
            end.manifest = manifest_ending_at(image, seek.start, limits, report)?;
            end.seek = Some(seek);
            return Ok(end);
        }
        Ok(None) => None,
        Err(error) if error.kind() == Kind::Damaged => Some(error),
        Err(error) => return Err(error),
    };
    let mut headers = Headers::new(image);
    let first = headers.header(0)?;
    // Our first frame says how large its piece is, and is small enough; a broken one says nothing.
    let foreign = matches!(first, Ok(Header::Data { content, .. }) if content.is_none_or(|len| len > limits.frame));
    // What stands in a frame as it is may be an archive, with an end of its own.
    let behind = match first {
        Ok(header @ Header::Data { .. }) if !foreign || broken.is_some() => {
            headers.len(0, header)?.unwrap_or(0)
        }
        _ => 0,
    };
    if behind >= image.len() {
        return Ok(end);
    }
    if let Some(error) = broken {
        report.warning(Place::offset(image.len()), error.to_string());
    }
    if foreign {
        return Ok(end);
    }
    // The seek table is cut off or broken: what can stand behind the manifest is no longer than a table.
    let longest = 12 * limits.frames as u64 + WINDOW;
    let lowest = image.len().saturating_sub(longest).max(behind);
    let mut high = image.len();
    while let Some(at) = last_tag(image, lowest, high)? {
        end.manifest = manifest_ending_at(image, at, limits, report)?;
        if end.manifest.is_some() {
            if report.total() == 0 {
                report.warning(Place::offset(at), "no sound seek table behind the manifest");
            }
            return Ok(end);
        }
        high = at.saturating_sub(1);
    }
    Ok(end)
}

fn seek_table(image: &Image, limits: &Limits) -> Result<Option<SeekTable>> {
    let Some(at) = image.len().checked_sub(seek::FOOTER as u64) else {
        return Ok(None);
    };
    let mut footer = [0; seek::FOOTER];
    image.read_at(at, &mut footer)?;
    let Some(footer) = Footer::decode(&footer, limits)? else {
        return Ok(None);
    };
    let Some(start) = image.len().checked_sub(footer.frame_len()) else {
        return Err(Error::damaged(format!(
            "the seek table has {} entries, more than the file is long",
            footer.entries
        )));
    };
    // At most `limits.frames` entries, and not more than the file.
    let mut frame = vec![0; footer.frame_len() as usize];
    image.read_at(start, &mut frame)?;
    let entries = seek::decode(&frame, footer)?;
    let covered: u64 = entries
        .iter()
        .map(|entry| u64::from(entry.compressed))
        .sum();
    if covered != start {
        return Err(Error::damaged(format!(
            "the frames of the seek table have {covered} bytes, {start} are in front of it"
        )));
    }
    Ok(Some(SeekTable {
        entries,
        descriptor: footer.descriptor,
        start,
    }))
}

/// The manifest whose frame ends at `end`. What is wrong with it is a warning.
fn manifest_ending_at(
    image: &Image,
    end: u64,
    limits: &Limits,
    report: &mut Report,
) -> Result<Option<Found>> {
    match decode_at(image, end, limits) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == Kind::Damaged => {
            report.warning(Place::offset(end), error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn decode_at(image: &Image, end: u64, limits: &Limits) -> Result<Option<Found>> {
    let Some(at) = end.checked_sub(manifest::TRAILER as u64) else {
        return Ok(None);
    };
    let mut trailer = [0; manifest::TRAILER];
    image.read_at(at, &mut trailer)?;
    let Some(json_len) = manifest::json_len(&trailer)? else {
        return Ok(None);
    };
    let len = json_len + manifest::TRAILER + seek::HEADER;
    let start = end.checked_sub(len as u64);
    let (Some(start), true) = (start, json_len <= limits.manifest) else {
        return Err(Error::damaged(format!(
            "the manifest says that it has {json_len} bytes"
        )));
    };
    let mut frame = vec![0; len];
    image.read_at(start, &mut frame)?;
    let Some(json) = manifest::find(&frame)? else {
        return Ok(None);
    };
    Ok(Some(Found {
        manifest: Manifest::decode(json, limits)?,
        id: manifest::id(json),
        start,
        end,
    }))
}

/// Where the last manifest's tag that ends between `low` and `high` ends.
fn last_tag(image: &Image, low: u64, high: u64) -> Result<Option<u64>> {
    let tag = manifest::TAG.len();
    let mut end = high;
    let mut window = Vec::new();
    while end > low {
        let start = end.saturating_sub(WINDOW).max(low);
        window.resize((end - start) as usize, 0);
        image.read_at(start, &mut window)?;
        if let Some(at) = window
            .windows(tag)
            .rposition(|eight| eight == manifest::TAG)
        {
            return Ok(Some(start + (at + tag) as u64));
        }
        if start == low {
            break;
        }
        // The next window overlaps this one by what a tag across their border needs.
        end = start + tag as u64 - 1;
    }
    Ok(None)
}
