//! The installer on "this machine": a mount namespace in which /etc, /usr/local/bin and /run can be changed,
//! with a stand-in for systemctl that writes down what it was told.

use std::process::Command;

use super::{dist, text};
use crate::util::mount::Namespace;
use crate::util::{process, temp_dir, tools};

#[test]
fn timers_are_started_and_stopped_through_systemctl() {
    let dir = temp_dir();
    let log = dir.path().join("systemctl.log");
    let upper = dir.path().join("upper");
    std::fs::create_dir(&upper).unwrap();
    let namespace = Namespace::new(&format!(
        r#"mount -t tmpfs tmpfs '{upper}'
           mkdir '{upper}/etc' '{upper}/work'
           mount -t overlay overlay -o 'lowerdir=/etc,upperdir={upper}/etc,workdir={upper}/work' /etc
           mount -t tmpfs tmpfs /usr/local/bin
           mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system
           mkdir -p /etc/kubernetes/manifests
           echo '    - --listen-client-urls=http://127.0.0.1:2379' >/etc/kubernetes/manifests/etcd.yaml
           printf '#!/bin/sh\necho "$*" >>%s\n' '{log}' >/usr/local/bin/systemctl
           chmod 755 /usr/local/bin/systemctl"#,
        upper = upper.display(),
        log = log.display(),
    ));
    let install = |args: &[&str]| {
        let mut command = Command::new("/bin/sh");
        command.arg(dist("install.sh")).args(args);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        process::run(namespace.wrap(command), None, tools::TIMEOUT)
    };
    let timers = "etcd-rescue-backup.timer etcd-rescue-check.timer";

    install(&["--dry-run", "--binary", "/bin/true"])
        .ok()
        .stdout_has("run        systemctl daemon-reload, and start both timers");
    assert!(!log.exists(), "--dry-run called systemctl");
    install(&["--yes", "--binary", "/bin/true"]).ok();
    assert_eq!(text(&log), format!("daemon-reload\nrestart {timers}\n"));
    install(&["--yes", "--binary", "/bin/true"])
        .ok()
        .stdout_has("Nothing to change.");
    assert_eq!(text(&log).lines().count(), 2, "nothing to tell systemctl");

    install(&["--uninstall", "--yes"]).ok();
    let said = text(&log);
    let last: Vec<_> = said.lines().skip(2).collect();
    assert_eq!(last, [format!("stop {timers}"), "daemon-reload".into()]);
    namespace.shell("! ls /etc/systemd/system | grep etcd-rescue; ! ls /etc/etcd-rescue");
    // A program that does not run here is not installed here.
    install(&["--yes", "--binary", "/bin/false"])
        .code(1)
        .stderr_has("does not run on this machine");
}
