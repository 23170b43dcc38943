//! bbolt's own opinion of the same files: nothing that `bbolt check` objects to is good here.

use std::time::Duration;

use super::cases::{self, Case};
use super::{craft, doors};
use crate::util::process;
use crate::util::{temp_dir, versions};

/// It panics on some of them, reads memory that is not there on others, and counts to 2^33 on one.
const BOUNDED: &str = r#"ulimit -v 4194304; exec timeout --signal=KILL 10 "$@""#;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_bbolt_objects_to_is_not_good() {
    let dir = temp_dir();
    let mut stricter = Vec::new();
    let mut agreed = 0;
    for case in [cases::METAS, cases::PAGES, cases::PERSISTED_FREELIST]
        .into_iter()
        .flatten()
    {
        let sealed = case.bytes(4096);
        let image = &sealed[..sealed.len() - 32];
        let objects = !bbolt_accepts(dir.path(), case, image);
        let good = doors::is_good(image, true);
        assert!(
            !(objects && good),
            "{}: bbolt objects, and it is good",
            case.name
        );
        match objects != good {
            true => agreed += 1,
            false => stricter.push(case.name),
        }
    }
    println!("agreed on {agreed}; bbolt accepts: {stricter:#?}");
    assert!(agreed > 30, "{agreed}: does bbolt check anything?");
    assert!(bbolt_accepts(dir.path(), &cases::METAS[0], &house()));
}

fn house() -> Vec<u8> {
    super::house::House::new(4096).file.bytes
}

fn bbolt_accepts(dir: &std::path::Path, case: &Case, image: &[u8]) -> bool {
    let path = dir.join(case.name);
    std::fs::write(&path, image).unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", BOUNDED, "sh"]);
    command.arg(versions::bbolt()).arg("check").arg(&path);
    let output = process::run(command, None, PATIENCE);
    std::fs::remove_file(&path).unwrap();
    output.code == Some(0)
}

/// bbolt persists its freelist when it compacts: what it writes is good, byte for byte as it stands.
#[test]
fn what_bbolt_writes_is_good() {
    let dir = temp_dir();
    for (name, snapshot) in super::flips::snapshots() {
        let image = super::flips::image(&snapshot);
        if image.page_size != 4096 {
            continue; // bbolt compacts into pages of this machine's size
        }
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, &image.bytes).unwrap();
        let _ = std::fs::remove_file(&to);
        let mut command = std::process::Command::new(versions::bbolt());
        command.arg("compact").arg("-o").arg(&to).arg(&from);
        process::run(command, None, PATIENCE).ok();
        let compacted = std::fs::read(&to).unwrap();
        let list = u64::from_le_bytes(compacted[craft::meta::FREELIST..][..8].try_into().unwrap());
        assert_ne!(list, craft::NO_FREELIST, "{name}: there is a freelist");
        let verdict = doors::verify(&compacted, true).unwrap();
        let before = doors::verify(&image.bytes, true).unwrap();
        assert_eq!(verdict.report.listed(), before.report.listed(), "{name}");
        assert_eq!(verdict.facts.hash, before.facts.hash, "{name}");
        assert_eq!(verdict.sum, before.sum, "{name}");
    }
}
