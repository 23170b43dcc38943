//! The etcd versions under test, from `tests/etcd/versions.tsv`, and where their binaries are.

use std::fmt;
use std::path::{Path, PathBuf};

/// Makes a test of `fn NAME(minor: &str)` for every version in the table: `NAME::v3_5` and so on, so
/// that they run side by side and fail one by one.
macro_rules! per_version {
    ($($name:ident)+) => {$(
        mod $name {
            #[test]
            fn v3_4() { super::$name("3.4") }
            #[test]
            fn v3_5() { super::$name("3.5") }
            #[test]
            fn v3_6() { super::$name("3.6") }
            #[test]
            fn v3_7() { super::$name("3.7") }
            #[test]
            fn v3_8() { super::$name("3.8") }
        }
    )+};
}

const TABLE: &str = include_str!("../etcd/versions.tsv");

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Such as `3.5`.
    pub minor: &'static str,
    /// Such as `3.5.33`: what the server says it is.
    pub exact: &'static str,
    order: (u32, u32),
}

/// Every version of the table, oldest first.
pub fn all() -> Vec<Version> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| match *line.split('\t').collect::<Vec<_>>() {
            [minor, exact, _source] => Version {
                minor,
                exact,
                order: order(minor),
            },
            _ => panic!("versions.tsv: expected minor, version and source in {line:?}"),
        })
        .collect()
}

/// The row of a minor version such as `3.5`.
pub fn version(minor: &str) -> Version {
    all()
        .into_iter()
        .find(|v| v.minor == minor)
        .unwrap_or_else(|| panic!("etcd {minor} is not in tests/etcd/versions.tsv"))
}

impl Version {
    /// Whether this is `minor` or later.
    pub fn at_least(&self, minor: &str) -> bool {
        self.order >= order(minor)
    }

    /// The server.
    pub fn etcd(&self) -> PathBuf {
        self.binary("etcd")
    }

    /// This version's own client tool.
    pub fn etcdctl(&self) -> PathBuf {
        self.binary("etcdctl")
    }

    /// This version's own file tool. 3.4 has none: its `etcdctl` does that work.
    pub fn etcdutl(&self) -> PathBuf {
        assert!(self.at_least("3.5"), "etcd {} has no etcdutl", self.minor);
        self.binary("etcdutl")
    }

    /// The tool that has `snapshot status` and `snapshot restore` in this version.
    pub fn snapshot_tool(&self) -> PathBuf {
        if self.at_least("3.5") {
            self.etcdutl()
        } else {
            self.etcdctl()
        }
    }

    fn binary(&self, name: &str) -> PathBuf {
        let dir = super::target_dir().join("etcd").join(self.minor);
        // The stamp starts with the version that was built: an old build must not pass for a new one.
        let stamp = std::fs::read_to_string(dir.join("stamp")).unwrap_or_default();
        assert!(
            stamp.split_whitespace().next() == Some(self.exact),
            "this test needs etcd {}, and {} holds {}: run tests/setup.sh",
            self.exact,
            dir.display(),
            if stamp.is_empty() {
                "none"
            } else {
                stamp.trim()
            },
        );
        must_exist(&dir.join(name))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd {}", self.exact)
    }
}

/// bbolt's own command, of the newest release.
pub fn bbolt() -> PathBuf {
    must_exist(&super::target_dir().join("etcd/bbolt"))
}

fn must_exist(path: &Path) -> PathBuf {
    assert!(
        path.is_file(),
        "this test needs {}: run tests/setup.sh",
        path.display()
    );
    path.to_path_buf()
}

fn order(minor: &str) -> (u32, u32) {
    let parsed = minor
        .split_once('.')
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed.unwrap_or_else(|| panic!("{minor:?} is not a minor version such as 3.5"))
}

#[test]
fn the_macro_and_the_table_name_the_same_versions() {
    let minors: Vec<&str> = all().iter().map(|v| v.minor).collect();
    assert_eq!(minors, ["3.4", "3.5", "3.6", "3.7", "3.8"]);
}
