//! A server that answers as etcd does until it misbehaves as it is told to: raw gRPC over raw HTTP/2.
//!
//! Real servers cannot be made to send a wrong hash or one byte every three seconds. Field numbers are those of
//! `etcd-io/etcd api/etcdserverpb/rpc.proto`, v3.7.1.

use std::io::Cursor;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use h2::Reason;
use h2::server::SendResponse;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use super::certs::Pair;
use super::wire::{bytes, number};

type Body = Cursor<Vec<u8>>;

/// How far the server goes along with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// All the way to answering calls.
    Serves,
    /// Accepts TCP, and no more.
    SilentTcp,
    /// Completes TLS, and no more.
    SilentTls,
    /// Completes HTTP/2; calls are never answered.
    SilentCalls,
    /// Hangs up as soon as something comes.
    HangsUp,
    /// Speaks HTTP/1.1.
    Http1,
    /// Answers every call with this HTTP status, as a proxy without a backend does.
    Proxy(u16),
    /// Says something that is no protocol.
    Babbles,
}

/// What the server does, one after the other, once a snapshot is asked for.
#[derive(Clone, Debug)]
pub enum Step {
    /// A whole message.
    Message {
        blob: Vec<u8>,
        remaining: u64,
        version: &'static str,
    },
    /// This many bytes of a message, the rest of which never comes.
    PartOf(Vec<u8>, usize),
    /// The same message for ever.
    Forever(Vec<u8>, u64),
    /// Messages of one byte each, this far apart.
    Trickle { every: Duration, remaining: u64 },
    /// Nothing, for ever.
    Stall,
    /// Ends the stream with this gRPC status and message instead of OK.
    Status(u8, &'static str),
    /// RST_STREAM.
    Reset,
    /// GOAWAY, and the connection is gone.
    GoAway,
    /// The TCP connection is gone.
    Cut,
}

/// What the server says about itself and does.
#[derive(Clone)]
pub struct Script {
    pub manners: Manners,
    pub tls: Option<Pair>,
    pub cluster_id: u64,
    pub member_id: u64,
    pub leader: u64,
    pub revision: u64,
    pub applied: u64,
    /// The raft index that it knows to be committed; 0 says nothing.
    pub committed: u64,
    pub learner: bool,
    pub version: &'static str,
    pub errors: Vec<&'static str>,
    /// Ids and names for MemberList; none: the call fails.
    pub members: Vec<(u64, &'static str)>,
    /// A gRPC status and message for the status call, instead of an answer.
    pub status_fails: Option<(u8, &'static str)>,
    pub snapshot: Vec<Step>,
}

impl Default for Script {
    /// A good follower with a small image.
    fn default() -> Self {
        Self {
            manners: Manners::Serves,
            tls: None,
            cluster_id: 0xc1,
            member_id: 11,
            leader: 10,
            revision: 308,
            applied: 1000,
            committed: 0,
            learner: false,
            version: "3.7.1",
            errors: Vec::new(),
            members: vec![(10, "fake-a"), (11, "fake-b")],
            status_fails: None,
            snapshot: good(&image()),
        }
    }
}

/// An image of 200,192 bytes: six messages of 32 KiB and a bit.
pub fn image() -> Vec<u8> {
    super::fill::noise(42, 391 * 512)
}

/// What etcd sends for an image: pieces of 32 KiB, then the SHA-256.
pub fn good(image: &[u8]) -> Vec<Step> {
    let mut remaining = image.len() as u64;
    let mut steps = Vec::new();
    for piece in image.chunks(32 << 10) {
        remaining -= piece.len() as u64;
        steps.push(message(piece, remaining));
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, image);
    steps.push(message(digest.as_ref(), 0));
    steps
}

pub fn message(blob: &[u8], remaining: u64) -> Step {
    Step::Message {
        blob: blob.to_vec(),
        remaining,
        version: "3.7.0",
    }
}

/// A running fake, gone with the value.
pub struct Fake {
    port: u16,
    https: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(script: Script) -> Self {
        let acceptor = script.tls.as_ref().map(acceptor);
        let https = acceptor.is_some();
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let serving = serve(listener, Arc::new(script), acceptor);
                tokio::select! { () = serving => {}, _ = stopped => {} }
            });
        });
        Self {
            port,
            https,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// One that does all well but for how it sends a snapshot.
    pub fn sending(snapshot: Vec<Step>) -> Self {
        Self::start(Script {
            snapshot,
            ..Script::default()
        })
    }

    /// One with these manners.
    pub fn with(manners: Manners) -> Self {
        Self::start(Script {
            manners,
            ..Script::default()
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the fake died");
        }
    }
}

async fn serve(listener: TcpListener, script: Arc<Script>, acceptor: Option<TlsAcceptor>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (script, acceptor) = (Arc::clone(&script), acceptor.clone());
        tokio::spawn(async move {
            // A client that goes away ends its own connection and nothing else.
            let _ = connection(socket, &script, acceptor).await;
        });
    }
}

async fn connection(
    mut socket: TcpStream,
    script: &Arc<Script>,
    acceptor: Option<TlsAcceptor>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut scratch = [0; 24];
    match script.manners {
        Manners::SilentTcp => return std::future::pending().await,
        Manners::HangsUp => {
            socket.read_exact(&mut scratch[..1]).await?;
            return Ok(());
        }
        Manners::Http1 => {
            socket.read_exact(&mut scratch).await?;
            let answer = b"HTTP/1.1 418 I'm a teapot\r\nConnection: close\r\n\r\n";
            return Ok(socket.write_all(answer).await?);
        }
        Manners::Babbles => {
            socket
                .write_all(b"220 mail.example ESMTP ready\r\n")
                .await?;
            return std::future::pending().await;
        }
        _ => {}
    }
    match acceptor {
        Some(acceptor) => http2(acceptor.accept(socket).await?, script).await,
        None => http2(socket, script).await,
    }
}

async fn http2<S>(
    socket: S,
    script: &Arc<Script>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if script.manners == Manners::SilentTls {
        return std::future::pending().await;
    }
    let mut connection = h2::server::Builder::new()
        .handshake::<_, Body>(socket)
        .await?;
    let (end, mut ended) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            call = connection.accept() => match call {
                None => return Ok(()),
                Some(call) => {
                    let (request, respond) = call?;
                    let path = request.uri().path().to_owned();
                    let (script, end) = (Arc::clone(script), end.clone());
                    tokio::spawn(async move { answer(&path, respond, &script, &end).await });
                }
            },
            Some(reason) = ended.recv() => {
                // Let what was written so far leave first.
                let flush = std::future::poll_fn(|cx| connection.poll_closed(cx));
                let _ = tokio::time::timeout(Duration::from_millis(100), flush).await;
                if let Some(reason) = reason {
                    connection.abrupt_shutdown(reason);
                    let flush = std::future::poll_fn(|cx| connection.poll_closed(cx));
                    let _ = tokio::time::timeout(Duration::from_millis(100), flush).await;
                }
                return Ok(());
            }
        }
    }
}

type Ended = mpsc::UnboundedSender<Option<Reason>>;

async fn answer(path: &str, mut respond: SendResponse<Body>, script: &Script, end: &Ended) {
    match script.manners {
        Manners::SilentCalls => return std::future::pending().await,
        Manners::Proxy(status) => {
            let answer = http::Response::builder().status(status).body(()).unwrap();
            let _ = respond.send_response(answer, true);
            return;
        }
        _ => {}
    }
    let unary = |message: Vec<u8>| vec![Step::PartOf(framed(&message), usize::MAX)];
    let steps = match path.rsplit('/').next().unwrap_or_default() {
        "Status" => match script.status_fails {
            Some((code, text)) => vec![Step::Status(code, text)],
            None => unary(status(script)),
        },
        "MemberList" if script.members.is_empty() => vec![Step::Status(14, "no member list")],
        "MemberList" => unary(members(script)),
        "Authenticate" => vec![Step::Status(9, "etcdserver: authentication is not enabled")],
        "Snapshot" => script.snapshot.clone(),
        _ => vec![Step::Status(12, "unknown method")],
    };
    // A client that has gone away is no failure of the server.
    let _ = play(steps, respond, end).await;
}

async fn play(
    steps: Vec<Step>,
    mut respond: SendResponse<Body>,
    end: &Ended,
) -> Result<(), h2::Error> {
    let head = http::Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let mut stream = respond.send_response(head, false)?;
    for step in steps {
        match step {
            Step::Message {
                blob,
                remaining,
                version,
            } => stream.send_data(Cursor::new(snapshot(&blob, remaining, version)), false)?,
            Step::PartOf(mut bytes, length) => {
                bytes.truncate(length);
                stream.send_data(Cursor::new(bytes), false)?;
            }
            Step::Forever(blob, remaining) => loop {
                stream.send_data(Cursor::new(snapshot(&blob, remaining, "")), false)?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            },
            Step::Trickle {
                every,
                mut remaining,
            } => loop {
                tokio::time::sleep(every).await;
                remaining = remaining.saturating_sub(1);
                stream.send_data(Cursor::new(snapshot(b"x", remaining, "")), false)?;
            },
            Step::Stall => return std::future::pending().await,
            Step::Status(code, text) => {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", u16::from(code).into());
                trailers.insert("grpc-message", text.parse().unwrap());
                return stream.send_trailers(trailers);
            }
            Step::Reset => {
                // A reset overtakes what is still queued.
                tokio::time::sleep(Duration::from_millis(200)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            Step::GoAway => {
                end.send(Some(Reason::INTERNAL_ERROR)).unwrap();
                return std::future::pending().await;
            }
            Step::Cut => {
                end.send(None).unwrap();
                return std::future::pending().await;
            }
        }
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    stream.send_trailers(trailers)
}

/// StatusResponse.
fn status(script: &Script) -> Vec<u8> {
    let mut header = Vec::new();
    number(&mut header, 1, script.cluster_id);
    number(&mut header, 2, script.member_id);
    number(&mut header, 3, script.revision);
    let mut message = Vec::new();
    bytes(&mut message, 1, &header);
    bytes(&mut message, 2, script.version.as_bytes());
    number(&mut message, 4, script.leader);
    number(&mut message, 5, script.committed);
    number(&mut message, 7, script.applied);
    for error in &script.errors {
        bytes(&mut message, 8, error.as_bytes());
    }
    number(&mut message, 10, u64::from(script.learner));
    message
}

/// MemberListResponse.
fn members(script: &Script) -> Vec<u8> {
    let mut message = Vec::new();
    for (id, name) in &script.members {
        let mut member = Vec::new();
        number(&mut member, 1, *id);
        bytes(&mut member, 2, name.as_bytes());
        bytes(&mut message, 2, &member);
    }
    message
}

/// SnapshotResponse in its gRPC frame.
pub fn snapshot(blob: &[u8], remaining: u64, version: &str) -> Vec<u8> {
    let mut message = Vec::new();
    number(&mut message, 2, remaining);
    bytes(&mut message, 3, blob);
    bytes(&mut message, 4, version.as_bytes());
    framed(&message)
}

/// gRPC: uncompressed, length, message.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

fn acceptor(pair: &Pair) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&pair.cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
