//! Why TLS said no, in words: a certificate that does not convince us, or an alert by which the server turned us away.

use rustls::{AlertDescription, CertificateError};

use super::connect::Target;
use super::explain::{at, shorten};
use super::flaw::{Flaw, Whose};
use super::tls::{Identity, Tls, Trust};
use super::verifier::is_ca_as_end_entity;
use crate::error::Error;

/// rustls gave up, or the server did by an alert.
pub fn tls_error(target: &Target, tls: &Tls, error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(why) => certificate(target, tls, why),
        rustls::Error::AlertReceived(alert) => alerted(target, tls, *alert),
        rustls::Error::PeerIncompatible(why) => at(
            target,
            format!(
                "no common ground in TLS: {} (we speak TLS 1.2 and 1.3)",
                words(&format!("{why:?}"))
            ),
        ),
        rustls::Error::PeerMisbehaved(why) => at(
            target,
            format!(
                "the server broke a rule of TLS: {}",
                words(&format!("{why:?}"))
            ),
        ),
        rustls::Error::InvalidMessage(why) => at(
            target,
            format!(
                "the server sent what is no TLS: {}",
                words(&format!("{why:?}"))
            ),
        ),
        rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. } => at(
            target,
            "the server broke a rule of TLS: a message came out of turn",
        ),
        other => at(target, format!("TLS failed: {other}")),
    }
}

/// The server's certificate does not convince us.
fn certificate(target: &Target, tls: &Tls, why: &CertificateError) -> Error {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, InvalidPurposeContext, NotValidForName,
        NotValidForNameContext, NotValidYet, NotValidYetContext, Other, UnknownIssuer,
    };
    const SKIP: &str =
        "or --insecure-skip-tls-verify, which trusts anyone who answers at this address";
    match why {
        UnknownIssuer | BadSignature => match &tls.trust {
            Trust::File(path) => at(
                target,
                format!(
                    "the server's certificate was not signed by any CA in {}",
                    path.display()
                ),
            )
            .hint(
                "--cacert must be the CA that signed the server's certificate (kubeadm: /etc/kubernetes/pki/etcd/ca.crt, not /etc/kubernetes/pki/ca.crt)",
            ),
            Trust::Public | Trust::Anything => at(
                target,
                "the server's certificate was not signed by a public CA, and no --cacert was given",
            )
            .hint("give the CA that signed it: --cacert ca.crt (kubeadm: /etc/kubernetes/pki/etcd/ca.crt)"),
        },
        NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<String> = presented.iter().map(|name| plain_name(name)).collect();
            let valid = match names.as_slice() {
                [] => "it names no host at all (no subjectAltName)".to_owned(),
                names => format!("it is valid for {}", names.join(", ")),
            };
            at(
                target,
                format!(
                    "the server's certificate is not valid for {}: {valid}",
                    expected.to_str()
                ),
            )
            .hint(match names.is_empty() {
                true => format!("the certificate needs a subjectAltName; until then {}", skip_only(SKIP)),
                false => format!("use one of these names in --endpoints, {SKIP}"),
            })
        }
        NotValidForName => at(target, "the server's certificate is for another host").hint(SKIP),
        ExpiredContext { time, not_after } => at(
            target,
            format!(
                "the server's certificate expired on {}; this machine's clock says {}",
                date(*not_after),
                date(*time)
            ),
        )
        .hint(format!(
            "check the clock; renew the certificate (kubeadm certs renew etcd-server), {SKIP}"
        )),
        NotValidYetContext { time, not_before } => at(
            target,
            format!(
                "the server's certificate is valid only from {}; this machine's clock says {}",
                date(*not_before),
                date(*time)
            ),
        )
        .hint(format!("check this machine's clock, {SKIP}")),
        Expired | NotValidYet => at(target, "the server's certificate is not valid at this time")
            .hint(format!("check this machine's clock, {SKIP}")),
        InvalidPurposeContext { .. } => at(target, format!("the server's certificate: {why}"))
            .hint("it needs the extended key usage serverAuth"),
        Other(other) if is_ca_as_end_entity(other) => at(
            target,
            "the server's certificate is itself a CA (CA:TRUE), and it is not in --cacert",
        )
        .hint("give this very certificate as --cacert to trust it"),
        Other(other) => match Flaw::unwrap(other) {
            Some(flaw) => at(target, flaw.to_string()).hint(format!("{}, {SKIP}", remedy(flaw))),
            None => unacceptable(target, &other.to_string()).hint(skip_only(SKIP)),
        },
        other => unacceptable(target, &format!("{other:?}")).hint(skip_only(SKIP)),
    }
}

/// What nobody has a sentence for yet: by its name.
fn unacceptable(target: &Target, name: &str) -> Error {
    at(
        target,
        format!(
            "the server's certificate cannot be accepted: {}",
            words(name)
        ),
    )
}

/// What to do about a certificate that others may take.
fn remedy(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Version(_) => {
            "reissue it with a subjectAltName (openssl x509 -req -extfile FILE, with subjectAltName=IP:…,DNS:… in FILE)"
        }
        Flaw::CriticalExtension(_) => "reissue it without that extension, or with it not critical",
        Flaw::Signature(..) => "reissue it, signed with SHA-256 or better",
        Flaw::KeySize(Whose::Servers, _) => "reissue it with a new key (openssl genrsa 2048)",
        Flaw::KeySize(Whose::Cas, _) => {
            "make a new CA (openssl genrsa 2048), and reissue what it has signed"
        }
        Flaw::Unproven => "etcd's --cert-file and --key-file must be a pair",
    }
}

/// `BadCertificate` as `bad certificate`: the name of a variant, for people. What follows it is for programmers.
fn words(name: &str) -> String {
    let mut text = String::new();
    let mut before = 'A';
    for c in name.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !before.is_ascii_uppercase() {
            text.push(' ');
        }
        text.push(c.to_ascii_lowercase());
        before = c;
    }
    text
}

/// What an alert is called.
fn named(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "unknown CA".into(),
        AlertDescription::Unknown(number) => format!("number {number}"),
        known => words(&format!("{known:?}")),
    }
}

/// The server ended TLS and said why in one word.
fn alerted(target: &Target, tls: &Tls, alert: AlertDescription) -> Error {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, DecryptError, HandshakeFailure, NoApplicationProtocol, ProtocolVersion,
        UnknownCA, UnsupportedCertificate,
    };
    match (alert, &tls.identity) {
        // TLS 1.2 has no alert of its own for a missing certificate; Go sends bad_certificate, others handshake_failure.
        (CertificateRequired | BadCertificate | HandshakeFailure, None) => {
            at(target, "the server asks for a client certificate")
                .hint("give --cert and --key (kubeadm: /etc/kubernetes/pki/etcd/healthcheck-client.crt and .key)")
        }
        (
            UnknownCA | BadCertificate | CertificateUnknown | DecryptError | AccessDenied
            | CertificateExpired | CertificateRevoked | UnsupportedCertificate
            | CertificateRequired,
            Some(identity),
        ) => refused_identity(target, identity, alert),
        (NoApplicationProtocol, _) => at(target, "the server speaks TLS, but not HTTP/2 over it")
            .hint("it may not be etcd's client port; use the one of --listen-client-urls"),
        (ProtocolVersion, _) => at(target, "the server speaks neither TLS 1.2 nor TLS 1.3"),
        _ => at(target, format!("the server ended TLS with the alert {}", named(alert)))
            .hint("etcd's log has the reason"),
    }
}

/// The server does not like our client certificate. If its dates are the reason, we can see that ourselves.
fn refused_identity(target: &Target, identity: &Identity, alert: AlertDescription) -> Error {
    use CertificateError::{ExpiredContext, NotValidYetContext};
    let cert = identity.cert.display();
    let refused = format!("the server does not accept the client certificate {cert}");
    match &identity.dates {
        Some(ExpiredContext { time, not_after }) => at(
            target,
            format!(
                "{refused}: it expired on {}; this machine's clock says {}",
                date(*not_after),
                date(*time)
            ),
        )
        .hint("renew it (kubeadm certs renew etcd-healthcheck-client)"),
        Some(NotValidYetContext { time, not_before }) => at(
            target,
            format!(
                "{refused}: it is valid only from {}; this machine's clock says {}",
                date(*not_before),
                date(*time)
            ),
        )
        .hint("check the clock of the machine that made it"),
        _ => at(target, format!("{refused} ({})", named(alert))).hint(
            "it must be signed by a CA of the server's --trusted-ca-file, and be for clientAuth; etcd's log has the reason",
        ),
    }
}

/// webpki shows names as `DnsName("localhost")` and `IpAddress(127.0.0.1)`.
fn plain_name(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(name);
    shorten(inner.trim_matches('"'))
}

/// `or --flag, which …` at the beginning of a sentence.
fn skip_only(skip: &str) -> String {
    skip.trim_start_matches("or ").to_owned()
}

/// A certificate's time in UTC.
fn date(time: rustls::pki_types::UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(
            || format!("{} s after 1970", time.as_secs()),
            |t| t.to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_programmers_become_words() {
        assert_eq!(words("BadCertificate"), "bad certificate");
        assert_eq!(words("Tls12NotOffered { x: [1] }"), "tls12 not offered");
        assert_eq!(words("Other(OtherError(X))"), "other");
        assert_eq!(named(AlertDescription::UnknownCA), "unknown CA");
        assert_eq!(named(AlertDescription::Unknown(200)), "number 200");
    }
}
