//! The pod's command and cron's lines as they stand, where there is hardly anything: a read-only root with the
//! program and what is mounted, without /proc, /dev and /tmp, as uid 0 without capabilities.
//!
//! (A build that is not static finds its libraries there, too. The capability to change the root is chroot's,
//! and is left.)

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::kubernetes::{manifests, pod};
use super::node::{cron_lines, without_capabilities};
use super::{alarms, install, text};
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::mount::{Namespace, is_root};
use crate::util::process::{self, Output, Running};
use crate::util::tls::Tls;
use crate::util::{must_have, temp_dir, tools, tree};

/// kubeadm's keys, and what else is mounted from the node.
struct Node {
    dir: TempDir,
    server: Etcd,
    /// Has the server's certificate.
    _ca: Ca,
}

impl Node {
    /// Its etcd wants a client certificate, and has one key.
    fn new() -> Node {
        assert!(is_root(), "this test is uid 0 on a node: run it as root");
        let dir = temp_dir();
        let ca = Ca::new("the test CA");
        let client = ca.client("root");
        let pki = dir.path().join("pki");
        fs::create_dir(&pki).unwrap();
        for (from, to) in [
            (ca.cert(), "ca.crt"),
            (&client.cert, "healthcheck-client.crt"),
            (&client.key, "healthcheck-client.key"),
        ] {
            fs::copy(from, pki.join(to)).unwrap();
        }
        let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &client);
        let server = Etcd::new("3.7").tls(tls).start();
        server.etcdctl(["put", "/registry/configmaps/default/first", "value"]);
        for name in ["backups", "metrics", "report", "root"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Node {
            dir,
            server,
            _ca: ca,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The root, after `script` has put more into it; `mounts` are names here, paths there, and whether they
    /// can be written.
    #[track_caller]
    fn root(&self, mounts: &[(&str, &str, bool)], script: &str) -> Namespace {
        let mut all = format!(
            r#"r='{root}'; p='{program}'
               mount -t tmpfs -o mode=755 tmpfs "$r"
               mkdir -p "$r/usr/local/bin"
               : >"$r/usr/local/bin/etcd-rescue"
               mount --bind "$p" "$r/usr/local/bin/etcd-rescue"
               libraries() {{
                   for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
                       mkdir -p "$r${{library%/*}}"; cp -L "$library" "$r$library"
                   done
               }}
               libraries "$p"
               {script}
            "#,
            root = self.path("root").display(),
            program = env!("CARGO_BIN_EXE_etcd-rescue"),
        );
        for (from, to, writable) in mounts {
            let from = self.path(from);
            let from = from.display();
            all += &format!("mkdir -p \"$r{to}\"; mount --bind '{from}' \"$r{to}\"\n");
            if !writable {
                all += &format!("mount -o remount,bind,ro \"$r{to}\"\n");
            }
        }
        Namespace::new(&(all + "mount -o remount,ro \"$r\""))
    }

    fn enter(&self, namespace: &Namespace, program: &str, args: &[String]) -> Command {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(self.path("root")).arg(program).args(args);
        namespace.wrap(without_capabilities(&command, ",+sys_chroot"))
    }

    /// Names of archives, and no other files but the program's own.
    #[track_caller]
    fn archives(&self) -> Vec<String> {
        let mut names = tree::names(&self.path("backups"));
        let own = [".etcd-rescue-catalogue.json", ".etcd-rescue.lock"];
        assert!(own.iter().all(|own| names.contains(&(*own).to_owned())));
        // The one before is there from the second backup on.
        names.retain(|name| {
            !own.contains(&name.as_str()) && name != ".etcd-rescue-catalogue.old.json"
        });
        assert!(names.iter().all(|name| name.ends_with(".db.zst")));
        names
    }

    /// What node_exporter will read, found good.
    #[track_caller]
    fn metrics(&self, success: u8) {
        assert_eq!(tree::names(&self.path("metrics")), ["etcd_rescue.prom"]);
        let written = text(&self.path("metrics/etcd_rescue.prom"));
        tools::check_metrics(&written).ok().stdout_is("");
        alarms::assert_all_metrics_are_in(&written);
        let flag = written.lines().find_map(|line| {
            line.starts_with("etcd_rescue_last_run_success{")
                .then(|| line.ends_with(&format!("}} {success}")))
        });
        assert_eq!(flag, Some(true), "{written}");
    }
}

/// The container of the CronJob on a node, its mounts where the manifest says.
struct Pod {
    node: Node,
    namespace: Namespace,
    args: Vec<String>,
}

impl Pod {
    fn new() -> Pod {
        Pod::of(Node::new(), &manifests("cronjob.yaml")[0])
    }

    fn of(node: Node, job: &Value) -> Pod {
        let container = &pod(job)["containers"][0];
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let mounts: Vec<_> = mounts
            .map(|mount| {
                let here = match mount["name"].as_str().unwrap() {
                    "etcd-certs" => "pki",
                    name => name,
                };
                let there = mount["mountPath"].as_str().unwrap();
                (here, there, mount["readOnly"] != true)
            })
            .collect();
        let namespace = node.root(&mounts, "");
        let port = format!("127.0.0.1:{}", node.server.port());
        let args = container["args"].as_array().unwrap().iter();
        let args = args.map(|arg| arg.as_str().unwrap().replace("127.0.0.1:2379", &port));
        let args = args.collect();
        Pod {
            node,
            namespace,
            args,
        }
    }

    fn command(&self) -> Command {
        let program = "/usr/local/bin/etcd-rescue";
        self.node.enter(&self.namespace, program, &self.args)
    }

    fn run(&self) -> Output {
        process::run(self.command(), None, tools::TIMEOUT)
    }

    /// As the first process of a container, once it works on the directory, and how it is called outside of that.
    fn begin_as_pid_1(&self) -> (Running, Pid) {
        let lock = self.node.path("backups/.etcd-rescue.lock");
        fs::write(&lock, "").unwrap();
        let inner = self.command();
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--pid", "--fork", "--kill-child"]);
        command.arg(inner.get_program()).args(inner.get_args());
        command.env_clear();
        let running = process::spawn(command, None);
        process::eventually("the run begins", || fs::metadata(&lock).unwrap().len() > 0);
        let children = format!("/proc/{0}/task/{0}/children", running.pid());
        let first = text(Path::new(&children)).trim().parse().unwrap();
        (running, Pid::from_raw(first).unwrap())
    }
}

#[test]
fn the_pod_takes_backups_in_an_empty_image() {
    let mut pod = Pod::new();
    for count in [1, 2] {
        pod.run().ok().stdout_is("").stderr_is("");
        assert_eq!(pod.node.archives().len(), count);
        pod.node.metrics(1);
    }

    let before = pod.node.archives();
    pod.node.server.stop();
    let said = pod.run().code(5).stdout_is("");
    let lines = said.stderr.lines().map(serde_json::from_str::<Value>);
    let lines: Vec<_> = lines.map(|line| line.expect("JSON on a line")).collect();
    assert_eq!(lines[0]["level"], "error", "{lines:?}");
    assert_eq!(pod.node.archives(), before);
    pod.node.metrics(0);
}

/// Rot is found by the check, and told by the next backup.
#[test]
fn the_pod_of_the_check_reads_what_the_other_has_made() {
    let backup = Pod::new();
    backup.run().ok();
    backup.run().ok();
    let Pod { node, .. } = backup;
    let check = Pod::of(node, &manifests("cronjob.yaml")[1]);
    check
        .run()
        .ok()
        .stderr_is("")
        .stdout_has("2, 2 good, 0 damaged");
    let path = check.node.path("backups").join(&check.node.archives()[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    check.run().code(3).stdout_has("2, 1 good, 1 damaged");
    let Pod { node, .. } = check;
    let backup = Pod::of(node, &manifests("cronjob.yaml")[0]);
    backup.run().ok();
    backup.node.metrics(1);
    let written = text(&backup.node.path("metrics/etcd_rescue.prom"));
    assert!(written.contains("state=\"damaged\"} 1\n"), "{written}");
}

/// The kubelet sends SIGTERM to the first process of the container, for which signals have no default.
#[test]
fn the_pod_ends_when_it_is_told_to() {
    let pod = Pod::new();
    pod.run().ok();
    let before = pod.node.archives();
    pod.node.server.freeze(true);
    let (running, first) = pod.begin_as_pid_1();
    kill_process(first, Signal::TERM).unwrap();
    running.wait(tools::TIMEOUT).code(143);
    assert_eq!(pod.node.archives(), before);
    pod.node.metrics(0);

    // The second signal ends it at once. (SIGINT has the lower number, and is delivered first.)
    let (running, first) = pod.begin_as_pid_1();
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        kill_process(first, signal).unwrap();
    }
    let ended = running.wait(tools::TIMEOUT);
    let code = ended.code;
    ended.expect(matches!(code, Some(130 | 143)), "an exit code of a signal");
    pod.node.server.freeze(false);
    pod.run().ok();
    assert_eq!(pod.node.archives().len(), 2);
    pod.node.metrics(1);
}

#[test]
fn the_cron_lines_keep_backups_and_are_quiet() {
    must_have("/bin/busybox");
    let mut node = Node::new();
    let installed = install::kubeadm();
    let metrics = "/var/lib/node_exporter";
    fs::create_dir_all(installed.root().join(&metrics[1..])).unwrap();
    let next = installed.install(&["--yes", "--cron"]).ok().stdout_str();
    let settings = text(&installed.root().join("etc/etcd-rescue/backup.env")).replace(
        "https://127.0.0.1:2379",
        &format!("https://127.0.0.1:{}", node.server.port()),
    );
    fs::create_dir(node.path("config")).unwrap();
    fs::write(node.path("config/backup.env"), settings).unwrap();
    let namespace = node.root(
        &[
            ("config", "/etc/etcd-rescue", false),
            ("pki", "/etc/kubernetes/pki/etcd", false),
            ("report", "/var/lib/etcd-rescue", true),
            ("backups", "/var/lib/etcd-rescue/backups", true),
            ("metrics", metrics, true),
        ],
        r#"mkdir "$r/bin"; cp /bin/busybox "$r/bin/sh"
           for name in nice cat; do cp "/usr/bin/$name" "$r/bin/"; libraries "/usr/bin/$name"; done"#,
    );
    let [backup, check] = cron_lines().try_into().expect("two lines");
    let sh = |node: &Node, line: &str| {
        let args = ["-c".to_owned(), line.to_owned()];
        let mut command = node.enter(&namespace, "/bin/sh", &args);
        command.env("PATH", "/usr/bin:/bin");
        process::run(command, None, tools::TIMEOUT)
    };
    sh(&node, &check).code(6).stderr_has(": there is no backup");
    sh(&node, &backup).ok().stdout_is("").stderr_is("");
    sh(&node, &check).ok().stdout_is("").stderr_is("");
    assert_eq!(node.archives().len(), 1);
    node.metrics(1);

    // What install.sh says is to be typed next: a backup by hand, the list, the report, the metrics.
    let (_, next) = next.split_once("Installed. ").expect("the end");
    let next = next.lines().filter_map(|line| line.strip_prefix("  "));
    let next: Vec<_> = next.filter(|line| !line.starts_with('#')).collect();
    assert_eq!(next.len(), 4, "{next:?}");
    let said = next.iter().map(|line| sh(&node, line).ok().stdout_str());
    let said: Vec<_> = said.collect();
    assert_eq!(node.archives().len(), 2);
    for (said, has) in said.iter().zip([
        "",
        &node.archives()[0],
        "\"outcome\": \"saved\"",
        "etcd_rescue_last_run_success",
    ]) {
        assert!(said.contains(has), "no {has:?} in {said}");
    }

    node.server.stop();
    sh(&node, &backup).code(5).stderr_has("connection refused");
    assert_eq!(node.archives().len(), 2);
    node.metrics(0);
}
