//! The machine that README.md speaks of: a kubeadm control-plane node, under a temporary root.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::util::certs::{Ca, Pair};
use crate::util::etcd::Etcd;
use crate::util::tls::Tls;
use crate::util::{fill, process, temp_dir};

/// Directories that commands in README.md name.
const DIRS: [&str; 5] = [
    "/etc/kubernetes",
    "/var/lib/etcd",
    "/backup",
    "/mnt",
    "/usr/local/bin",
];

/// What was copied to the node.
const BUILT: &str = "etcd-rescue-x86_64";

const TIMEOUT: Duration = Duration::from_secs(60);

/// Certificates, manifests, an etcd with data, and a kubelet that runs it as long as its manifest is
/// in its place.
pub struct Node {
    root: TempDir,
    pub etcd: Etcd,
    runs: bool,
    /// How often etcd was started again.
    pub restarts: usize,
}

impl Node {
    pub fn new() -> Self {
        let root = temp_dir();
        let at = |path: &str| root.path().join(&path[1..]);
        for dir in DIRS {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        let manifests = at("/etc/kubernetes/manifests");
        std::fs::create_dir_all(&manifests).unwrap();
        for manifest in ["etcd.yaml", "kube-apiserver.yaml"] {
            std::fs::write(manifests.join(manifest), "kind: Pod\n").unwrap();
        }

        let ca = Ca::new("etcd-ca");
        let issued = ca.server();
        let pki = at("/etc/kubernetes/pki/etcd");
        std::fs::create_dir_all(&pki).unwrap();
        let pair = Pair {
            cert: pki.join("server.crt"),
            key: pki.join("server.key"),
        };
        std::fs::copy(&issued.cert, &pair.cert).unwrap();
        std::fs::copy(&issued.key, &pair.key).unwrap();
        std::fs::copy(ca.cert(), pki.join("ca.crt")).unwrap();
        let ca = pki.join("ca.crt");
        let etcd = Etcd::new("3.7")
            .name("cp1")
            .data_dir(at("/var/lib/etcd"))
            .tls(Tls::mutual(&pair, &ca, &ca, &pair))
            .start();
        etcd.wait_storage_version();
        fill::kubernetes(&mut etcd.api(), 1000, 1000);

        std::fs::copy(env!("CARGO_BIN_EXE_etcd-rescue"), root.path().join(BUILT)).unwrap();
        let node = Self {
            root,
            etcd,
            runs: true,
            restarts: 0,
        };
        node.bash(&format!("sha256sum {BUILT} >{BUILT}.sha256"));
        node
    }

    /// Runs a command as README.md has it. What it prints is what it would print on the node itself,
    /// on a terminal.
    pub fn run(&mut self, command: &str) -> String {
        let root = self.root.path().display().to_string();
        let mut here = command.to_owned();
        for dir in DIRS {
            for before in [" ", ">", "="] {
                here = here.replace(&format!("{before}{dir}"), &format!("{before}{root}{dir}"));
            }
        }
        let output = self.bash(&here);
        self.kubelet();
        let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
        output
            .replace(&root, "")
            .replace(&format!(":{}", self.etcd.port()), ":2379")
            .replace(&format!(":{}", port(self.etcd.peer_url())), ":2380")
            .replace(&format!(":{}", port(&self.etcd.url())), ":2381")
    }

    #[track_caller]
    fn bash(&self, command: &str) -> String {
        let path = format!("{}:/usr/bin:/bin", self.at("/usr/local/bin").display());
        let endpoint = format!("127.0.0.1:{}", self.etcd.port());
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.root.path())
            .env_clear()
            .env("PATH", path)
            // Port 2379 belongs to whoever runs the tests.
            .env("ETCDCTL_ENDPOINTS", endpoint)
            .env("ETCDCTL_WRITE_OUT", "table");
        process::run(bash, None, TIMEOUT).ok().stdout_str()
    }

    /// Stops or starts etcd as its manifest has it.
    fn kubelet(&mut self) {
        let wanted = self.at("/etc/kubernetes/manifests/etcd.yaml").exists();
        match (self.runs, wanted) {
            (true, false) => {
                self.etcd.stop();
                // The disk of this node, as a rescue system sees it.
                self.bash("mkdir -p mnt/var/lib && cp -a var/lib/etcd mnt/var/lib/");
            }
            (false, true) => {
                self.etcd.restart();
                self.restarts += 1;
            }
            _ => {}
        }
        self.runs = wanted;
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(&path[1..])
    }
}
