//! Frames on demand: the snapshot inside an archive, read at any place.
//!
//! The last few decompressed frames are kept. No lock is held while one is decompressed, and two threads
//! that want the same one wait for one decompression. Memory: [`BUDGET`], and a frame for each thread
//! that reads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::read::{Archive, Scratch};
use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::io::pace::{Pace, Reader};

/// Bytes of decompressed frames that are kept.
pub(super) const BUDGET: u64 = 8 << 20;

/// The frames of one archive.
#[derive(Debug)]
pub(super) struct Cache {
    archive: Archive,
    /// How many frames are kept.
    room: usize,
    state: Mutex<State>,
    loaded: Condvar,
    pace: Pace,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Slot>,
    /// Counts requests; the slot with the smallest goes first.
    clock: u64,
    idle: Vec<Scratch>,
}

#[derive(Debug)]
struct Slot {
    frame: usize,
    used: u64,
    /// `None` while a thread decompresses it.
    plain: Option<Arc<Vec<u8>>>,
}

impl Cache {
    pub(super) fn new(archive: Archive) -> Cache {
        let largest = archive.frames().iter().map(|frame| frame.len).max();
        let largest = u64::from(largest.unwrap_or(1)).max(1);
        Cache {
            archive,
            room: usize::try_from(BUDGET / largest).unwrap_or(1).max(2),
            state: Mutex::default(),
            loaded: Condvar::new(),
            pace: Pace::default(),
        }
    }

    /// The piece of a frame, for one of two readers that keep in step.
    pub(super) fn step(&self, reader: Reader, frame: usize) -> Result<Arc<Vec<u8>>> {
        // Whoever has less to do gets ahead, and with that the work of decompressing.
        self.pace.step(reader, frame, self.room / 2);
        self.get(frame)
    }

    /// The reader is done.
    pub(super) fn done(&self, reader: Reader) {
        self.pace.done(reader);
    }

    /// The piece of a frame. While another thread decompresses it, the one behind it is got ready.
    fn get(&self, frame: usize) -> Result<Arc<Vec<u8>>> {
        let mut state = self.lock();
        loop {
            state.clock += 1;
            let now = state.clock;
            match state.slots.iter_mut().find(|slot| slot.frame == frame) {
                Some(Slot {
                    plain: Some(plain),
                    used,
                    ..
                }) => {
                    *used = now;
                    return Ok(Arc::clone(plain));
                }
                Some(_) => {
                    let next = frame + 1;
                    let known = state.slots.iter().any(|slot| slot.frame == next);
                    state = if known || next >= self.archive.frames().len() {
                        let woken = self.loaded.wait(state);
                        woken.unwrap_or_else(PoisonError::into_inner)
                    } else {
                        // What is wrong with it is told to whoever needs it.
                        let _ = self.fetch(next, state);
                        self.lock()
                    };
                }
                None => return self.fetch(frame, state),
            }
        }
    }

    /// Decompresses a frame that has no slot yet.
    fn fetch(&self, frame: usize, mut state: MutexGuard<'_, State>) -> Result<Arc<Vec<u8>>> {
        let mut buffer = self.make_room(&mut state);
        let used = state.clock;
        state.slots.push(Slot {
            frame,
            used,
            plain: None,
        });
        let idle = state.idle.pop();
        drop(state);

        let result = self.load(frame, idle, &mut buffer);
        let mut state = self.lock();
        let place = state.slots.iter().position(|slot| slot.frame == frame);
        let result = result.map(|scratch| {
            state.idle.push(scratch);
            Arc::new(buffer)
        });
        match (&result, place) {
            (Ok(plain), Some(place)) => {
                if let Some(slot) = state.slots.get_mut(place) {
                    slot.plain = Some(Arc::clone(plain));
                }
            }
            (Err(_), Some(place)) => {
                state.slots.swap_remove(place);
            }
            (_, None) => {}
        }
        self.loaded.notify_all();
        result
    }

    fn load(&self, frame: usize, idle: Option<Scratch>, buffer: &mut Vec<u8>) -> Result<Scratch> {
        let mut scratch = match idle {
            Some(scratch) => scratch,
            None => Scratch::new()?,
        };
        self.archive.load(frame, &mut scratch, buffer)?;
        Ok(scratch)
    }

    /// Drops the frame that was not asked for the longest; its buffer is used again.
    fn make_room(&self, state: &mut State) -> Vec<u8> {
        let mut buffer = None;
        while state.slots.len() >= self.room {
            let ready = state
                .slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.plain.is_some());
            let Some((oldest, _)) = ready.min_by_key(|(_, slot)| slot.used) else {
                break;
            };
            let plain = state.slots.swap_remove(oldest).plain;
            buffer = plain
                .and_then(|plain| Arc::try_unwrap(plain).ok())
                .or(buffer);
        }
        buffer.unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadAt for Cache {
    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let table = &self.archive.inner.table;
            let outside = || Error::failed(format!("offset {offset} is behind the last frame"));
            let index = table.find(offset).ok_or_else(outside)?;
            let start = table.frames.get(index).map_or(0, |frame| frame.start);
            let plain = self.step(Reader::Walk, index)?;
            let rest = plain.get((offset - start) as usize..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            if len == 0 {
                return Err(outside());
            }
            let (now, later) = buffer.split_at_mut(len);
            let (rest, _) = rest.split_at(len);
            now.copy_from_slice(rest);
            buffer = later;
            offset += len as u64;
        }
        Ok(())
    }
}
