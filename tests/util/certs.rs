//! Certificate authorities and certificates of every kind the tests need, good and bad.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
    PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm, date_time_ymd,
};
use tempfile::TempDir;

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// What a certificate is to be like.
#[derive(Clone)]
pub struct Spec {
    common_name: String,
    sans: Vec<String>,
    algorithm: Algorithm,
    usages: Vec<ExtendedKeyUsagePurpose>,
    expired: bool,
    ca: bool,
}

/// A certificate authority with a directory for what it signs.
pub struct Ca {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    cert: PathBuf,
    issued: AtomicU32,
}

impl Ca {
    pub fn new(common_name: &str) -> Self {
        Self::with_algorithm(common_name, Algorithm::P256)
    }

    pub fn with_algorithm(common_name: &str, algorithm: Algorithm) -> Self {
        let dir = super::temp_dir();
        let key = algorithm.generate();
        let mut params = Spec::client(common_name).params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages.clear();
        let cert = dir.path().join("ca.pem");
        write(&cert, &params.self_signed(&key).unwrap().pem());
        Self {
            dir,
            issuer: Issuer::new(params, key),
            cert,
            issued: AtomicU32::new(0),
        }
    }

    /// The authority's own certificate: what goes into `--cacert`.
    pub fn cert(&self) -> &Path {
        &self.cert
    }

    /// A server certificate for loopback under every usual name.
    pub fn server(&self) -> Pair {
        self.issue("server", &Spec::server(&["127.0.0.1", "::1", "localhost"]))
    }

    /// A client certificate for the etcd user `common_name`.
    pub fn client(&self, common_name: &str) -> Pair {
        self.issue(common_name, &Spec::client(common_name))
    }

    /// Signs a certificate and writes it as NAME.pem and NAME-key.pem, in a directory of its own: a second one of
    /// the same name must not replace files that a server is reading.
    pub fn issue(&self, name: &str, spec: &Spec) -> Pair {
        let key = spec.algorithm.generate();
        let cert = spec.params().signed_by(&key, &self.issuer).unwrap();
        let nth = self.issued.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.path().join(format!("issued-{nth}"));
        std::fs::create_dir(&dir).unwrap();
        save(&dir, name, &cert.pem(), &key)
    }

    /// A directory for further files, gone with the authority.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Spec {
    /// A server certificate; each name is an IP address or a DNS name.
    pub fn server(sans: &[&str]) -> Self {
        Self {
            common_name: "etcd server".to_owned(),
            sans: sans.iter().map(|s| (*s).to_owned()).collect(),
            algorithm: Algorithm::P256,
            // etcd shows its server certificate as a client too: its gateway calls its own listener.
            usages: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            expired: false,
            ca: false,
        }
    }

    /// A client certificate.
    pub fn client(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            sans: Vec::new(),
            usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
            ..Self::server(&[])
        }
    }

    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Valid in the past only.
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }

    /// Marked CA:TRUE, as certificates made in a hurry are.
    pub fn ca(mut self) -> Self {
        self.ca = true;
        self
    }

    /// Signed by its own key: what goes into `--cacert` is the certificate itself.
    pub fn self_signed(&self, dir: &Path, name: &str) -> Pair {
        let key = self.algorithm.generate();
        let cert = self.params().self_signed(&key).unwrap();
        save(dir, name, &cert.pem(), &key)
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.sans.clone()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name.as_str());
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = if self.expired {
            date_time_ymd(2021, 1, 1)
        } else {
            date_time_ymd(2120, 1, 1)
        };
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = self.usages.clone();
        if self.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        params
    }
}

impl Pair {
    /// This certificate with a key that is not its own, in a new file beside the old one.
    pub fn with_wrong_key(&self) -> Self {
        let key = self.key.with_extension("wrong.pem");
        write(&key, &Algorithm::P256.generate().serialize_pem());
        Self {
            cert: self.cert.clone(),
            key,
        }
    }
}

impl Algorithm {
    fn generate(self) -> KeyPair {
        let signature: &'static SignatureAlgorithm = match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
            Self::P521 => &PKCS_ECDSA_P521_SHA512,
            Self::Rsa => &PKCS_RSA_SHA256,
            Self::Ed25519 => &PKCS_ED25519,
        };
        KeyPair::generate_for(signature).unwrap()
    }
}

fn save(dir: &Path, name: &str, cert: &str, key: &KeyPair) -> Pair {
    let pair = Pair {
        cert: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}-key.pem")),
    };
    write(&pair.cert, cert);
    write(&pair.key, &key.serialize_pem());
    pair
}

fn write(path: &Path, text: &str) {
    File::create_new(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|err| panic!("cannot write {}: {err}", path.display()));
}
