//! Who a server's certificate convinces: webpki's rules plus one that etcd needs, or nobody's at all.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::flaw::Flaw;
use crate::error::{Error, Result};

/// webpki, and besides: a server certificate that is, byte for byte, one of those in `--cacert` may say CA:TRUE.
///
/// `etcd --auto-tls` of 3.7 and `openssl req -x509` make such certificates, and the file that is handed to `--cacert`
/// is that very certificate. Go accepts them; webpki refuses a CA as a server (`CaUsedAsEndEntity`). Nothing else is
/// waived: dates, name and the handshake's signature are checked as ever.
#[derive(Debug)]
pub struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Trusts `roots`, and `pinned` as servers' own certificates.
    pub fn new(
        roots: RootCertStore,
        pinned: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier> {
        let webpki =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|e| Error::failed("cannot set up TLS").because(e))?;
        Ok(Verifier { webpki, pinned })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let verdict = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verdict {
            // webpki looks at the dates before it looks at CA:TRUE (`rustls-webpki src/verify_cert.rs`,
            // check_issuer_independent_properties, 0.103.17), so a certificate that gets here is current: the tests
            // below hold it to that. The name comes last in webpki and is left to us.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(ref other)))
                if is_ca_as_end_entity(other) && self.pinned.iter().any(|p| p == end_entity) =>
            {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(rustls::Error::InvalidCertificate(why)) => {
                let shown: Vec<_> = std::iter::once(end_entity).chain(intermediates).collect();
                let flaw = Flaw::in_chain(&why, &shown, &self.pinned);
                Err(flaw.map_or(why.into(), Flaw::wrap))
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let verdict = self.webpki.verify_tls12_signature(message, cert, dss);
        verdict.map_err(|error| in_handshake(error, cert))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let verdict = self.webpki.verify_tls13_signature(message, cert, dss);
        verdict.map_err(|error| in_handshake(error, cert))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// The same word, `BadSignature`, for another thing: the chain was found good before.
fn in_handshake(error: rustls::Error, cert: &CertificateDer<'_>) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            Flaw::in_handshake(cert).wrap()
        }
        other => other,
    }
}

/// rustls has no variant of its own for this one and hands webpki's error through.
pub fn is_ca_as_end_entity(other: &rustls::OtherError) -> bool {
    other.to_string() == "CaUsedAsEndEntity"
}

/// Whether a certificate is expired or not valid yet, by asking webpki to verify it as a server's: it looks at the dates
/// first (see [`Verifier`]), and what else it finds does not matter here.
pub fn dates(certificate: &CertificateDer<'_>) -> Option<CertificateError> {
    use CertificateError::{ExpiredContext, NotValidYetContext};
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    match verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(
            found @ (ExpiredContext { .. } | NotValidYetContext { .. }),
        )) => Some(found),
        _ => None,
    }
}

/// `--insecure-skip-tls-verify`: nothing is checked, not even the handshake's signature, so that a server with a
/// certificate of any make can still be saved.
#[derive(Debug)]
pub struct AcceptAnything {
    schemes: Vec<SignatureScheme>,
}

impl AcceptAnything {
    /// Offers every signature scheme of the provider, and the old ones that it would not verify.
    pub fn new(provider: &CryptoProvider) -> AcceptAnything {
        let mut schemes = provider
            .signature_verification_algorithms
            .supported_schemes();
        for old in [
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ] {
            if !schemes.contains(&old) {
                schemes.push(old);
            }
        }
        AcceptAnything { schemes }
    }
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    /// A self-signed CA:TRUE certificate for `localhost`, valid from 2020 until the given year.
    fn marked_ca(until: i32) -> CertificateDer<'static> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.self_signed(&key).unwrap().der().clone()
    }

    fn verdict(
        shown: &CertificateDer<'static>,
        trusted: &CertificateDer<'static>,
        name: &'static str,
    ) -> std::result::Result<(), CertificateError> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new(roots, vec![trusted.clone()], &provider).unwrap();
        let name = ServerName::try_from(name).unwrap();
        match verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(why)) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_pinned_ca_serves_under_its_own_name_and_dates_only() {
        let good = marked_ca(2120);
        assert_eq!(verdict(&good, &good, "localhost"), Ok(()));
        assert!(matches!(
            verdict(&good, &good, "example.com"),
            Err(CertificateError::NotValidForNameContext { .. })
        ));
        let other = marked_ca(2120);
        assert!(matches!(
            verdict(&other, &good, "localhost"),
            Err(CertificateError::Other(other)) if is_ca_as_end_entity(&other)
        ));
        let old = marked_ca(2021);
        assert!(matches!(
            verdict(&old, &old, "localhost"),
            Err(CertificateError::ExpiredContext { .. })
        ));
    }

    #[test]
    fn dates_are_found_without_trust() {
        assert_eq!(dates(&marked_ca(2120)), None);
        let not_after = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_609_459_200));
        assert!(matches!(
            dates(&marked_ca(2021)),
            Some(CertificateError::ExpiredContext { not_after: found, .. }) if found == not_after
        ));
    }
}
