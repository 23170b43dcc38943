//! Why a certificate does not do here though others take it, found by looking into it: webpki has one word for many causes.

use std::fmt;

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, OtherError};

use super::x509::{Certificate, dotted};

/// RSA keys that aws-lc checks signatures of, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<u64> = 2048..=8192;

/// What is wrong with a certificate of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is of this version of X.509, which has no extensions, and so no subjectAltName.
    Version(u8),
    /// An extension is critical and unknown.
    CriticalExtension(Whose),
    /// It is signed in a way that is not accepted: `SHA-1`.
    Signature(Whose, String),
    /// It has an RSA key of this many bits, which are not in [`RSA_BITS`].
    KeySize(Whose, u64),
    /// The server did not prove that it has the key to it.
    Unproven,
}

/// Which certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The server's own.
    Servers,
    /// Of the CAs that vouch for it.
    Cas,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Whose::Servers => "the server's certificate",
            Whose::Cas => "the CA that signed the server's certificate",
        })
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Version(version) => write!(
                f,
                "{} is of X.509 version {version}, which cannot say for which hosts it is (no subjectAltName)",
                Whose::Servers
            ),
            Flaw::CriticalExtension(whose) => write!(
                f,
                "{whose} has an extension marked critical that this program does not know"
            ),
            Flaw::Signature(whose, how) => write!(
                f,
                "{whose} is signed with {how}, which this program does not accept"
            ),
            Flaw::KeySize(whose, bits) => write!(
                f,
                "{whose} has an RSA key of {bits} bits, which this program does not accept ({} to {} are)",
                RSA_BITS.start(),
                RSA_BITS.end()
            ),
            Flaw::Unproven => {
                f.write_str("the server could not prove that the key of its certificate is its own")
            }
        }
    }
}

impl std::error::Error for Flaw {}

impl Flaw {
    /// Makes it travel through rustls.
    pub fn wrap(self) -> rustls::Error {
        CertificateError::Other(OtherError(std::sync::Arc::new(self))).into()
    }

    /// Finds it again on the other side.
    pub fn unwrap(other: &OtherError) -> Option<&Flaw> {
        other.0.downcast_ref()
    }

    /// What is behind webpki's `why`. `shown` is the server's certificate and what it sent along, `trusted` is `--cacert`.
    /// `None` where webpki has said it all.
    pub fn in_chain(
        why: &CertificateError,
        shown: &[&CertificateDer<'_>],
        trusted: &[CertificateDer<'_>],
    ) -> Option<Flaw> {
        use CertificateError::{
            BadSignature, Other, UnsupportedSignatureAlgorithmContext,
            UnsupportedSignatureAlgorithmForPublicKeyContext,
        };
        let server = shown.first()?;
        let own = Certificate::read(server)?;
        match why {
            Other(other) if other.to_string() == "UnsupportedCertVersion" && own.version < 3 => {
                Some(Flaw::Version(own.version))
            }
            Other(other) if other.to_string() == "UnsupportedCriticalExtension" => {
                let whose = match ParsedCertificate::try_from(*server) {
                    Err(_) => Whose::Servers,
                    Ok(_) => Whose::Cas,
                };
                Some(Flaw::CriticalExtension(whose))
            }
            UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: how,
                ..
            }
            | UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: how,
                ..
            } => {
                let whose = match own.signature == how.as_slice() {
                    true => Whose::Servers,
                    false => Whose::Cas,
                };
                Some(Flaw::Signature(whose, algorithm(how)))
            }
            BadSignature => small_ca(shown, trusted),
            _ => None,
        }
    }

    /// What is behind a signature in the handshake that is wrong.
    pub fn in_handshake(server: &CertificateDer<'_>) -> Flaw {
        match Certificate::read(server).and_then(|own| odd_size(&own)) {
            Some(bits) => Flaw::KeySize(Whose::Servers, bits),
            None => Flaw::Unproven,
        }
    }
}

/// A CA that vouches for one of those shown with a key that nothing is checked with.
fn small_ca(shown: &[&CertificateDer<'_>], trusted: &[CertificateDer<'_>]) -> Option<Flaw> {
    let vouched: Vec<Certificate> = shown
        .iter()
        .filter_map(|der| Certificate::read(der))
        .collect();
    let mut cas = shown
        .iter()
        .skip(1)
        .copied()
        .chain(trusted)
        .filter_map(|der| Certificate::read(der))
        .filter(|ca| vouched.iter().any(|it| it.issuer == ca.subject));
    let bits = cas.find_map(|ca| odd_size(&ca))?;
    Some(Flaw::KeySize(Whose::Cas, bits))
}

fn odd_size(certificate: &Certificate) -> Option<u64> {
    let bits = certificate.key.rsa_bits()?;
    (!RSA_BITS.contains(&bits)).then_some(bits)
}

/// What people call an algorithm that certificates are signed with.
fn algorithm(identifier: &[u8]) -> String {
    let Some(dots) = dotted(identifier) else {
        return "an unknown algorithm".into();
    };
    match dots.as_str() {
        "1.2.840.113549.1.1.4" => "MD5".into(),
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => "SHA-1".into(),
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => "SHA-224".into(),
        "1.3.101.113" => "Ed448".into(),
        _ => format!("the algorithm {dots}"),
    }
}
