//! Threads that work on pieces, with results in the order of the pieces.
//!
//! Lane `n` of `N` gets the pieces `n`, `n + N`, … and holds a few of them: what is under way is bounded,
//! and the oldest result is always the next of a known lane. With no threads, the caller's does the work.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};

/// Pieces that wait or are worked on, for each thread: the next one is there when one is done.
const AHEAD: usize = 2;

/// What a worker does with a piece; it owns what it needs from piece to piece.
pub(super) type Work<J, R> = Box<dyn FnMut(J) -> R + Send>;

/// Workers.
pub(super) struct Pool<J, R> {
    lanes: Vec<Lane<J, R>>,
    /// Work of the caller's own thread, and its results.
    own: Option<Work<J, R>>,
    done: VecDeque<R>,
    sent: usize,
    taken: usize,
}

struct Lane<J, R> {
    /// Gone when the pool is dropped, which ends the thread.
    jobs: Option<Sender<J>>,
    results: Receiver<R>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// One worker for each thread, as `work` makes them; 0 or 1 thread is the caller's own.
    /// `Error::failed` when no thread can be started, or with the error of `work`.
    pub(super) fn new(
        threads: usize,
        mut work: impl FnMut() -> Result<Work<J, R>>,
    ) -> Result<Pool<J, R>> {
        let mut pool = Pool {
            lanes: Vec::new(),
            own: None,
            done: VecDeque::new(),
            sent: 0,
            taken: 0,
        };
        if threads <= 1 {
            pool.own = Some(work()?);
            return Ok(pool);
        }
        for _ in 0..threads {
            pool.lanes.push(Lane::start(work()?)?);
        }
        Ok(pool)
    }

    /// Pieces that may be under way before the oldest result has to be taken.
    pub(super) fn capacity(&self) -> usize {
        (self.lanes.len() * AHEAD).max(1)
    }

    /// Pieces under way, done ones included.
    pub(super) fn under_way(&self) -> usize {
        self.sent - self.taken
    }

    /// Gives a piece to the next worker.
    pub(super) fn submit(&mut self, job: J) -> Result<()> {
        if let Some(work) = &mut self.own {
            self.done.push_back(work(job));
        } else {
            let lane = self.sent % self.lanes.len().max(1);
            let jobs = self.lanes.get(lane).and_then(|lane| lane.jobs.as_ref());
            jobs.and_then(|jobs| jobs.send(job).ok()).ok_or_else(died)?;
        }
        self.sent += 1;
        Ok(())
    }

    /// The oldest result, when it is there; waits for it if `wait`.
    pub(super) fn take(&mut self, wait: bool) -> Result<Option<R>> {
        if self.under_way() == 0 {
            return Ok(None);
        }
        let result = match self.lanes.get(self.taken % self.lanes.len().max(1)) {
            None => self.done.pop_front(),
            Some(lane) if wait => Some(lane.results.recv().map_err(|_| died())?),
            Some(lane) => lane.results.try_recv().ok(),
        };
        self.taken += usize::from(result.is_some());
        Ok(result)
    }
}

impl<J: Send + 'static, R: Send + 'static> Lane<J, R> {
    fn start(mut work: Work<J, R>) -> Result<Lane<J, R>> {
        let (jobs, inbox) = channel::<J>();
        let (outbox, results) = channel::<R>();
        let thread = Builder::new().name("frames".into()).spawn(move || {
            for job in inbox {
                if outbox.send(work(job)).is_err() {
                    return;
                }
            }
        });
        Ok(Lane {
            jobs: Some(jobs),
            results,
            thread: Some(thread.map_err(|e| Error::failed("cannot start a thread").because(e))?),
        })
    }
}

impl<J, R> Drop for Lane<J, R> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It panicked, and the message is out already.
            let _ = thread.join();
        }
    }
}

fn died() -> Error {
    Error::failed("a thread that works on frames ended early; this is a bug")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        for threads in 0..5 {
            let mut pool = Pool::new(threads, || {
                Ok(Box::new(|n: u64| {
                    (0..n * 7919 % 500).for_each(|_| std::thread::yield_now());
                    n
                }) as Work<u64, u64>)
            })
            .unwrap();
            let mut found = Vec::new();
            for n in 0..50 {
                while pool.under_way() >= pool.capacity() {
                    found.extend(pool.take(true).unwrap());
                }
                pool.submit(n).unwrap();
            }
            while let Some(n) = pool.take(true).unwrap() {
                found.push(n);
            }
            assert!(found.into_iter().eq(0..50), "{threads} threads");
        }
    }

    #[test]
    fn a_worker_that_dies_is_an_error_and_no_hang() {
        let mut pool = Pool::new(2, || {
            Ok(Box::new(|n: u8| assert!(n != 1, "on purpose")) as Work<u8, ()>)
        })
        .unwrap();
        pool.submit(0).unwrap();
        pool.submit(1).unwrap();
        pool.take(true).unwrap();
        assert!(pool.take(true).is_err());
    }
}
