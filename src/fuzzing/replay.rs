//! Seeds and past crashers of every fuzz target, replayed on stable Rust.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

type Body = fn(&[u8]);

/// Every target and its body: the files in `fuzz/fuzz_targets/` are one line each.
const TARGETS: [(&str, Body); 16] = [
    ("build_model", super::fuzz_build_model),
    ("catalogue", super::fuzz_catalogue),
    ("container", super::fuzz_container),
    ("initial_cluster", super::fuzz_initial_cluster),
    ("keyvalue", super::fuzz_keyvalue),
    ("manifest", super::fuzz_manifest),
    ("meaning", super::fuzz_meaning),
    ("member", super::fuzz_member),
    ("meta", super::fuzz_meta),
    ("proto", super::fuzz_proto),
    ("seek_table", super::fuzz_seek_table),
    ("snap", super::fuzz_snap),
    ("snapshot", super::fuzz_snapshot),
    ("stream", super::fuzz_stream),
    ("wal", super::fuzz_wal),
    ("walk", super::fuzz_walk),
];

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn seeds_and_regressions_hold() {
    for (target, body) in TARGETS {
        let seeds = files(&fuzz_dir().join("seeds").join(target));
        assert!(!seeds.is_empty(), "no seeds for {target}");
        for file in [seeds, files(&fuzz_dir().join("regressions").join(target))].concat() {
            let data = fs::read(&file).unwrap();
            assert!(
                data.len() < 20_000,
                "{} is large for a seed",
                file.display()
            );
            let held = std::panic::catch_unwind(|| body(&data)).is_ok();
            assert!(held, "{} does not hold", file.display());
        }
    }
}

#[test]
fn every_target_is_here_and_in_the_manifest() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    let stems = |dir: &str| -> BTreeSet<String> {
        files(&fuzz_dir().join(dir))
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().into())
            .collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("seeds"), names);
    assert!(stems("regressions").is_subset(&names));
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    for name in &names {
        let body = fs::read_to_string(fuzz_dir().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(body.contains(&format!("fuzz_{name}(data)")), "{body}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
