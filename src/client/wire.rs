//! A socket that remembers what came over it: the first bytes, and how it ended.
//!
//! By the time an HTTP/2 stack reports "transport error" the cause is gone. The cause is here: the bytes that the peer
//! sent instead of HTTP/2, the TLS alert that arrived after the handshake, the reset.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// A byte stream of any make: TCP, unix socket, TLS over either.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How many of the first bytes are kept: an HTTP/2 frame header is 9, a line of HTTP/1.1 fits too.
const KEPT: usize = 64;

/// Length of an HTTP/2 frame header (RFC 9113, 4.1).
const FRAME_HEADER: usize = 9;

/// How a connection ended, seen from our side.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The peer closed it in an orderly way.
    Closed,
    /// TLS ended it: an alert, or nonsense.
    Tls(rustls::Error),
    /// The operating system ended it.
    Io(std::io::ErrorKind, String),
}

impl End {
    /// Whether the peer hung up. Closing a socket with unread data in it looks like a reset from this side.
    pub fn is_hangup(&self) -> bool {
        matches!(
            self,
            End::Closed | End::Io(std::io::ErrorKind::ConnectionReset, _)
        )
    }

    /// What an I/O error on a TLS or plain socket means.
    pub fn of(error: &std::io::Error) -> End {
        match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(tls) => End::Tls(rustls::Error::clone(tls)),
            None if error.kind() == std::io::ErrorKind::UnexpectedEof => End::Closed,
            None => End::Io(error.kind(), error.to_string()),
        }
    }
}

/// What was seen on one connection; shared by the [`Tap`] and whoever must explain a failure.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    head: Vec<u8>,
    end: Option<End>,
}

impl Seen {
    /// The first bytes that the peer sent, at most 64.
    pub fn head(&self) -> Vec<u8> {
        self.state().head.clone()
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.state().end.clone()
    }

    /// Waits until the peer has sent a whole HTTP/2 frame header, or has ended the connection. True for a frame header.
    pub async fn first_frame(&self) -> bool {
        loop {
            {
                let state = self.state();
                if state.head.len() >= FRAME_HEADER {
                    return true;
                }
                if state.end.is_some() {
                    return false;
                }
            }
            self.0.changed.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, bytes: &[u8]) -> bool {
        let mut state = self.state();
        let room = KEPT.saturating_sub(state.head.len());
        state.head.extend(bytes.iter().take(room));
        self.0.changed.notify_one();
        state.head.len() >= KEPT
    }

    fn ended(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.0.changed.notify_one();
    }
}

/// Passes bytes through and tells [`Seen`].
///
/// A failed write is not passed on: "broken pipe" says nothing, and a stack that hears of it stops reading, although the
/// reason may still lie in the receive buffer (an alert, a status, a GOAWAY). From then on writes go nowhere, and the
/// read side, which is as dead, ends the connection once everything that came has been read.
#[derive(Debug)]
pub struct Tap<S> {
    inner: S,
    seen: Seen,
    full: bool,
    write_error: Option<End>,
}

impl<S> Tap<S> {
    /// Watches `inner`.
    pub fn new(inner: S, seen: Seen) -> Tap<S> {
        Tap {
            inner,
            seen,
            full: false,
            write_error: None,
        }
    }

    /// The peer closed it; when the network was the reason, only the write knew.
    fn closed(&self) -> End {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        match &self.write_error {
            Some(End::Io(BrokenPipe | ConnectionReset, _)) | None => End::Closed,
            Some(other) => other.clone(),
        }
    }

    fn swallow<T>(
        &mut self,
        polled: Poll<std::io::Result<T>>,
        instead: T,
    ) -> Poll<std::io::Result<T>> {
        match polled {
            Poll::Ready(Err(error)) => {
                self.write_error = Some(End::of(&error));
                Poll::Ready(Ok(instead))
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) => match buf.filled().get(before..) {
                Some([]) | None if buf.remaining() > 0 => this.seen.ended(this.closed()),
                Some(new) if !this.full => this.full = this.seen.read(new),
                _ => {}
            },
            Poll::Ready(Err(error)) => this.seen.ended(End::of(error)),
            Poll::Pending => {}
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        if this.write_error.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.swallow(polled, buf.len())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.write_error.is_some() {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut this.inner).poll_flush(cx);
        this.swallow(polled, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if this.write_error.is_some() {
            return Poll::Ready(Ok(length));
        }
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.swallow(polled, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
