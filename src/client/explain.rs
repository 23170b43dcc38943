//! From what went wrong on a connection to what a person can do about it.
//!
//! Every function gives one [`Kind::Unreachable`](crate::error::Kind::Unreachable) error that begins with the endpoint,
//! says the cause, and where a flag would help names it. Text that a peer sent is escaped and cut before it is shown.

use super::connect::Target;
use super::endpoint::Address;
use super::mistrust::tls_error;
use super::tls::Tls;
use super::wire::{End, Seen};
use crate::error::Error;
use crate::report::printable;

/// Where in connecting we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asking DNS.
    Resolve,
    /// TCP or unix socket.
    Socket,
    /// TLS handshake.
    Tls,
    /// HTTP/2 preface.
    Http2,
}

/// What a peer turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// TLS.
    Tls,
    /// HTTP/1.x, and it understood enough of us to complain.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

/// The one call that needs the whole cluster.
pub const LOG_IN: &str = "log in";

/// Recognises a protocol by its first bytes.
pub fn recognise(head: &[u8]) -> Option<Speaks> {
    match head {
        // TLS record: alert or handshake, version 3.x.
        [0x15 | 0x16, 3, ..] => Some(Speaks::Tls),
        [b'H', b'T', b'T', b'P', b'/', ..] => Some(Speaks::Http1),
        [_, _, _, 4, _, 0, 0, 0, 0, ..] => Some(Speaks::Http2),
        _ => None,
    }
}

/// A deadline passed while connecting.
pub fn silent(target: &Target, stage: Stage) -> Error {
    let waited = seconds(target.deadlines.connect);
    let (doing, hint) = match stage {
        Stage::Resolve => (
            "no answer from DNS",
            "use the IP address, or check /etc/resolv.conf",
        ),
        Stage::Socket => (
            "no answer to the TCP connection",
            "check address and port, and whether a firewall drops packets; --dial-timeout waits longer",
        ),
        Stage::Tls => (
            "the connection was accepted, but the TLS handshake got no answer",
            "check that this is etcd's client port and that etcd is not hanging; --dial-timeout waits longer",
        ),
        Stage::Http2 => (
            "the connection was accepted, but HTTP/2 got no answer",
            "check that this is etcd's client port and that etcd is not hanging; --dial-timeout waits longer",
        ),
    };
    at(target, format!("{doing} within {waited}")).hint(hint)
}

/// A host without an address.
pub fn no_address(target: &Target, host: &str, error: Option<std::io::Error>) -> Error {
    let hint = "check the name, or use the IP address; the server's certificate must then be for the IP address";
    match error {
        Some(error) => at(target, format!("cannot find the address of {host}"))
            .because(error)
            .hint(hint),
        None => at(target, format!("{host} has no address")).hint(hint),
    }
}

/// The socket could not be opened.
pub fn no_socket(target: &Target, error: std::io::Error) -> Error {
    use std::io::ErrorKind::{
        ConnectionRefused, HostUnreachable, NetworkUnreachable, NotFound, PermissionDenied,
    };
    let unix = matches!(target.endpoint.address, Address::Unix(_));
    let (what, hint) = match error.kind() {
        ConnectionRefused => (
            "connection refused",
            "is etcd running there, and is this the port of its --listen-client-urls? see: ss -ltnp",
        ),
        HostUnreachable | NetworkUnreachable => (
            "no route to this host",
            "check the address and this machine's network",
        ),
        NotFound if unix => (
            "there is no such socket",
            "the socket is where --listen-client-urls=unix://… of etcd says, seen from etcd's working directory",
        ),
        PermissionDenied if unix => (
            "no permission to open the socket",
            "run as the user that etcd runs as, or as root",
        ),
        _ => return at(target, "cannot connect").because(error),
    };
    at(target, what).hint(hint)
}

/// The TLS handshake failed.
pub fn no_tls(target: &Target, tls: &Tls, end: &End, other: Option<Speaks>) -> Error {
    let plaintext = format!("use {}", target.endpoint.other_scheme());
    match (end, other) {
        (_, Some(Speaks::Http2)) => at(
            target,
            "TLS was tried, but this port speaks plaintext HTTP/2",
        )
        .hint(plaintext),
        (_, Some(Speaks::Http1)) => at(
            target,
            "TLS was tried, but this port speaks plaintext HTTP/1.1: it may be etcd's peer port or another server",
        )
        .hint("use etcd's client port (2379 unless --listen-client-urls says otherwise)"),
        (End::Tls(rustls::Error::InvalidMessage(_)), _) => {
            at(target, "TLS was tried, but what came back is no TLS").hint(plaintext)
        }
        (End::Tls(error), _) => tls_error(target, tls, error),
        (End::Io(_, text), _) if !end.is_hangup() => {
            at(target, format!("the TLS handshake failed: {text}"))
        }
        _ => at(target, "the server hung up during the TLS handshake").hint(
            "if the port speaks plaintext, use http://; if it wants a client certificate, --cert and --key; etcd's log has the reason",
        ),
    }
}

/// After socket and TLS, no HTTP/2 came.
pub fn no_http2(target: &Target, seen: &Seen, other: Option<Speaks>) -> Error {
    let tls = match &target.endpoint.tls_name {
        Some(_) => target.tls.as_deref(),
        None => None,
    };
    match (other, seen.end(), tls) {
        (Some(Speaks::Tls), _, None) => at(target, "plaintext was tried, but this port speaks TLS").hint(
            format!(
                "use {} with --cacert (and --cert, --key if the server asks for a client certificate)",
                target.endpoint.other_scheme()
            ),
        ),
        (Some(Speaks::Http1), ..) => at(
            target,
            format!("this port answers in HTTP/1.1: {}", first_line(&seen.head())),
        )
        .hint("it may be etcd's peer or metrics port; use the client port, of --listen-client-urls, 2379 by default"),
        (_, Some(End::Tls(error)), Some(tls)) => tls_error(target, tls, &error),
        (_, Some(end), None) if end.is_hangup() => at(target, "the server hung up without an answer")
            .hint("check that this is etcd's client port; if it speaks TLS, use https:// with --cacert"),
        (_, Some(end), Some(_)) if end.is_hangup() => at(target, "the server hung up after the TLS handshake")
            .hint("check that this is etcd's client port; etcd's log has the reason"),
        (_, Some(End::Io(_, text)), _) => at(target, format!("the connection broke: {text}")),
        _ => at(
            target,
            format!("this is no HTTP/2 server; it said {}", printable(&seen.head())),
        )
        .hint("use etcd's client port, 2379 by default"),
    }
}

/// A call failed. `doing` completes "could not …".
pub fn call(target: &Target, doing: &str, error: &etcd_client::Error, seen: &Seen) -> Error {
    match error {
        etcd_client::Error::GRpcStatus(status) => answered(target, doing, status, seen),
        other => at(
            target,
            format!("could not {doing}: {}", shorten(&other.to_string())),
        ),
    }
}

/// A call ended with a gRPC status, of the server's or of the stack underneath us.
fn answered(target: &Target, doing: &str, status: &tonic::Status, seen: &Seen) -> Error {
    use tonic::Code;
    let said = shorten(status.message());
    let has = |text: &str| status.message().contains(text);
    if let Some(error) = broken(target, doing, status, seen) {
        return error;
    }
    if has("permission denied") {
        return at(target, format!("no permission to take a snapshot: {said}"))
            .hint("with authentication on, only users with the root role may: --user root, or a client certificate whose CN is such a user");
    }
    if has("user name is empty") || has("user name not found") {
        return at(
            target,
            format!("could not {doing}: authentication is on, and nobody is logged in"),
        )
        .hint("give --user (with the root role), or a client certificate whose CN is such a user");
    }
    if has("invalid user ID or password") {
        return at(target, "user name or password is wrong".to_owned())
            .hint("check --user and --password");
    }
    if has("user not found") {
        return at(target, format!("could not {doing}: {said}")).hint(
            "there is no such user; the CN of a client certificate counts as a user name, too",
        );
    }
    let not_etcd = "use etcd's client port, 2379 by default; 2380 is for peers";
    match said.split_once("mapped from HTTP status code ") {
        Some((_, "404")) => {
            return at(target, "this is not etcd's v3 client API (HTTP status 404)").hint(not_etcd);
        }
        Some((_, code)) => {
            return at(
                target,
                format!("could not {doing}: the answer is HTTP status {code} and not gRPC"),
            )
            .hint("is there a proxy or load balancer in between? use etcd's own client port");
        }
        None if status.code() == Code::Unimplemented => {
            return at(target, format!("this is not etcd's v3 client API: {said}")).hint(not_etcd);
        }
        None => {}
    }
    let text = match said.is_empty() {
        true => format!("could not {doing}: {}", status.code().description()),
        false => format!("could not {doing}: {said}"),
    };
    at(target, text)
}

/// The connection under a call broke: says how, instead of "transport error". `None` when the server answered.
fn broken(target: &Target, doing: &str, status: &tonic::Status, seen: &Seen) -> Option<Error> {
    let mut cause = std::error::Error::source(status);
    let mut deepest = None;
    while let Some(error) = cause {
        deepest = Some(error);
        cause = error.source();
    }
    // A status that the server sent has no cause underneath.
    let deepest = shorten(&deepest?.to_string());
    let how = match (seen.end(), target.tls.as_deref()) {
        (Some(End::Tls(error)), Some(tls)) if target.endpoint.tls_name.is_some() => {
            return Some(tls_error(target, tls, &error));
        }
        (Some(End::Io(_, text)), _) => text,
        (Some(End::Closed), _) if !deepest.contains("GOAWAY") => {
            "the server closed the connection".to_owned()
        }
        // Nothing ended the connection from outside: hyper did, for want of an answer to its ping.
        (None, _) if deepest.contains("broken pipe") || deepest.contains("keep-alive") => {
            "no answer to a ping in time".to_owned()
        }
        _ => deepest,
    };
    Some(at(target, format!("could not {doing}: {how}")))
}

/// Text that begins with the endpoint.
pub fn at(target: &Target, what: impl Into<String>) -> Error {
    Error::unreachable(what).within(&target.endpoint)
}

/// A call got no answer in time.
pub fn unanswered(target: &Target, doing: &str, waited: std::time::Duration) -> Error {
    let error = at(
        target,
        format!("could not {doing}: no answer within {}", seconds(waited)),
    );
    match doing {
        LOG_IN => error.hint(
            "logging in with a password needs a leader; a client certificate (--cert, --key) whose CN is the user does not",
        ),
        _ => error.hint("etcd may be hanging; its log has the reason"),
    }
}

/// `5s`, `0.2s`.
pub fn seconds(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

/// Text from a peer: printable, one line, not endless.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

fn first_line(head: &[u8]) -> String {
    printable(
        head.split(|b| *b == b'\r' || *b == b'\n')
            .next()
            .unwrap_or(head),
    )
}
