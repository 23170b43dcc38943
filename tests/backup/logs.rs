//! `--log-format json`: every line on standard error is an object that a log collector understands.

use serde_json::Value;

use super::site::{CATALOGUE, Site};
use crate::util::etcd::Etcd;
use crate::util::ports::free_url;
use crate::util::process::Output;
use crate::util::run::Rescue;

/// Levels of the lines, in their order.
#[track_caller]
fn levels(output: &Output) -> Vec<String> {
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line)
            .unwrap_or_else(|e| panic!("{line:?} is no JSON: {e}\n{output}"));
        let fields: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["level", "message", "time"], "{line}");
        let time: Result<jiff::Timestamp, _> = value["time"].as_str().unwrap().parse();
        assert!(time.is_ok() && !value["message"].as_str().unwrap().is_empty());
        value["level"].as_str().unwrap().to_owned()
    };
    output.stderr.lines().map(line).collect()
}

#[test]
fn every_line_is_an_object() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let site = Site::new();
    let json = |run: Rescue| run.arg("--log-format=json").run();
    let down = json(site.backup(&free_url())).code(5);
    assert_eq!(levels(&down)[0], "error");
    assert_eq!(levels(&down).last().unwrap(), "hint");

    let quiet = json(site.backup(&server.url())).ok();
    assert_eq!(levels(&quiet), [""; 0]);
    let left_out = json(site.backup(&format!("{},{}", free_url(), server.url()))).ok();
    assert_eq!(levels(&left_out), ["note"]);

    // Words with quotes and line ends in them are one line all the same.
    let odd = Rescue::new(["list", "a \"b\"\nc"]);
    assert_eq!(levels(&json(odd).code(1))[0], "error");

    std::fs::write(site.at(CATALOGUE), "{").unwrap();
    assert_eq!(levels(&json(site.verb("list")).ok()), ["warning"]);
    let late = json(site.verb("check")).code(6);
    assert_eq!(levels(&late), ["warning", "error", "hint"]);
    assert_eq!(
        levels(&json(site.verb("verify").arg("--latest")).code(4))[0],
        "error"
    );
}

#[test]
fn so_is_what_is_wrong_with_the_command_line() {
    for (before, after) in [
        (vec!["backup", "--bogus"], vec![]),
        (vec!["--bogus"], vec!["backup", "."]),
        (vec!["backup"], vec![]),
        (vec!["backup", "."], vec!["--keep-last=many"]),
        (vec!["nonsense"], vec![]),
    ] {
        for flag in [vec!["--log-format=json"], vec!["--log-format", "json"]] {
            let words = before.iter().chain(&flag).chain(&after);
            let output = Rescue::new(words).run().code(2).stdout_is("");
            assert_eq!(levels(&output)[0], "error", "{output}");
        }
    }
}

#[test]
fn an_answer_that_stands_aside_is_one_too() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let save = Rescue::new(["save", "-", "--log-format=json", "--endpoints"]).arg(server.url());
    let output = save.run().ok();
    let levels = levels(&output);
    assert!(levels.iter().all(|level| level == "note"), "{levels:?}");
}
