//! The client against real servers and one that misbehaves on purpose: each failure is one clear error of the right
//! kind, in time, with the flag that would help.

mod auth;
mod broken;
mod choice;
mod good;
mod odd;
mod save;
mod tls;

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etcd_rescue::client::{Client, ConnectOptions, Received, Sink, Survey};
use etcd_rescue::error::{Error, Kind, Result};
use etcd_rescue::limits::Deadlines;
use etcd_rescue::observe::Observer;

/// Short enough for a test, long enough for two busy cores.
const CONNECT: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(4);
const IDLE: Duration = Duration::from_secs(3);

/// Options for these endpoints, with the deadlines above.
fn to(endpoints: &[&str]) -> ConnectOptions {
    ConnectOptions {
        endpoints: endpoints.iter().map(|e| (*e).to_owned()).collect(),
        deadlines: Deadlines {
            connect: CONNECT,
            call: CALL,
            idle: IDLE,
        },
        ..ConnectOptions::default()
    }
}

/// Remembers everything it was told.
#[derive(Default)]
struct Watcher {
    notices: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
    stages: Mutex<Vec<(String, Option<u64>)>>,
    advanced: Mutex<u64>,
    stop: AtomicBool,
}

impl Watcher {
    fn notices(&self) -> String {
        self.notices.lock().unwrap().join("\n")
    }

    fn warnings(&self) -> String {
        self.warnings.lock().unwrap().join("\n")
    }
}

impl Observer for Watcher {
    fn stage(&self, name: &str, total: Option<u64>) {
        self.stages.lock().unwrap().push((name.to_owned(), total));
    }
    fn advance(&self, bytes: u64) {
        *self.advanced.lock().unwrap() += bytes;
    }
    fn notice(&self, text: &str) {
        self.notices.lock().unwrap().push(text.to_owned());
    }
    fn warn(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_owned());
    }
    fn check(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::interrupted()),
            false => Ok(()),
        }
    }
}

/// Keeps the image in memory.
#[derive(Default)]
struct Memory {
    announced: Option<u64>,
    image: Vec<u8>,
}

impl Sink for Memory {
    fn begin(&mut self, total_image_bytes: u64) -> Result<()> {
        assert_eq!(self.announced, None, "begin came twice");
        self.announced = Some(total_image_bytes);
        Ok(())
    }
    fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        assert!(self.announced.is_some(), "a chunk before begin");
        self.image.extend(bytes);
        Ok(())
    }
}

/// A snapshot and all that was said about it.
struct Saved {
    survey: Survey,
    received: Received,
    image: Vec<u8>,
    notices: String,
    warnings: String,
}

impl Saved {
    /// What belongs into a file: image and trailer.
    fn file(&self) -> Vec<u8> {
        [self.image.as_slice(), &self.received.trailer].concat()
    }
}

/// Surveys, and takes a snapshot from the best candidate.
fn try_save(options: ConnectOptions) -> Result<Saved> {
    let watcher = Watcher::default();
    let client = Client::new(options)?;
    let survey = client.survey(&watcher)?;
    let mut sink = Memory::default();
    let received = client.snapshot(&survey.candidates[0], &mut sink, &watcher)?;
    assert_eq!(sink.announced, Some(received.image_bytes));
    assert_eq!(sink.image.len() as u64, received.image_bytes);
    assert_eq!(
        *watcher.stages.lock().unwrap(),
        [("streaming".to_owned(), Some(received.image_bytes))]
    );
    assert_eq!(*watcher.advanced.lock().unwrap(), received.image_bytes);
    Ok(Saved {
        survey,
        received,
        image: sink.image,
        notices: watcher.notices(),
        warnings: watcher.warnings(),
    })
}

#[track_caller]
fn save(options: ConnectOptions) -> Saved {
    let shown = format!("{options:?}");
    match try_save(options) {
        Ok(saved) => saved,
        Err(error) => panic!("{}\nwith {shown}", Failure::from(error)),
    }
}

/// How an attempt failed.
struct Failure {
    kind: Kind,
    text: String,
    hint: String,
    took: Duration,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            kind: error.kind(),
            text: error.to_string(),
            hint: error.hint_text().unwrap_or_default().to_owned(),
            took: Duration::ZERO,
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

/// Expects an attempt to fail.
#[track_caller]
fn failure(options: ConnectOptions) -> Failure {
    let shown = format!("{options:?}");
    let start = Instant::now();
    match try_save(options) {
        Ok(_) => panic!("this worked, and should not have: {shown}"),
        Err(error) => Failure {
            took: start.elapsed(),
            ..Failure::from(error)
        },
    }
}

impl Failure {
    #[track_caller]
    fn kind(self, kind: Kind) -> Failure {
        assert_eq!(self.kind, kind, "{self}");
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Failure {
        assert!(self.text.contains(text), "expected {text:?} in\n{self}");
        // These two mean that nobody looked for the cause.
        for vague in ["transport error", "grpc-status", "h2 protocol"] {
            assert!(
                !self.text.contains(vague),
                "{vague:?} explains nothing\n{self}"
            );
        }
        self
    }

    #[track_caller]
    fn hints(self, text: &str) -> Failure {
        assert!(
            self.hint.contains(text),
            "expected the hint {text:?} in\n{self}"
        );
        self
    }

    #[track_caller]
    fn within(self, limit: Duration) -> Failure {
        assert!(self.took <= limit, "took longer than {limit:?}\n{self}");
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error ({:?}, after {:?}): {}\nhint: {}",
            self.kind, self.took, self.text, self.hint
        )
    }
}
