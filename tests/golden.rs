//! What people and scripts get to see, word for word: transcripts of every command on small files.
//!
//! A transcript in `tests/golden/` is the commands below with their exit codes and both streams.
//! Whatever differs from run to run is made equal in [`Masks`] and nowhere else. After a change that is
//! meant, `GOLDEN_BLESS=1 cargo test --test it golden` writes them anew; read the diff before committing.
//!
//! `rich.db` is `tests/data/rich-3.7.db`, made by etcdctl of 3.7.1: eight keys under `/registry/`, edits,
//! a delete, a lease, a compaction, a learner, auth with two users, a NOSPACE alarm.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::util::etcd::Etcd;
use crate::util::run::Rescue;
use crate::util::temp_dir;

#[test]
fn help() {
    let dir = temp_dir();
    let lines = [
        "-h",
        "--help",
        "save -h",
        "save --help",
        "verify -h",
        "verify --help",
        "status --help",
        "restore -h",
        "restore --help",
        "pack -h",
        "pack --help",
        "unpack --help",
        "backup -h",
        "backup --help",
        "list --help",
        "prune --help",
        "check --help",
        "pin --help",
        "help help",
        "version",
    ];
    check("help", &transcript(dir.path(), &lines, &Masks::default()));
}

#[test]
fn usage() {
    let dir = temp_dir();
    let lines = [
        "",
        "svae x.db",
        "salvage x.db",
        "save",
        "save --endpoint https://10.0.0.1:2379 x.db",
        "save --cert client.crt x.db",
        "save --command-timeout 5 x.db",
        "save --level 20 x.db.zst",
        "pack x.db",
        "backup missing-dir",
        "save --level 3 x.db",
        "backup --name=-- dir",
        "backup --report - dir",
        "backup --report a.prom --metrics a.prom dir",
        "check --full --sample 3 dir",
        "check --sample 0 dir",
        "check --max-age 26 dir",
        "check --nagios --max-age foo dir",
        "restore - --latest --data-dir d",
        "verify --cacert ca.crt x.db",
        "status -w yaml x.db",
        "snapshot restore x.db",
        "restore x.db --data-dir d --bump-revision 10 --no-bump",
    ];
    check("usage", &transcript(dir.path(), &lines, &Masks::default()));
}

#[test]
fn verify() {
    let dir = files();
    let lines = [
        "verify rich.db",
        "verify rich.db k8s.db raw.db flipped.db cut.db other-sha.db",
        "verify --raw raw.db",
        "verify -w table rich.db raw.db",
        "verify -w table flipped.db",
        "verify -w table other-sha.db",
        "verify -w table cut.db",
        "verify -w fields rich.db",
        "verify -w json rich.db flipped.db nowhere.db",
        "verify text.db empty.db nowhere.db",
        "verify stopped",
        "verify --raw stopped",
    ];
    check("verify", &transcript(dir.path(), &lines, &Masks::default()));
}

#[test]
fn status() {
    let dir = files();
    let lines = [
        "status rich.db",
        "status -w fields rich.db",
        "status -w table rich.db",
        "status -w json rich.db",
        "status k8s.db",
        "status raw.db",
        "status flipped.db",
        "status -w table flipped.db",
        "status -w json flipped.db",
        "status cut.db",
        "status text.db",
        "status empty.db",
    ];
    check("status", &transcript(dir.path(), &lines, &Masks::default()));
}

/// `cp1.db.zst` is `tests/data/cp1-3.7.db.zst`, which `save` made of an etcd of 3.7.1: 72 keys, five frames.
#[test]
fn archives() {
    let dir = files();
    let at = |name: &str| dir.path().join(name);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let archive = std::fs::read(data.join("cp1-3.7.db.zst")).unwrap();
    std::fs::write(at("cp1.db.zst"), &archive).unwrap();
    // The second frame, and the seek table.
    for (name, offset) in [
        ("lost.db.zst", 1700),
        ("metas.db.zst", 900),
        ("table.db.zst", archive.len() - 1),
    ] {
        let mut bytes = archive.clone();
        bytes[offset] ^= 1;
        std::fs::write(at(name), bytes).unwrap();
    }
    std::fs::write(at("cut.db.zst"), &archive[..1000]).unwrap();
    std::fs::create_dir(at("backups")).unwrap();
    for name in ["cp1.db.zst", "cut.db.zst", "text.db"] {
        std::fs::copy(at(name), at("backups").join(name)).unwrap();
    }
    let lines = [
        "verify cp1.db.zst",
        "verify -w table cp1.db.zst",
        "verify -w fields cp1.db.zst",
        "verify -w json cp1.db.zst",
        "verify lost.db.zst metas.db.zst table.db.zst cut.db.zst",
        "verify -w table lost.db.zst",
        "status cp1.db.zst",
        "status -w table cp1.db.zst",
        "status -w json cp1.db.zst",
        "status -w table --full cp1.db.zst",
        "status lost.db.zst",
        "status --full lost.db.zst",
        "status --full metas.db.zst",
        "status -w table table.db.zst",
        "pack rich.db rich.db.zst",
        "pack rich.db rich.db.zst",
        "pack raw.db raw.db.zst",
        "pack flipped.db flipped.db.zst",
        "pack text.db text.db.zst",
        "pack -w fields cp1.db.zst again.db.zst",
        "unpack cp1.db.zst cp1.db",
        "unpack cp1.db.zst cp1.db",
        "unpack -w fields rich.db.zst rich2.db",
        "unpack lost.db.zst lost.db",
        "unpack rich.db plain.db",
        "unpack text.db plain.db",
        "restore table.db.zst --data-dir new",
        "restore lost.db.zst --data-dir bad",
        "restore metas.db.zst --data-dir bad",
        "list backups",
        "check backups",
        "check --full backups",
        "list backups",
    ];
    check(
        "archives",
        &transcript(dir.path(), &lines, &Masks::default()),
    );
}

#[test]
fn restore() {
    let dir = files();
    let three =
        "--initial-cluster m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380";
    let lines = [
        "restore rich.db --data-dir new --dry-run",
        "restore rich.db --data-dir new",
        "restore rich.db --data-dir new",
        "restore k8s.db --data-dir new --move-aside --no-bump",
        &format!("restore rich.db --data-dir m1 --name m1 {three}"),
        &format!(
            "restore rich.db --data-dir m2 --name m2 {three} --initial-cluster-token t1 --bump-revision 5 --mark-compacted --wal-dir m2-wal"
        ),
        "restore rich.db --data-dir js -w json --dry-run",
        "restore rich.db --data-dir fields -w fields",
        "restore raw.db --data-dir bad",
        "restore raw.db --data-dir raw --skip-hash-check",
        "restore flipped.db --data-dir bad",
        "restore flipped.db --data-dir bad -w json",
        "restore cut.db --data-dir bad",
        "restore other-sha.db --data-dir bad --raw",
        "restore nowhere.db --data-dir bad",
        "restore rich.db --data-dir bad --name m9 --initial-cluster m1=http://10.0.0.1:2380",
    ];
    check(
        "restore",
        &transcript(dir.path(), &lines, &Masks::default()),
    );
    assert!(!dir.path().join("bad").exists());
}

#[test]
fn save() {
    let server = Etcd::new("3.7").start();
    server.wait_storage_version();
    let mut api = server.api();
    api.put("a", "1");
    let dir = files();
    let masks = Masks(vec![(server.port().to_string(), "PORT".into())]);
    let endpoint = format!("127.0.0.1:{}", server.port());
    let lines = [
        format!("save --endpoints {endpoint} one.db"),
        format!("save --endpoints {endpoint} one.db"),
        format!("save --endpoints {endpoint},127.0.0.1:1 --force one.db"),
        format!("save --endpoints {endpoint} -w json two.db"),
        format!("save --endpoints https://{endpoint} three.db"),
        "save --endpoints 127.0.0.1:1 three.db".into(),
        format!("save --endpoints {endpoint} nowhere/three.db"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check("save", &transcript(dir.path(), &lines, &masks));
}

/// The inputs: good ones, and one for each way of being bad.
fn files() -> TempDir {
    let dir = temp_dir();
    let at = |name: &str| dir.path().join(name);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let rich = std::fs::read(data.join("rich-3.7.db")).unwrap();
    std::fs::write(at("rich.db"), &rich).unwrap();
    std::fs::copy(data.join("k8s-plain-3.5.db"), at("k8s.db")).unwrap();
    std::fs::write(at("raw.db"), &rich[..rich.len() - 32]).unwrap();
    std::fs::write(at("cut.db"), &rich[..10_000]).unwrap();
    std::fs::write(at("text.db"), "apiVersion: v1\nkind: ConfigMap\n").unwrap();
    std::fs::write(at("empty.db"), "").unwrap();
    // A bit of the flags of the page with the small buckets, and a bit of the SHA-256.
    for (name, offset) in [
        ("flipped.db", 2 * 4096 + 8),
        ("other-sha.db", rich.len() - 1),
    ] {
        let mut bytes = rich.clone();
        bytes[offset] ^= 1;
        std::fs::write(at(name), bytes).unwrap();
    }
    std::fs::create_dir_all(at("stopped/member/snap")).unwrap();
    std::fs::write(at("stopped/member/snap/db"), &rich[..rich.len() - 32]).unwrap();
    dir
}

/// Runs the lines one after the other in `dir`.
fn transcript(dir: &Path, lines: &[&str], masks: &Masks) -> String {
    let mut text = String::new();
    let here = dir.display().to_string();
    for line in lines {
        let output = Rescue::new(line.split_whitespace()).cwd(dir).run();
        let code = output.code.expect("an exit code");
        writeln!(text, "$ etcd-rescue {}", masks.apply(line).trim_end()).unwrap();
        for (name, stream) in [("stdout", &output.stdout_str()), ("stderr", &output.stderr)] {
            if !stream.is_empty() {
                writeln!(text, "--- {name}").unwrap();
                text += &masks.apply(&stream.replace(&here, "/HERE"));
            }
        }
        writeln!(text, "--- exit {code}\n").unwrap();
    }
    text
}

/// Compares with the transcript that is kept, or keeps this one.
#[track_caller]
fn check(name: &str, found: &str) {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("GOLDEN_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept == found {
        return;
    }
    let differs = kept.lines().zip(found.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(kept.lines().count().min(found.lines().count()));
    let around = |text: &str| -> String {
        text.lines()
            .skip(line.saturating_sub(3))
            .take(8)
            .map(|l| format!("  {l}\n"))
            .collect()
    };
    panic!(
        "{} is not what comes out, from line {} on.\nkept:\n{}found:\n{}If it is meant: GOLDEN_BLESS=1 cargo test --test it golden",
        path.display(),
        line + 1,
        around(&kept),
        around(found)
    );
}

/// What differs from run to run, made equal: words that a test knows, and what is known here.
#[derive(Default)]
struct Masks(Vec<(String, String)>);

/// Values in JSON that differ from run to run.
const JSON_KEYS: &[&str] = &["bytesFree", "tookSeconds"];
/// The same and more for what a live server gives: lines of `save`.
const LABELS: &[&str] = &["took", "SHA-256", "member", "cluster ID", "size"];

impl Masks {
    fn apply(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (from, to) in &self.0 {
            text = text.replace(from, to);
        }
        let version = concat!("etcd-rescue ", env!("CARGO_PKG_VERSION"));
        let masked = text.lines().map(|line| {
            if line.starts_with(version) {
                return "etcd-rescue VERSION".into();
            }
            let mut line = match self.0.is_empty() {
                true => line.to_string(),
                false => self.live(line.to_string()),
            };
            for key in JSON_KEYS {
                line = mask(&line, &format!("\"{key}\":"), |c| {
                    c.is_ascii_digit() || c == '.'
                });
            }
            line = mask(&line, ".before-", |c| c.is_ascii_alphanumeric());
            line = mask(&line, " needed, ", |c| c != ' ');
            // Of `list` and `check`: how old the archive is, and when it was verified.
            line = mask(&line, "T12:00:00Z, ", |c| c != ',');
            line = mask(&line, ", check ", |c| c != ',');
            line = mask(&line, "  age                 ", |_| true);
            line = mask(&line, "backups: the newest verified backup is ", |c| {
                c != ','
            });
            line
        });
        masked.map(|line| line + "\n").collect::<String>()
    }

    /// What a live server gives: ids, hashes, sizes.
    fn live(&self, line: String) -> String {
        if line.starts_with('{') {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            return format!("{{… keys: {}}}", keys.join(" "));
        }
        let label = line.trim_start().split("  ").next().unwrap_or_default();
        match LABELS.contains(&label) && line.starts_with("  ") {
            true => format!("  {label}  …"),
            false => line,
        }
    }
}

/// The text with whatever `is_value` right behind each `marker` replaced by `…`.
fn mask(text: &str, marker: &str, is_value: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(marker);
    let mut masked = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let rest = part.trim_start_matches(&is_value);
        masked += marker;
        if rest.len() < part.len() {
            masked.push('…');
        }
        masked += rest;
    }
    masked
}
