//! Puts the git revision into `--version`. Builds the same without git or outside a checkout.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    println!(
        "cargo::rustc-env=ETCD_RESCUE_GIT={}",
        git_revision().unwrap_or_default()
    );
}

/// The short revision of HEAD, or nothing when git or the checkout is missing.
fn git_revision() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=10", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| format!(" ({})", text.trim()))
}
