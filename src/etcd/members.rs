//! Member records: the JSON in the `members` bucket and in configuration changes, and the hex of their keys
//! [etcd v3.7.1 server/etcdserver/api/membership/member.go, server/storage/schema/membership.go].

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::etcd::facts::Member;
use crate::proto::gojson;
use crate::report::printable;

/// The fields of a member record, in the order in which Go writes them.
#[derive(Serialize)]
struct Written<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "clientURLs", skip_serializing_if = "<[String]>::is_empty")]
    client_urls: &'a [String],
}

/// The same as found: anything may be absent or null, and unknown fields do not matter.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    id: Option<u64>,
    #[serde(rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    #[serde(rename = "isLearner")]
    is_learner: Option<bool>,
    name: Option<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Option<Vec<String>>,
    #[serde(rename = "isPromote")]
    is_promote: Option<bool>,
}

/// A member in the context of a configuration change, which may be the promotion of a learner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeContext {
    /// The member.
    pub member: Member,
    /// Whether the change makes a voter of a learner.
    pub is_promote: bool,
}

/// Decodes a member record. `Error::damaged` says what was found; a caller adds the place.
pub fn decode(json: &[u8]) -> Result<Member> {
    decode_context(json).map(|context| context.member)
}

/// Decodes the context of a configuration change that adds or updates a member.
pub fn decode_context(json: &[u8]) -> Result<ChangeContext> {
    let broken = || Error::damaged(format!("{}: not the JSON of a member", printable(json)));
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(broken().because("expected an object"));
    }
    let found: Found = serde_json::from_slice(json).map_err(|e| broken().because(e))?;
    Ok(ChangeContext {
        member: Member {
            id: found.id.unwrap_or_default(),
            name: found.name.unwrap_or_default(),
            peer_urls: found.peer_urls.unwrap_or_default(),
            client_urls: found.client_urls.unwrap_or_default(),
            is_learner: found.is_learner.unwrap_or_default(),
        },
        is_promote: found.is_promote.unwrap_or_default(),
    })
}

/// Encodes a member record byte for byte as Go does. The URLs are written as they stand: sort them first.
pub fn encode(member: &Member) -> Result<Vec<u8>> {
    let written = Written {
        id: member.id,
        peer_urls: &member.peer_urls,
        is_learner: member.is_learner,
        name: &member.name,
        client_urls: &member.client_urls,
    };
    gojson::to_string(&written).map(String::into_bytes)
}

/// The key of a member: lower-case hex without leading zeros.
pub fn format_id(id: u64) -> String {
    format!("{id:x}")
}

/// The id behind a key of `members` or `members_removed`; only what [`format_id`] gives is a key.
pub fn parse_id(key: &[u8]) -> Result<u64> {
    std::str::from_utf8(key)
        .ok()
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .filter(|id| format_id(*id).as_bytes() == key)
        .ok_or_else(|| {
            Error::damaged(format!(
                "{}: not a member id (lower-case hex without leading zeros)",
                printable(key)
            ))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: &str =
        r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default"}"#;

    fn default_member() -> Member {
        Member {
            id: 0x8e9e_05c5_2164_694d,
            name: "default".into(),
            peer_urls: vec!["http://localhost:2380".into()],
            ..Member::default()
        }
    }

    #[test]
    fn the_default_member_is_what_etcdutl_writes() {
        assert_eq!(encode(&default_member()).unwrap(), DEFAULT.as_bytes());
        assert_eq!(decode(DEFAULT.as_bytes()).unwrap(), default_member());
    }

    #[test]
    fn every_field_in_gos_order() {
        let member = Member {
            id: u64::MAX,
            name: "a<&>\u{2028}".into(),
            peer_urls: vec![],
            client_urls: vec!["https://10.0.0.1:2379".into()],
            is_learner: true,
        };
        let json = concat!(
            r#"{"id":18446744073709551615,"peerURLs":[],"isLearner":true,"#,
            r#""name":"a\u003c\u0026\u003e\u2028","clientURLs":["https://10.0.0.1:2379"]}"#
        );
        assert_eq!(encode(&member).unwrap(), json.as_bytes());
        assert_eq!(decode(json.as_bytes()).unwrap(), member);
    }

    #[test]
    fn decoding_is_tolerant() {
        let json = br#" {"extra":{"a":[1,null]},"peerURLs":null,"id":7,"isPromote":true} "#;
        let context = decode_context(json).unwrap();
        assert!(context.is_promote);
        assert_eq!(
            context.member,
            Member {
                id: 7,
                ..Member::default()
            }
        );
    }

    #[test]
    fn what_is_not_a_member_is_told() {
        for json in [
            &br#"{"id":1"#[..],
            br#"{"id":18446744073709551616}"#,
            br#"{"id":-1}"#,
            br#"{"peerURLs":[1]}"#,
            br#"{"id":1} x"#,
            b"",
            b"[]",
            b"\xff",
        ] {
            let error = decode(json).unwrap_err().to_string();
            assert!(error.contains("not the JSON of a member"), "{error}");
        }
        let deep = "[".repeat(100_000);
        assert!(decode(format!("{{\"x\":{deep}").as_bytes()).is_err());
    }

    #[test]
    fn keys_have_no_leading_zeros() {
        assert_eq!(format_id(0x084b_af45_ab3b_ad8f), "84baf45ab3bad8f");
        assert_eq!(parse_id(b"84baf45ab3bad8f").unwrap(), 0x084b_af45_ab3b_ad8f);
        for key in [
            &b""[..],
            b"084baf45ab3bad8f",
            b"84BAF45AB3BAD8F",
            b"+1",
            b"g",
            b"10000000000000000",
            b"\xff",
        ] {
            assert!(parse_id(key).is_err(), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            id: u64,
            name: String,
            peer_urls: Vec<String>,
            client_urls: Vec<String>,
            is_learner: bool,
        ) {
            let member = Member { id, name, peer_urls, client_urls, is_learner };
            prop_assert_eq!(decode(&encode(&member).unwrap()).unwrap(), member);
            prop_assert_eq!(parse_id(format_id(id).as_bytes()).unwrap(), id);
        }

        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let _ = parse_id(&bytes);
        }
    }
}
