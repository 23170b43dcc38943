//! A power cut takes what has not been synced, in any order. So at the moment a name is given everything under it must
//! have been synced, files and directories, and the directory with the name in it right after: read off the system calls.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::SNAPSHOT;
use super::site::{SaveSite, Site, WAYS};
use crate::util::etcd::Etcd;
use crate::util::strace::{self, CHANGING, Call};

#[test]
fn a_restore_is_synced_before_it_has_its_names() {
    for way in WAYS {
        let site = Site::new(way, Path::new(SNAPSHOT));
        let owned = site.restore().args(["--owner", "1:1"]);
        for run in [site.restore(), owned] {
            let (output, calls) = strace::trace(&run, CHANGING, &[]);
            output.ok();
            let named = check(&calls, site.dir.path());
            assert!(named.contains(&site.member()), "{named:?} ({way:?})");
            assert_eq!(named.contains(&site.wal()), site.has_wal_dir());
            site.reset();
        }
    }
}

#[test]
fn a_save_is_synced_before_it_has_its_name() {
    let server = Etcd::new("3.7").start();
    for (force, named) in [(false, false), (true, false), (false, true), (true, true)] {
        let site = SaveSite::new(&server, force, named);
        let (output, calls) = strace::trace(&site.save(), CHANGING, &site.always);
        output.ok();
        assert!(check(&calls, site.dir.path()).contains(&site.out()));
        site.reset();
    }
}

/// What cannot be given a name is copied to a file that has one, and that file is synced like any other.
#[test]
fn a_copy_is_synced_before_it_has_its_name() {
    let server = Etcd::new("3.7").start();
    for force in [false, true] {
        let site = SaveSite::new(&server, force, false);
        let unlinkable = ["inject=linkat:error=EPERM".to_owned()];
        let (output, calls) = strace::trace(&site.save(), CHANGING, &unlinkable);
        output.ok();
        assert!(check(&calls, site.dir.path()).contains(&site.out()));
    }
}

/// Follows what has changed and not been synced; returns the names that were given.
#[track_caller]
fn check(calls: &[Call], below: &Path) -> BTreeSet<PathBuf> {
    let mut unsynced: BTreeSet<PathBuf> = BTreeSet::new();
    let mut given = BTreeSet::new();
    for call in calls.iter().filter(|call| call.worked()) {
        let open = call.open_file().filter(|path| path.starts_with(below));
        let quoted = call.quoted();
        match (call.name.as_str(), open) {
            ("write" | "pwrite64" | "fallocate" | "ftruncate" | "fchown", Some(path)) => {
                unsynced.insert(path);
            }
            ("fsync", Some(path)) => {
                unsynced.remove(&path);
            }
            ("chown" | "fchownat", _) => unsynced.extend(quoted),
            ("open" | "openat" | "mkdir" | "mkdirat", _)
                if (call.makes_a_file() || call.name.starts_with("mkdir"))
                    && !call.args.contains("O_TMPFILE") =>
            {
                for path in quoted {
                    unsynced.insert(path.parent().unwrap().to_owned());
                    unsynced.insert(path);
                }
            }
            ("rename" | "renameat" | "renameat2" | "link" | "linkat", _) => {
                let [from, to] = &quoted[..] else {
                    panic!("two names in {call:?}");
                };
                // An unnamed file is unsynced under a number.
                let whole = |path: &PathBuf| match from.starts_with("/proc") {
                    true => !path.to_string_lossy().contains('#'),
                    false => !path.starts_with(from),
                };
                let late: Vec<_> = unsynced.iter().filter(|path| !whole(path)).collect();
                assert!(late.is_empty(), "{late:?} not synced before {call:?}");
                unsynced.insert(to.parent().unwrap().to_owned());
                given.insert(to.clone());
            }
            _ => {}
        }
    }
    // Nor is any name that was given still at stake in the end.
    unsynced.retain(|path| path.starts_with(below));
    assert!(unsynced.is_empty(), "never synced: {unsynced:?}");
    given
}
