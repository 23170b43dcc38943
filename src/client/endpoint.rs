//! Endpoints as people type them: what to connect to, whether to speak TLS, and which name to check.
//!
//! Accepted is what etcdctl accepts (`etcd-io/etcd client/v3/internal/endpoint/endpoint.go`, v3.7.1):
//!
//! | typed | connects to | TLS |
//! |---|---|---|
//! | `host:port`, `host`, `[v6]:port`, `v6` | TCP, port 2379 when none is typed | by default |
//! | `http://…` | TCP | never, whatever the flags say |
//! | `https://…` | TCP | always |
//! | `unix:PATH`, `unix://PATH` | unix socket | by default |
//! | `unixs:PATH`, `unixs://PATH` | unix socket | always |
//!
//! The default is TLS if a TLS flag is given, or if the first of all endpoints speaks it. A TLS flag is any of `--cacert`, `--cert`, `--key`, `--insecure-skip-tls-verify`, `--insecure-transport=false`:
//! the rule of etcdctl 3.7. Two deviations, both on purpose: etcdctl lets the scheme of its *first* endpoint decide
//! for all of them, those with another scheme too, which sends `https://` endpoints plaintext or the reverse; here a scheme
//! counts where it is typed. And a host without a port means etcd's client port here, where etcdctl falls back to 443.

use std::fmt;
use std::path::PathBuf;

use rustls::pki_types::ServerName;

use crate::error::{Error, Result};

/// etcd's registered client port.
const CLIENT_PORT: u16 = 2379;

/// One endpoint, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    shown: String,
    /// Where the socket is.
    pub address: Address,
    /// The name that the server's certificate must be valid for; `None` means plaintext.
    pub tls_name: Option<ServerName<'static>>,
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP address (IPv6 without brackets), and port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Understands one endpoint. `tls_by_default` is for those whose scheme does not say (see the module's table).
    ///
    /// [`crate::error::Kind::Usage`] for a scheme, host or port that makes no sense.
    pub fn parse(typed: &str, tls_by_default: bool) -> Result<Endpoint> {
        let typed = typed.trim();
        let shown = without_userinfo(typed);
        let refuse = |why: &str| {
            Error::usage(format!("endpoint {shown:?}: {why}"))
                .hint("an endpoint is host:port, http://host:port, https://host:port or unix:PATH")
        };
        let (scheme, rest) = split_scheme(&shown);
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" | "unixs" => true,
            "http" => false,
            "" | "unix" => tls_by_default,
            _ => return Err(refuse("this scheme is unknown")),
        };
        let mut with_port = None;
        let (address, name) = if scheme.to_ascii_lowercase().starts_with("unix") {
            if rest.is_empty() {
                return Err(refuse("the path of the socket is missing"));
            }
            (Address::Unix(rest.into()), unix_name(rest).to_owned())
        } else {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            let (host, port) = split_port(authority).map_err(refuse)?;
            if port.is_none() {
                let (head, tail) = (shown.strip_suffix(rest), rest.strip_prefix(authority));
                let bare = authority.trim_matches(['[', ']']);
                let bare = match bare.contains(':') {
                    true => format!("[{bare}]"),
                    false => bare.to_owned(),
                };
                with_port = head
                    .zip(tail)
                    .map(|(head, tail)| format!("{head}{bare}:{CLIENT_PORT}{tail}"));
            }
            let port = port.unwrap_or(CLIENT_PORT);
            let name = host.split('%').next().unwrap_or(&host).to_owned();
            (Address::Tcp(host, port), name)
        };
        let tls_name = match tls {
            false => None,
            true => Some(
                ServerName::try_from(name)
                    .map_err(|_| refuse("this is no host name that a certificate could be for"))?,
            ),
        };
        Ok(Endpoint {
            shown: with_port.unwrap_or(shown),
            address,
            tls_name,
        })
    }

    /// The `:authority` of requests: where we believe we are talking to.
    pub fn authority(&self) -> String {
        match &self.address {
            Address::Tcp(host, port) => {
                let host = host.split('%').next().unwrap_or(host);
                match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                }
            }
            Address::Unix(_) => "localhost".into(),
        }
    }

    /// The same address with the other scheme, for hints: `https://…` for a plaintext endpoint and the reverse.
    pub fn other_scheme(&self) -> String {
        match (&self.address, &self.tls_name) {
            (Address::Tcp(..), Some(_)) => format!("http://{}", self.authority()),
            (Address::Tcp(..), None) => format!("https://{}", self.authority()),
            (Address::Unix(path), Some(_)) => format!("unix:{}", path.display()),
            (Address::Unix(path), None) => format!("unixs:{}", path.display()),
        }
    }
}

impl fmt::Display for Endpoint {
    /// As it was typed, without user names and passwords, and with the port that was assumed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// `user:password@` is nothing that etcd understands, and nothing that belongs into messages.
fn without_userinfo(typed: &str) -> String {
    let (head, rest) = match typed.find("://") {
        Some(at) => typed.split_at(at + 3),
        None => ("", typed),
    };
    if head.starts_with("unix") || rest.starts_with("unix") {
        return typed.to_owned();
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may itself hold `/` or `@`: everything up to the last `@` of the whole text goes.
    let (authority, tail) = rest.split_at(end);
    let kept = match (authority.rfind('@'), tail.rfind('@')) {
        (_, Some(at)) => tail.split_at(at + 1).1.to_owned(),
        (Some(at), None) => format!("{}{tail}", authority.split_at(at + 1).1),
        (None, None) => rest.to_owned(),
    };
    format!("{head}{kept}")
}

/// `scheme://rest`, `unix:rest`, `unixs:rest` or no scheme at all.
fn split_scheme(text: &str) -> (&str, &str) {
    if let Some((scheme, rest)) = text.split_once("://") {
        return (scheme, rest);
    }
    match text.split_once(':') {
        Some((scheme @ ("unix" | "unixs"), rest)) => (scheme, rest),
        _ => ("", text),
    }
}

/// etcd's own unix sockets are called `localhost:PORT` or `IP:PORT`, and its certificates are for that host. A socket
/// with another name is on this machine all the same.
fn unix_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => host,
        _ => "localhost",
    }
}

/// Host, and port if there is one, of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_port(authority: &str) -> std::result::Result<(String, Option<u16>), &'static str> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or("the ] is missing")?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err("after ] comes :port or nothing"),
        }
    } else if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        (authority, None)
    } else {
        match authority.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err("too many colons: IPv6 needs [ ]"),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        None => None,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => return Err("the port is no number from 1 to 65535"),
        },
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'"') {
        return Err("a host has no spaces in it");
    }
    Ok((host.replace("%25", "%"), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(typed: &str, tls_flags: bool) -> (String, u16, Option<String>) {
        let endpoint = Endpoint::parse(typed, tls_flags).unwrap();
        let name = endpoint.tls_name.map(|name| name.to_str().into_owned());
        match endpoint.address {
            Address::Tcp(host, port) => (host, port, name),
            Address::Unix(path) => panic!("{typed} became {path:?}"),
        }
    }

    fn unix(typed: &str, tls_flags: bool) -> (String, Option<String>) {
        let endpoint = Endpoint::parse(typed, tls_flags).unwrap();
        let name = endpoint.tls_name.map(|name| name.to_str().into_owned());
        match endpoint.address {
            Address::Unix(path) => (path.display().to_string(), name),
            Address::Tcp(..) => panic!("{typed} became TCP"),
        }
    }

    #[test]
    fn the_truth_table_of_etcdctl_3_7() {
        let plain = |host: &str| (host.to_owned(), 2379, None);
        let tls = |host: &str| (host.to_owned(), 2379, Some(host.to_owned()));
        assert_eq!(tcp("127.0.0.1:2379", false), plain("127.0.0.1"));
        assert_eq!(tcp("127.0.0.1:2379", true), tls("127.0.0.1"));
        assert_eq!(tcp("http://127.0.0.1:2379", true), plain("127.0.0.1"));
        assert_eq!(tcp("https://127.0.0.1:2379", false), tls("127.0.0.1"));
        assert_eq!(unix("unix:/run/etcd", false), ("/run/etcd".into(), None));
        assert_eq!(
            unix("unix:/run/etcd", true),
            ("/run/etcd".into(), Some("localhost".into()))
        );
        assert_eq!(
            unix("unixs:///run/127.0.0.1:1", false),
            ("/run/127.0.0.1:1".into(), Some("127.0.0.1".into()))
        );
        assert_eq!(
            unix("unix://localhost:20", false),
            ("localhost:20".into(), None)
        );
        let error = Endpoint::parse("foo://host:1", true).unwrap_err();
        assert!(error.to_string().contains("scheme is unknown"), "{error}");
    }

    #[test]
    fn hosts_ports_and_ipv6() {
        assert_eq!(tcp("etcd-1", false), ("etcd-1".into(), 2379, None));
        assert_eq!(tcp("https://h/", true).1, 2379);
        assert_eq!(tcp("HTTPS://h:1/x?y#z", true).1, 1);
        assert_eq!(tcp(" [::1]:99 ", false), ("::1".into(), 99, None));
        assert_eq!(tcp("::1", false), ("::1".into(), 2379, None));
        assert_eq!(
            tcp("https://[fe80::1%25eth0]", true),
            ("fe80::1%eth0".into(), 2379, Some("fe80::1".into()))
        );
        assert_eq!(
            Endpoint::parse("[::1]:99", false).unwrap().authority(),
            "[::1]:99"
        );
        for (wrong, why) in [
            ("", "host is missing"),
            (":2379", "host is missing"),
            ("h:", "port"),
            ("h:0", "port"),
            ("h:65536", "port"),
            ("h:+1", "port"),
            ("a:b:1", "too many colons"),
            ("[::1:99", "] is missing"),
            ("[::1]99", "after ]"),
            ("a b:1", "spaces"),
            ("unix:", "path of the socket"),
            ("https://a..b:1", "certificate"),
        ] {
            let error = Endpoint::parse(wrong, false).unwrap_err();
            assert!(error.to_string().contains(why), "{wrong:?}: {error}");
            assert_eq!(error.kind(), crate::error::Kind::Usage);
        }
    }

    #[test]
    fn the_port_that_is_assumed_shows() {
        for (typed, shown) in [
            ("127.0.0.1", "127.0.0.1:2379"),
            ("https://h", "https://h:2379"),
            ("https://h/x", "https://h:2379/x"),
            ("http://u:p@h", "http://h:2379"),
            ("::1", "[::1]:2379"),
            ("[::1]", "[::1]:2379"),
            ("h:1", "h:1"),
            ("unix:/run/etcd", "unix:/run/etcd"),
        ] {
            let endpoint = Endpoint::parse(typed, false).unwrap();
            assert_eq!(endpoint.to_string(), shown);
        }
    }

    #[test]
    fn passwords_never_show() {
        for typed in [
            "https://u:s3cret@h:1",
            "u:s3cret@h:1",
            "https://u:s3/cret@h:1",
            "https://u:s3@cret@h:1/x",
            "foo://u:s3cret@h:1",
            "u:s3cret@h:x",
        ] {
            let text = match Endpoint::parse(typed, true) {
                Ok(endpoint) => format!("{endpoint} {endpoint:?}"),
                Err(error) => error.to_string(),
            };
            assert!(!text.contains("cret"), "{typed}: {text}");
        }
    }
}
