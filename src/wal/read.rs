//! Reads a log from its first segment to its end, and tells a clean end, a torn tail and damage apart.
//!
//! Rules [etcd v3.7.1 server/storage/wal/wal.go ReadAll, decoder.go, repair.go]. We are stricter than upstream
//! in what the checksum does not cover: padding bits, record types, and the order of records.

use super::log::{Corruption, End, Event, Log, Place, Segment, Tear};
use super::record::{Frame, HEADER, running_crc};
use super::window::{WINDOW, Window};
use crate::bytes;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::proto::raft::{ENTRY_CONF_CHANGE_V2, ENTRY_NORMAL, Entry, HardState};
use crate::proto::walpb::{self, Metadata, Record, Snapshot};
use crate::proto::wire::{self, Malformed};

/// Bytes between which a torn write is told from damage: the disk's smallest unit of writing.
const SECTOR: u64 = 512;

/// Most bytes of a metadata record; real ones have at most 22.
const METADATA_BYTES: usize = 1024;

/// Reads the segments, which must be in order, and shows `visit` every record.
///
/// `Err` only for what `visit` returns and for reads that the system fails; what the log itself has wrong
/// with it is in [`Log::end`]. Memory is bounded by the longest record and [`Limits::wal_record`].
pub fn read(
    segments: &[Segment<'_>],
    limits: &Limits,
    visit: &mut dyn FnMut(Place, Event<'_>) -> Result<()>,
) -> Result<Log> {
    read_windowed(segments, limits, WINDOW, visit)
}

/// [`read`] with a window of any size, to show that it does not matter.
pub(crate) fn read_windowed(
    segments: &[Segment<'_>],
    limits: &Limits,
    window: usize,
    visit: &mut dyn FnMut(Place, Event<'_>) -> Result<()>,
) -> Result<Log> {
    let mut reader = Reader::new(limits, visit);
    for (number, segment) in segments.iter().enumerate() {
        let last = number + 1 == segments.len();
        if let Err(stop) = reader.segment(segment, last, window) {
            return reader.stopped(stop);
        }
    }
    if segments.is_empty() {
        let stop = reader.corrupt("there is no segment");
        return reader.stopped(stop);
    }
    Ok(reader.finish(End::Clean))
}

/// A step that may be the last.
type Step<T> = std::result::Result<T, Stop>;

/// Why reading stopped short.
enum Stop {
    Ended(End),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

struct Reader<'v> {
    limits: &'v Limits,
    visit: &'v mut dyn FnMut(Place, Event<'_>) -> Result<()>,
    log: Log,
    /// Running checksum; none before the first crc record.
    crc: Option<u32>,
    /// The metadata record's bytes.
    metadata: Option<Vec<u8>>,
    /// Records in this segment.
    here: u64,
}

impl<'v> Reader<'v> {
    fn new(
        limits: &'v Limits,
        visit: &'v mut dyn FnMut(Place, Event<'_>) -> Result<()>,
    ) -> Reader<'v> {
        Reader {
            limits,
            visit,
            log: Log {
                metadata: None,
                state: HardState::default(),
                last_index: None,
                records: 0,
                good_until: Place { seq: 0, offset: 0 },
                end: End::Clean,
            },
            crc: None,
            metadata: None,
            here: 0,
        }
    }

    fn finish(self, end: End) -> Log {
        Log { end, ..self.log }
    }

    fn stopped(self, stop: Stop) -> Result<Log> {
        match stop {
            Stop::Ended(end) => Ok(self.finish(end)),
            Stop::Failed(error) => Err(error),
        }
    }

    fn corrupt(&self, what: impl Into<String>) -> Stop {
        Stop::Ended(End::Corrupt(Corruption {
            place: self.log.good_until,
            what: what.into(),
        }))
    }

    /// A tear in the last segment, damage in any other.
    fn torn(&self, last: bool, tear: Tear) -> Stop {
        match last {
            true => Stop::Ended(End::Torn(tear)),
            false => self.corrupt(format!("{tear}, and another segment follows")),
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, last: bool, window: usize) -> Step<()> {
        let begun = self.crc.is_some();
        let expected = self.log.good_until.seq.wrapping_add(1);
        self.log.good_until = Place {
            seq: segment.seq,
            offset: 0,
        };
        if begun && segment.seq != expected {
            return Err(self.corrupt(format!(
                "segment {:016x} follows, expected {expected:016x}",
                segment.seq
            )));
        }
        if segment.seq == 0 {
            self.log.last_index = Some(0);
        }
        self.here = 0;
        let mut window = Window::new(segment.image, window);
        while let Some(frame) = self.frame(&mut window, segment.image.len(), last)? {
            let offset = self.log.good_until.offset;
            let body = self.body(frame)?;
            let bytes = window.bytes(offset + HEADER as u64, body)?;
            self.record(bytes, frame, last)?;
            self.log.good_until.offset = offset + HEADER as u64 + body as u64;
            self.log.records += 1;
            self.here += 1;
        }
        match self.here {
            0 | 1 => Err(self.corrupt("the segment ends before its metadata")),
            _ => Ok(()),
        }
    }

    /// The frame at the current offset, or none at the end of the segment.
    fn frame(&mut self, window: &mut Window<'_>, len: u64, last: bool) -> Step<Option<Frame>> {
        let at = self.log.good_until.offset;
        let left = len.saturating_sub(at);
        if left == 0 {
            return Ok(None);
        }
        if left < HEADER as u64 {
            return Err(self.torn(last, Tear::Header { left }));
        }
        let field = bytes::u64_le(window.bytes(at, HEADER)?, 0).unwrap_or_default();
        if field == 0 {
            return match window.first_nonzero(at)? {
                Some(data_at) => Err(self.torn(last, Tear::Gap { data_at })),
                None => Ok(None),
            };
        }
        let frame = Frame::parse(field).map_err(|expected| {
            self.corrupt(format!(
                "length field {field:016x}, expected {expected:016x}"
            ))
        })?;
        let left = left - HEADER as u64;
        match frame.body() > left {
            true => Err(self.torn(
                last,
                Tear::Body {
                    wanted: frame.body(),
                    left,
                },
            )),
            false => Ok(Some(frame)),
        }
    }

    /// Bytes of record and padding, if they are within the limit.
    fn body(&self, frame: Frame) -> Step<usize> {
        let limit = self.limits.wal_record;
        match usize::try_from(frame.body()) {
            Ok(body) if body <= limit => Ok(body),
            _ => Err(self.corrupt(format!(
                "a record of {} bytes, expected at most {limit}",
                frame.len
            ))),
        }
    }

    fn record(&mut self, body: &[u8], frame: Frame, last: bool) -> Step<()> {
        let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
        let bytes = bytes::slice(body, 0, len).unwrap_or_default();
        let offset = self.log.good_until.offset + HEADER as u64;
        let bad = |what: String| match last && has_zero_sector(body, offset) {
            true => Stop::Ended(End::Torn(Tear::Zeros)),
            false => self.corrupt(what),
        };
        let record = Record::decode(bytes).map_err(|malformed| bad(malformed.to_string()))?;
        let crc = match (self.crc, record.record_type) {
            (None, walpb::CRC) => record.crc,
            (Some(running), _) => running_crc(running, record.data),
            (None, found) => {
                return Err(bad(format!(
                    "the first record has type {found}, expected {} (crc)",
                    walpb::CRC
                )));
            }
        };
        if record.crc != crc {
            return Err(bad(format!(
                "record of type {} has CRC {:08x}, expected {crc:08x}",
                record.record_type, record.crc
            )));
        }
        if record.encoded_len() != bytes.len() {
            return Err(self.corrupt("a record has more in it than type, crc and data"));
        }
        self.crc = Some(crc);
        self.checked(record)
    }

    /// A record that is what was written: now what it says.
    fn checked(&mut self, record: Record<'_>) -> Step<()> {
        let expected = match self.here {
            0 => Some((walpb::CRC, "crc")),
            1 => Some((walpb::METADATA, "metadata")),
            _ => None,
        };
        if let Some((expected, name)) = expected
            && record.record_type != expected
        {
            return Err(self.corrupt(format!(
                "record {} of the segment has type {}, expected {expected} ({name})",
                self.here + 1,
                record.record_type
            )));
        }
        if record.record_type == walpb::CRC {
            return match record.data {
                None => Ok(()),
                Some(_) => Err(self.corrupt("a crc record with data")),
            };
        }
        let data = record.data.ok_or_else(|| {
            self.corrupt(format!(
                "a record of type {} without data",
                record.record_type
            ))
        })?;
        let place = self.log.good_until;
        let event = self.event(record.record_type, data)?;
        Ok((self.visit)(place, event)?)
    }

    fn event<'r>(&mut self, record_type: i64, data: &'r [u8]) -> Step<Event<'r>> {
        let malformed = |reader: &Self, malformed: Malformed| reader.corrupt(malformed.to_string());
        match record_type {
            walpb::METADATA => self.metadata(data).map(Event::Metadata),
            walpb::ENTRY => {
                let entry = Entry::decode(data).map_err(|m| malformed(self, m))?;
                self.entry(&entry)?;
                Ok(Event::Entry(entry))
            }
            walpb::STATE => {
                let state = HardState::decode(data).map_err(|m| malformed(self, m))?;
                self.state(&state, data)?;
                Ok(Event::State(state))
            }
            walpb::SNAPSHOT => {
                let snapshot = Snapshot::decode(data).map_err(|m| malformed(self, m))?;
                if let Some(last) = &mut self.log.last_index {
                    *last = snapshot.index.max(*last); // one that a leader sent skips entries
                }
                Ok(Event::Snapshot(snapshot))
            }
            other => Err(self.corrupt(format!("record type {other}, expected 1 to 5"))),
        }
    }

    fn metadata(&mut self, data: &[u8]) -> Step<Metadata> {
        if data.len() > METADATA_BYTES {
            return Err(self.corrupt(format!(
                "metadata of {} bytes, expected at most {METADATA_BYTES}",
                data.len()
            )));
        }
        if self.metadata.as_ref().is_some_and(|first| first != data) {
            return Err(self.corrupt("metadata differs from the log's first"));
        }
        let metadata = Metadata::decode(data).map_err(|m| self.corrupt(m.to_string()))?;
        self.metadata = Some(data.to_vec());
        self.log.metadata = Some(metadata);
        Ok(metadata)
    }

    /// No server writes an entry at index or term 0, one without its predecessor, or a change without content.
    fn entry(&mut self, entry: &Entry<'_>) -> Step<()> {
        let Entry { term, index, .. } = *entry;
        if term == 0 || index == 0 {
            return Err(self.corrupt(format!("entry of term {term}, index {index}")));
        }
        let kind = entry.entry_type;
        if !(ENTRY_NORMAL..=ENTRY_CONF_CHANGE_V2).contains(&kind) {
            return Err(self.corrupt(format!("entry {index} has type {kind}, expected 0 to 2")));
        }
        if kind != ENTRY_NORMAL && entry.data.is_none_or(<[u8]>::is_empty) {
            return Err(self.corrupt(format!("entry {index} is an empty configuration change")));
        }
        if let Some(last) = self.log.last_index
            && index - 1 > last
        {
            return Err(self.corrupt(format!("entry {index} follows entry {last}")));
        }
        self.log.last_index = Some(index);
        Ok(())
    }

    /// A state is never empty and never goes back. Nor does it have a fourth field: an entry has, and the
    /// type, which alone tells the two apart, is not covered by the checksum.
    fn state(&mut self, state: &HardState, data: &[u8]) -> Step<()> {
        let before = self.log.state;
        if *state == HardState::default() {
            return Err(self.corrupt("an empty state"));
        }
        if state.term < before.term || state.commit < before.commit {
            return Err(self.corrupt(format!(
                "state goes back from term {}, commit {} to term {}, commit {}",
                before.term, before.commit, state.term, state.commit
            )));
        }
        let foreign = wire::fields("raftpb.HardState", data)
            .any(|field| field.is_ok_and(|field| field.number > 3));
        if foreign {
            return Err(self.corrupt("a state with fields that no state has"));
        }
        self.log.state = *state;
        Ok(())
    }
}

/// Whether some piece of `body`, which starts at `offset`, is all zeros between two multiples of 512.
fn has_zero_sector(body: &[u8], offset: u64) -> bool {
    let into = usize::try_from(offset % SECTOR).unwrap_or_default();
    let first = (SECTOR as usize - into).min(body.len());
    let (head, rest) = body.split_at_checked(first).unwrap_or((body, &[]));
    std::iter::once(head)
        .chain(rest.chunks(SECTOR as usize))
        .any(|piece| piece.iter().all(|byte| *byte == 0))
}
