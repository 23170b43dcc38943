//! One connection to one endpoint, stage by stage under one deadline: address, socket, TLS, HTTP/2.
//!
//! The socket and TLS are set up here and not inside tonic, so that every failure is an error of ours with its cause,
//! and the deadline covers all of it (tonic's covers neither the handshake nor a peer that accepts and says nothing).
//! A channel made here never reconnects: a broken stream starts again from zero, and that is decided above.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tower_service::Service;

use super::endpoint::{Address, Endpoint};
use super::explain::{self, Speaks, Stage};
use super::tls::Tls;
use super::verifier::AcceptAnything;
use super::wire::{End, Seen, Stream, Tap};
use crate::error::{Error, Result};
use crate::limits::Deadlines;

/// Flow-control window of stream and connection, in bytes. With the default of HTTP/2 a snapshot takes half as long
/// again; with 2 MiB, 50 ms of latency would hold it to 40 MB/s. It is also what a slow disk can make us buffer.
const WINDOW: u32 = 16 << 20;

/// Largest HTTP/2 frame we accept, in bytes: two of etcd's 32 KiB messages.
const FRAME: u32 = 64 << 10;

/// rustls reads 4 KiB at a time; this many bytes are fetched from the socket instead, and cost one system call.
const SOCKET_BUFFER: usize = 64 << 10;

/// Pings more often than this make etcd hang up ("too many pings"); gRPC's Go client raises what is below it, too
/// (`google.golang.org/grpc dialoptions.go`, v1.81.1).
const SHORTEST_PING: Duration = Duration::from_secs(10);

/// Time spent, after a failure, on finding out whether the port speaks the other protocol.
const SECOND_OPINION: Duration = Duration::from_secs(1);

/// Everything that a connection needs to know.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to.
    pub endpoint: Endpoint,
    /// How to speak TLS, when the endpoint does.
    pub tls: Option<Arc<Tls>>,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// Ping interval and patience while a call is active; an interval of zero means no pings.
    pub keepalive: (Duration, Duration),
}

/// An HTTP/2 connection that has shown signs of life.
#[derive(Debug)]
pub struct Link {
    /// For etcd-client.
    pub channel: Channel,
    /// What came over it, for explanations.
    pub seen: Seen,
}

/// Connects. Returns once the peer has answered with an HTTP/2 frame, so that a client certificate that TLS 1.3 refuses
/// late, and a port that speaks something else, are found here.
pub async fn connect(target: &Target) -> Result<Link> {
    let until = Instant::now() + target.deadlines.connect;
    let socket = dial(target, until).await?;
    let seen = Seen::default();
    let stream: Box<dyn Stream> = match (&target.endpoint.tls_name, &target.tls) {
        (Some(_), Some(tls)) => Box::new(Tap::new(
            secure(target, tls, socket, until).await?,
            seen.clone(),
        )),
        _ => Box::new(Tap::new(socket, seen.clone())),
    };
    http2(target, stream, seen, until).await
}

/// Opens the socket.
async fn dial(target: &Target, until: Instant) -> Result<Box<dyn Stream>> {
    match &target.endpoint.address {
        Address::Unix(path) => match timeout_at(until, UnixStream::connect(path)).await {
            Ok(Ok(socket)) => Ok(Box::new(socket)),
            Ok(Err(error)) => Err(explain::no_socket(target, error)),
            Err(_) => Err(explain::silent(target, Stage::Socket)),
        },
        Address::Tcp(host, port) => {
            let addresses = timeout_at(until, resolve(host, *port))
                .await
                .map_err(|_| explain::silent(target, Stage::Resolve))?
                .map_err(|error| explain::no_address(target, host, Some(error)))?;
            dial_first(target, host, &addresses, until).await
        }
    }
}

/// The addresses of a host. A rescue system may have no `/etc/hosts`; `localhost` is known without one.
async fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(_) if host.eq_ignore_ascii_case("localhost") => Ok(vec![
            SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
        ]),
        Err(error) => Err(error),
    }
}

/// The first address that answers. Each gets an equal share of the time left, so that one dead address of three does
/// not use it up.
async fn dial_first(
    target: &Target,
    host: &str,
    addresses: &[SocketAddr],
    until: Instant,
) -> Result<Box<dyn Stream>> {
    let mut last = None;
    for (at, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let turns = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        match timeout(left / turns, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Best effort: without it requests wait a little, no more.
                let _ = socket.set_nodelay(true);
                return Ok(Box::new(socket));
            }
            Ok(Err(error)) => last = Some(explain::no_socket(target, error)),
            Err(_) => last = Some(explain::silent(target, Stage::Socket)),
        }
    }
    Err(last.unwrap_or_else(|| explain::no_address(target, host, None)))
}

/// The TLS handshake.
async fn secure(
    target: &Target,
    tls: &Tls,
    socket: Box<dyn Stream>,
    until: Instant,
) -> Result<impl Stream + use<>> {
    let Some(name) = target.endpoint.tls_name.clone() else {
        return Err(Error::failed("no name to check a certificate for"));
    };
    let seen = Seen::default();
    let socket = BufReader::with_capacity(SOCKET_BUFFER, Tap::new(socket, seen.clone()));
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.config));
    match timeout_at(until, connector.connect(name, socket)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let end = End::of(&error);
            let other = match end {
                End::Tls(rustls::Error::InvalidMessage(_)) => explain::recognise(&seen.head()),
                End::Closed | End::Io(..) => {
                    other_protocol(target, Instant::now() + SECOND_OPINION).await
                }
                End::Tls(_) => None,
            };
            Err(explain::no_tls(target, tls, &end, other))
        }
        Err(_) => Err(explain::silent(target, Stage::Tls)),
    }
}

/// HTTP/2 over what is there now.
async fn http2(
    target: &Target,
    stream: Box<dyn Stream>,
    seen: Seen,
    until: Instant,
) -> Result<Link> {
    let endpoint = tuned(target)?;
    let plaintext = target.endpoint.tls_name.is_none();
    let watched = seen.clone();
    let mut attempt = std::pin::pin!(async move {
        match endpoint.connect_with_connector(Once(Some(stream))).await {
            Ok(channel) => (Some(channel), watched.first_frame().await),
            Err(_) => (None, false),
        }
    });
    let half = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
    let mut other = None;
    let mut done = timeout_at(half, attempt.as_mut()).await;
    if done.is_err() {
        // Some TLS servers wait for the rest of what they take for a record, so silence is worth a question, too.
        if plaintext {
            other = other_protocol(target, until).await;
        }
        if other.is_none() {
            done = timeout_at(until, attempt).await;
        }
    }
    match done {
        Ok((Some(channel), true)) if is_http2(&seen.head()) => Ok(Link { channel, seen }),
        Err(_) if other.is_none() => Err(explain::silent(target, Stage::Http2)),
        _ => {
            if other.is_none() {
                other = explain::recognise(&seen.head());
            }
            if other.is_none() && plaintext {
                other = other_protocol(target, Instant::now() + SECOND_OPINION).await;
            }
            Err(explain::no_http2(target, &seen, other))
        }
    }
}

/// tonic's endpoint, with the settings that mattered.
fn tuned(target: &Target) -> Result<tonic::transport::Endpoint> {
    let authority = target.endpoint.authority();
    let odd = |e: &dyn std::error::Error| {
        Error::usage(format!("endpoint {}: {e}", target.endpoint))
            .hint("an endpoint is host:port, http://host:port, https://host:port or unix:PATH")
    };
    let scheme = if target.endpoint.tls_name.is_some() {
        "https"
    } else {
        "http"
    };
    let origin: Uri = format!("{scheme}://{authority}")
        .parse()
        .map_err(|e| odd(&e))?;
    let mut endpoint = tonic::transport::Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|e| odd(&e))?
        .origin(origin)
        .user_agent(concat!("etcd-rescue/", env!("CARGO_PKG_VERSION")))
        .map_err(|e| odd(&e))?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME);
    let (interval, patience) = target.keepalive;
    if !interval.is_zero() {
        endpoint = endpoint
            .http2_keep_alive_interval(interval.max(SHORTEST_PING))
            .keep_alive_while_idle(false);
        if !patience.is_zero() {
            endpoint = endpoint.keep_alive_timeout(patience);
        }
    }
    Ok(endpoint)
}

/// A server begins with SETTINGS on stream 0 (RFC 9113, 3.4).
fn is_http2(head: &[u8]) -> bool {
    matches!(head, [_, _, _, 4, _, 0, 0, 0, 0, ..])
}

/// Both of etcd's listeners hang up without a word when the other protocol comes in, so a second connection asks in
/// that protocol. `None` when the answer is none or the same as before.
async fn other_protocol(target: &Target, until: Instant) -> Option<Speaks> {
    let until = until.min(Instant::now() + SECOND_OPINION);
    let mut socket = dial(target, until).await.ok()?;
    let seen = Seen::default();
    if target.endpoint.tls_name.is_some() {
        // Client preface and an empty SETTINGS frame.
        socket
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .ok()?;
        let mut head = [0; 9];
        timeout_at(until, socket.read_exact(&mut head))
            .await
            .ok()?
            .ok()?;
        return match is_http2(&head) {
            true => Some(Speaks::Http2),
            false => explain::recognise(&head),
        };
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnything::new(&provider)))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").ok()?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    // Whether the handshake succeeds does not matter; what counts is that the answer is TLS.
    let _ = timeout_at(
        until,
        connector.connect(name, Tap::new(socket, seen.clone())),
    )
    .await;
    explain::recognise(&seen.head()).filter(|found| *found == Speaks::Tls)
}

/// Hands out the one stream that there is.
struct Once(Option<Box<dyn Stream>>);

impl Service<Uri> for Once {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = std::io::Error;
    type Future = std::future::Ready<std::io::Result<TokioIo<Box<dyn Stream>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        std::future::ready(match self.0.take() {
            Some(stream) => Ok(TokioIo::new(stream)),
            None => Err(std::io::Error::other("the connection is gone")),
        })
    }
}
