//! Everything that can be wrong with TLS: its cause in words, and the flag that would help.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use etcd_rescue::client::ConnectOptions;
use etcd_rescue::error::Kind;

use super::{failure, save, to};
use crate::util::certs::{Algorithm, Ca, Pair, Spec};
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script};
use crate::util::process;
use crate::util::tls::{Tls, auto_cert};

/// Far less than the connect deadline: a known cause needs no waiting.
const SOON: Duration = Duration::from_millis(1500);

per_version! {
    who_is_not_let_in
    the_wrong_protocol
    auto_tls_is_trusted_by_its_own_certificate
}

pub(super) fn trusting(endpoint: &str, cacert: &Path) -> ConnectOptions {
    ConnectOptions {
        cacert: Some(cacert.into()),
        ..to(&[endpoint])
    }
}

pub(super) fn showing(endpoint: &str, cacert: &Path, pair: &Pair) -> ConnectOptions {
    ConnectOptions {
        cert: Some(pair.cert.clone()),
        key: Some(pair.key.clone()),
        ..trusting(endpoint, cacert)
    }
}

/// A server that asks for client certificates, and clients that it turns away.
fn who_is_not_let_in(minor: &str) {
    let (ca, other) = (Ca::new("the test CA"), Ca::new("another CA"));
    let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &ca.client("root"));
    let server = Etcd::new(minor).tls(tls).start();
    let endpoint = server.endpoint();

    failure(to(&[&endpoint]))
        .kind(Kind::Unreachable)
        .says("not signed by a public CA, and no --cacert was given")
        .says(&endpoint)
        .hints("--cacert")
        .within(SOON);
    failure(trusting(&endpoint, other.cert()))
        .kind(Kind::Unreachable)
        .says("not signed by any CA in")
        .says(other.cert().to_str().unwrap())
        .hints("--cacert")
        .within(SOON);
    for _ in 0..20 {
        // Over TLS 1.3 the refusal comes after the handshake and races with our first bytes.
        failure(trusting(&endpoint, ca.cert()))
            .kind(Kind::Unreachable)
            .says("the server asks for a client certificate")
            .hints("--cert and --key")
            .within(SOON);
    }
    failure(showing(&endpoint, ca.cert(), &other.client("root")))
        .kind(Kind::Unreachable)
        .says("does not accept the client certificate")
        .hints("--trusted-ca-file")
        .within(SOON);
    let expired = ca.issue("expired", &Spec::client("root").expired());
    failure(showing(&endpoint, ca.cert(), &expired))
        .kind(Kind::Unreachable)
        .says("does not accept the client certificate")
        .says("expired.pem: it expired on 2021-01-01T00:00:00Z")
        .hints("renew it")
        .within(SOON);
}

/// Plaintext to a TLS port, and the reverse: both hang up without a word, and are recognised all the same.
fn the_wrong_protocol(minor: &str) {
    let ca = Ca::new("the test CA");
    let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &ca.client("root"));
    let server = Etcd::new(minor).tls(tls).unix().start();
    let plain_port = server.url().rsplit_once(':').unwrap().1.to_owned();

    failure(to(&[&format!("127.0.0.1:{}", server.port())]))
        .kind(Kind::Unreachable)
        .says("plaintext was tried, but this port speaks TLS")
        .hints(&format!("use {}", server.endpoint()))
        .hints("--cacert")
        .within(SOON);
    for endpoint in [
        format!("127.0.0.1:{plain_port}"),
        format!("https://127.0.0.1:{plain_port}"),
    ] {
        failure(trusting(&endpoint, ca.cert()))
            .kind(Kind::Unreachable)
            .says("TLS was tried, but this port speaks plaintext HTTP/2")
            .hints(&format!("use http://127.0.0.1:{plain_port}"))
            .within(SOON);
    }
    let socket = server.socket();
    failure(trusting(&format!("unixs:{}", socket.display()), ca.cert()))
        .kind(Kind::Unreachable)
        .says("speaks plaintext HTTP/2")
        .hints(&format!("use unix:{}", socket.display()))
        .within(SOON);
    failure(to(&[&server.peer_url().replace("http://", "https://")]))
        .kind(Kind::Unreachable)
        .says("TLS was tried, but this port speaks plaintext HTTP")
        .within(SOON);
    // Up to 3.5 the peer port serves the client API, too.
    match server.version().at_least("3.6") {
        true => drop(
            failure(to(&[server.peer_url()]))
                .kind(Kind::Unreachable)
                .says("this port answers in HTTP/1.1: HTTP/1.1 400")
                .hints("client port")
                .within(SOON),
        ),
        false => drop(save(to(&[server.peer_url()]))),
    }
    // --cacert changes nothing about http://, and that is said.
    let saved = save(trusting(&server.url(), ca.cert()));
    assert!(saved.notices.contains("in plaintext"), "{}", saved.notices);
}

fn auto_tls_is_trusted_by_its_own_certificate(minor: &str) {
    let server = Etcd::new(minor).tls(Tls::auto()).start();
    let other = Etcd::new(minor).tls(Tls::auto()).start();
    let cert = auto_cert(server.data_dir());
    save(trusting(&server.endpoint(), &cert));
    failure(trusting(&other.endpoint(), &cert))
        .kind(Kind::Unreachable)
        .says("server's certificate")
        .hints("--cacert")
        .within(SOON);
    failure(to(&[&server.endpoint()]))
        .kind(Kind::Unreachable)
        .says("server's certificate")
        .hints("--cacert")
        .within(SOON);
}

#[test]
fn what_a_server_certificate_can_lack() {
    let ca = Ca::new("the test CA");
    let case = |name: &str, spec: Spec| -> (Etcd, Pair) {
        let pair = ca.issue(name, &spec);
        let tls = Tls::server_only(&pair, ca.cert());
        (Etcd::new("3.7").tls(tls).start(), pair)
    };
    let (server, _) = case("misnamed", Spec::server(&["10.0.0.1", "etcd.example"]));
    failure(trusting(&server.endpoint(), ca.cert()))
        .kind(Kind::Unreachable)
        .says("not valid for 127.0.0.1: it is valid for 10.0.0.1, etcd.example")
        .hints("--endpoints")
        .within(SOON);
    let (server, _) = case("unnamed", Spec::server(&[]));
    failure(trusting(&server.endpoint(), ca.cert()))
        .kind(Kind::Unreachable)
        .says("it names no host at all")
        .hints("subjectAltName")
        .within(SOON);
    let (server, _) = case("expired", Spec::server(&["127.0.0.1"]).expired());
    failure(trusting(&server.endpoint(), ca.cert()))
        .kind(Kind::Unreachable)
        .says("certificate expired on 2021-01-01T00:00:00Z; this machine's clock says 20")
        .hints("clock")
        .within(SOON);
    save(ConnectOptions {
        insecure_skip_tls_verify: true,
        ..to(&[&server.endpoint()])
    });
    // CA:TRUE is fine when that very certificate is trusted, and explained when it is not.
    let (server, pair) = case("marked-ca", Spec::server(&["127.0.0.1"]).ca());
    failure(trusting(&server.endpoint(), ca.cert()))
        .kind(Kind::Unreachable)
        .says("is itself a CA (CA:TRUE)")
        .hints("--cacert")
        .within(SOON);
    save(trusting(&server.endpoint(), &pair.cert));
}

#[test]
fn a_pinned_ca_certificate_is_still_checked() {
    let ca = Ca::new("only for its directory");
    let start = |name: &str, spec: Spec| -> (Etcd, PathBuf) {
        let pair = spec.self_signed(ca.dir(), name);
        let tls = Tls::server_only(&pair, &pair.cert);
        (Etcd::new("3.7").tls(tls).start(), pair.cert)
    };
    let (server, cert) = start("good", Spec::server(&["127.0.0.1"]).ca());
    save(trusting(&server.endpoint(), &cert));
    let (server, cert) = start("misnamed", Spec::server(&["10.0.0.1"]).ca());
    failure(trusting(&server.endpoint(), &cert))
        .kind(Kind::Unreachable)
        .says("not valid for 127.0.0.1: it is valid for 10.0.0.1");
    let (server, cert) = start("expired", Spec::server(&["127.0.0.1"]).ca().expired());
    failure(trusting(&server.endpoint(), &cert))
        .kind(Kind::Unreachable)
        .says("expired on 2021-01-01");
}

#[test]
fn every_algorithm_on_both_sides() {
    for algorithm in [
        Algorithm::Rsa,
        Algorithm::P384,
        Algorithm::P521,
        Algorithm::Ed25519,
    ] {
        let ca = Ca::with_algorithm("a CA of this algorithm", algorithm);
        let sans = ["127.0.0.1", "localhost"];
        let server = ca.issue("server", &Spec::server(&sans).algorithm(algorithm));
        let client = ca.issue("root", &Spec::client("root").algorithm(algorithm));
        let tls = Tls::mutual(&server, ca.cert(), ca.cert(), &client);
        let server = Etcd::new("3.7").tls(tls).start();
        let localhost = server.endpoint().replace("127.0.0.1", "localhost");
        save(showing(&server.endpoint(), ca.cert(), &client));
        save(showing(&localhost, ca.cert(), &client));
        save(ConnectOptions {
            insecure_skip_tls_verify: true,
            ..showing(&server.endpoint(), ca.cert(), &client)
        });
    }
}

#[test]
fn a_certificate_of_the_future() {
    let ca = Ca::new("only for its directory");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    let pair = Pair {
        cert: ca.dir().join("future.pem"),
        key: ca.dir().join("future-key.pem"),
    };
    std::fs::write(&pair.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&pair.key, key.serialize_pem()).unwrap();
    let server = Fake::start(Script {
        tls: Some(pair.clone()),
        ..Script::default()
    });
    failure(trusting(&server.endpoint(), &pair.cert))
        .kind(Kind::Unreachable)
        .says("valid only from 2090-01-01T00:00:00Z; this machine's clock says 20")
        .hints("clock")
        .within(SOON);
}

#[test]
fn both_versions_of_tls() {
    let ca = Ca::new("the test CA");
    let client = ca.client("root");
    for flag in ["--tls-max-version=TLS1.2", "--tls-min-version=TLS1.3"] {
        let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &client);
        let server = Etcd::new("3.7").tls(tls).flag(flag).start();
        save(showing(&server.endpoint(), ca.cert(), &client));
        failure(trusting(&server.endpoint(), ca.cert()))
            .kind(Kind::Unreachable)
            .says("the server asks for a client certificate")
            .hints("--cert and --key")
            .within(SOON);
    }
}

#[test]
fn keys_in_every_clothing() {
    let ca = Ca::new("the test CA");
    let openssl = |dir: &Path, args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(dir);
        process::run(command, None, Duration::from_secs(20)).ok();
    };
    for (algorithm, header) in [
        (Algorithm::P256, "-----BEGIN EC PRIVATE KEY-----"),
        (Algorithm::P521, "-----BEGIN EC PRIVATE KEY-----"),
        (Algorithm::Rsa, "-----BEGIN RSA PRIVATE KEY-----"),
    ] {
        let client = ca.issue("root", &Spec::client("root").algorithm(algorithm));
        let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &client);
        let server = Etcd::new("3.7").tls(tls).start();
        save(showing(&server.endpoint(), ca.cert(), &client));

        let dir = client.cert.parent().unwrap().to_owned();
        let old = dir.join("old.pem");
        let undressed = "pkey -in root-key.pem -traditional -out old.pem";
        openssl(&dir, &undressed.split(' ').collect::<Vec<_>>());
        let text = std::fs::read_to_string(&old).unwrap();
        assert!(text.contains(header), "{}", text.lines().next().unwrap());
        // As `openssl ecparam -genkey` writes it, and with remarks around it.
        let dressed = format!(
            "Bag Attributes\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{text}"
        );
        std::fs::write(&old, dressed).unwrap();
        let client = Pair {
            key: old.clone(),
            ..client
        };
        save(showing(&server.endpoint(), ca.cert(), &client));

        for style in [&["-traditional"][..], &[]] {
            let locked = [
                "pkey",
                "-in",
                "root-key.pem",
                "-aes256",
                "-passout",
                "pass:x",
                "-out",
                "old.pem",
            ];
            openssl(&dir, &[&locked[..], style].concat());
            failure(showing(&server.endpoint(), ca.cert(), &client))
                .kind(Kind::Failed)
                .says("old.pem: this key is protected by a passphrase")
                .hints("openssl pkey")
                .within(SOON);
        }
    }
    let client = ca.client("root").with_wrong_key();
    failure(showing("https://127.0.0.1:1", ca.cert(), &client))
        .kind(Kind::Failed)
        .says("root-key.wrong.pem does not belong to the certificate in")
        .says("root.pem");
}

#[test]
fn a_file_that_may_not_be_read() {
    let ca = Ca::new("the test CA");
    failure(trusting(
        "https://127.0.0.1:1",
        Path::new("/nowhere/ca.pem"),
    ))
    .kind(Kind::Failed)
    .says("--cacert: cannot open /nowhere/ca.pem: No such file");
    failure(trusting("https://127.0.0.1:1", ca.dir()))
        .kind(Kind::Failed)
        .says("--cacert: cannot read");
    // Plaintext needs no files, so it does not stumble over them.
    failure(trusting("http://127.0.0.1:1", Path::new("/nowhere/ca.pem")))
        .kind(Kind::Unreachable)
        .says("connection refused");
}
