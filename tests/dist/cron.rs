//! The lines for cron under a cron that is started for this, where install.sh has put them: Debian's daemon in
//! namespaces of its own, with a machine's /etc, /var/lib and /usr/local/bin that end with them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{dist, text};
use crate::util::etcd::Etcd;
use crate::util::mount::{Namespace, is_root};
use crate::util::process::{self, Output, Running};
use crate::util::run::Rescue;
use crate::util::tree::{self, Kind, Tree};
use crate::util::{must_have, ports, temp_dir, tools};

const STATE: &str = "/var/lib/etcd-rescue";
const CONFIG: &str = "/etc/etcd-rescue/backup.env";
const LINES: &str = "/etc/cron.d/etcd-rescue";

/// A second installation on the node, whose etcd is not there.
const DEAD_STATE: &str = "/var/lib/etcd-rescue-dead";
const DEAD_CONFIG: &str = "/etc/etcd-rescue/dead.env";
const DEAD_LINES: &str = "/etc/cron.d/etcd-rescue-dead";

#[test]
fn the_lines_do_their_work_under_a_real_cron() {
    assert!(is_root(), "this test starts cron: run it as root");
    let server = Etcd::new("3.7").start();
    // Without any key, a backup is a suspicious one.
    server.etcdctl(["put", "/registry/configmaps/default/first", "value"]);
    let before = machine();

    let node = Node::new();
    let installed = node.install(&server.endpoint());
    assert_eq!(node.read(LINES), text(&dist("cron/etcd-rescue")));
    // So that the checks, which start together with the backups, find one whichever comes first.
    let first = next_step(&installed, "take the first backup now");
    node.namespace.shell(&first);
    let first = node.newest_backup(STATE);

    let lines = every_minute(&node.read(LINES));
    let dead_lines = replaced(&lines, &format!("{STATE}/"), &format!("{DEAD_STATE}/"));
    let dead_lines = replaced(&dead_lines, CONFIG, DEAD_CONFIG);
    let dead = ports::free_url();
    let config = replaced(&node.read(CONFIG), &server.endpoint(), &dead);
    let config = replaced(&config, "--max-age 4h", "--max-age 1ms");
    for (from, to) in [
        (LINES, DEAD_LINES),
        (CONFIG, DEAD_CONFIG),
        (STATE, DEAD_STATE),
    ] {
        node.namespace.shell(&format!("cp -a {from} {to}"));
    }
    node.write(LINES, &lines);
    node.write(DEAD_LINES, &dead_lines);
    node.write(DEAD_CONFIG, &config);

    let mut cron = node.start_cron();
    let [backup, check] = commands(&lines);
    let [dead_backup, dead_check] = commands(&dead_lines);
    let expected = [
        (&backup, 0),
        (&check, 0),
        (&dead_backup, 5),
        (&dead_check, 6),
    ];
    let expected: BTreeMap<String, i32> = expected.map(|(line, code)| (line.clone(), code)).into();
    let ended = cron.until_ended(expected.len());
    assert_eq!(ended, expected, "{}", cron.seen());
    cron.end();

    let report = node.report(STATE);
    assert_eq!(report["outcome"], "saved", "{report:#}");
    assert_ne!(node.newest_backup(STATE), first);
    let report = node.report(DEAD_STATE);
    assert_eq!(report["outcome"], "failed", "{report:#}");
    assert_eq!(report["exitCode"], 5, "{report:#}");
    let refused = format!("{dead}: connection refused");
    assert_eq!(report["error"]["message"], refused, "{report:#}");
    assert_eq!(node.newest_backup(DEAD_STATE), first);
    for state in [STATE, DEAD_STATE] {
        node.assert_all_verified(state);
        node.assert_for_root_alone(state);
    }

    // What goes well is not worth a word, and what does not is worth these.
    assert_eq!(node.mails().len(), 2, "{:#?}", node.mails());
    let said = node.mail(&dead_backup);
    let [error, hint] = &said[..] else {
        panic!("{said:#?}");
    };
    assert_eq!(*error, format!("error: {refused}"));
    assert!(hint.starts_with("hint: is etcd running there"), "{hint}");
    let said = node.mail(&dead_check);
    let [error, hint, table @ ..] = &said[..] else {
        panic!("{said:#?}");
    };
    let old = format!("error: {DEAD_STATE}/backups: the newest verified backup is ");
    assert!(error.starts_with(&old), "{error}");
    assert!(
        hint.starts_with(&format!("hint: etcd-rescue list {DEAD_STATE}/backups ")),
        "{hint}"
    );
    assert_eq!(table.len(), 4, "{said:#?}");
    assert_eq!(table[0], format!("  newest verified     {first}"));

    drop(node);
    assert_eq!(machine(), before, "the machine itself was changed");
}

/// Each line of the tab at every minute, for a test cannot wait for minute 17; nothing else is changed.
#[track_caller]
fn every_minute(tab: &str) -> String {
    let mut changed = 0;
    let line = |line: &str| {
        if !line.starts_with(|c: char| c.is_ascii_digit()) {
            return line.to_owned();
        }
        changed += 1;
        let fields: Vec<_> = line.splitn(6, ' ').collect();
        format!("* * * * * {}", fields[5])
    };
    let out = tab.split_inclusive('\n').map(line).collect();
    assert_eq!(changed, 2, "{tab}");
    out
}

#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from} in\n{text}");
    text.replace(from, to)
}

/// The commands of a tab, which come after five fields of time and the user.
fn commands(tab: &str) -> [String; 2] {
    let lines = tab
        .lines()
        .filter_map(|line| line.strip_prefix("* * * * * root "));
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.try_into().unwrap()
}

/// The command that install.sh shows below this comment.
#[track_caller]
fn next_step(installed: &Output, what: &str) -> String {
    let said = installed.stdout_str();
    let mut lines = said
        .lines()
        .skip_while(|line| line.trim() != format!("# {what}"));
    let step = lines.nth(1);
    step.unwrap_or_else(|| panic!("no {what:?}\n{installed}"))
        .trim()
        .to_owned()
}

/// Of this machine, what is changed in the namespace: which file it is, and since when.
fn machine() -> Vec<String> {
    let paths = [
        STATE,
        DEAD_STATE,
        "/etc/etcd-rescue",
        "/etc/cron.d",
        "/etc/pam.d",
        "/usr/local/bin/etcd-rescue",
        "/usr/sbin/cron",
        "/usr/sbin/sendmail",
        "/var/spool/cron",
        "/run/crond.pid",
        "/dev/log",
    ];
    let seen = |path: &str| {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    };
    let seen = |path| format!("{path}: {:?}", seen(path));
    paths.map(seen).into()
}

/// A node without systemd, and with Debian's cron, which is not started yet.
struct Node {
    namespace: Namespace,
}

impl Node {
    fn new() -> Node {
        let dir = temp_dir();
        // sendmail as cron calls it: with the letter on standard input, and whom it is for.
        let sendmail = "#!/bin/sh\nf=$(mktemp /run/mail/XXXXXX) && { echo \"$*\"; cat; } >\"$f\" && mv \"$f\" \"$f.sent\"\n";
        fs::write(dir.path().join("sendmail"), sendmail).unwrap();
        fs::create_dir(dir.path().join("node")).unwrap();
        let namespace = Namespace::new(&format!(
            r#"dir='{dir}'
               mount -t tmpfs -o mode=755 tmpfs "$dir/node"
               cd "$dir/node"
               mkdir dev
               for name in null zero random urandom; do
                   touch dev/$name
                   mount --bind /dev/$name dev/$name
               done
               mount --rbind dev /dev
               for name in etc usr/sbin var/lib; do
                   mkdir -p up/$name work/$name
                   mount -t overlay overlay -o "lowerdir=/$name,upperdir=up/$name,workdir=work/$name" /$name
               done
               for name in run usr/local/bin var/spool; do mount -t tmpfs -o mode=755 tmpfs /$name; done
               # Nothing of this machine's own: what it runs, what it has backed up, what its jobs' variables are.
               rm -rf /etc/crontab /etc/cron.d {STATE} {DEAD_STATE} /etc/etcd-rescue /etc/environment /etc/default/locale
               touch /etc/environment /etc/default/locale /etc/crontab
               mkdir -p /etc/cron.d /var/spool/cron/crontabs /run/mail
               cp '{cron}/usr/sbin/cron' /usr/sbin/
               cp '{cron}/etc/pam.d/cron' /etc/pam.d/
               cp "$dir/sendmail" /usr/sbin/
               chmod 755 /usr/sbin/sendmail
               cd /"#,
            dir = dir.path().display(),
            cron = tools::debian_cron().display(),
        ));
        Node { namespace }
    }

    /// As a user would, and where to reach etcd is given.
    #[track_caller]
    fn install(&self, endpoint: &str) -> Output {
        let mut command = Command::new("/bin/sh");
        command
            .arg(dist("install.sh"))
            .args(["--yes", "--endpoints", endpoint]);
        command
            .arg("--binary")
            .arg(env!("CARGO_BIN_EXE_etcd-rescue"));
        command.env("PATH", "/usr/bin:/bin");
        process::run(self.namespace.wrap(command), None, tools::TIMEOUT)
            .ok()
            .stdout_has(", hourly by cron\n")
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.namespace.outside(Path::new(path))
    }

    #[track_caller]
    fn read(&self, path: &str) -> String {
        text(&self.outside(path))
    }

    /// Another text in a file, which stays whose it is.
    #[track_caller]
    fn write(&self, path: &str, text: &str) {
        let path = self.outside(path);
        assert!(path.is_file(), "{}", path.display());
        fs::write(path, text).unwrap();
    }

    #[track_caller]
    fn newest_backup(&self, state: &str) -> String {
        let mut names = tree::names(&self.outside(&format!("{state}/backups")));
        names.retain(|name| name.ends_with(".db.zst"));
        names.pop().expect("a backup")
    }

    #[track_caller]
    fn report(&self, state: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("{state}/report.json"))).unwrap()
    }

    #[track_caller]
    fn assert_all_verified(&self, state: &str) {
        let list = Rescue::new(["list", "-w", "json", &format!("{state}/backups")]);
        let list = self.namespace.run(&list).ok().json();
        let number = list["backups"].as_array().unwrap().len();
        assert!(number > 0, "{list:#}");
        assert_eq!(list["totals"]["verified"], number, "{list:#}");
    }

    #[track_caller]
    fn assert_for_root_alone(&self, state: &str) {
        let tree = Tree::of(&self.outside(state));
        for (path, node) in tree.nodes() {
            let mode = match node.kind {
                Kind::Dir => 0o700,
                _ => 0o600,
            };
            assert_eq!(
                (node.owner, node.mode),
                ((0, 0), mode),
                "{state}/{}",
                path.display()
            );
        }
    }

    /// Whom each is for, headers, an empty line, and what it says.
    fn mails(&self) -> Vec<String> {
        let dir = self.outside("/run/mail");
        let names = tree::names(&dir).into_iter();
        names.map(|name| text(&dir.join(name))).collect()
    }

    /// The lines that the one mail about this command says to root.
    #[track_caller]
    fn mail(&self, command: &str) -> Vec<String> {
        let about = format!("> {command} (failed)\n");
        let mut mails = self.mails();
        mails.retain(|mail| mail.contains(&about));
        let [mail] = &mails[..] else {
            panic!("not one mail about {command}: {:#?}", self.mails());
        };
        let (head, body) = mail.split_once("\n\n").expect("an empty line");
        let head: Vec<_> = head.lines().collect();
        assert!(head[0].ends_with(" -oem root"), "{mail}");
        // What cron understood of the lines above the jobs.
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let path = format!("X-Cron-Env: <PATH={path}>");
        for line in [
            "To: root",
            "X-Cron-Env: <SHELL=/bin/sh>",
            "X-Cron-Env: <MAILTO=root>",
            &path,
        ] {
            assert!(head.contains(&line), "no {line}\n{mail}");
        }
        body.lines().map(str::to_owned).collect()
    }

    /// The daemon, which is the first process of a namespace: all in it ends with it, and it with this value.
    #[track_caller]
    fn start_cron(&self) -> Cron<'_> {
        let syslog = UnixDatagram::bind(self.outside("/dev/log")).unwrap();
        let mut command = Command::new(must_have("/usr/bin/setpriv"));
        command.args(["--pdeathsig", "KILL", "/usr/bin/unshare", "--pid", "--fork"]);
        command.args(["--kill-child", "--mount-proc"]);
        // It logs the start, the end and a failure of each job, with its number.
        command.args(["/usr/sbin/cron", "-f", "-L", "15"]);
        let unshare = process::spawn(self.namespace.wrap(command), None);
        let mut cron = Cron {
            node: self,
            unshare,
            syslog,
            log: Vec::new(),
        };
        if cron.hear(Duration::from_secs(20)).is_none() {
            let output = cron.unshare.wait(Duration::from_secs(1));
            panic!("cron did not start\n{output}");
        }
        cron
    }
}

/// A running cron.
struct Cron<'a> {
    node: &'a Node,
    unshare: Running,
    syslog: UnixDatagram,
    /// All that it logged so far.
    log: Vec<String>,
}

/// What cron logs, after the time and the process: of jobs with their number, and of itself.
const STARTED: &str = "]: (root) CMD ([";
const ENDED: &str = "]: (root) END ([";
const FAILED: &str = "]: (CRON) error (grandchild #";
const EXPECTED: [&str; 5] = [STARTED, ENDED, FAILED, "]: (CRON) INFO (", "]: pam_"];

impl Cron<'_> {
    /// The next thing that it logs, which is no complaint about what it reads or does.
    #[track_caller]
    fn hear(&mut self, patience: Duration) -> Option<String> {
        self.syslog.set_read_timeout(Some(patience)).unwrap();
        let mut message = vec![0; 8192];
        let length = self.syslog.recv(&mut message).ok()?;
        let message = String::from_utf8_lossy(&message[..length]).into_owned();
        self.log.push(message.clone());
        let good = EXPECTED.iter().any(|expected| message.contains(expected));
        assert!(good, "cron complains\n{}", self.seen());
        Some(message)
    }

    /// Waits for the end of so many jobs, and of what cron has to do about them: commands and their exit codes.
    #[track_caller]
    fn until_ended(&mut self, jobs: usize) -> BTreeMap<String, i32> {
        let mut ended = 0;
        while ended < jobs {
            let Some(message) = self.hear(Duration::from_secs(90)) else {
                panic!("no word from cron\n{}", self.seen());
            };
            ended += usize::from(message.contains(ENDED));
        }
        let cron = self.pid();
        process::eventually("cron has sent its mail", || children(cron).is_empty());

        let mut started = BTreeMap::new();
        let mut failed = BTreeMap::new();
        for message in &self.log {
            if let Some((_, job)) = message.split_once(STARTED) {
                let (number, command) = job.split_once("] ").unwrap();
                started.insert(number, command.strip_suffix(')').unwrap());
            } else if let Some((_, job)) = message.split_once(FAILED) {
                let Some((number, code)) = job.split_once(" failed with exit status ") else {
                    panic!("{message}");
                };
                failed.insert(number, code.strip_suffix(')').unwrap().parse().unwrap());
            }
        }
        let code = |number| failed.get(number).copied().unwrap_or(0);
        let jobs = started.into_iter();
        jobs.map(|(number, command)| (command.to_owned(), code(number)))
            .collect()
    }

    /// For failure messages.
    fn seen(&self) -> String {
        format!("{:#?}\n{:#?}", self.log, self.node.mails())
    }

    #[track_caller]
    fn pid(&self) -> u32 {
        let children = children(self.unshare.pid());
        assert_eq!(children.len(), 1, "unshare's children: {children:?}");
        children[0]
    }

    /// Nothing is left of it.
    #[track_caller]
    fn end(self) {
        let cron = format!("/proc/{}", self.pid());
        drop(self);
        process::eventually("cron has ended", || !Path::new(&cron).exists());
    }
}

fn children(pid: u32) -> Vec<u32> {
    let children = text(Path::new(&format!("/proc/{pid}/task/{pid}/children")));
    let children = children.split_whitespace();
    children.map(|pid| pid.parse().unwrap()).collect()
}
