//! The machine that README.md speaks of: a kubeadm control-plane node, under a temporary root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::util::certs::{Ca, Pair};
use crate::util::etcd::Etcd;
use crate::util::tls::Tls;
use crate::util::{copy_program, fill, process, temp_dir, tools, versions};

/// Directories that commands in README.md name.
const DIRS: [&str; 7] = [
    "/etc/kubernetes",
    "/etc/etcd-rescue",
    "/var/lib/prometheus",
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
        let manifest = format!(
            "spec:\n  containers:\n  - command:\n    - etcd\n    - --listen-client-urls=https://127.0.0.1:{}\n{}",
            etcd.port(),
            "    - --cert-file=/etc/kubernetes/pki/etcd/server.crt\n    - --key-file=/etc/kubernetes/pki/etcd/server.key\n    \
             - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt\n"
        );
        std::fs::write(manifests.join("etcd.yaml"), manifest).unwrap();

        // What install.sh looks for, and what it comes with.
        for dir in [
            "/lib/systemd/systemd",
            "/etc/systemd/system",
            "/var/lib/prometheus/node-exporter",
        ] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        std::os::unix::fs::symlink(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("dist"),
            root.path().join("dist"),
        )
        .unwrap();

        copy_program(env!("CARGO_BIN_EXE_etcd-rescue"), root.path().join(BUILT));
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
        let mut here = match command.strip_prefix("systemctl start ") {
            Some(unit) => self.unit(unit),
            None => command.to_owned(),
        };
        // The node's own etcdctl is told where etcd is; with a flag, too, it gives up.
        if here.contains("etcdctl --endpoints") {
            here = format!("unset ETCDCTL_ENDPOINTS ETCDCTL_WRITE_OUT\n{here}");
        }
        // As a node's file system that is mounted elsewhere: nothing of this machine is changed.
        here = here.replace("dist/install.sh", &format!("dist/install.sh --root {root}"));
        for dir in DIRS {
            for before in [" ", ">", "=", "='"] {
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

    /// What systemd runs for an installed unit, with the unit's environment file.
    fn unit(&self, name: &str) -> String {
        let unit = std::fs::read_to_string(self.at("/etc/systemd/system").join(name)).unwrap();
        let unit = unit.replace("\\\n", " ");
        let value = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{name} has no {key}"))
                .to_owned()
        };
        let environment = self.at(&value("EnvironmentFile="));
        let environment = std::fs::read_to_string(environment).unwrap();
        let state = value("StateDirectory=").replace("etcd-rescue", "/var/lib/etcd-rescue");
        format!(
            "mkdir -p -m 700 {state}\nset -a\n{environment}\nset +a\nexec {} >journal 2>&1",
            value("ExecStart=")
        )
    }

    #[track_caller]
    fn bash(&self, command: &str) -> String {
        let etcd = versions::version("3.7").etcd();
        let mut path = vec![self.at("/usr/local/bin"), etcd.parent().unwrap().to_owned()];
        path.extend(tools::unpacked_dirs());
        path.extend(["/usr/bin".into(), "/bin".into()]);
        let path = std::env::join_paths(path).unwrap();
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
