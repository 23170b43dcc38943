//! How a test server's client listener is secured, and what its own etcdctl must be told for that.

use std::path::{Path, PathBuf};

use super::certs::Pair;

/// TLS of the client listener.
#[derive(Clone)]
pub struct Tls {
    server: Vec<String>,
    ctl: Vec<String>,
    auto: bool,
}

impl Tls {
    /// The server shows `server`, and asks clients for a certificate of `client_ca`.
    /// `server_ca` and `client` are for etcdctl.
    pub fn mutual(server: &Pair, client_ca: &Path, server_ca: &Path, client: &Pair) -> Self {
        let mut tls = Self::server_only(server, server_ca);
        tls.server.extend([
            "--client-cert-auth".to_owned(),
            flag("--trusted-ca-file", client_ca),
        ]);
        tls.ctl
            .extend([flag("--cert", &client.cert), flag("--key", &client.key)]);
        tls
    }

    /// The server shows `server` and asks nothing of clients.
    pub fn server_only(server: &Pair, server_ca: &Path) -> Self {
        Self {
            server: vec![
                flag("--cert-file", &server.cert),
                flag("--key-file", &server.key),
            ],
            ctl: vec![flag("--cacert", server_ca)],
            auto: false,
        }
    }

    /// The server makes its own certificate (P-521, self-signed) at its start.
    pub fn auto() -> Self {
        Self {
            server: vec!["--auto-tls".to_owned()],
            ctl: Vec::new(),
            auto: true,
        }
    }

    /// Flags for the server.
    pub fn server_flags(&self) -> &[String] {
        &self.server
    }

    /// Flags for etcdctl, given the server's data directory.
    pub fn ctl_flags(&self, data_dir: &Path) -> Vec<String> {
        if self.auto {
            vec![flag("--cacert", &auto_cert(data_dir))]
        } else {
            self.ctl.clone()
        }
    }
}

/// Where `etcd --auto-tls` keeps the certificate it made for its client listener.
pub fn auto_cert(data_dir: &Path) -> PathBuf {
    data_dir.join("fixtures/client/cert.pem")
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
