//! Certificates of an odd make: what `openssl x509 -req` turns out, old algorithms, small keys. Each is either taken, as
//! by etcdctl, or refused by its true cause.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use etcd_rescue::client::ConnectOptions;
use etcd_rescue::error::Kind;

use super::tls::{showing, trusting};
use super::{Failure, failure, save, to};
use crate::util::certs::{Ca, Pair};
use crate::util::etcd::Etcd;
use crate::util::process;
use crate::util::temp_dir;
use crate::util::tls::Tls;

const SANS: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost\n";

/// A directory in which openssl makes certificates.
struct Workshop(tempfile::TempDir);

impl Workshop {
    /// With a CA, `ca.pem`, whose key and signature are of this make.
    fn new(key: &str, digest: &str) -> Workshop {
        let shop = Workshop(temp_dir());
        shop.openssl(&format!(
            "req -x509 -newkey {key} {digest} -nodes -subj /CN=ca -days 9000 -keyout ca-key.pem -out ca.pem"
        ));
        shop
    }

    fn openssl(&self, line: &str) -> String {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(&self.0);
        process::run(command, None, Duration::from_secs(20))
            .ok()
            .stdout_str()
    }

    fn ca(&self) -> std::path::PathBuf {
        self.0.path().join("ca.pem")
    }

    /// A certificate of the CA. Without extensions it is of version 1.
    fn issue(&self, name: &str, key: &str, digest: &str, extensions: Option<&str>) -> Pair {
        self.openssl(&format!(
            "req -newkey {key} -nodes -subj /CN=root -keyout {name}-key.pem -out {name}.csr"
        ));
        let mut sign = format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial {digest} -days 9000 -out {name}.pem"
        );
        if let Some(extensions) = extensions {
            std::fs::write(self.0.path().join("extensions"), extensions).unwrap();
            sign += " -extfile extensions";
        }
        self.openssl(&sign);
        if extensions.is_none() {
            let text = self.openssl(&format!("x509 -noout -text -in {name}.pem"));
            assert!(text.contains("Version: 1 "), "{text}");
        }
        Pair {
            cert: self.0.path().join(format!("{name}.pem")),
            key: self.0.path().join(format!("{name}-key.pem")),
        }
    }
}

/// What is said to a server that shows this certificate, to one who trusts this CA.
fn refusal(pair: &Pair, ca: &Path) -> Failure {
    let tls = Tls::server_only(pair, ca);
    let server = Etcd::new("3.7").tls(tls).start();
    save(ConnectOptions {
        insecure_skip_tls_verify: true,
        ..to(&[&server.endpoint()])
    });
    let refused = failure(trusting(&server.endpoint(), ca)).kind(Kind::Unreachable);
    for debug in ["Other(", "Error(", "Context {", "Unsupported", "Signature"] {
        assert!(!refused.text.contains(debug), "{refused}");
    }
    refused.within(Duration::from_millis(1500))
}

#[test]
fn a_client_certificate_of_version_1_is_for_the_server_to_judge() {
    let shop = Workshop::new("rsa:2048", "-sha256");
    let servers = Ca::new("the servers' CA");
    let client = shop.issue("v1", "rsa:2048", "-sha256", None);
    let tls = Tls::mutual(&servers.server(), &shop.ca(), servers.cert(), &client);
    let server = Etcd::new("3.7").tls(tls).start();
    save(showing(&server.endpoint(), servers.cert(), &client));

    let elsewhere = Workshop::new("rsa:2048", "-sha256");
    let stranger = elsewhere.issue("v1", "rsa:2048", "-sha256", None);
    failure(showing(&server.endpoint(), servers.cert(), &stranger))
        .kind(Kind::Unreachable)
        .says("does not accept the client certificate")
        .says("(unknown CA)")
        .hints("--trusted-ca-file");
    let other = shop.issue("other", "rsa:2048", "-sha256", None);
    let mixed = Pair {
        key: other.key,
        ..client
    };
    failure(showing(&server.endpoint(), servers.cert(), &mixed))
        .kind(Kind::Failed)
        .says("other-key.pem does not belong to the certificate in");
}

#[test]
fn a_client_certificate_with_what_we_do_not_know_is_shown_all_the_same() {
    let shop = Workshop::new("rsa:2048", "-sha256");
    let servers = Ca::new("the servers' CA");
    // Signed with SHA-1, and with a critical extension of somebody's own.
    let odd = "1.2.3.4=critical,DER:05:00\n";
    let client = shop.issue("odd", "rsa:2048", "-sha1", Some(odd));
    let tls = Tls::mutual(&servers.server(), &shop.ca(), servers.cert(), &client);
    let server = Etcd::new("3.7").tls(tls).start();
    failure(showing(&server.endpoint(), servers.cert(), &client))
        .kind(Kind::Unreachable)
        .says("the server does not accept the client certificate")
        .says("odd.pem");
}

#[test]
fn a_client_key_that_we_cannot_sign_with() {
    let shop = Workshop::new("rsa:2048", "-sha256");
    let client = shop.issue("small", "rsa:1024", "-sha256", None);
    failure(showing("https://127.0.0.1:1", &shop.ca(), &client))
        .kind(Kind::Failed)
        .says("small-key.pem: an RSA key of 1024 bits")
        .says("at least 2048")
        .hints("make a new key");
}

#[test]
fn a_server_certificate_with_a_small_key() {
    let shop = Workshop::new("rsa:2048", "-sha256");
    let small = shop.issue("small", "rsa:1024", "-sha256", Some(SANS));
    refusal(&small, &shop.ca())
        .says("the server's certificate has an RSA key of 1024 bits")
        .hints("reissue it with a new key")
        .hints("--insecure-skip-tls-verify");
}

#[test]
fn a_server_certificate_of_a_ca_with_a_small_key() {
    let shop = Workshop::new("rsa:1024", "-sha256");
    let pair = shop.issue("server", "rsa:2048", "-sha256", Some(SANS));
    refusal(&pair, &shop.ca())
        .says("the CA that signed the server's certificate has an RSA key of 1024 bits")
        .hints("new CA");
}

#[test]
fn a_server_certificate_signed_with_sha_1() {
    for key in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256"] {
        let shop = Workshop::new(key, "-sha256");
        let old = shop.issue("old", key, "-sha1", Some(SANS));
        refusal(&old, &shop.ca())
            .says("the server's certificate is signed with SHA-1")
            .hints("reissue it")
            .hints("--insecure-skip-tls-verify");
    }
}

#[test]
fn a_server_certificate_of_a_foreign_ca_is_that_whatever_else_it_is() {
    let shop = Workshop::new("rsa:1024", "-sha256");
    let old = shop.issue("old", "rsa:2048", "-sha1", Some(SANS));
    let other = Ca::new("another CA");
    refusal(&old, other.cert()).says("was not signed by any CA in");
    // One of the same name, and another key.
    let twin = Workshop::new("rsa:2048", "-sha256");
    let pair = twin.issue("server", "rsa:2048", "-sha256", Some(SANS));
    let ours = Workshop::new("rsa:2048", "-sha256");
    refusal(&pair, &ours.ca())
        .says("was not signed by any CA in")
        .hints("--cacert");
}

#[test]
fn a_server_certificate_of_version_1() {
    let shop = Workshop::new("rsa:2048", "-sha256");
    let v1 = shop.issue("v1", "rsa:2048", "-sha256", None);
    refusal(&v1, &shop.ca())
        .says("the server's certificate is of X.509 version 1, which cannot say for which hosts it is")
        .hints("reissue it with a subjectAltName")
        .hints("--insecure-skip-tls-verify");
}

#[test]
fn a_server_certificate_with_an_unknown_critical_extension() {
    let shop = Workshop::new("rsa:2048", "-sha256");
    let extensions = format!("{SANS}1.2.3.4=critical,DER:05:00\n");
    let odd = shop.issue("odd", "rsa:2048", "-sha256", Some(&extensions));
    refusal(&odd, &shop.ca())
        .says("the server's certificate has an extension marked critical that this program does not know")
        .hints("reissue it without");
}

#[test]
fn a_server_certificate_for_clients_only() {
    let shop = Workshop::new("rsa:2048", "-sha256");
    let extensions = format!("{SANS}extendedKeyUsage=clientAuth\n");
    let client = shop.issue("client", "rsa:2048", "-sha256", Some(&extensions));
    refusal(&client, &shop.ca())
        .says("client authentication")
        .hints("serverAuth");
}
