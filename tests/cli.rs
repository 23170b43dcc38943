//! The shell around the operations: usage errors, help, variables, exit codes, streams.

mod terminal;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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
        (
            "restore --revision-bump 5 --data-dir d x",
            "no flag --revision-bump",
            "--bump-revision",
        ),
        (
            "save --discovery-srv example.com o",
            "--discovery-srv is a flag of etcdctl",
            "dig SRV",
        ),
        (
            "save --auth-jwt-token x o",
            "--auth-jwt-token is a flag of etcdctl",
            "--password-file",
        ),
        (
            "save --max-recv-bytes 5 o",
            "--max-recv-bytes is a flag of etcdctl",
            "leave it out",
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
fn a_password_file_that_cannot_be_read_is_named_with_its_flag() {
    let dir = temp_dir();
    let save = typed(dir.path(), "save --user root o");
    save.clone()
        .arg("--password-file=nope")
        .run()
        .code(1)
        .stderr_has("error: --password-file: cannot read nope: No such file")
        .stderr_has("hint: ");
    save.env("ETCDCTL_PASSWORD_FILE", "nope")
        .run()
        .code(1)
        .stderr_has("error: ETCDCTL_PASSWORD_FILE: cannot read nope: No such file")
        .stderr_has("hint: ");
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
        ("save --endpoints 127.0.0.1:1 new/", 4),
        ("save --endpoints 127.0.0.1:1 good.db/new.db", 4),
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
        .stderr_has("warning: the member's peer URL is http://localhost:2380, as none was given");
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

/// Rust's runtime opens /dev/null in place of what is closed: all would be written, and nothing would be anywhere.
#[test]
fn bytes_for_a_closed_standard_output_are_refused() {
    let dir = files();
    shell(dir.path(), &format!("{PROGRAM} pack good.db good.zst"), &[]).ok();
    for words in ["pack good.db -", "unpack good.zst -", "save -"] {
        shell(dir.path(), &format!("{PROGRAM} {words} >&-"), &[])
            .code(1)
            .stderr_has("error: - is standard output, and that is closed")
            .stderr_has("hint: name a file");
    }
    // Thrown away on purpose.
    shell(
        dir.path(),
        &format!("{PROGRAM} pack good.db - >/dev/null"),
        &[],
    )
    .ok();
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

#[test]
fn a_shell_gives_back_what_was_quoted() {
    for word in ["a b", "it's", "$x", "*", "\n", "~", "ü", "#x", "a\\b", "!"] {
        let script = format!("printf %s {}", etcd_rescue::shell::quote(word));
        shell(Path::new("/"), &script, &[]).ok().stdout_is(word);
    }
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

    // The other member, from the printed command, in a directory that stands for its machine; its data
    // dir is called as it is here, in full.
    let (data_dir, kept) = (odd.join("m 1"), odd.join("kept"));
    std::fs::rename(&data_dir, &kept).unwrap();
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
    std::fs::remove_dir_all(&data_dir).unwrap();
    std::fs::rename(&kept, &data_dir).unwrap();

    // A second restore moves the first one aside; the printed command brings it back.
    std::fs::write(odd.join("m 1/member/mark"), "first").unwrap();
    let again = restore(&["-w", "json", "--move-aside"]);
    assert!(!odd.join("m 1/member/mark").exists());
    shell(&odd, again["undo"].as_str().unwrap(), &env).ok();
    assert!(odd.join("m 1/member/mark").exists());
    assert!(odd.join("m 1/member.undone/snap/db").exists());
}
