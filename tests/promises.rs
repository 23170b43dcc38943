//! Promises 1, 6 and 7: inputs are only read, nothing hangs, secrets stay secret.

mod inputs;
mod secrets;
mod waits;

/// Of a Kubernetes API server; its Secrets have values that begin with `s3cr3t-`.
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/k8s-plain-3.5.db");
