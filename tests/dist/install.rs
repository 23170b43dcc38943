//! dist/install.sh in made-up trees, one for each layout that it knows: what it finds, what it changes, and
//! that all of it can be taken back.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{dist, text};
use crate::util::mount::{Namespace, is_root};
use crate::util::process::{self, Output};
use crate::util::tree::Tree;
use crate::util::{copy_program, must_have, temp_dir, tools};

/// The file system of a node, and a program to install.
pub struct Node {
    dir: TempDir,
}

const CONFIG: &str = "etc/etcd-rescue/backup.env";
const UNIT: &str = "etc/systemd/system/etcd-rescue-backup.service";
const PROGRAM: &str = "usr/local/bin/etcd-rescue";
const CRON: &str = "etc/cron.d/etcd-rescue";

impl Node {
    /// With systemd, and nothing else.
    pub fn new() -> Node {
        let node = Node { dir: temp_dir() };
        fs::write(node.dir.path().join("etcd-rescue"), "#!/bin/sh\nexit 0\n").unwrap();
        node.write("usr/lib/systemd/systemd", "");
        node
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    #[track_caller]
    fn read(&self, path: &str) -> String {
        text(&self.root().join(path))
    }

    fn has(&self, path: &str) -> bool {
        self.root().join(path).symlink_metadata().is_ok()
    }

    /// The installer with this shell, and without a terminal.
    #[track_caller]
    fn install_with(&self, shell: &[&str], path: &str, args: &[&str]) -> Output {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(dist("install.sh"));
        command.arg("--root").arg(self.root());
        if !args.contains(&"--uninstall") {
            command
                .arg("--binary")
                .arg(self.dir.path().join("etcd-rescue"));
        }
        command.args(args).env_clear().env("PATH", path);
        // What it makes is to be root's.
        if !is_root() {
            let namespace = Namespace::new("");
            return process::run(namespace.wrap(command), None, tools::TIMEOUT);
        }
        process::run(command, None, tools::TIMEOUT)
    }

    #[track_caller]
    pub fn install(&self, args: &[&str]) -> Output {
        self.install_with(&["/bin/sh"], "/usr/bin:/bin", args)
    }

    /// `NAME='value'` of backup.env.
    #[track_caller]
    fn setting(&self, name: &str) -> Option<String> {
        let config = self.read(CONFIG);
        let line = config
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}='")))?;
        Some(line.strip_suffix('\'').expect("a quote").to_owned())
    }
}

pub fn kubeadm() -> Node {
    let node = Node::new();
    node.write(
        "etc/kubernetes/manifests/etcd.yaml",
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - command:\n    - etcd\n    \
         - --advertise-client-urls=https://10.0.0.1:2379\n    - --cert-file=/etc/kubernetes/pki/etcd/server.crt\n    \
         - --key-file=/etc/kubernetes/pki/etcd/server.key\n    \
         - --listen-client-urls=https://10.0.0.1:2379,https://127.0.0.1:2379\n    \
         - --peer-trusted-ca-file=/etc/kubernetes/pki/etcd/peer-ca.crt\n    \
         - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt\n",
    );
    for name in ["ca", "server", "healthcheck-client"] {
        node.write(&format!("etc/kubernetes/pki/etcd/{name}.crt"), "cert");
        node.write(&format!("etc/kubernetes/pki/etcd/{name}.key"), "key");
    }
    node
}

fn rancher(name: &str) -> Node {
    let node = Node::new();
    let server = format!("var/lib/rancher/{name}/server");
    node.write(&format!("{server}/db/etcd/name"), "node-1");
    for file in ["server-ca.crt", "server-client.crt", "server-client.key"] {
        node.write(&format!("{server}/tls/etcd/{file}"), "pem");
    }
    node
}

/// Red Hat's package and Debian's: variables. TLS, as its file's own comments suggest it.
fn variables() -> Node {
    let node = Node::new();
    node.write(
        "etc/etcd/etcd.conf",
        "#[Member]\nETCD_DATA_DIR=\"/var/lib/etcd\"\nETCD_LISTEN_CLIENT_URLS=\"https://0.0.0.0:2379\"\n\
         ETCD_ADVERTISE_CLIENT_URLS=\"https://etcd1.example.com:2379\"\n#ETCD_CERT_FILE=\"/old.pem\"\n\
         ETCD_CERT_FILE=\"/etc/etcd/server.pem\"\nETCD_KEY_FILE=\"/etc/etcd/server-key.pem\"\n\
         ETCD_CLIENT_CERT_AUTH=\"true\"\nETCD_TRUSTED_CA_FILE=\"/etc/etcd/ca.pem\"\n",
    );
    for file in ["server.pem", "server-key.pem", "ca.pem"] {
        node.write(&format!("etc/etcd/{file}"), "pem");
    }
    node
}

fn yaml() -> Node {
    let node = Node::new();
    node.write(
        "etc/etcd/etcd.conf.yml",
        "name: 'default' # human\nlisten-client-urls: http://10.0.0.1:2379,http://localhost:2379\n\
         client-transport-security:\n  cert-file: /client.pem\npeer-transport-security:\n  cert-file: /peer.pem\n",
    );
    node
}

fn yaml_tls() -> Node {
    let node = Node::new();
    node.write(
        "etc/etcd/etcd.conf.yml",
        "peer-transport-security:\n  client-cert-auth: true\n  trusted-ca-file: /nowhere/peer.pem\n\
         client-transport-security:\n  cert-file: \"/etc/etcd/s.pem\"\n  key-file: /etc/etcd/s.key # key\n  \
         client-cert-auth: true\n  trusted-ca-file: /etc/etcd/ca.pem\nlisten-client-urls: https://10.0.0.1:2379\n",
    );
    for file in ["s.pem", "s.key", "ca.pem"] {
        node.write(&format!("etc/etcd/{file}"), "pem");
    }
    node
}

/// A Debian package as installed: everything in its file is a comment.
fn debian() -> Node {
    let node = Node::new();
    node.write(
        "etc/default/etcd",
        "## etcd(1) daemon options\n# ETCD_LISTEN_CLIENT_URLS=\"https://a:1\"\n",
    );
    node
}

/// The whole life of an installation, with what it must have found.
#[track_caller]
fn life(node: &Node, expected: [Option<&str>; 4]) {
    let before = Tree::exactly(&node.root());
    let shown = node.install(&["--dry-run"]).ok();
    before.assert_unchanged(&Tree::exactly(&node.root()), "--dry-run");
    for path in [CONFIG, UNIT, PROGRAM] {
        let root = node.root();
        let line = format!("create     {}", root.join(path).display());
        assert!(shown.stdout_str().contains(&line), "{shown}");
    }

    let before = Tree::of(&node.root());
    node.install(&["--yes"]).ok();
    let names = [
        "ETCDCTL_ENDPOINTS",
        "ETCDCTL_CACERT",
        "ETCDCTL_CERT",
        "ETCDCTL_KEY",
    ];
    let found = names.map(|name| node.setting(name));
    assert_eq!(found.each_ref().map(Option::as_deref), expected);
    let mode = |path: &str| node.root().join(path).metadata().unwrap().mode() & 0o777;
    assert_eq!(
        [mode(CONFIG), mode(UNIT), mode(PROGRAM)],
        [0o600, 0o644, 0o755]
    );
    let wants = "etc/systemd/system/timers.target.wants/etcd-rescue-backup.timer";
    let target = fs::read_link(node.root().join(wants)).unwrap();
    assert_eq!(
        target,
        Path::new("/etc/systemd/system/etcd-rescue-backup.timer")
    );

    let installed = Tree::exactly(&node.root());
    node.install(&["--yes"])
        .ok()
        .stdout_has("Nothing to change.");
    installed.assert_unchanged(&Tree::exactly(&node.root()), "the second run");

    node.install(&["--uninstall", "--dry-run"]).ok();
    installed.assert_unchanged(&Tree::exactly(&node.root()), "--uninstall --dry-run");
    node.install(&["--uninstall", "--yes"]).ok();
    before.assert_unchanged(&Tree::of(&node.root()), "installing and uninstalling");
}

#[test]
fn kubeadm_is_found_by_its_manifest() {
    let pki = "/etc/kubernetes/pki/etcd";
    life(
        &kubeadm(),
        [
            Some("https://127.0.0.1:2379"),
            Some(&format!("{pki}/ca.crt")),
            Some(&format!("{pki}/healthcheck-client.crt")),
            Some(&format!("{pki}/healthcheck-client.key")),
        ],
    );
}

#[test]
fn k3s_and_rke2_are_found_by_their_database() {
    for name in ["k3s", "rke2"] {
        let tls = format!("/var/lib/rancher/{name}/server/tls/etcd");
        life(
            &rancher(name),
            [
                Some("https://127.0.0.1:2379"),
                Some(&format!("{tls}/server-ca.crt")),
                Some(&format!("{tls}/server-client.crt")),
                Some(&format!("{tls}/server-client.key")),
            ],
        );
    }
}

#[test]
fn packages_are_found_by_their_configuration() {
    life(
        &variables(),
        [
            Some("https://etcd1.example.com:2379"),
            Some("/etc/etcd/ca.pem"),
            Some("/etc/etcd/server.pem"),
            Some("/etc/etcd/server-key.pem"),
        ],
    );
    life(&yaml(), [Some("http://localhost:2379"), None, None, None]);
    life(
        &yaml_tls(),
        [
            Some("https://10.0.0.1:2379"),
            Some("/etc/etcd/ca.pem"),
            Some("/etc/etcd/s.pem"),
            Some("/etc/etcd/s.key"),
        ],
    );
    life(&debian(), [Some("http://localhost:2379"), None, None, None]);
}

/// busybox has a shell and tools of its own; bash is sh on many nodes.
#[test]
fn every_shell_does_the_same() {
    let busybox = must_have("/bin/busybox");
    let applets = temp_dir();
    let mut link = Command::new(&busybox);
    link.args(["--install", "-s"]).arg(applets.path());
    process::run(link, None, tools::TIMEOUT).ok();
    let applets = applets.path().to_str().unwrap().to_owned();
    let busybox = busybox.to_str().unwrap();

    let node = kubeadm();
    let before = Tree::of(&node.root());
    node.install(&["--yes"]).ok();
    let expected = Tree::timeless(&node.root());
    node.install(&["--uninstall", "--yes"]).ok();
    for (shell, path) in [
        (&["/bin/bash", "--posix"][..], "/usr/bin:/bin"),
        (&[busybox, "sh"], &applets),
    ] {
        node.install_with(shell, path, &["--yes"])
            .ok()
            .stderr_is("");
        expected.assert_unchanged(&Tree::timeless(&node.root()), shell[0]);
        node.install_with(shell, path, &["--yes"])
            .ok()
            .stdout_has("Nothing to change.");
        node.install_with(shell, path, &["--uninstall", "--yes"])
            .ok();
        before.assert_unchanged(&Tree::of(&node.root()), shell[0]);
    }
}

#[test]
fn without_systemd_there_is_cron() {
    let node = kubeadm();
    fs::remove_dir_all(node.root().join("usr")).unwrap();
    fs::create_dir_all(node.root().join("etc/cron.d")).unwrap();
    let before = Tree::of(&node.root());
    node.install(&["--yes"]).ok();
    assert_eq!(node.read(CRON), text(&dist("cron/etcd-rescue")));
    assert!(!node.has(UNIT));
    let backups = node.root().join("var/lib/etcd-rescue/backups");
    assert_eq!(backups.metadata().unwrap().mode() & 0o777, 0o700);

    // The node gets systemd: units instead of lines, not beside them.
    node.write("lib/systemd/systemd", "");
    node.install(&["--yes"]).ok();
    assert!(node.has(UNIT) && !node.has(CRON));
    fs::remove_dir_all(node.root().join("lib")).unwrap();
    node.install(&["--uninstall", "--yes"]).ok();
    before.assert_unchanged(&Tree::of(&node.root()), "cron, then systemd, then nothing");
}

#[test]
fn without_a_terminal_and_without_yes_nothing_happens() {
    let node = kubeadm();
    let before = Tree::exactly(&node.root());
    node.install(&[])
        .code(4)
        .stdout_has("ETCDCTL_ENDPOINTS='https://127.0.0.1:2379'")
        .stderr_has("there is no terminal to ask on")
        .stderr_has("hint: --yes");
    before.assert_unchanged(&Tree::exactly(&node.root()), "a refusal");
}

#[test]
fn on_a_terminal_it_asks() {
    let script = must_have("/usr/bin/script");
    let ask = |node: &Node, answer: &str| {
        let mut command = Command::new(&script);
        let installer = format!(
            "{} --root {} --binary {}",
            dist("install.sh").display(),
            node.root().display(),
            node.dir.path().join("etcd-rescue").display()
        );
        command
            .args(["-q", "-e", "-c", &installer, "/dev/null"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        process::run(command, Some(answer.into()), tools::TIMEOUT)
    };
    let node = kubeadm();
    let before = Tree::exactly(&node.root());
    ask(&node, "\n")
        .code(4)
        .stdout_has("Do this? [y/N]")
        .stdout_has("Nothing was changed.");
    before.assert_unchanged(&Tree::exactly(&node.root()), "a no");
    ask(&node, "y\n").ok().stdout_has("Installed.");
    assert!(node.has(UNIT));
}

#[test]
fn what_it_does_not_find_it_does_not_guess() {
    let nothing = Node::new();
    nothing
        .install(&["--yes"])
        .code(1)
        .stderr_has("found no etcd here")
        .stderr_has("hint: say how to reach it");
    let two = kubeadm();
    two.write("var/lib/rancher/k3s/server/db/etcd/name", "");
    two.install(&["--yes"])
        .code(1)
        .stderr_has("more than one etcd here: kubeadm k3s");
    two.install(&["--yes", "--layout", "kubeadm"]).ok();
    // k3s with SQLite.
    let sqlite = Node::new();
    sqlite.write("var/lib/rancher/k3s/server/db/state.db", "");
    sqlite.install(&["--yes"]).code(1);
    // The manifest names what is not there.
    let gone = kubeadm();
    fs::remove_file(gone.root().join("etc/kubernetes/pki/etcd/ca.crt")).unwrap();
    gone.install(&["--yes"])
        .code(1)
        .stderr_has("there is no")
        .stderr_has("pki/etcd/ca.crt");
    for node in [&nothing, &sqlite, &gone] {
        assert!(!node.has(CONFIG) && !node.has(PROGRAM));
    }
}

#[test]
fn endpoints_can_be_given() {
    let node = Node::new();
    node.write("etc/pki/ca.pem", "pem");
    let given = [
        "--yes",
        "--endpoints",
        "https://a:2379,https://b:2379",
        "--cacert",
        "/etc/pki/ca.pem",
    ];
    node.install(&given).ok();
    assert_eq!(
        node.setting("ETCDCTL_ENDPOINTS").unwrap(),
        "https://a:2379,https://b:2379"
    );
    assert_eq!(node.setting("ETCDCTL_CERT"), None);
    // What sh would expand, and systemd would not.
    let node = Node::new();
    node.install(&["--yes", "--endpoints", "http://$(id):2379"])
        .code(1)
        .stderr_has("cannot be written down for both systemd and sh");
    assert!(!node.has(CONFIG));
    node.install(&["--yes", "--cacert", "/x"])
        .code(2)
        .stderr_has("need --endpoints");
    node.install(&["--endpoint", "x"])
        .code(2)
        .stderr_has("unknown argument");
}

#[test]
fn what_was_changed_since_is_kept() {
    let node = kubeadm();
    node.install(&["--yes"]).ok();
    let mine = "ETCDCTL_ENDPOINTS='https://elsewhere:2379'\n";
    node.write(CONFIG, mine);
    node.install(&["--yes"]).ok().stdout_has("keep ");
    assert_eq!(node.read(CONFIG), mine);
    node.write("var/lib/etcd-rescue/backups/a-backup.db.zst", "precious");
    node.install(&["--uninstall", "--yes"])
        .ok()
        .stdout_has("keep ");
    assert_eq!(node.read(CONFIG), mine);
    assert_eq!(
        node.read("var/lib/etcd-rescue/backups/a-backup.db.zst"),
        "precious"
    );
    assert!(!node.has(UNIT) && !node.has(PROGRAM));
    node.install(&["--uninstall", "--yes"])
        .code(1)
        .stderr_has("has installed nothing here");
}

/// Backups in directories that the installer itself made, as it does for cron.
#[test]
fn backups_outlive_what_made_them() {
    let node = kubeadm();
    fs::create_dir_all(node.root().join("etc/cron.d")).unwrap();
    node.install(&["--yes", "--cron"]).ok();
    node.write("var/lib/etcd-rescue/backups/a-backup.db.zst", "precious");
    node.install(&["--uninstall", "--yes"])
        .ok()
        .stdout_has("is not empty, and stays");
    assert_eq!(
        node.read("var/lib/etcd-rescue/backups/a-backup.db.zst"),
        "precious"
    );
}

#[test]
fn what_others_put_there_is_moved_aside_and_put_back() {
    let node = kubeadm();
    node.write(UNIT, "[Service]\nExecStart=/opt/backup.sh\n");
    node.write(PROGRAM, "another program");
    let before = Tree::of(&node.root());
    node.install(&["--yes"])
        .ok()
        .stdout_has("is moved to /usr/local/bin/etcd-rescue.before-etcd-rescue");
    assert_eq!(
        node.read(UNIT),
        text(&dist("systemd/etcd-rescue-backup.service"))
    );
    node.install(&["--yes"])
        .ok()
        .stdout_has("Nothing to change.");
    node.install(&["--uninstall", "--yes"]).ok();
    before.assert_unchanged(&Tree::of(&node.root()), "moving aside and back");
}

#[test]
fn a_newer_program_replaces_the_one_it_installed() {
    let node = kubeadm();
    let before = Tree::of(&node.root());
    node.install(&["--yes"]).ok();
    let newer = "#!/bin/sh\n# newer\nexit 0\n";
    fs::write(node.dir.path().join("etcd-rescue"), newer).unwrap();
    node.install(&["--yes"]).ok().stdout_has("update ");
    assert_eq!(node.read(PROGRAM), newer);
    node.install(&["--uninstall", "--yes"]).ok();
    before.assert_unchanged(&Tree::of(&node.root()), "an update and its end");
}

/// The program that the README had people install by hand.
#[test]
fn what_is_there_already_is_left_there() {
    let node = kubeadm();
    fs::create_dir_all(node.root().join("usr/local/bin")).unwrap();
    let program = node.root().join(PROGRAM);
    copy_program(node.dir.path().join("etcd-rescue"), &program);
    let before = Tree::of(&node.root());
    node.install(&["--yes"]).ok();
    node.install(&["--uninstall", "--yes"]).ok();
    before.assert_unchanged(&Tree::of(&node.root()), "installing around it");
}

#[test]
fn metrics_go_where_node_exporter_looks() {
    let drop_in = "etc/systemd/system/etcd-rescue-backup.service.d/install.conf";
    let metrics = |node: &Node| node.setting("ETCD_RESCUE_BACKUP_FLAGS").unwrap();
    let node = kubeadm();
    let debian = "/var/lib/prometheus/node-exporter";
    fs::create_dir_all(node.root().join(&debian[1..])).unwrap();
    node.install(&["--yes"]).ok();
    let expected = format!(" --metrics {debian}/etcd_rescue.prom");
    assert!(metrics(&node).ends_with(&expected), "{}", metrics(&node));
    assert!(!node.has(drop_in));

    let node = kubeadm();
    fs::create_dir_all(node.root().join("srv/metrics")).unwrap();
    let before = Tree::of(&node.root());
    node.install(&["--yes", "--metrics-dir", "/srv/metrics"])
        .ok();
    assert!(metrics(&node).ends_with(" --metrics /srv/metrics/etcd_rescue.prom"));
    assert!(node.read(drop_in).contains("\nReadWritePaths=/srv/metrics"));
    node.install(&["--uninstall", "--yes"]).ok();
    before.assert_unchanged(&Tree::of(&node.root()), "a drop-in");
}

/// Uid 0 without capabilities cannot read what is another user's: exactly then it gets one.
#[test]
fn keys_of_another_user_take_a_capability() {
    assert!(
        is_root(),
        "this test gives files to another user: run it as root"
    );
    let drop_in = "etc/systemd/system/etcd-rescue-backup.service.d/install.conf";
    let node = variables();
    let key = node.root().join("etc/etcd/server-key.pem");
    std::os::unix::fs::chown(&key, Some(1234), Some(1234)).unwrap();
    node.install(&["--yes"]).ok();
    let added = node.read(drop_in);
    assert!(
        added.ends_with("\nCapabilityBoundingSet=CAP_DAC_READ_SEARCH\n"),
        "{added}"
    );

    let node = variables();
    let dir = node.root().join("etc/etcd");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&dir, Some(1234), Some(0)).unwrap();
    node.install(&["--yes"]).ok();
    assert!(node.has(drop_in), "a directory that hides them");

    let node = variables();
    std::os::unix::fs::chown(node.root().join("etc/etcd"), Some(1234), Some(0)).unwrap();
    node.install(&["--yes"]).ok();
    assert!(!node.has(drop_in), "a directory that hides nothing");
}
