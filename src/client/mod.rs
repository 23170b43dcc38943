//! Speaking to etcd: endpoints, TLS, auth, member choice, and the snapshot stream.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits::Deadlines;

/// How to reach a cluster; field for field what etcdctl's global flags say (`compat.md` 2.2).
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Endpoints as typed: `host:port`, `http://…`, `https://…`, `unix:…`, `unixs:…`.
    pub endpoints: Vec<String>,
    /// Trust these CAs (PEM).
    pub cacert: Option<PathBuf>,
    /// Client certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// `--insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// `--insecure-transport=false` was given: TLS even where nothing else asks for it.
    pub force_tls: bool,
    /// User name and password.
    pub user: Option<(String, Password)>,
    /// HTTP/2 ping interval while a stream is active.
    pub keepalive_time: Duration,
    /// How long a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// How long to wait for anything.
    pub deadlines: Deadlines,
}

/// A password; never printed.
#[derive(Clone, Default)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}
