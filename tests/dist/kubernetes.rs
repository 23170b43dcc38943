//! The manifests, held against the schemas of Kubernetes and of the Prometheus operator, and what a reader
//! of theirs would look for. (No cluster runs here: that a kubelet starts the pod was not tried.)

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{dist, run, text, tool};
use crate::util::process::Output;
use crate::util::temp_dir;

/// Judges files; stdout is their documents as a JSON array.
#[track_caller]
fn schema(files: &[&Path]) -> Output {
    let mut args = vec![tool("schemas")];
    args.extend(files.iter().map(|file| file.to_path_buf()));
    run(&tool("schema"), args)
}

/// The first manifest of a file of dist/kubernetes, found valid.
#[track_caller]
pub fn manifest(name: &str) -> Value {
    manifests(name)[0].clone()
}

/// All manifests of a file of dist/kubernetes, found valid.
#[track_caller]
pub fn manifests(name: &str) -> Vec<Value> {
    let output = schema(&[&dist("kubernetes").join(name)]).ok();
    output.json().as_array().unwrap().clone()
}

/// The pod that a CronJob starts.
pub fn pod(job: &Value) -> &Value {
    &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
}

#[test]
fn the_manifests_are_what_kubernetes_expects() {
    let jobs = manifests("cronjob.yaml");
    let names: Vec<_> = jobs.iter().map(|job| &job["metadata"]["name"]).collect();
    assert_eq!(names, ["etcd-rescue-backup", "etcd-rescue-check"]);
    assert!(jobs.iter().all(|job| job["kind"] == "CronJob"));
    assert_eq!(manifest("prometheusrule.yaml")["kind"], "PrometheusRule");
}

/// The judge would notice.
#[test]
fn mistakes_in_manifests_are_noticed() {
    for (file, right, wrong, why) in [
        (
            "cronjob.yaml",
            "activeDeadlineSeconds",
            "activeDeadline",
            "'activeDeadline' not allowed",
        ),
        (
            "cronjob.yaml",
            "hostNetwork: true",
            "hostNetwork: sometimes",
            "got string, want boolean",
        ),
        (
            "cronjob.yaml",
            "  schedule:",
            "  # schedule:",
            "missing property 'schedule'",
        ),
        (
            "cronjob.yaml",
            "          restartPolicy: Never\n",
            "          restartPolicy: Never\n          restartPolicy: Never\n",
            "already set in map",
        ),
        (
            "prometheusrule.yaml",
            "for: 5m",
            "for: a while",
            "does not match pattern",
        ),
        (
            "prometheusrule.yaml",
            "- alert:",
            "- alarm:",
            "'alarm' not allowed",
        ),
    ] {
        let dir = temp_dir();
        let path = dir.path().join(file);
        let text = text(&dist("kubernetes").join(file));
        assert!(text.contains(right), "{file} has no {right:?}");
        fs::write(&path, text.replacen(right, wrong, 1)).unwrap();
        schema(&[&path]).code(1).stderr_has(why);
    }
}

#[test]
fn the_pods_may_do_only_what_reading_the_keys_takes() {
    let jobs = manifests("cronjob.yaml");
    confined(pod(&jobs[0]), &["backups", "metrics"]);
    confined(pod(&jobs[1]), &["backups"]);
    // It asks no server, and has no keys.
    let check = pod(&jobs[1]);
    assert!(check["hostNetwork"].is_null());
    assert_eq!(check["volumes"].as_array().unwrap().len(), 1);
    // Both see the same directory of the same node.
    for (place, what) in [("volumes", "backups"), ("containers", "image")] {
        let found = |job| match place {
            "volumes" => pod(job)[place]
                .as_array()
                .unwrap()
                .iter()
                .find(|volume| volume["name"] == what)
                .map(|volume| volume["hostPath"]["path"].clone()),
            _ => Some(pod(job)[place][0][what].clone()),
        };
        assert_eq!(found(&jobs[0]), found(&jobs[1]), "{what}");
    }
    assert_eq!(pod(&jobs[0])["nodeSelector"], check["nodeSelector"]);
    assert_eq!(pod(&jobs[0])["tolerations"], check["tolerations"]);
}

/// It has no capabilities and no way to more, and these are all the mounts that it can write to.
#[track_caller]
fn confined(pod: &Value, can_write: &[&str]) {
    let container = &pod["containers"][0];
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        })
    );
    assert_eq!(
        pod["securityContext"],
        json!({
            "runAsUser": 0,
            "runAsGroup": 0,
            "seccompProfile": { "type": "RuntimeDefault" },
        })
    );
    assert_eq!(pod["automountServiceAccountToken"], false);
    for forbidden in ["hostPID", "hostIPC"] {
        assert!(pod[forbidden].is_null(), "{forbidden}");
    }
    let mounts = container["volumeMounts"].as_array().unwrap();
    let writable = mounts.iter().filter(|mount| mount["readOnly"] != true);
    let writable: Vec<_> = writable.map(|mount| &mount["name"]).collect();
    assert_eq!(writable, can_write);
}

/// One run at a time, none for ever, and `--timeout` ends each before Kubernetes would kill it.
#[test]
fn runs_are_bounded() {
    let job = manifest("cronjob.yaml");
    assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid");
    assert!(job["spec"]["startingDeadlineSeconds"].as_i64().unwrap() >= 60);
    let deadline = job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_i64();
    assert!((51 * 60..3600).contains(&deadline.unwrap()), "{deadline:?}");
    let args = &pod(&job)["containers"][0]["args"];
    assert!(args.as_array().unwrap().contains(&json!("--timeout=50m")));
    // The check waits for a backup first.
    let check = &manifests("cronjob.yaml")[1];
    assert_eq!(check["spec"]["concurrencyPolicy"], "Forbid");
    let deadline = check["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_i64();
    assert!(deadline.unwrap() > 56 * 60, "{deadline:?}");
}

/// It has no shell, no package manager and no user that could write its own binary.
#[test]
fn the_image_is_one_file() {
    let text = text(&dist("Containerfile"));
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<_> = lines
        .map(|line| line.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(words, ["FROM", "ARG", "COPY", "USER", "ENTRYPOINT"]);
    assert!(text.contains("\nFROM scratch\n") && text.contains("\nUSER 65532:65532\n"));
}
