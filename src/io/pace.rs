//! Two readers of one file that share a cache, one from front to back and one along a tree: whoever needs a
//! frame first gets it ready, and the other finds it there, as long as neither runs away.
//!
//! Waiting is a favour and never a duty: it ends after a fiftieth of a second without a step of the other, who may
//! be done, or somewhere else in the file.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long to wait for a reader that does not move.
const PATIENCE: Duration = Duration::from_millis(20);

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// From front to back.
    Pass,
    /// Along the tree.
    Walk,
}

/// Where the two readers are.
#[derive(Debug)]
pub struct Pace {
    state: Mutex<State>,
    moved: Condvar,
    patience: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            state: Mutex::default(),
            moved: Condvar::new(),
            patience: PATIENCE,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    pass: Position,
    walk: Position,
}

/// Where a reader is; only one that goes forward frame by frame is worth waiting for.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    frame: Option<usize>,
    steady: bool,
}

impl Pace {
    /// `reader` comes to `frame`: lets it wait until the other one is at most `window` frames behind.
    pub fn step(&self, reader: Reader, frame: usize, window: usize) {
        let mut state = self.lock();
        let own = state.of(reader);
        if own.frame == Some(frame) {
            return;
        }
        own.steady = own.frame.is_none_or(|before| frame == before + 1);
        own.frame = Some(frame);
        let steady = own.steady;
        self.moved.notify_all();
        if !steady {
            return;
        }
        let other = reader.other();
        loop {
            let seen = *state.of(other);
            let behind = seen.frame.is_some_and(|at| frame > at + window);
            if !seen.steady || !behind {
                return;
            }
            let waited = self.moved.wait_timeout(state, self.patience);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if timeout.timed_out() && state.of(other).frame == seen.frame {
                state.of(other).steady = false;
            }
        }
    }

    /// `reader` is done: nobody waits for it.
    pub fn done(&self, reader: Reader) {
        *self.lock().of(reader) = Position::default();
        self.moved.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn other(self) -> Reader {
        match self {
            Reader::Pass => Reader::Walk,
            Reader::Walk => Reader::Pass,
        }
    }
}

impl State {
    fn of(&mut self, reader: Reader) -> &mut Position {
        match reader {
            Reader::Pass => &mut self.pass,
            Reader::Walk => &mut self.walk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn neither_runs_away_from_the_other() {
        // A busy machine may let the slow one stand still for a while.
        let pace = Pace {
            patience: Duration::from_secs(60),
            ..Pace::default()
        };
        let (slow, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for frame in 0..60 {
                    pace.step(Reader::Walk, frame, 4);
                    slow.store(frame, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(1));
                }
                pace.done(Reader::Walk);
            });
            while slow.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            for frame in 0..60 {
                pace.step(Reader::Pass, frame, 4);
                let ahead = frame.saturating_sub(slow.load(Ordering::SeqCst));
                most.fetch_max(ahead, Ordering::SeqCst);
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 5, "{most:?} frames ahead");
    }

    #[test]
    fn who_stands_still_is_waited_for_once() {
        let pace = Pace::default();
        pace.step(Reader::Walk, 0, 4);
        for frame in 0..1000 {
            pace.step(Reader::Pass, frame, 4);
        }
        assert!(!pace.lock().walk.steady);
    }
}
