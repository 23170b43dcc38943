//! The alarms: rules that Prometheus takes, and that fire when they should and only then.

use std::fs;
use std::path::Path;

use super::kubernetes::manifest;
use super::text;
use crate::util::process::{self, Output};
use crate::util::{temp_dir, tools};

#[test]
fn alarms_fire_when_backups_stop() {
    let dir = temp_dir();
    let rules = dir.path().join("rules.json");
    // JSON is YAML: spec is a rule file as it stands.
    fs::write(&rules, manifest("prometheusrule.yaml")["spec"].to_string()).unwrap();
    promtool("check", &rules).ok().stdout_has("7 rules found");

    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dist/alarms.test.yml");
    let test = dir.path().join("alarms.test.yml");
    fs::copy(&cases, &test).unwrap();
    promtool("test", &test).ok();

    // The same with a rule that sleeps longer does not pass.
    let lazy = text(&rules).replace("> 4 * 3600", "> 9 * 3600");
    fs::write(&rules, lazy).unwrap();
    promtool("test", &test)
        .code(1)
        .stderr_has("EtcdBackupTooOld");
}

/// `promtool VERB rules FILE`.
#[track_caller]
fn promtool(verb: &str, file: &Path) -> Output {
    let mut command = tools::promtool();
    command.args([verb, "rules"]).arg(file);
    process::run(command, None, tools::TIMEOUT)
}

/// What the alarms look at is what the program writes.
#[track_caller]
pub fn assert_all_metrics_are_in(written: &str) {
    let rules = manifest("prometheusrule.yaml");
    let rules = rules["spec"]["groups"][0]["rules"].as_array().unwrap();
    let mut names = 0;
    for rule in rules {
        let expression = rule["expr"].as_str().unwrap();
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("etcd_rescue_")) {
            let type_line = format!("# TYPE {name} gauge\n");
            assert!(written.contains(&type_line), "no {name} in\n{written}");
            names += 1;
        }
    }
    assert!(names >= rules.len(), "only {names} metrics in the rules");
}

#[test]
fn a_metric_that_nobody_writes_is_noticed() {
    let written = "# TYPE etcd_rescue_last_success_timestamp_seconds gauge\n";
    let found = std::panic::catch_unwind(|| assert_all_metrics_are_in(written));
    let why = *found.unwrap_err().downcast::<String>().unwrap();
    assert!(why.starts_with("no etcd_rescue_last_run_success"), "{why}");
}
