//! Report and metrics: written whatever happens, in agreement with the exit code, and over nothing else.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::site::{CATALOGUE, LOCK, Site, failed, text, with_one};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::ports::free_url;
use crate::util::process::{self, Output};
use crate::util::run::Rescue;
use crate::util::tree::{Tree, names};

/// `backup DIR` with these words, and nothing else.
fn bare(site: &Site, endpoints: &str) -> Rescue {
    Rescue::new(["backup", "--endpoints", endpoints]).arg(site.dir())
}

/// The same line with a shell's redirection behind it.
fn redirected(run: &Rescue, how: &str) -> Output {
    let command = run.command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec \"$@\" {how}"), "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    process::run(shell, None, Duration::from_secs(60))
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_as_a_failed_run() {
    let (site, server, file) = with_one();
    let url = server.url();
    for (words, code, why) in [
        ("--user=root --password-file=/nope", 1, "/nope"),
        ("ETCDCTL_DIAL_TIMEOUT=foo", 2, "ETCDCTL_DIAL_TIMEOUT"),
        ("--cert=client.crt", 2, "without --key"),
        ("--user=root", 2, "no password"),
        ("--keep-last=x", 2, "--keep-last"),
        ("--no-such-flag", 2, "--no-such-flag"),
        ("--timeout", 2, "--timeout needs a value"),
        ("--name=.hidden", 2, "--name"),
        ("one-too-many", 2, "one-too-many"),
    ] {
        site.made(&url);
        assert_eq!(site.metric("last_run_success"), Some(1.0));
        let before = site.tree();
        let run = site.backup(&url);
        let run = match words.split_once('=') {
            Some((name, value)) if name.starts_with("ETCDCTL_") => run.env(name, value),
            _ => run.args(words.split(' ')),
        };
        let output = failed(&site, &before, run.run(), code, "arguments").stderr_has(why);
        drop(output);
        assert_eq!(site.metric("last_run_exit_code"), Some(f64::from(code)));
        let report = site.report();
        assert!(!report["lastGood"].is_null() && report["backups"]["verified"].as_u64() > Some(0));
        assert_eq!(report["directory"], site.dir().display().to_string());
        assert!(site.metric("last_success_timestamp_seconds").is_some());
    }
    assert!(site.files().contains(&file));
    // Without a directory nobody can say what is in it, and the run has failed all the same.
    let run = Rescue::new(["backup", "--report"]).arg(site.beside("report.json"));
    run.run().code(2).stderr_has("backup needs DIR");
    assert_eq!(site.report()["error"]["kind"], "usage");
    assert_eq!(site.report()["backups"], Value::Null);
}

#[test]
fn a_place_that_must_not_be_replaced_is_refused_before_anything_is_done() {
    let (site, server, _) = with_one();
    for (path, hint) in [
        (Path::new("/dev/stdout"), "-w json prints the report"),
        (site.dir(), "hint: name a file in it"),
    ] {
        let before = site.tree();
        let output = site.backup(&server.url()).arg("--report").arg(path).run();
        let output = output.code(4).stdout_is("").stderr_has(hint);
        told_once(output, "--report", path);
        before.assert_unchanged(&site.tree(), "a run that could not tell");
        // Whoever reads the other one hears of it, and of the same exit code.
        assert_eq!(site.metric("last_run_exit_code"), Some(4.0));
        assert_eq!(site.metric("last_run_success"), Some(0.0));
    }
}

/// A backup that nobody hears of is better than none.
#[test]
fn a_place_that_cannot_be_written_to_costs_no_backup() {
    let (site, server, _) = with_one();
    let nowhere = site.beside("nowhere/file.prom");
    for flag in ["--report", "--metrics"] {
        let archives = site.files().len();
        let output = site.backup(&server.url()).arg(flag).arg(&nowhere).run();
        let output = output.code(1).stdout_is("");
        let output = output.stderr_has("hint: make it first: mkdir -p ");
        let output = told_once(output, flag, &nowhere);
        assert_eq!(site.files().len(), archives + 1);
        let made = format!("note: {} is made all the same", site.files()[0]);
        output.stderr_has(&made);
        match flag {
            "--report" => {
                assert_eq!(site.metric("last_run_exit_code"), Some(1.0));
                assert_eq!(site.metric("last_run_success"), Some(1.0));
            }
            _ => {
                let report = site.report();
                assert_eq!(
                    (&report["outcome"], &report["stage"], &report["exitCode"]),
                    (&"saved".into(), &"report".into(), &1.into())
                );
                let message = text(&report["error"]["message"]);
                assert!(message.starts_with(&format!("{flag} ")), "{report}");
            }
        }
    }
}

#[track_caller]
fn told_once(output: Output, flag: &str, path: &Path) -> Output {
    let told = format!("{flag} {}: ", path.display());
    let once = output.stderr.matches(&told).count() == 1;
    output.expect(once, "one line about it")
}

/// What could be written before the run and cannot be written after it.
#[test]
fn what_cannot_be_told_in_the_end_is_told_by_the_others() {
    let (site, server, _) = with_one();
    // On the first try the file may be there, and it is the catalogue of the run itself in the end.
    let archives = site.files().len();
    let run = site.backup(&server.url()).arg("-w=json");
    let output = redirected(&run, ">/dev/full").code(1);
    output.stderr_has("error: cannot write to standard output");
    assert_eq!(site.files().len(), archives + 1);
    let report = site.report();
    assert_eq!(
        (&report["outcome"], &report["stage"], &report["exitCode"]),
        (&"saved".into(), &"report".into(), &1.into())
    );
    assert!(text(&report["error"]["message"]).contains("standard output"));
    assert_eq!(site.metric("last_run_success"), Some(1.0));
    assert_eq!(site.metric("last_run_exit_code"), Some(1.0));
    // Whoever has read enough of it is content.
    redirected(&run, "| true").ok();
}

/// An answer that never left is none. (One that is closed is opened on /dev/null before the program begins.)
#[test]
fn a_standard_output_that_cannot_be_written() {
    let (site, server, _) = with_one();
    let backup = site.backup(&server.url()).arg("-w=json");
    let check = site.verb("check").arg("--nagios");
    for run in [site.verb("list"), site.verb("check"), check, backup] {
        for how in ["1</dev/null", ">/dev/full"] {
            let output = redirected(&run, how).code(1);
            output.stderr_has("error: cannot write to standard output");
        }
        redirected(&run, "| true").ok();
    }
}

#[test]
fn a_file_of_another_kind_is_never_replaced() {
    let (site, server, file) = with_one();
    let other = site.beside("notes.txt");
    std::fs::write(&other, "mine\n").unwrap();
    for flag in ["--report", "--metrics"] {
        for path in [
            site.at(&file),
            site.at(CATALOGUE),
            site.at(LOCK),
            other.clone(),
        ] {
            let before = Tree::of(site.dir().parent().unwrap());
            let output = bare(&site, &server.url()).arg(flag).arg(&path).run();
            output
                .code(4)
                .stdout_is("")
                .stderr_has(&format!("error: {flag} {}: ", path.display()))
                .stderr_has("hint: ");
            before.assert_unchanged(&Tree::of(site.dir().parent().unwrap()), "a refused run");
        }
    }
    // Nor one of the other kind of ours, also before there is any.
    let run = bare(&site, &server.url()).arg("--report");
    let run = run.arg(site.beside("etcd.prom")).arg("--metrics");
    run.arg(site.beside("report.json")).run().code(4);
    site.verb("check").arg("--full").run().ok();
    let fresh = Site::new();
    let run = bare(&fresh, &server.url()).arg("--metrics");
    run.arg(fresh.at(CATALOGUE)).run().code(4);
    assert!(!fresh.at(CATALOGUE).exists());
}

#[test]
fn one_file_cannot_be_both_and_standard_output_is_none() {
    let (site, server, _) = with_one();
    let both = site.beside("both.prom");
    for again in ["both.prom", "./both.prom"] {
        let run = bare(&site, &server.url()).cwd(both.parent().unwrap());
        let run = run.arg("--report").arg(&both).args(["--metrics", again]);
        run.run()
            .code(2)
            .stderr_has("--report and --metrics are both ");
    }
    for flag in ["--report", "--metrics"] {
        let run = bare(&site, &server.url()).cwd(site.dir().parent().unwrap());
        run.args([flag, "-"]).run().code(2).stderr_has("-w json");
    }
    assert!(!names(site.dir().parent().unwrap()).contains(&"-".to_owned()));
    let run = bare(&site, &server.url())
        .arg("--metrics")
        .arg(site.beside("foo.txt"));
    run.run()
        .ok()
        .stderr_has("warning: --metrics ")
        .stderr_has("only files whose names end in .prom");
    assert!(site.beside("foo.txt").exists());
}

#[test]
fn however_it_is_typed_a_directory_is_one_time_series() {
    let (site, server, _) = with_one();
    for typed in ["backups", "backups/", "./backups", "./backups/."] {
        let run = Rescue::new([
            "backup",
            typed,
            "--metrics=etcd.prom",
            "--report=report.json",
        ]);
        let run = run.cwd(site.dir().parent().unwrap());
        run.args(["--endpoints", &server.url()]).run().ok();
        let directory = site.dir().display().to_string();
        assert_eq!(site.report()["directory"], directory);
        let metrics = std::fs::read_to_string(site.beside("etcd.prom")).unwrap();
        let label = format!("etcd_rescue_last_run_success{{directory=\"{directory}\"}} 1\n");
        assert!(metrics.contains(&label), "{metrics}");
    }
}

#[test]
fn alarms_of_etcd_are_in_report_and_metrics() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let site = Site::new();
    site.made(&server.url());
    assert_eq!(site.report()["alarms"], serde_json::json!([]));
    assert_eq!(site.metric("last_run_etcd_alarms"), Some(0.0));
    fill::alarm(&mut server.api());
    let output = site.backup(&server.url()).run().ok();
    let once = output.stderr.matches("NOSPACE").count() == 1;
    output.expect(once, "one line about it");
    let report = site.report();
    assert!(
        text(&report["alarms"][0]).starts_with("NOSPACE "),
        "{report}"
    );
    let warnings = report["warnings"].as_array().unwrap();
    assert!(
        warnings.len() == 1 && text(&warnings[0]).contains("NOSPACE"),
        "{report}"
    );
    assert_eq!(site.metric("last_run_etcd_alarms"), Some(1.0));
    // Nobody knows what a server that is down would say.
    site.backup(&free_url()).run().code(5);
    assert_eq!(site.report()["alarms"], Value::Null);
    assert_eq!(site.metric("last_run_etcd_alarms"), None);
}

/// What is dated in the future would look young until then.
#[test]
fn a_backup_of_the_future_is_no_success_of_today() {
    let (site, _server, file) = with_one();
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48);
    site.redated(&file, "later.db.zst", later);
    site.verb("check").arg("--full").run().ok();
    site.backup(&free_url()).run().code(5);
    assert_eq!(site.report()["lastGood"]["file"], file.as_str());
    assert!(site.metric("last_success_timestamp_seconds").is_some());
    std::fs::remove_file(site.at(&file)).unwrap();
    site.backup(&free_url()).run().code(5);
    assert_eq!(site.report()["lastGood"]["file"], "later.db.zst");
    assert_eq!(site.metric("last_success_timestamp_seconds"), None);
    assert_eq!(site.metric("snapshot_live_keys"), Some(1.0));
}
