//! The shell around the operations: usage errors, help, variables, exit codes, streams, terminals, signals.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::util::process::{Output, run};
use crate::util::run::{Rescue, rescue};
use crate::util::temp_dir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_etcd-rescue");
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/k8s-plain-3.5.db");

/// A directory with `good.db`, `damaged.db` (one flipped bit), `raw.db` (no trailer).
fn files() -> TempDir {
    let dir = temp_dir();
    let mut bytes = std::fs::read(SNAPSHOT).unwrap();
    std::fs::write(dir.path().join("good.db"), &bytes).unwrap();
    std::fs::write(dir.path().join("raw.db"), &bytes[..bytes.len() - 32]).unwrap();
    bytes[100_000] ^= 1;
    std::fs::write(dir.path().join("damaged.db"), &bytes).unwrap();
    dir
}

/// A command line typed in `dir`.
fn typed(dir: &Path, line: &str) -> Rescue {
    Rescue::new(line.split_whitespace()).cwd(dir)
}

#[test]
fn wrong_usage_is_exit_code_2_with_a_hint() {
    let dir = temp_dir();
    for (line, error, hint) in [
        ("", "no command was given", "etcd-rescue -h"),
        ("svae x.db", "no command \"svae\"", "etcd-rescue save"),
        ("salvage x.db", "not in this version", "the commands are"),
        ("snapshot", "snapshot: what about it?", "snapshot save"),
        (
            "save",
            "save needs OUT",
            "usage: etcd-rescue save [FLAGS] OUT",
        ),
        ("save a b", "takes one OUT", "usage:"),
        ("save --endpoint x o", "no flag --endpoint", "--endpoints"),
        (
            "save -endpoints=x o",
            "no flag -e",
            "two dashes: --endpoints",
        ),
        ("save --cacert", "--cacert needs a value", "--cacert FILE"),
        (
            "save --dial-timeout 5 o",
            "--dial-timeout: \"5\" is not a duration",
            "--dial-timeout DURATION",
        ),
        (
            "save --cert c o",
            "--cert c without --key",
            "--cert FILE and --key FILE",
        ),
        ("verify", "verify needs INPUT", "usage:"),
        (
            "verify --endpoints x y",
            "does not take --endpoints; it is a flag of save",
            "usage:",
        ),
        (
            "status -w yaml x",
            "\"yaml\" is not one of simple, table, json, fields",
            "-w, --write-out",
        ),
        ("restore x.db", "restore needs --data-dir DIR", "usage:"),
        (
            "restore x --data-dir d --bump-revision 5 --no-bump",
            "which one?",
            "",
        ),
        ("version x", "version takes nothing", "usage:"),
    ] {
        let output = typed(dir.path(), line).run().code(2).stdout_is("");
        let mut lines = output.stderr.lines();
        let first = lines.next().unwrap_or_default();
        let second = lines.next().unwrap_or_default();
        assert!(
            first.starts_with("error: ") && first.contains(error),
            "{output}"
        );
        assert!(hint.is_empty() || second.starts_with("hint: "), "{output}");
        assert!(second.contains(hint), "{output}");
        assert_eq!(lines.next(), None, "{output}");
    }
}

#[test]
fn help_and_version_are_answers() {
    for (args, text) in [
        (&["-h"][..], "Usage: etcd-rescue COMMAND"),
        (&["--help"], "Exit codes:"),
        (&["help"], "Exit codes:"),
        (&["save", "-h"], "--endpoints LIST"),
        (&["help", "restore"], "--move-aside"),
        (&["snapshot", "restore", "--help"], "Examples:"),
        (&["version"], "etcd-rescue 0."),
        (&["--version"], "etcd-rescue 0."),
        (&["-V"], "etcd-rescue 0."),
    ] {
        rescue(args).ok().stdout_has(text).stderr_is("");
    }
}

#[test]
fn each_exit_code_is_reached() {
    let dir = files();
    std::fs::create_dir_all(dir.path().join("old/member/snap")).unwrap();
    for (line, code) in [
        ("verify good.db", 0),
        ("verify --raw raw.db", 0),
        ("status good.db", 0),
        ("verify nowhere.db", 1),
        ("status nowhere.db", 1),
        ("verify", 2),
        ("verify damaged.db", 3),
        ("verify raw.db", 3),
        ("restore damaged.db --data-dir new", 3),
        ("restore raw.db --data-dir new", 3),
        ("restore good.db --data-dir old", 4),
        ("save --endpoints 127.0.0.1:1 good.db", 4),
        ("save --endpoints 127.0.0.1:1 new.db", 5),
        // Of several inputs the worst counts, whatever their order.
        ("verify good.db nowhere.db", 1),
        ("verify nowhere.db damaged.db good.db", 3),
        ("verify -w json damaged.db nowhere.db", 3),
    ] {
        let output = typed(dir.path(), line).run().code(code);
        let complained = output.stderr.contains("error: ");
        // A verdict is an answer: what it rests on is told where it has no place in the answer.
        let verdict = line.starts_with("verify") && code == 3;
        assert!(complained == (code != 0) || verdict, "{output}");
    }
    assert!(!dir.path().join("new").exists());
    assert!(!dir.path().join("new.db").exists());
}

#[test]
fn variables_are_defaults_and_flags_beat_them() {
    let dir = files();
    let save = |line: &str, name: &str, value: &str| {
        typed(dir.path(), &format!("save {line} out.db"))
            .env(name, value)
            .run()
    };
    save("", "ETCDCTL_ENDPOINTS", "127.0.0.1:1")
        .code(5)
        .stderr_has("127.0.0.1:1");
    save(
        "--endpoints 127.0.0.1:2",
        "ETCDCTL_ENDPOINTS",
        "127.0.0.1:1",
    )
    .code(5)
    .stderr_has("127.0.0.1:2")
    .stderr_lacks("127.0.0.1:1:");
    save("", "ETCDCTL_DIAL_TIMEOUT", "soon")
        .code(2)
        .stderr_has("error: ETCDCTL_DIAL_TIMEOUT: \"soon\" is not a duration");
    save("", "ETCDCTL_API", "2")
        .code(2)
        .stderr_has("ETCDCTL_API");
    save("--endpoints 127.0.0.1:1", "ETCDCTL_API", "3")
        .code(5)
        .stderr_lacks("ETCDCTL_API");
    save("--endpoints 127.0.0.1:1", "ETCDCTL_CACRT", "x")
        .code(5)
        .stderr_has("warning: environment variables without effect: ETCDCTL_CACRT (did you mean ETCDCTL_CACERT?)");

    // Nothing that etcdctl knows hurts a command that asks no server.
    typed(dir.path(), "verify good.db")
        .env("ETCDCTL_API", "2")
        .env("ETCDCTL_ENDPOINTS", "")
        .env("ETCDCTL_CERT", "/nowhere")
        .env("ETCDCTL_DIAL_TIMEOUT", "soon")
        .env("ETCDCTL_AUTH_JWT_TOKEN", "x")
        .run()
        .ok()
        .stderr_is("");
    typed(dir.path(), "status good.db")
        .env("ETCDCTL_WRITE_OUT", "fields")
        .run()
        .ok()
        .stdout_has("\"Hash\" : ");
}

#[test]
fn runbook_lines_work_as_they_stand() {
    let dir = files();
    let api = |line: &str| typed(dir.path(), line).env("ETCDCTL_API", "3").run();
    api("snapshot status good.db")
        .ok()
        .stdout_is("2ea5aecf, 308, 275, 295 kB, \n")
        .stderr_is("");
    api("snapshot restore --data-dir from-backup good.db")
        .ok()
        .stderr_is("");
    assert!(dir.path().join("from-backup/member/snap/db").is_file());
    // etcdctl takes its global flags in front of everything.
    api("--endpoints https://127.0.0.1:2379 --cacert c snapshot status good.db")
        .ok()
        .stderr_is("warning: without effect, status asks no server: --endpoints, --cacert\n");
    api("snapshot save --endpoints 127.0.0.1:1 out.db").code(5);
}

#[test]
fn a_reader_that_went_away_is_fine_and_a_full_disk_is_not() {
    let dir = files();
    for (line, code) in [
        ("help", 0),
        ("verify good.db", 0),
        ("verify damaged.db", 3),
        ("status -w json good.db", 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = typed(dir.path(), line).command();
        let mut child = command
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(status.code(), Some(code), "{line}: {stderr}");
        assert!(!stderr.contains("pipe"), "{line}: {stderr}");
    }
    let output = shell(
        dir.path(),
        &format!("{PROGRAM} verify good.db > /dev/full"),
        &[],
    );
    output
        .code(1)
        .stderr_has("error: cannot write to standard output: No space left");
}

/// Runs a line of shell in `dir`, with nothing in the environment but PATH and `env`.
fn shell(dir: &Path, line: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new("sh");
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(env.iter().copied())
        .current_dir(dir)
        .args(["-c", line]);
    run(command, None, Duration::from_secs(60))
}

/// What a terminal shows of a command: both streams, on a pseudo terminal.
fn on_a_terminal(dir: &Path, line: &str, env: &[(&str, &str)]) -> String {
    let script = format!("script -qec '{PROGRAM} {line}' /dev/null");
    shell(dir, &script, env).stdout_str()
}

#[test]
fn colour_and_layout_follow_the_terminal() {
    let dir = files();
    let show = |line: &str, env: &[(&str, &str)]| on_a_terminal(dir.path(), line, env);
    let xterm = ("TERM", "xterm");

    let plain = show("verify good.db", &[xterm]);
    assert!(plain.contains("\x1b[1;32mGOOD\x1b[0m  good.db"), "{plain}");
    assert!(
        plain.contains("  transport  "),
        "a terminal gets the details: {plain}"
    );
    let failed = show("verify nowhere.db", &[xterm]);
    assert!(
        failed.contains("\x1b[1;31merror:\x1b[0m cannot open"),
        "{failed}"
    );

    for env in [&[xterm, ("NO_COLOR", "1")][..], &[("TERM", "dumb")], &[]] {
        let text = show("verify good.db nowhere.db", env);
        assert!(!text.contains('\x1b'), "{env:?}: {text:?}");
        assert!(text.contains("GOOD  good.db"), "{env:?}: {text}");
    }
    // NO_COLOR counts only when it says something: https://no-color.org
    assert!(show("verify good.db", &[xterm, ("NO_COLOR", "")]).contains("\x1b[1;32m"));
    assert!(show("status good.db", &[xterm]).contains("┌──────────┬"));
    assert!(show("status -w simple good.db", &[xterm]).contains("2ea5aecf, 308"));

    // Elsewhere: a line, no colour, whatever TERM says.
    let output = typed(dir.path(), "verify good.db")
        .env("TERM", "xterm")
        .run()
        .ok();
    output
        .stdout_is("GOOD      good.db  snapshot, revision 308, 275 live keys, 295 kB\n")
        .stderr_is("");
    // And the other way round: a terminal for errors only.
    let script =
        "script -qec 'PROGRAM verify nowhere.db >/dev/null' /dev/null".replace("PROGRAM", PROGRAM);
    let text = shell(dir.path(), &script, &[xterm]).stdout_str();
    assert!(text.contains("\x1b[1;31merror:"), "{text}");
}

#[test]
fn names_cannot_drive_the_terminal() {
    let dir = temp_dir();
    let name = "evil\x1b[2J\nerror: fake.db";
    std::fs::copy(SNAPSHOT, dir.path().join(name)).unwrap();
    for args in [
        &["verify", name][..],
        &["verify", "-w", "table", name],
        &["verify", "evil\x1b[2Jnowhere"],
    ] {
        let output = Rescue::new(args).cwd(dir.path()).run();
        assert!(!output.stdout_str().contains('\x1b'), "{output}");
        assert!(!output.stderr.contains('\x1b'), "{output}");
        let lines = output
            .stderr
            .lines()
            .chain(std::str::from_utf8(&output.stdout).unwrap().lines());
        assert!(
            !lines
                .into_iter()
                .any(|line| line.starts_with("error: fake")),
            "{output}"
        );
    }
}

#[test]
fn json_is_one_document_with_stable_keys() {
    let dir = files();
    let verify = typed(
        dir.path(),
        "verify -w json good.db damaged.db raw.db nowhere.db",
    )
    .run()
    .code(3);
    let json = verify.json();
    let sums: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| &result["sum"])
        .collect();
    assert_eq!(
        sums,
        ["GOOD", "DAMAGED", "UNPROVEN", ""]
            .map(|sum| match sum {
                "" => serde_json::Value::Null,
                sum => sum.into(),
            })
            .iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(json["exitCode"], 3);
    assert!(
        json["results"][3]["error"]
            .as_str()
            .unwrap()
            .contains("nowhere.db")
    );

    let status = typed(dir.path(), "status -w json good.db").run().ok();
    let text = status.stdout_str();
    let theirs =
        r#"{"hash":782610127,"revision":308,"totalKey":275,"totalSize":294912,"version":"","#;
    assert!(text.starts_with(theirs), "{text}");

    let plan = typed(dir.path(), "restore -w json --dry-run good.db --data-dir d")
        .run()
        .ok()
        .json();
    assert_eq!(
        (&plan["restored"], &plan["dryRun"]),
        (&false.into(), &true.into())
    );
    let done = typed(dir.path(), "restore -w json good.db --data-dir d")
        .run()
        .ok()
        .json();
    assert_eq!(done["restored"], true);
    assert_eq!(done["plan"]["clusterId"], plan["plan"]["clusterId"]);
    let bad = typed(dir.path(), "restore -w json raw.db --data-dir e")
        .run()
        .code(3)
        .json();
    assert_eq!(
        (&bad["restored"], &bad["verdict"]["sum"]),
        (&false.into(), &"UNPROVEN".into())
    );
}

#[test]
fn progress_json_is_lines_for_a_program() {
    let dir = files();
    let output = typed(dir.path(), "verify --progress json -")
        .stdin(std::fs::read(SNAPSHOT).unwrap())
        .run()
        .ok();
    let lines: Vec<serde_json::Value> = output
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{output}")))
        .collect();
    let finished: Vec<_> = lines
        .iter()
        .filter(|line| line["finished"] == true)
        .map(|line| &line["stage"])
        .collect();
    assert_eq!(finished, ["reading", "checking"], "{output}");
    let last = lines.last().unwrap();
    for key in ["stage", "bytes", "total", "elapsed", "rate", "finished"] {
        assert!(last.get(key).is_some(), "{key}: {output}");
    }
    assert_eq!(last["total"], 294_912);
    typed(dir.path(), "verify --progress none good.db")
        .run()
        .ok()
        .stderr_is("");
}

/// A server that takes connections and says nothing.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    (listener, endpoint)
}

#[test]
fn a_signal_ends_the_process_by_that_signal_and_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = temp_dir();
        let (_listener, endpoint) = silent_server();
        let line = format!("save --dial-timeout 50s --endpoints {endpoint} out.db");
        let running = typed(dir.path(), &line).spawn();
        wait_until_signals_are_caught(running.pid());
        running.send(signal);
        let output = running
            .wait(Duration::from_secs(10))
            .signal(signal.as_raw());
        output
            .stderr_has("error: interrupted by SIG")
            .within(Duration::from_secs(5));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn nohup_is_respected() {
    let dir = temp_dir();
    let (_listener, endpoint) = silent_server();
    let mut command = Command::new("sh");
    let line = format!(
        "trap '' HUP; exec {PROGRAM} save --dial-timeout 50s --endpoints {endpoint} out.db"
    );
    command.args(["-c", &line]).current_dir(dir.path());
    let mut running = crate::util::process::spawn(command, None);
    wait_until_signals_are_caught(running.pid());
    running.send(Signal::HUP);
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        running.is_alive(),
        "SIGHUP was ignored by the parent, and ends the child"
    );
    running.send(Signal::TERM);
    running
        .wait(Duration::from_secs(10))
        .signal(Signal::TERM.as_raw());
}

#[test]
fn a_pipe_that_says_nothing_does_not_hold_up_a_signal() {
    let dir = temp_dir();
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut command = typed(dir.path(), "verify -").command();
    command.stdin(reader).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_until_signals_are_caught(child.id());
    crate::util::process::send(&child, Signal::TERM);
    let status = crate::util::process::wait(&mut child, Duration::from_secs(10));
    let status = status.expect("an end within ten seconds");
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status:?}");
}

/// Until SIGTERM has a handler: before that, any program would die of it.
fn wait_until_signals_are_caught(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let term = 1_u64 << (Signal::TERM.as_raw() - 1);
    while Instant::now() < deadline {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        if mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & term != 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("process {pid} does not catch SIGTERM");
}

/// A program on a pseudo terminal, to type at.
struct Typist {
    child: Child,
    seen: Vec<u8>,
}

impl Typist {
    fn at(dir: &Path, line: &str) -> Typist {
        let mut command = Command::new("script");
        command
            .args(["-qec", &format!("{PROGRAM} {line}"), "/dev/null"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        Typist {
            child,
            seen: Vec::new(),
        }
    }

    fn read_until(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            assert_eq!(
                stdout.read(&mut byte).unwrap(),
                1,
                "no {text:?} in {:?}",
                self.text()
            );
            self.seen.push(byte[0]);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn end(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.child
            .stdout
            .as_mut()
            .unwrap()
            .read_to_end(&mut rest)
            .unwrap();
        self.seen.extend(rest);
        (self.child.wait().unwrap().code().unwrap(), self.text())
    }
}

#[test]
fn a_password_is_asked_for_without_echo() {
    let dir = temp_dir();
    let mut typist = Typist::at(
        dir.path(),
        "save --user root --endpoints 127.0.0.1:1 out.db",
    );
    typist.read_until("Password of root: ");
    typist.type_in("wrong\x15s3crex\x7ft\r");
    let (code, text) = typist.end();
    assert_eq!(code, 5, "{text}");
    assert!(!text.contains("s3cre") && !text.contains("wrong"), "{text}");

    let mut typist = Typist::at(
        dir.path(),
        "save --user root --endpoints 127.0.0.1:1 out.db",
    );
    typist.read_until("Password of root: ");
    typist.type_in("\x03");
    let (code, text) = typist.end();
    assert_eq!(code, 128 + 2, "{text}");
    assert!(text.contains("interrupted by SIGINT"), "{text}");
}

#[test]
fn without_a_terminal_a_password_comes_from_elsewhere() {
    let dir = temp_dir();
    // setsid: the developer's terminal is not for tests.
    let ask =
        format!("setsid -w {PROGRAM} save --user root --endpoints 127.0.0.1:1 out.db </dev/null");
    shell(dir.path(), &ask, &[])
        .code(2)
        .stderr_has("error: --user root: no password, and no terminal to ask on")
        .stderr_has("hint: --user root --password-file FILE");
    std::fs::write(dir.path().join("password"), "secret\n").unwrap();
    typed(
        dir.path(),
        "save --user root --password-file password --endpoints 127.0.0.1:1 out.db --debug",
    )
    .run()
    .code(5)
    .stderr_has("127.0.0.1:1")
    .stderr_lacks("secret");
}

#[test]
fn commands_that_are_printed_can_be_pasted() {
    let dir = files();
    let odd = dir.path().join("it's a dir");
    std::fs::create_dir(&odd).unwrap();
    std::fs::copy(SNAPSHOT, odd.join("my snap.db")).unwrap();
    let cluster = "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380";
    let restore = |extra: &[&str]| {
        let args = [
            "restore",
            "my snap.db",
            "--data-dir",
            "m 1",
            "--name",
            "m1",
            "--initial-cluster",
            cluster,
        ];
        Rescue::new(args).args(extra).cwd(&odd).run().ok().json()
    };
    let first = restore(&["-w", "json"]);
    let path = PathBuf::from(PROGRAM)
        .parent()
        .unwrap()
        .display()
        .to_string();
    let env = [("PATH", format!("{path}:/usr/bin:/bin"))];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));

    // The other member, from the printed command, in a directory that stands for its machine.
    let other = &first["otherMembers"][0];
    assert_eq!(other["name"], "m2");
    let machine = dir.path().join("machine 2");
    std::fs::create_dir(&machine).unwrap();
    std::fs::copy(SNAPSHOT, machine.join("my snap.db")).unwrap();
    let line = format!("{} -w json", other["command"].as_str().unwrap());
    let second = shell(&machine, &line, &env).ok().json();
    assert_eq!(second["plan"]["clusterId"], first["plan"]["clusterId"]);
    assert_eq!(second["plan"]["name"], "m2");
    assert_ne!(second["plan"]["memberId"], first["plan"]["memberId"]);

    // A second restore moves the first one aside; the printed command brings it back.
    std::fs::write(odd.join("m 1/member/mark"), "first").unwrap();
    let again = restore(&["-w", "json", "--move-aside"]);
    assert!(!odd.join("m 1/member/mark").exists());
    shell(&odd, again["undo"].as_str().unwrap(), &env).ok();
    assert!(odd.join("m 1/member/mark").exists());
    assert!(odd.join("m 1/member.undone/snap/db").exists());
}
