//! Describing a server before it starts.

use std::path::PathBuf;
use std::time::Duration;

use super::etcd::{Etcd, SOCKET};
use super::ports::{free_port, free_url};
use super::tls::Tls;
use super::versions::{self, Version};

/// How long a server may take to answer: two cores are shared with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server is to be like. By default: a new single member, plaintext, fast instead of durable.
#[derive(Clone)]
pub struct Builder {
    version: Version,
    name: String,
    data_dir: Option<PathBuf>,
    initial_cluster: Option<String>,
    peer_url: Option<String>,
    durable: bool,
    tls: Option<Tls>,
    unix: bool,
    user: Option<(String, String)>,
    flags: Vec<String>,
    envs: Vec<(String, String)>,
    patience: Duration,
}

impl Builder {
    pub(super) fn new(minor: &str) -> Self {
        Self {
            version: versions::version(minor),
            name: "default".to_owned(),
            data_dir: None,
            initial_cluster: None,
            peer_url: None,
            durable: false,
            tls: None,
            unix: false,
            user: None,
            flags: Vec::new(),
            envs: Vec::new(),
            patience: PATIENCE,
        }
    }

    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Runs on this directory, which is the caller's to keep.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// NAME=URL,... of all members; by default this one alone.
    pub fn initial_cluster(mut self, members: &str) -> Self {
        self.initial_cluster = Some(members.to_owned());
        self
    }

    /// The peer URL to listen on and to advertise; by default a free one.
    pub fn peer_url(mut self, url: &str) -> Self {
        self.peer_url = Some(url.to_owned());
        self
    }

    /// Joins a running cluster instead of founding one.
    pub fn existing(self) -> Self {
        self.flag("--initial-cluster-state=existing")
    }

    pub fn token(self, token: &str) -> Self {
        self.flag(&format!("--initial-cluster-token={token}"))
    }

    pub fn quota(self, bytes: u64) -> Self {
        self.flag(&format!("--quota-backend-bytes={bytes}"))
    }

    /// Syncs like a production server: for tests that kill it and look at its files.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Secures the client listener. A plaintext one stays beside it for the harness.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Listens on a unix socket too.
    pub fn unix(mut self) -> Self {
        self.unix = true;
        self
    }

    /// Logs in as this user: for a data directory with auth on.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How long it may take to serve: short for one that is expected not to.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Etcd {
        match self.try_start() {
            Ok(server) => server,
            Err(why) => panic!("{why}"),
        }
    }

    /// Starts it; the error says why it does not serve, with the end of its log.
    pub fn try_start(self) -> Result<Etcd, String> {
        let mut attempts = 0;
        loop {
            let mut server = self.prepare();
            server.spawn();
            let why = match server.wait_ready() {
                Ok(()) => return Ok(server),
                Err(why) => why,
            };
            // Somebody else was faster on one of the ports; nothing was written yet.
            attempts += 1;
            if !why.contains("address already in use") || attempts == 5 {
                return Err(why);
            }
        }
    }

    /// Starts it without waiting: for members that need each other.
    #[track_caller]
    pub fn spawn(self) -> Etcd {
        let mut server = self.prepare();
        server.spawn();
        server
    }

    fn prepare(&self) -> Etcd {
        let dir = super::temp_dir();
        let data_dir = match &self.data_dir {
            Some(dir) => dir.clone(),
            None => dir.path().join("data"),
        };
        let port = free_port();
        let peer_url = self.peer_url.clone().unwrap_or_else(free_url);
        let tls = self.tls.clone().map(|tls| (tls, free_port()));

        let mut listen = format!("http://127.0.0.1:{port}");
        if let Some((_, port)) = &tls {
            listen = format!("https://127.0.0.1:{port},{listen}");
        }
        let advertise = listen.clone();
        if self.unix {
            listen = format!("{listen},unix://{SOCKET}");
        }
        let members = match &self.initial_cluster {
            Some(members) => members.clone(),
            None => format!("{}={peer_url}", self.name),
        };
        let single = !members.contains(',');

        let mut args = vec![
            format!("--name={}", self.name),
            format!("--data-dir={}", data_dir.display()),
            format!("--listen-client-urls={listen}"),
            format!("--advertise-client-urls={advertise}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster={members}"),
            "--logger=zap".to_owned(),
            "--bcrypt-cost=4".to_owned(), // passwords of tests need no protection
        ];
        if single {
            // Nobody to wait for: elect at once.
            args.extend(["--heartbeat-interval=20", "--election-timeout=200"].map(str::to_owned));
        }
        if !self.durable && self.version.at_least("3.5") {
            args.push("--unsafe-no-fsync".to_owned());
        }
        if let Some((tls, _)) = &tls {
            args.extend_from_slice(tls.server_flags());
        }
        args.extend_from_slice(&self.flags);

        Etcd {
            version: self.version,
            dir,
            data_dir,
            args,
            envs: self.envs.clone(),
            port,
            tls,
            unix: self.unix,
            peer_url,
            user: self.user.clone(),
            patience: self.patience,
            child: None,
        }
    }
}
