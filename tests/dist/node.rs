//! The command lines of the units and of the cron lines, as systemd and sh make them, and the program confined
//! as the unit confines it. (systemd itself does not run here: its part is played by setpriv and mounts.)

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::kubernetes::{manifests, pod};
use super::{dist, install, text};
use crate::util::certs::{Ca, Pair};
use crate::util::etcd::Etcd;
use crate::util::mount::{Namespace, is_root};
use crate::util::process::{self, Output};
use crate::util::run::{Rescue, rescue};
use crate::util::tls::Tls;
use crate::util::{temp_dir, tools, tree};

/// `ExecStart=` as words, with the variables that systemd would put in: an unquoted `$NAME` is split.
fn exec_start(unit: &str, settings: &[(String, String)]) -> Vec<String> {
    let unit = text(&dist("systemd").join(unit)).replace("\\\n", " ");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .expect("an ExecStart= line");
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let Some(name) = word.strip_prefix('$') else {
            words.push(word.to_owned());
            continue;
        };
        let setting = settings.iter().find(|(n, _)| n == name);
        let (_, value) = setting.unwrap_or_else(|| panic!("backup.env has no {name}"));
        words.extend(value.split_whitespace().map(str::to_owned));
    }
    words
}

/// `NAME='value'` lines, as systemd's EnvironmentFile= reads them.
fn settings(text: &str) -> Vec<(String, String)> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').expect("NAME='value'");
            let value = value
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''));
            (name.to_owned(), value.expect("quotes").to_owned())
        })
        .collect()
}

/// The commands in the lines for cron.
pub fn cron_lines() -> Vec<String> {
    let cron = text(&dist("cron/etcd-rescue"));
    assert!(
        cron.ends_with('\n'),
        "cron ignores a last line without an end"
    );
    let lines = cron
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let command = |line: &str| {
        assert!(!line.contains('%'), "cron makes a line end of it: {line}");
        let fields: Vec<_> = line.splitn(7, ' ').collect();
        assert_eq!(fields[5], "root");
        fields[6].to_owned()
    };
    lines.map(command).collect()
}

/// What install.sh writes for a kubeadm node.
fn installed_settings() -> String {
    let node = install::kubeadm();
    node.install(&["--yes"]).ok();
    text(&node.root().join("etc/etcd-rescue/backup.env"))
}

/// Cron's lines, run by sh, and the units' do the same, with the same environment.
#[test]
fn units_and_cron_lines_say_the_same() {
    let config = installed_settings();
    let dir = temp_dir();
    let node = |name: &str| dir.path().join(name);
    fs::write(node("backup.env"), &config).unwrap();
    // Stands in for the program: says how it was called, and with which variables. It fails, for a check that
    // goes well is quiet.
    let stub = "#!/bin/sh\nfor word in \"$0\" \"$@\"; do echo \"$word\"; done\nenv | grep ^ETCDCTL | sort\nexit 9\n";
    fs::write(node("stub"), stub).unwrap();
    fs::set_permissions(node("stub"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(node("etc/etcd-rescue")).unwrap();
    fs::create_dir_all(node("work")).unwrap();
    let namespace = Namespace::new(&format!(
        r#"d='{}'
           mount -t tmpfs tmpfs /usr/local/bin && cp "$d/stub" /usr/local/bin/etcd-rescue
           mount -t tmpfs tmpfs "$d/work" && mkdir "$d/work/up" "$d/work/work"
           mount -t overlay overlay -o "lowerdir=/etc,upperdir=$d/work/up,workdir=$d/work/work" /etc
           mkdir -p /etc/etcd-rescue && cp "$d/backup.env" /etc/etcd-rescue/"#,
        dir.path().display()
    ));

    let lines = cron_lines();
    let units = ["etcd-rescue-backup.service", "etcd-rescue-check.service"];
    assert_eq!(lines.len(), units.len());
    for (line, unit) in lines.into_iter().zip(units) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let said = process::run(namespace.wrap(command), None, tools::TIMEOUT).code(9);

        let settings = settings(&config);
        let mut expected = exec_start(unit, &settings);
        let connection = settings
            .iter()
            .filter(|(name, _)| name.starts_with("ETCDCTL"));
        let mut connection: Vec<_> = connection.map(|(n, v)| format!("{n}={v}")).collect();
        connection.sort();
        assert_eq!(connection.len(), 4);
        expected.extend(connection);
        let said = said.stdout_str();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{unit}");
    }
}

/// Every flag that dist/ gives to `backup` and `check` is one that they have.
#[test]
fn the_program_has_every_flag_that_is_given_to_it() {
    let settings = settings(&installed_settings());
    let pods = manifests("cronjob.yaml").into_iter().map(|job| {
        let args = pod(&job)["containers"][0]["args"]
            .as_array()
            .unwrap()
            .iter();
        args.map(|arg| arg.as_str().unwrap().to_owned()).collect()
    });
    let pods: Vec<Vec<String>> = pods.collect();
    let backup = exec_start("etcd-rescue-backup.service", &settings);
    let check = exec_start("etcd-rescue-check.service", &settings);
    for words in [&pods[0][..], &pods[1], &backup[1..], &check[1..]] {
        let help = rescue(["help", &words[0]]).ok();
        for word in words.iter().filter(|word| word.starts_with("--")) {
            let flag = word.split('=').next().unwrap();
            let said = help.stdout_str();
            let known = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            assert!(
                known.into_iter().any(|word| word == flag),
                "{flag} in\n{help}"
            );
        }
    }
}

/// Runs the program as the unit does: uid 0 with only these capabilities, nothing writable but `state`.
fn as_the_unit_does(run: &Rescue, state: &Path, capabilities: &str) -> Output {
    let namespace = Namespace::new(&format!(
        "mount --bind '{0}' '{0}'; mount -o remount,bind,ro /",
        state.display()
    ));
    process::run(
        namespace.wrap(without_capabilities(&run.command(), capabilities)),
        None,
        tools::TIMEOUT,
    )
}

/// The command as uid 0 with no capabilities but these, each with `,+` before it, and no way to more.
pub fn without_capabilities(program: &Command, but: &str) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--no-new-privs", "--inh-caps=-all"]);
    command.arg(format!("--bounding-set=-all{but}"));
    command.arg("--").arg(program.get_program());
    command.args(program.get_args());
    let envs = program.get_envs();
    command.envs(envs.filter_map(|(name, value)| Some((name, value?))));
    command
}

/// A server that wants a client certificate, and the variables of backup.env that reach it.
fn server_and_settings(ca: &Ca, client: &Pair) -> (Etcd, Vec<(&'static str, String)>) {
    let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), client);
    let server = Etcd::new("3.7").tls(tls).start();
    // Without any key, a backup is a suspicious one.
    server.etcdctl(["put", "/registry/configmaps/default/first", "value"]);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let settings = vec![
        ("ETCDCTL_ENDPOINTS", server.endpoint()),
        ("ETCDCTL_CACERT", path(ca.cert())),
        ("ETCDCTL_CERT", path(&client.cert)),
        ("ETCDCTL_KEY", path(&client.key)),
    ];
    (server, settings)
}

/// The network, the keys, the state directory, and nothing else.
#[test]
fn the_confinement_lets_a_backup_through_and_no_more() {
    assert!(
        is_root(),
        "this test gives files to another user: run it as root"
    );
    let ca = Ca::new("the test CA");
    let client = ca.client("root");
    let (_server, settings) = server_and_settings(&ca, &client);
    let dir = temp_dir();
    let (state, outside) = (dir.path().join("state"), dir.path().join("outside"));
    for dir in [&state, &outside] {
        fs::create_dir(dir).unwrap();
    }
    let backup = |dir: &Path| {
        let run = Rescue::new(["backup"]).arg(dir);
        settings
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value))
    };
    let number = |dir: &Path| {
        let names = tree::names(dir).into_iter();
        names.filter(|name| name.ends_with(".db.zst")).count()
    };
    let key = |mode: u32, owner: u32| {
        fs::set_permissions(&client.key, fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&client.key, Some(owner), Some(owner)).unwrap();
    };

    // kubeadm's keys: root's, for nobody else.
    key(0o600, 0);
    as_the_unit_does(&backup(&state), &state, "").ok();
    as_the_unit_does(&backup(&outside), &state, "")
        .code(4)
        .stderr_has(".etcd-rescue.lock: Read-only file system");
    assert_eq!(number(&state), 1);
    // A package's keys: etcd's. This is what install.sh's drop-in is for.
    key(0o600, 1234);
    as_the_unit_does(&backup(&state), &state, "").stderr_has("Permission denied");
    assert_eq!(number(&state), 1);
    as_the_unit_does(&backup(&state), &state, ",+dac_read_search").ok();
    assert_eq!(number(&state), 2);
    assert!(tree::names(&outside).is_empty());
}
