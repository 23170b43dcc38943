//! Peer URLs: what is accepted, and the one form in which they are hashed and compared.
//!
//! [etcd v3.7.1 client/pkg/types/urls.go; net/url and net of Go 1.24]. The scheme is lower-cased, the rest
//! stays as typed. We are narrower than upstream where a URL that it takes could never be
//! dialled: an empty host, a port outside 1 to 65535, a query, a user name.

use std::net::Ipv6Addr;

use crate::error::{Error, Result};
use crate::report::printable;

/// The URLs of a comma-separated list, in byte order. `flag` is where the list came from, for messages.
///
/// `Error::usage` names the URL that is wrong, and what to type.
pub fn parse_list(flag: &str, list: &str) -> Result<Vec<String>> {
    let mut urls = list
        .split(',')
        .map(|url| parse(flag, url))
        .collect::<Result<Vec<_>>>()?;
    urls.sort_unstable();
    match urls.array_windows().find(|[a, b]| a == b) {
        Some([twice, _]) => Err(Error::usage(format!("{flag}: {twice} is given twice"))),
        None => Ok(urls),
    }
}

/// One URL in its one form. `flag` is where it came from, for messages.
pub fn parse(flag: &str, text: &str) -> Result<String> {
    let text = text.trim();
    normalise(text).map_err(|problem| {
        Error::usage(format!(
            "{flag}: '{}' is not a peer URL: {}",
            printable(text.as_bytes()),
            problem.what
        ))
        .hint(format!("type it like {}", problem.example))
    })
}

/// What is wrong with a URL, and what a right one looks like.
struct Problem {
    what: &'static str,
    example: &'static str,
}

const HTTP_EXAMPLE: &str = "https://10.0.0.1:2380 or https://[fd00::1]:2380";
const UNIX_EXAMPLE: &str = "unix:///run/etcd/peer.sock or unix://localhost:2380";

fn normalise(text: &str) -> std::result::Result<String, Problem> {
    let problem = |what| Problem {
        what,
        example: HTTP_EXAMPLE,
    };
    if text.is_empty() {
        return Err(problem("it is empty"));
    }
    let (scheme, rest) = text.split_once("://").ok_or(problem("it has no scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" => check_http(rest).map_err(problem)?,
        "unix" | "unixs" => check_unix(rest).map_err(|what| Problem {
            what,
            example: UNIX_EXAMPLE,
        })?,
        _ => return Err(problem("its scheme is not http, https, unix or unixs")),
    }
    Ok(format!("{scheme}://{rest}"))
}

fn check_http(authority: &str) -> std::result::Result<(), &'static str> {
    if authority.contains('/') {
        return Err("it has a path; even a '/' at the end is one");
    }
    if authority.contains(['?', '#']) {
        return Err("it has a query or a fragment");
    }
    check_host_port(authority)
}

/// A socket is named by a path, or by `host:port` like the socket file's name in upstream's own tests.
fn check_unix(rest: &str) -> std::result::Result<(), &'static str> {
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if path.is_empty() && authority.is_empty() {
        return Err("it names no socket");
    }
    if !path.chars().all(is_path_char) {
        return Err("its path has characters that a URL would escape");
    }
    if authority.is_empty() {
        return Ok(());
    }
    check_host_port(authority)
}

fn check_host_port(authority: &str) -> std::result::Result<(), &'static str> {
    let (host, port) = authority
        .rsplit_once(':')
        .ok_or("it does not have the form host:port")?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(port.parse(), Ok(1..=65535u32))
    {
        return Err("its port is not a number from 1 to 65535");
    }
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal
            .strip_suffix(']')
            .ok_or("its IPv6 address does not end with ']'")?;
        return check_ipv6(literal);
    }
    match host {
        "" => Err("it has no host"),
        _ if host.contains('@') => Err("it has a user name"),
        _ if host.contains(':') => Err("an IPv6 address needs brackets"),
        _ if !host.chars().all(is_host_char) => {
            Err("its host has characters that no host name has")
        }
        _ => Ok(()),
    }
}

/// An address, perhaps with a zone: `fe80::1%25eth0`, the percent sign escaped as URLs want it.
fn check_ipv6(literal: &str) -> std::result::Result<(), &'static str> {
    let (address, zone) = match literal.split_once("%25") {
        Some((address, zone)) => (address, Some(zone)),
        None => (literal, None),
    };
    if zone.is_some_and(|zone| zone.is_empty() || !zone.chars().all(is_host_char)) {
        return Err("the zone of its IPv6 address is not a name");
    }
    match address.parse::<Ipv6Addr>() {
        Ok(_) => Ok(()),
        Err(_) => Err("what is between its brackets is not an IPv6 address"),
    }
}

fn is_host_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// What Go's net/url leaves as it is in a path.
fn is_path_char(c: char) -> bool {
    is_host_char(c) || matches!(c, '/' | ':' | '@' | '+' | '$' | '&' | '=' | '~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_take_their_one_form() {
        for (typed, form) in [
            ("http://localhost:2380", "http://localhost:2380"),
            (
                " HTTPS://Node-1.example.com:2380\t",
                "https://Node-1.example.com:2380",
            ),
            ("http://[::1]:2380", "http://[::1]:2380"),
            (
                "http://[FE80::1%25eth0]:02380",
                "http://[FE80::1%25eth0]:02380",
            ),
            ("http://etcd_1:1", "http://etcd_1:1"),
            ("Unix:///run/etcd/peer.sock", "unix:///run/etcd/peer.sock"),
            ("unixs://localhost:12345", "unixs://localhost:12345"),
        ] {
            assert_eq!(parse("--x", typed).unwrap(), form);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_an_example() {
        for (typed, what) in [
            ("", "it is empty"),
            ("localhost:2380", "no scheme"),
            ("ftp://localhost:21", "not http, https, unix or unixs"),
            ("http://localhost", "form host:port"),
            ("http://localhost:", "port is not a number"),
            ("http://localhost:0", "port is not a number"),
            ("http://localhost:65536", "port is not a number"),
            (
                "http://localhost:99999999999999999999",
                "port is not a number",
            ),
            ("http://localhost:+80", "port is not a number"),
            ("http://localhost:2380/", "it has a path"),
            ("http://localhost:2380/raft", "it has a path"),
            ("http://localhost:2380?x=1", "query"),
            ("http://:2380", "no host"),
            ("http://me@localhost:2380", "user name"),
            ("http://::1:2380", "needs brackets"),
            ("http://[::1:2380", "does not end with ']'"),
            ("http://[::g]:2380", "not an IPv6 address"),
            ("http://[127.0.0.1]:2380", "not an IPv6 address"),
            ("http://[fe80::1%25]:2380", "zone"),
            ("http://[fe80::1%eth0]:2380", "not an IPv6 address"),
            ("http://a b:2380", "no host name has"),
            ("http://ä:2380", "no host name has"),
            ("unix://", "names no socket"),
            ("unix:///a b", "would escape"),
            ("unix://name/a", "form host:port"),
        ] {
            let error = parse("--initial-advertise-peer-urls", typed).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(what), "{typed}: {text}");
            assert!(
                text.starts_with("--initial-advertise-peer-urls: "),
                "{text}"
            );
            assert!(error.hint_text().unwrap().starts_with("type it like "));
            assert_eq!(error.kind(), crate::error::Kind::Usage);
        }
    }

    #[test]
    fn lists_are_sorted_and_have_no_duplicates() {
        let urls = parse_list("--x", "http://b:1, http://a:2,http://a:1").unwrap();
        assert_eq!(urls, ["http://a:1", "http://a:2", "http://b:1"]);
        let error = parse_list("--x", "http://b:1,HTTP://b:1").unwrap_err();
        assert_eq!(error.to_string(), "--x: http://b:1 is given twice");
        assert!(parse_list("--x", "").is_err());
        assert!(parse_list("--x", "http://b:1,").is_err());
    }

    proptest! {
        #[test]
        fn any_text_ends_without_panic_and_the_form_is_stable(text in "(?i)(https?|unixs?)://\\PC*|\\PC*") {
            if let Ok(form) = parse("--x", &text) {
                prop_assert_eq!(parse("--x", &form).unwrap(), form);
            }
        }
    }
}
