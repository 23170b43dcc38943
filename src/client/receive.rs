//! Takes a snapshot from one member: the stream's I/O around the rules of [`super::stream`].

use etcd_client::Error as EtcdError;
use tokio::time::{Duration, Instant, timeout};

use super::explain;
use super::session::Session;
use super::stream::{Event, Message, Received, StreamCheck};
use crate::error::{Error, Result};
use crate::observe::Observer;

/// Where a snapshot goes while it comes in.
pub trait Sink {
    /// The first message has come: the image will be `total_image_bytes` long, and 32 bytes of trailer belong after it.
    /// Called once, before any chunk. An error ends the stream and is returned as it is.
    fn begin(&mut self, total_image_bytes: u64) -> Result<()>;

    /// The next bytes of the image. An error ends the stream and is returned as it is.
    fn chunk(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Image bytes that must come within the idle deadline to count as progress. etcd sends 32 KiB at a time; a server that
/// sends a byte now and then is stalled in all but name.
const PROGRESS: u64 = 1024;

/// How often the observer is asked, in bytes.
const CHECK_EVERY: u64 = 1 << 20;

/// Streams a snapshot into `sink`.
pub async fn snapshot(
    session: &Session<'_>,
    sink: &mut dyn Sink,
    observer: &dyn Observer,
) -> Result<Received> {
    let mut stream = session.snapshot().await?;
    let mut check = StreamCheck::new();
    let mut patience = Patience::new(session.target.deadlines.idle);
    let mut unchecked = 0;
    loop {
        let Some(next) = patience.wait(stream.message()).await else {
            return Err(stalled(session, &check));
        };
        let Some(message) = next.map_err(|error| broke_off(session, &check, &error))? else {
            break;
        };
        let event = check
            .push(Message {
                remaining_bytes: message.remaining_bytes(),
                blob: message.blob(),
                version: message.version(),
            })
            .map_err(|error| error.within(&session.target.endpoint))?;
        let bytes = match event {
            Event::First { total, bytes } => {
                observer.stage("streaming", Some(total));
                sink.begin(total)?;
                bytes
            }
            Event::Piece(bytes) => bytes,
            Event::Trailer => &[],
        };
        sink.chunk(bytes)?;
        let count = bytes.len() as u64;
        observer.advance(count);
        unchecked += count;
        if unchecked >= CHECK_EVERY {
            unchecked = 0;
            observer.check()?;
        }
        patience.made(count, check.total() == Some(check.received()));
    }
    check
        .finish()
        .map_err(|error| error.within(&session.target.endpoint))
}

/// How long we still wait for progress. Only waiting uses it up: time that the sink takes does not count.
struct Patience {
    idle: Duration,
    left: Duration,
    progress: u64,
}

impl Patience {
    fn new(idle: Duration) -> Patience {
        Patience {
            idle,
            left: idle,
            progress: 0,
        }
    }

    /// `None` when patience ran out.
    async fn wait<T>(&mut self, message: impl Future<Output = T>) -> Option<T> {
        let start = Instant::now();
        let came = timeout(self.left, message).await.ok();
        self.left = self.left.saturating_sub(start.elapsed());
        came
    }

    /// `bytes` more have come; at the end of the image a few are enough.
    fn made(&mut self, bytes: u64, image_complete: bool) {
        self.progress += bytes;
        if self.progress >= PROGRESS || image_complete {
            self.progress = 0;
            self.left = self.idle;
        }
    }
}

fn stalled(session: &Session<'_>, check: &StreamCheck) -> Error {
    explain::at(
        session.target,
        format!(
            "the stream stalled: nothing came for {} after {}",
            explain::seconds(session.target.deadlines.idle),
            so_far(check)
        ),
    )
    .hint("etcd or the network in between hangs; etcd's log may have the reason; --idle-timeout waits longer")
}

fn broke_off(session: &Session<'_>, check: &StreamCheck, error: &EtcdError) -> Error {
    let doing = match check.total() {
        None => "take a snapshot".to_owned(),
        Some(_) => format!("go on after {}", so_far(check)),
    };
    explain::call(session.target, &doing, error, &session.seen)
}

fn so_far(check: &StreamCheck) -> String {
    match check.total() {
        Some(total) => format!("{} of {total} bytes", check.received()),
        None => "0 bytes".into(),
    }
}
