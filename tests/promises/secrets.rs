//! Promise 7: files are for their owner alone, whatever the umask; names that somebody planted are not followed; what
//! nobody may see is never shown.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::SNAPSHOT;
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::mount::Namespace;
use crate::util::process::{self, Output};
use crate::util::run::Rescue;
use crate::util::strace::{self, CHANGING};
use crate::util::temp_dir;
use crate::util::tls::Tls;
use crate::util::tools::TIMEOUT;
use crate::util::tree::{Kind, Tree, names};

/// The command under this umask.
fn with_umask(umask: &str, run: &Rescue) -> Command {
    let command = run.command();
    let mut shell = Command::new("/bin/sh");
    shell.env_clear();
    shell.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask]);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

#[test]
fn files_are_private_under_any_umask() {
    let server = Etcd::new("3.7").start();
    let without_proc = Namespace::without_proc();
    for umask in ["0", "022", "077"] {
        let dir = temp_dir();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (url, wal) = (server.url(), at("wal/deep/wal"));
        let (out, named, data) = (at("out.db"), at("named.db"), at("data/deep/data"));
        let restore = ["restore", SNAPSHOT, "--data-dir", &data, "--wal-dir", &wal];
        let save = |out| Rescue::new(["save", "--endpoints", &url, out]);
        let runs = [
            with_umask(umask, &Rescue::new(restore)),
            with_umask(
                umask,
                &Rescue::new(["restore", SNAPSHOT, "--data-dir", &at("d")]),
            ),
            with_umask(umask, &save(&out)),
            with_umask(umask, &save(&out).arg("--force")),
            without_proc.wrap(with_umask(umask, &save(&named))),
            without_proc.wrap(with_umask(umask, &save(&named).arg("--force"))),
        ];
        for run in runs {
            process::run(run, None, TIMEOUT).ok();
        }
        let tree = Tree::of(dir.path());
        let mut files = 0;
        for (path, node) in tree.nodes().filter(|(path, _)| path.as_os_str() != "") {
            let expected = if node.kind == Kind::Dir { 0o700 } else { 0o600 };
            assert_eq!(
                node.mode,
                expected,
                "umask {umask}: {} {node:?}",
                path.display()
            );
            files += usize::from(node.kind == Kind::File);
        }
        assert_eq!(files, 8, "{tree:?}");
    }
}

#[test]
fn nothing_is_ever_made_otherwise() {
    let server = Etcd::new("3.7").start();
    let dir = temp_dir();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let url = server.url();
    let save = Rescue::new(["save", "--endpoints", &url]);
    let restore = Rescue::new(["restore", SNAPSHOT, "--wal-dir", &at("wal"), "--data-dir"]);
    let piped = Rescue::new(["verify", "-"]).env("TMPDIR", dir.path());
    // Standard input is /dev/null here, which has to be kept as a pipe would be.
    let runs = [save.arg(at("out.db")), restore.arg(at("data")), piped];
    let mut made = 0;
    for run in runs {
        for missing in [None, Some("O_TMPFILE")] {
            let (output, mut calls) = strace::trace(&run, CHANGING, &[]);
            let unnamed = calls.iter().find(|call| call.args.contains("O_TMPFILE"));
            if let (Some(unnamed), Some(_)) = (unnamed, missing) {
                for name in names(dir.path()) {
                    remove(&dir.path().join(name));
                }
                let injection = unnamed.inject("error=EOPNOTSUPP");
                calls = strace::trace(&run, CHANGING, &[injection]).1;
            }
            for call in calls.iter().filter(|call| call.makes_a_file()) {
                made += 1;
                let unnamed = call.args.contains("O_TMPFILE");
                let exclusive = unnamed || call.args.contains("O_EXCL");
                let private = call.args.contains(", 0600)");
                assert!(exclusive && private, "{call:?}\n{output}");
            }
            for call in calls.iter().filter(|call| call.name.starts_with("mkdir")) {
                assert!(call.args.contains(", 0700)"), "{call:?}\n{output}");
            }
            for name in names(dir.path()) {
                remove(&dir.path().join(name));
            }
        }
    }
    assert!(made > 8, "{made}");
}

fn remove(path: &Path) {
    match path.is_dir() {
        true => std::fs::remove_dir_all(path).unwrap(),
        false => std::fs::remove_file(path).unwrap(),
    }
}

#[test]
fn planted_links_are_not_followed() {
    let server = Etcd::new("3.7").start();
    let without_proc = Namespace::without_proc();
    let dir = temp_dir();
    let out = dir.path().join("out.db");
    let (victim, nothing) = (dir.path().join("victim"), dir.path().join("nothing"));
    std::fs::write(&victim, "precious").unwrap();
    symlink(&victim, dir.path().join(".out.db.partial-1-01234567")).unwrap();
    let save = Rescue::new(["save", "--endpoints", &server.url()]).arg(&out);
    let forced = Rescue::new(["save", "--force", "--endpoints", &server.url()]).arg(&out);
    for target in [&victim, &nothing] {
        for hidden in [false, true] {
            let run = |run: &Rescue| match hidden {
                true => without_proc.run(run),
                false => run.clone().run(),
            };
            symlink(target, &out).unwrap();
            run(&save).code(4).stderr_has("exists already");
            assert!(out.is_symlink());
            run(&forced).ok();
            assert!(!out.is_symlink() && out.metadata().unwrap().len() > 10_000);
            std::fs::remove_file(&out).unwrap();
        }
    }
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    assert!(!nothing.exists());

    let data = dir.path().join("data");
    let elsewhere = dir.path().join("elsewhere");
    for name in ["member", ".member.partial-1-01234567"] {
        std::fs::create_dir_all(&data).unwrap();
        symlink(&elsewhere, data.join(name)).unwrap();
    }
    let restore = Rescue::new(["restore", SNAPSHOT, "--data-dir"]).arg(&data);
    restore.clone().run().code(4);
    restore.arg("--move-aside").run().ok();
    assert!(!data.join("member").is_symlink() && !elsewhere.exists());
    assert!(data.join(".member.partial-1-01234567").is_symlink());
}

const SECRET: &str = "pa55-w0rd-nobody-may-see";

#[track_caller]
fn shows_nothing(output: &Output, secret: &str) {
    let shown = output.stdout_str().contains(secret) || output.stderr.contains(secret);
    assert!(!shown, "{secret} is shown\n{output}");
}

#[test]
fn passwords_are_not_shown() {
    let ca = Ca::new("the test CA");
    let tls = Tls::server_only(&ca.server(), ca.cert());
    let mut server = Etcd::new("3.7").tls(tls).start();
    fill::auth(&mut server);
    let dir = temp_dir();
    let file = dir.path().join("password");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let two = dir.path().join("two-lines");
    std::fs::write(&two, format!("{SECRET}\n{SECRET}\n")).unwrap();
    let (file, two) = (file.to_str().unwrap(), two.to_str().unwrap());
    let (user, userinfo) = (
        format!("root:{SECRET}"),
        format!("https://root:{SECRET}@127.0.0.1:1"),
    );
    let bad_url = format!("https://root:{SECRET}@127.0.0.1:port");
    let assigned = format!("--pasword={SECRET}");
    let doubled = format!("--user={user}");
    let common = ["--debug", "--progress", "json", "-w", "json", "--cacert"];
    for (words, variables) in [
        (vec!["--user", &user], vec![]),
        (vec!["--user", "root", "--password", SECRET], vec![]),
        (vec!["--user", "root", "--password-file", file], vec![]),
        (vec!["--user", "root", "--password-file", two], vec![]),
        (vec!["--user", &user, "--password", SECRET], vec![]),
        (vec![], vec![("ETCDCTL_USER", user.as_str())]),
        (
            vec![],
            vec![("ETCDCTL_USER", "root"), ("ETCDCTL_PASSWORD", SECRET)],
        ),
        (vec![], vec![("ETCDCTL_PASSWORD", SECRET)]),
        (vec![], vec![("ETCDCTL_PASSWRD", SECRET)]),
        (vec![&assigned], vec![]),
        (vec!["--password", SECRET, "--password", SECRET], vec![]),
        (vec![&doubled, &doubled], vec![]),
        (vec!["--endpoints", &userinfo], vec![]),
        (vec!["--endpoints", &bad_url], vec![]),
        (vec!["--user", &user, "--insecure-transport=maybe"], vec![]),
    ] {
        let out = dir.path().join("out.db");
        let mut run = Rescue::new(["save", "--endpoints", &server.endpoint()])
            .args(common)
            .arg(ca.cert())
            .args(&words)
            .arg(&out);
        for (name, value) in variables {
            run = run.env(name, value);
        }
        let output = run.run();
        shows_nothing(&output, SECRET);
        output.expect(!out.exists(), "no snapshot for a wrong password");
    }
    for command in ["verify", "status", "restore"] {
        let output = Rescue::new([command, "--debug", "--user", &user, SNAPSHOT]).run();
        shows_nothing(&output.code(2), SECRET);
    }
    // The right one works, and is not shown either.
    let right = Rescue::new([
        "save",
        "--debug",
        "--endpoints",
        &server.endpoint(),
        "--cacert",
    ]);
    let right = right
        .arg(ca.cert())
        .args(["--user", fill::ROOT.0, "--password", fill::ROOT.1]);
    shows_nothing(
        &right.arg(dir.path().join("out.db")).run().ok(),
        fill::ROOT.1,
    );
}

#[test]
fn keys_are_not_shown() {
    let ca = Ca::new("the test CA");
    let client = ca.client("root");
    let dir = temp_dir();
    let key = std::fs::read_to_string(&client.key).unwrap();
    let line = key.lines().nth(1).unwrap();
    let broken = dir.path().join("broken.key");
    let (certificate, swapped) = (
        client.cert.display().to_string(),
        dir.path().join("swapped"),
    );
    std::fs::write(&broken, key.replace("-----END", "----END")).unwrap();
    std::fs::write(&swapped, format!("{line}\n{key}")).unwrap();
    for key in [&broken, &swapped, &client.key] {
        // Nobody listens there.
        let run = Rescue::new([
            "save",
            "--debug",
            "--endpoints",
            "https://127.0.0.1:1",
            "--cert",
        ]);
        let run = run
            .arg(&certificate)
            .arg("--key")
            .arg(key)
            .arg(dir.path().join("out.db"));
        let output = run.run();
        shows_nothing(&output, line);
        output.expect(!dir.path().join("out.db").exists(), "no snapshot");
    }
}

#[test]
fn values_are_not_shown() {
    let dir = temp_dir();
    let good = std::fs::read(SNAPSHOT).unwrap();
    let places = |what: &[u8]| -> Vec<usize> {
        let all = 0..good.len() - what.len();
        all.filter(|at| good[*at..].starts_with(what)).collect()
    };
    assert!(places(b"s3cr3t-").len() > 30);
    // Damage around the values, in pages and in records: findings say what they found.
    let mut bad = good.clone();
    for at in places(b"s3cr3t-").iter().step_by(7) {
        bad[at / 4096 * 4096 + 10] ^= 0xff;
    }
    for at in places(b"/registry/secrets/").iter().step_by(2) {
        bad[at - 2] ^= 0xff;
    }
    std::fs::write(dir.path().join("bad.db"), bad).unwrap();
    for (input, code) in [(SNAPSHOT.into(), 0), (dir.path().join("bad.db"), 3)] {
        for command in ["verify", "status", "restore"] {
            for format in ["simple", "table", "json", "fields"] {
                let data = dir.path().join("data");
                let mut run = Rescue::new([command, "--debug", "-w", format]).arg(&input);
                if command == "restore" {
                    run = run.arg("--data-dir").arg(&data);
                }
                let output = run.run().code(code);
                shows_nothing(&output, "s3cr3t-");
                let _ = std::fs::remove_dir_all(data);
            }
        }
    }
}
