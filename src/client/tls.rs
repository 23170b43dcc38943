//! From TLS flags to a rustls configuration: what is trusted, who we are, and files that explain themselves.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::ConnectOptions;
use super::flaw::RSA_BITS;
use super::verifier::{AcceptAnything, Verifier, dates};
use super::x509::{Certificate, PublicKey};
use crate::error::{Error, Result};
use crate::shell;

/// A PEM file of certificates or a key is kilobytes; the bundle of every public CA is a quarter megabyte.
const LARGEST_PEM: u64 = 16 << 20;

/// How to speak TLS, and what to tell people about it when it fails.
#[derive(Debug)]
pub struct Tls {
    /// What rustls needs.
    pub config: Arc<ClientConfig>,
    /// What a server's certificate is checked against.
    pub trust: Trust,
    /// Who we are, if we have a client certificate.
    pub identity: Option<Identity>,
}

/// Our client certificate.
#[derive(Debug)]
pub struct Identity {
    /// Its file.
    pub cert: PathBuf,
    /// Why its dates will not do, if they will not. It is still shown: the server decides.
    pub dates: Option<CertificateError>,
}

/// What a server's certificate is checked against.
#[derive(Debug)]
pub enum Trust {
    /// `--insecure-skip-tls-verify`.
    Anything,
    /// The CAs of this file.
    File(PathBuf),
    /// No `--cacert`: the public CAs that browsers trust.
    Public,
}

impl Tls {
    /// Reads the files that the options name. Every error names the file and what was expected in it.
    pub fn load(options: &ConnectOptions) -> Result<Tls> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::failed("cannot set up TLS").because(e))?;
        let named = match &options.cacert {
            Some(path) => Some(trusted(path)?),
            None => None,
        };
        let (trust, builder) = match (options.insecure_skip_tls_verify, named, &options.cacert) {
            (true, ..) => (
                Trust::Anything,
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AcceptAnything::new(&provider))),
            ),
            (false, Some((roots, pinned)), Some(path)) => (
                Trust::File(path.clone()),
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Verifier::new(
                        roots, pinned, &provider,
                    )?)),
            ),
            _ => {
                let roots = RootCertStore {
                    roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
                };
                (
                    Trust::Public,
                    builder
                        .dangerous()
                        .with_custom_certificate_verifier(Arc::new(Verifier::new(
                            roots,
                            Vec::new(),
                            &provider,
                        )?)),
                )
            }
        };
        let mut identity = None;
        let mut config = match (&options.cert, &options.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert, "--cert")?;
                let private = private_key(key)?;
                let signing = check_pair(cert, &chain, key, private, &provider)?;
                identity = Some(Identity {
                    cert: cert.clone(),
                    dates: chain.first().and_then(dates),
                });
                // Not `with_client_auth_cert`: it refuses certificates that it would not accept from others, and
                // whether ours will do is for the server to say.
                let own = CertifiedKey::new(chain, signing);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
            (Some(cert), None) => {
                return Err(Error::usage(format!(
                    "--cert {} is given without --key",
                    cert.display()
                ))
                .hint("--key is the file with the certificate's private key"));
            }
            (None, Some(key)) => {
                return Err(Error::usage(format!(
                    "--key {} is given without --cert",
                    key.display()
                ))
                .hint("--cert is the file with the certificate that belongs to the key"));
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            trust,
            identity,
        })
    }
}

/// The CAs of a `--cacert` file, twice: as trust anchors, and as they are (see [`Verifier`]). Like Go, certificates
/// that cannot be an anchor are passed over as long as one can.
fn trusted(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let pinned = certificates(path, "--cacert")?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pinned.iter().cloned());
    match roots.is_empty() {
        true => Err(no_certificate(path, "--cacert")),
        false => Ok((roots, pinned)),
    }
}

/// Every certificate of a PEM file, at least one.
fn certificates(path: &Path, flag: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(path, flag)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| bad_pem(path, flag, &e))?;
    if found.is_empty() {
        return Err(nothing_in(path, flag, &pem, "certificate"));
    }
    Ok(found)
}

/// The first private key of a PEM file: PKCS#8, SEC1 or PKCS#1.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let flag = "--key";
    let pem = read(path, flag)?;
    if holds(&pem, b"ENCRYPTED PRIVATE KEY-----") || holds(&pem, b"Proc-Type: 4,ENCRYPTED") {
        return Err(Error::failed(format!(
            "{flag} {}: this key is protected by a passphrase, and there is nobody to ask for it",
            path.display()
        ))
        .hint(format!(
            "make a copy without one: (umask 077; openssl pkey -in {} -out plain.key)",
            shell::path(path)
        )));
    }
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            Err(nothing_in(path, flag, &pem, "private key"))
        }
        Err(error) => Err(bad_pem(path, flag, &error)),
    }
}

/// Certificate and key must belong to each other; found out here, or the server would only say "bad certificate".
/// Returns what signs with the key.
fn check_pair(
    cert: &Path,
    chain: &[CertificateDer<'static>],
    key: &Path,
    private: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>> {
    let Some(own) = chain.first().and_then(|der| Certificate::read(der)) else {
        return Err(no_certificate(cert, "--cert"));
    };
    let bits = own.key.rsa_bits().filter(|bits| !RSA_BITS.contains(bits));
    let signing = provider
        .key_provider
        .load_private_key(private)
        .map_err(|_| match bits {
            Some(bits) => Error::failed(format!(
                "--key {}: an RSA key of {bits} bits, which this program does not sign with (at least {}, at most {})",
                key.display(),
                RSA_BITS.start(),
                RSA_BITS.end()
            ))
            .hint("make a new key and a certificate for it: openssl req -newkey rsa:2048 …"),
            None => unusable(key, "--key", "it is no private key for RSA, ECDSA or Ed25519"),
        })?;
    let public = signing.public_key();
    let public = public.as_ref().and_then(|spki| PublicKey::read(spki));
    match public {
        Some(public) if public.differs_from(&own.key) => Err(Error::failed(format!(
            "the key in {} does not belong to the certificate in {}",
            key.display(),
            cert.display()
        ))
        .hint("--cert and --key must be a pair; a chain begins with the client's own certificate")),
        _ => Ok(signing),
    }
}

/// A whole PEM file.
fn read(path: &Path, flag: &str) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(|e| {
        let error = Error::io("open", path, e).within(flag);
        match error.io_kind() {
            Some(std::io::ErrorKind::PermissionDenied) => {
                error.hint("run as a user who may read it; Kubernetes' etcd keys belong to root")
            }
            _ => error,
        }
    })?;
    let mut pem = Vec::new();
    file.take(LARGEST_PEM + 1)
        .read_to_end(&mut pem)
        .map_err(|e| Error::io("read", path, e).within(flag))?;
    if pem.len() as u64 > LARGEST_PEM {
        return Err(Error::failed(format!(
            "{flag} {}: more than {LARGEST_PEM} bytes, so this is no PEM file",
            path.display()
        )));
    }
    Ok(pem)
}

/// A file in which something was found, but nothing that can be used.
fn unusable(path: &Path, flag: &str, why: &str) -> Error {
    Error::failed(format!("{flag} {}: cannot be used: {why}", path.display()))
}

/// What is marked as a certificate is none.
fn no_certificate(path: &Path, flag: &str) -> Error {
    unusable(
        path,
        flag,
        "what it marks as a certificate is none (X.509 in DER)",
    )
    .hint(format!(
        "openssl x509 -noout -text -in {} should show it; copy the file anew",
        shell::path(path)
    ))
}

/// A PEM file that breaks off or is garbled.
fn bad_pem(path: &Path, flag: &str, error: &rustls::pki_types::pem::Error) -> Error {
    use rustls::pki_types::pem::Error::{Base64Decode, MissingSectionEnd};
    let what = match error {
        MissingSectionEnd { .. } => "a -----BEGIN line has no -----END line (is the file cut off?)",
        Base64Decode(_) => "what is between -----BEGIN and -----END is no base64",
        _ => "the PEM file cannot be read",
    };
    Error::failed(format!("{flag} {}: {what}", path.display()))
}

/// A file without what it should hold: says what it holds instead.
fn nothing_in(path: &Path, flag: &str, pem: &[u8], wanted: &str) -> Error {
    let found = if pem.is_empty() {
        "the file is empty".to_owned()
    } else if !holds(pem, b"-----BEGIN ") {
        match pem.first() {
            Some(0x30) => "this looks like DER".to_owned(),
            _ => "this is no PEM file".to_owned(),
        }
    } else if holds(pem, b"PRIVATE KEY-----") {
        format!("there is a private key in it, but no {wanted}")
    } else if holds(pem, b"-----BEGIN CERTIFICATE-----") {
        format!("there is a certificate in it, but no {wanted}")
    } else {
        format!("there is no {wanted} in it")
    };
    let error = Error::failed(format!("{flag} {}: {found}", path.display()));
    match found.as_str() {
        "this looks like DER" => error.hint(format!(
            "convert it to PEM: openssl x509 -inform der -in {} (or openssl pkey for a key)",
            shell::path(path)
        )),
        _ => error.hint(format!("{flag} needs a PEM file with a {wanted}")),
    }
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    struct Files(tempfile::TempDir);

    impl Files {
        /// A file of this name in a directory of its own.
        fn put(&self, name: &str, text: &str) -> Option<PathBuf> {
            let path = tempfile::tempdir_in(&self.0).unwrap().keep().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        }
    }

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = CertificateParams::new(vec!["localhost".into()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (cert.pem(), key.serialize_pem())
    }

    fn load(options: ConnectOptions) -> String {
        match Tls::load(&options) {
            Ok(_) => "fine".into(),
            Err(error) => format!("{error} | {}", error.hint_text().unwrap_or("no hint")),
        }
    }

    #[test]
    fn pairs_that_load_and_pairs_that_do_not_match() {
        let files = Files(tempfile::tempdir().unwrap());
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P521_SHA512,
            &rcgen::PKCS_ED25519,
        ] {
            let (cert, key) = pair(algorithm);
            let options = |key: &str| ConnectOptions {
                cert: files.put("c.crt", &cert),
                key: files.put("c.key", key),
                ..ConnectOptions::default()
            };
            assert_eq!(load(options(&key)), "fine");
            let said = load(options(&pair(algorithm).1));
            assert!(
                said.contains("c.key does not belong to the certificate in")
                    && said.contains("c.crt"),
                "{said}"
            );
        }
    }

    #[test]
    fn every_wrong_file_is_named_with_what_it_holds() {
        let files = Files(tempfile::tempdir().unwrap());
        let (cert, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let cacert = |text: &str| ConnectOptions {
            cacert: files.put("ca.crt", text),
            ..ConnectOptions::default()
        };
        let with_key = |text: &str| ConnectOptions {
            cert: files.put("c.crt", &cert),
            key: files.put("c.key", text),
            ..ConnectOptions::default()
        };
        for (options, wanted) in [
            (cacert(""), "ca.crt: the file is empty"),
            (cacert("hello"), "ca.crt: this is no PEM file"),
            (cacert("0\u{1}\u{2}"), "ca.crt: this looks like DER"),
            (
                cacert(&key),
                "ca.crt: there is a private key in it, but no certificate",
            ),
            (
                cacert("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                "ca.crt: cannot be used",
            ),
            (
                cacert("-----BEGIN CERTIFICATE-----\nAAAA\n"),
                "ca.crt: a -----BEGIN line has no -----END",
            ),
            (with_key(""), "c.key: the file is empty"),
            (
                with_key(&cert),
                "c.key: there is a certificate in it, but no private key",
            ),
            (
                with_key(
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                ),
                "openssl pkey",
            ),
            (
                with_key(
                    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                ),
                "protected by a passphrase",
            ),
            (
                with_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                "c.key: cannot be used",
            ),
            (
                ConnectOptions {
                    cert: files.put("c.crt", &cert),
                    ..ConnectOptions::default()
                },
                "without --key",
            ),
            (
                ConnectOptions {
                    key: files.put("c.key", &key),
                    ..ConnectOptions::default()
                },
                "without --cert",
            ),
            (
                ConnectOptions {
                    cacert: Some("/nowhere/ca.crt".into()),
                    ..ConnectOptions::default()
                },
                "--cacert: cannot open /nowhere/ca.crt",
            ),
        ] {
            let said = load(options);
            assert!(said.contains(wanted), "wanted {wanted:?}, got {said:?}");
            assert!(!said.contains("PRIVATE KEY"), "{said}");
        }
    }

    #[test]
    fn a_bundle_with_one_good_certificate_is_good() {
        let files = Files(tempfile::tempdir().unwrap());
        let (cert, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let bundle = format!(
            "# comment\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{cert}"
        );
        let options = ConnectOptions {
            cacert: files.put("ca.crt", &bundle),
            ..ConnectOptions::default()
        };
        assert_eq!(load(options), "fine");
    }
}
