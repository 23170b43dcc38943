//! Tests of `args.rs`: from a command line and an environment to a request.

use std::time::Duration;

use super::super::parse::{Parsed, parse};
use super::*;

fn resolve_line(line: &str, env: &[(&str, &str)]) -> Result<Invocation> {
    let words = line.split_whitespace().map(OsString::from);
    let Parsed::Run(typed) = parse(words)? else {
        panic!("{line}: help")
    };
    let machine = Machine {
        env: Environment::of(env.iter().map(|(name, value)| (name.into(), value.into()))),
        stdin_is_terminal: false,
        stdout_is_terminal: false,
        stdout_is_closed: false,
        spool_dirs: Vec::new(),
        ask_password: &|user| Ok(format!("asked for {user}")),
    };
    resolve(typed, &machine)
}

fn save_request(line: &str, env: &[(&str, &str)]) -> save::Request {
    match resolve_line(line, env) {
        Ok(Invocation {
            job: Job::Save(request),
            ..
        }) => request,
        Ok(_) => panic!("{line}: not save"),
        Err(error) => panic!("{line}: {error}"),
    }
}

fn restore_of(line: &str) -> restore::Request {
    match resolve_line(line, &[]) {
        Ok(Invocation {
            job: Job::Restore(request),
            ..
        }) => request,
        Ok(_) => panic!("{line}: not restore"),
        Err(error) => panic!("{line}: {error}"),
    }
}

fn wrong_line(line: &str, env: &[(&str, &str)]) -> String {
    match resolve_line(line, env) {
        Ok(_) => panic!("{line}: taken"),
        Err(error) => {
            assert_eq!(error.kind(), crate::error::Kind::Usage, "{error}");
            let hint = error.hint_text().unwrap_or_default();
            format!("{error} | {hint}")
        }
    }
}

#[test]
fn defaults_are_those_of_etcdctl_but_for_connecting() {
    let request = save_request("save out.db", &[]);
    assert_eq!(request.output, save::Output::File("out.db".into()));
    assert_eq!(request.within, None);
    let connect = request.connect;
    assert_eq!(connect.endpoints, ["127.0.0.1:2379"]);
    assert!(!connect.force_tls && !connect.insecure_skip_tls_verify);
    assert!(connect.user.is_none());
    assert_eq!(connect.keepalive_time, Duration::from_secs(2));
    assert_eq!(connect.keepalive_timeout, Duration::from_secs(6));
    assert_eq!(connect.deadlines.connect, Duration::from_secs(5));
    assert_eq!(connect.deadlines.call, Duration::from_secs(5));
    assert_eq!(connect.deadlines.idle, Duration::from_secs(30));
}

#[test]
fn endpoints_add_up_and_beat_their_variable() {
    let env = [("ETCDCTL_ENDPOINTS", "https://e1:2379, https://e2:2379")];
    let from_env = save_request("save out.db", &env).connect.endpoints;
    assert_eq!(from_env, ["https://e1:2379", "https://e2:2379"]);
    let line = "save --endpoints a,b out.db --endpoints c";
    assert_eq!(save_request(line, &env).connect.endpoints, ["a", "b", "c"]);
    assert!(wrong_line("save --endpoints=, out.db", &[]).contains("names no endpoint"));
}

#[test]
fn variables_set_flags_and_nonsense_names_the_variable() {
    let env = [
        ("ETCDCTL_CACERT", "ca"),
        ("ETCDCTL_CERT", "c"),
        ("ETCDCTL_KEY", "k"),
        ("ETCDCTL_INSECURE_TRANSPORT", "false"),
        ("ETCDCTL_DIAL_TIMEOUT", "7s"),
        ("ETCDCTL_API", "3"),
    ];
    let connect = save_request("save --cacert other out.db", &env).connect;
    assert_eq!(connect.cacert, Some("other".into()));
    assert_eq!(connect.key, Some("k".into()));
    assert!(connect.force_tls);
    assert_eq!(connect.deadlines.connect, Duration::from_secs(7));

    let nonsense = [("ETCDCTL_DIAL_TIMEOUT", "7")];
    let message = wrong_line("save out.db", &nonsense);
    assert!(
        message.starts_with("ETCDCTL_DIAL_TIMEOUT: \"7\" is not a duration"),
        "{message}"
    );
    // A flag beats it, and a command that does not take the flag never looks.
    assert!(resolve_line("save --dial-timeout 1s out.db", &nonsense).is_ok());
    assert!(resolve_line("verify x.db", &nonsense).is_ok());
    assert!(
        wrong_line("verify x.db", &[("ETCDCTL_WRITE_OUT", "xml")]).contains("ETCDCTL_WRITE_OUT")
    );
}

#[test]
fn a_command_timeout_that_is_given_bounds_the_whole() {
    let given = save_request("save --command-timeout 1m30s out.db", &[]);
    assert_eq!(given.within, Some(Duration::from_secs(90)));
    let env = [("ETCDCTL_COMMAND_TIMEOUT", "9s")];
    let given = save_request("save out.db", &env);
    assert_eq!(given.within, Some(Duration::from_secs(9)));
    assert_eq!(given.connect.deadlines.call, Duration::from_secs(9));
}

#[test]
fn a_password_comes_from_one_of_four_places() {
    let user = |line: &str, env: &[(&str, &str)]| {
        let (name, password) = save_request(line, env).connect.user.unwrap();
        (name, password.0)
    };
    let pair = |name: &str, password: &str| (name.to_string(), password.to_string());
    assert_eq!(user("save --user root:a:b o", &[]), pair("root", "a:b"));
    assert_eq!(
        user("save --user a:b --password c o", &[]),
        pair("a:b", "c")
    );
    assert_eq!(
        user("save --user root o", &[]),
        pair("root", "asked for root")
    );
    let env = [("ETCDCTL_USER", "root"), ("ETCDCTL_PASSWORD", "p")];
    assert_eq!(user("save o", &env), pair("root", "p"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "from file\n").unwrap();
    let line = format!("save --user root --password-file {} o", file.display());
    assert_eq!(user(&line, &env), pair("root", "from file"));
    std::fs::write(&file, "two\nlines\n").unwrap();
    assert!(wrong_line(&line, &[]).contains("more than one line"));
    assert!(wrong_line(&format!("{line} --password x"), &[]).contains("which one?"));
}

#[test]
fn half_a_key_pair_and_empty_names_are_refused() {
    assert!(wrong_line("save --cert c o", &[]).contains("--cert c without --key"));
    assert!(wrong_line("save --key k o", &[]).contains("--key k without --cert"));
    assert!(wrong_line("save --cert= o", &[]).contains("--cert: an empty name"));
}

#[test]
fn operands_are_counted() {
    assert!(wrong_line("save", &[]).contains("usage: etcd-rescue save [FLAGS] OUT"));
    assert!(wrong_line("save a b", &[]).contains("takes one OUT, not \"a\" and \"b\""));
    assert!(wrong_line("verify", &[]).contains("verify needs INPUT"));
    assert!(wrong_line("verify - -", &[]).contains("only once"));
    assert!(wrong_line("status a b", &[]).contains("takes one INPUT"));
    assert!(wrong_line("restore x.db", &[]).contains("needs --data-dir DIR"));
    assert!(wrong_line("version x", &[]).contains("takes nothing"));
    assert!(wrong_line("pack x.db", &[]).contains("pack needs INPUT OUT; 1 given"));
}

#[test]
fn a_snapshot_is_not_sent_to_a_terminal_nor_read_from_one() {
    let machine = Machine {
        env: Environment::default(),
        stdin_is_terminal: true,
        stdout_is_terminal: true,
        stdout_is_closed: false,
        spool_dirs: Vec::new(),
        ask_password: &|_| Ok(String::new()),
    };
    assert!(output_operand(OsStr::new("-"), &machine).is_err());
    assert!(input(OsStr::new("-"), false, &machine).is_err());
    assert!(output_operand(OsStr::new("x"), &machine).is_ok());
    assert_eq!(save_request("save -", &[]).output, save::Output::Stdout);
}

#[test]
fn a_flag_of_another_command_is_a_mistake_except_in_a_runbook() {
    let message = wrong_line("verify --endpoints x y.db", &[]);
    assert!(message.contains("verify does not take --endpoints; it is a flag of save"));
    assert!(wrong_line("save --data-dir d o", &[]).contains("a flag of restore"));

    let line = "snapshot restore --cacert a --cert b --key c --data-dir d x.db";
    let warnings = resolve_line(line, &[]).unwrap().warnings;
    assert_eq!(
        warnings,
        ["without effect, restore asks no server: --cacert, --cert, --key"]
    );
    // Not everything goes: this one would be a mistake in etcdutl, too.
    assert!(wrong_line("snapshot restore --force --data-dir d x.db", &[]).contains("--force"));
}

#[test]
fn restore_takes_what_etcdutl_takes() {
    let request = restore_of(
        "snapshot restore x.db --data-dir d --wal-dir w --name m1 --initial-cluster m1=http://a:2380 \
         --initial-cluster-token t --initial-advertise-peer-urls http://a:2380 --skip-hash-check \
         --initial-memory-map-size 10737418240 --bump-revision 1000 --mark-compacted",
    );
    assert_eq!(request.bump, restore::Bump::By(1000));
    assert!(request.source.raw);
    assert_eq!(request.name, "m1");
    assert_eq!(request.wal_dir, Some("w".into()));
    assert_eq!(restore_of("restore x --data-dir d").name, "default");
}

#[test]
fn bumping_and_marking_go_together() {
    let bump = |flags: &str| restore_of(&format!("restore x --data-dir d {flags}")).bump;
    assert_eq!(bump(""), restore::Bump::Auto);
    assert_eq!(bump("--no-bump"), restore::Bump::Off);
    assert_eq!(bump("--bump-revision 0"), restore::Bump::Off);
    assert_eq!(bump("--bump-revision 5"), restore::Bump::By(5));
    assert_eq!(bump("--mark-compacted=false"), restore::Bump::Auto);
    for flags in [
        "--bump-revision 5 --no-bump",
        "--bump-revision 5 --mark-compacted=false",
        "--mark-compacted",
        "--no-bump --mark-compacted",
    ] {
        wrong_line(&format!("restore x --data-dir d {flags}"), &[]);
    }
}

#[test]
fn debug_tells_what_was_understood_and_no_password() {
    let env = [("ETCDCTL_PASSWORD", "secret")];
    let line = "save --debug --user root o";
    let debug = resolve_line(line, &env).unwrap().debug.join("\n");
    assert!(debug.contains("ETCDCTL_PASSWORD=(hidden)"), "{debug}");
    assert!(debug.contains("127.0.0.1:2379"), "{debug}");
    assert!(!debug.contains("secret"), "{debug}");
}
