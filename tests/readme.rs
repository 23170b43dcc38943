//! README.md is true: every command in it runs here, on a machine laid out as it describes, and says what
//! it says there.
//!
//! The convention: a fenced block is `sh` (commands that must succeed) or `console` (a command after
//! `$ `, then its output, standard error included). A command goes on after a backslash. Blocks run in order, as one
//! session. The paths of a node lie under a temporary root; `Node` translates there and back. Output
//! is compared as a terminal would get it, word by word, after `plain` has taken out what no two runs
//! share.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::tls::Tls;
use crate::util::{fill, process, temp_dir};

const README: &str = include_str!("../README.md");
const CI: &str = include_str!("../.ci/run");

/// Directories of a node. They lie under a root of their own here.
const DIRS: [&str; 5] = [
    "/etc/kubernetes",
    "/var/lib/etcd",
    "/backup",
    "/mnt",
    "/usr/local/bin",
];

/// Commands that .ci/run has as steps of their own, or that a step of it runs.
const STEPS_OF_CI: [&str; 3] = ["tests/run.sh", "dist/build.sh", "dist/check-static.sh"];

/// `tests/demo.rs` runs it.
const DEMO: &str = "dist/demo.sh";

#[test]
fn every_command_in_the_readme_does_what_it_says() {
    let blocks = blocks(README);
    assert!(
        blocks.len() > 5,
        "only {} blocks in README.md",
        blocks.len()
    );
    let mut node = Node::new();
    let before = node.etcd.api().dump();
    let mut differences = String::new();
    for block in &blocks {
        for step in &block.steps {
            if STEPS_OF_CI.contains(&step.command.as_str()) {
                assert!(
                    CI.contains(&step.command),
                    "not in .ci/run: {}",
                    step.command
                );
            } else if step.command != DEMO {
                differences += &node.run(block, step).unwrap_or_default();
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(node.restarts, 1, "README.md stops etcd and starts it again");
    assert_eq!(node.etcd.api().dump(), before, "keys after the restore");
}

/// The measured table is the one that tests/bench/run.sh wrote.
#[test]
fn the_readme_quotes_the_bench_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/results.md");
    let measured = std::fs::read_to_string(path).unwrap_or_default();
    let (_, rest) = README.split_once("<!-- bench -->\n").expect("the mark");
    let (quoted, _) = rest.split_once("<!-- /bench -->").expect("its end");
    assert_eq!(quoted.trim(), measured.trim());
}

#[test]
fn the_readme_has_the_exit_codes_of_the_program() {
    let help = crate::util::run::rescue(["--help"]).ok().stdout_str();
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let told = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let codes: Vec<_> = codes.lines().filter(told).collect();
    assert_eq!(codes.len(), 6, "{help}");
    for line in codes {
        let (code, means) = line.trim().split_once("  ").unwrap();
        let row = format!("| {code} | {means} |\n");
        assert!(README.contains(&row), "README.md lacks {row}");
    }
}

/// A fenced block.
struct Block {
    /// Of its fence, counted from 1.
    line: usize,
    /// Whether its commands are followed by what they print.
    shows_output: bool,
    steps: Vec<Step>,
}

/// A command, and what README.md says it prints.
struct Step {
    command: String,
    output: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let shows_output = match line.trim_end() {
            "```sh" => false,
            "```console" => true,
            other => {
                let fence = other.trim_start().starts_with("```");
                assert!(!fence, "README.md:{}: {other}: nobody runs this", index + 1);
                continue;
            }
        };
        let body: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .collect();
        blocks.push(Block {
            line: index + 1,
            shows_output,
            steps: steps(&body, shows_output),
        });
    }
    blocks
}

fn steps(body: &[&str], shows_output: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in body {
        let begins = match shows_output {
            true => line.strip_prefix("$ "),
            false => Some(*line),
        };
        match (begins, steps.last_mut()) {
            (_, Some(step)) if goes_on => step.command += &format!("\n{line}"),
            (Some(command), _) => steps.push(Step {
                command: command.to_owned(),
                output: String::new(),
            }),
            (None, Some(step)) => step.output += &format!("{line}\n"),
            (None, None) => panic!("README.md: a console block begins with output: {line}"),
        }
        goes_on = line.ends_with('\\') && (goes_on || begins.is_some());
    }
    steps
}

/// A kubeadm control-plane node: certificates, manifests, etcd, and a kubelet that runs etcd as long
/// as its manifest is there.
struct Node {
    root: TempDir,
    etcd: Etcd,
    runs: bool,
    restarts: usize,
}

impl Node {
    fn new() -> Self {
        let root = temp_dir();
        let at = |path: &str| root.path().join(&path[1..]);
        for dir in DIRS {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        std::fs::create_dir_all(at("/etc/kubernetes/pki/etcd")).unwrap();
        std::fs::create_dir_all(at("/etc/kubernetes/manifests")).unwrap();
        for manifest in ["etcd.yaml", "kube-apiserver.yaml"] {
            let path = at("/etc/kubernetes/manifests").join(manifest);
            std::fs::write(path, "kind: Pod\n").unwrap();
        }

        let ca = Ca::new("etcd-ca");
        let pair = ca.server();
        let pki = at("/etc/kubernetes/pki/etcd");
        for (from, name) in [
            (ca.cert(), "ca.crt"),
            (&pair.cert, "server.crt"),
            (&pair.key, "server.key"),
        ] {
            std::fs::copy(from, pki.join(name)).unwrap();
        }
        let pair = crate::util::certs::Pair {
            cert: pki.join("server.crt"),
            key: pki.join("server.key"),
        };
        let ca = pki.join("ca.crt");
        let etcd = Etcd::new("3.7")
            .name("cp1")
            .data_dir(at("/var/lib/etcd"))
            .tls(Tls::mutual(&pair, &ca, &ca, &pair))
            .start();
        etcd.wait_storage_version();
        fill::kubernetes(&mut etcd.api(), 1000, 1000);

        // What was copied to the node.
        let built = "etcd-rescue-x86_64";
        std::fs::copy(env!("CARGO_BIN_EXE_etcd-rescue"), root.path().join(built)).unwrap();
        let mut sums = Command::new("sh");
        sums.args(["-c", &format!("sha256sum {built} >{built}.sha256")])
            .current_dir(root.path());
        process::run(sums, None, TIMEOUT).ok();
        Self {
            root,
            etcd,
            runs: true,
            restarts: 0,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(&path[1..])
    }

    /// Runs one command of README.md; says where what it prints is not what README.md has.
    fn run(&mut self, block: &Block, step: &Step) -> Option<String> {
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-c"])
            .arg(format!("exec 2>&1\n{}", self.under_root(&step.command)))
            .current_dir(self.root.path())
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.at("/usr/local/bin").display()),
            )
            // The one member of this node listens elsewhere, beside the members of other tests.
            .env(
                "ETCDCTL_ENDPOINTS",
                format!("127.0.0.1:{}", self.etcd.port()),
            )
            .env("ETCDCTL_WRITE_OUT", "table");
        let output = process::run(bash, None, TIMEOUT).ok();
        self.kubelet();
        let found = self.from_root(&output.stdout_str());
        let differs = block.shows_output && plain(&found) != plain(&step.output);
        differs.then(|| {
            format!(
                "\nREADME.md, in the block at line {}, says\n$ {}\n{}where the program says\n{found}",
                block.line, step.command, step.output
            )
        })
    }

    /// Stops or starts etcd as its manifest has it.
    fn kubelet(&mut self) {
        let wanted = self.at("/etc/kubernetes/manifests/etcd.yaml").exists();
        match (self.runs, wanted) {
            (true, false) => {
                self.etcd.stop();
                // The disk of this node, as a rescue system sees it.
                let mut copy = Command::new("cp");
                copy.arg("-aT")
                    .arg(self.at("/var/lib/etcd"))
                    .arg(self.at("/mnt/var/lib/etcd"));
                std::fs::create_dir_all(self.at("/mnt/var/lib")).unwrap();
                process::run(copy, None, TIMEOUT).ok();
            }
            (false, true) => {
                self.etcd.restart();
                self.restarts += 1;
            }
            _ => {}
        }
        self.runs = wanted;
    }

    /// A command with the paths of the node under this root.
    fn under_root(&self, command: &str) -> String {
        let root = self.root.path().display().to_string();
        let mut text = command.to_owned();
        for dir in DIRS {
            for before in [" ", ">", "=", "\n"] {
                text = text.replace(&format!("{before}{dir}"), &format!("{before}{root}{dir}"));
            }
        }
        text
    }

    /// Output as it would be on the node itself.
    fn from_root(&self, output: &str) -> String {
        let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
        output
            .replace(&self.root.path().display().to_string(), "")
            .replace(&format!(":{}", self.etcd.port()), ":2379")
            .replace(&format!(":{}", port(self.etcd.peer_url())), ":2380")
            .replace(&format!(":{}", port(&self.etcd.url())), ":2381")
    }
}

const TIMEOUT: Duration = Duration::from_secs(60);

/// Text without what no two runs share: sums and ids, sizes, durations, times of day, the git
/// revision; one space between words.
fn plain(text: &str) -> String {
    text.lines().map(plain_line).collect()
}

fn plain_line(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(plain_word).collect();
    for i in 1..words.len() {
        let unit = words[i].trim_end_matches([',', ')', ';']).to_owned();
        if ["B", "kB", "MB", "GB", "byte", "bytes"].contains(&unit.as_str()) {
            words[i - 1] = "SIZE".into();
            words[i] = words[i].replace(&unit, "UNIT");
        }
    }
    match words.first().map(String::as_str) {
        Some("etcd-rescue") if line.contains(env!("CARGO_PKG_VERSION")) => words.truncate(2),
        Some("took") => words.truncate(1),
        // An election more or less on a busy machine.
        Some("consistent" | "raft") => words.truncate(2),
        _ => {}
    }
    words.join(" ") + "\n"
}

fn plain_word(word: &str) -> String {
    let hex = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
    };
    let inner = word.trim_matches(['(', ')', ',', ';']);
    if hex(inner, 64..=64) {
        return word.replace(inner, "SHA-256");
    }
    // Ids have no leading zeros.
    if hex(inner, 12..=16) {
        return word.replace(inner, "ID");
    }
    if let Some(token) = inner
        .strip_prefix("etcd-rescue-")
        .filter(|t| hex(t, 16..=16))
    {
        return word.replace(token, "TOKEN");
    }
    if let Some((before, time)) = word.split_once("member.before-") {
        let stamp: String = time
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        return format!("{before}member.before-{}", time.replace(&stamp, "TIME"));
    }
    word.to_owned()
}

#[test]
fn only_what_no_two_runs_share_is_taken_out() {
    let one = "size 5.8 MB (5767200 bytes)\nmember cp1 (8b0a0f18c22a5ffd)\ntook 275ms\n";
    let other = "size  52 kB (52000 bytes)\nmember cp1  (b0a0f18c22a5ffd)\ntook 1.2s\n";
    assert_eq!(plain(one), plain(other));
    assert_ne!(plain("revision 32"), plain("revision 33"));
    assert_ne!(plain("revision 1000000032"), plain("revision 1000000033"));
    assert_ne!(plain("GOOD x.db"), plain("DAMAGED x.db"));
}
