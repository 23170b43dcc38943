//! Who holds a file: bbolt locks its db with flock, exclusively while etcd runs.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a try for a shared lock showed.
#[derive(Debug, PartialEq, Eq)]
pub enum Shared {
    /// We hold it now, until the file is closed: no etcd can start on it meanwhile.
    Locked,
    /// Somebody writes to the file. The process ids, as far as they can be found.
    HeldBy(Vec<u32>),
    /// The file system has no locks.
    Unsupported,
}

/// Tries for a shared lock; never waits, never writes.
pub fn try_shared(file: &File) -> Shared {
    match file.try_lock_shared() {
        Ok(()) => Shared::Locked,
        Err(TryLockError::WouldBlock) => Shared::HeldBy(holders(file)),
        Err(TryLockError::Error(_)) => Shared::Unsupported,
    }
}

/// Processes with a lock on the file, from /proc/locks, or failing that those that have it open.
fn holders(file: &File) -> Vec<u32> {
    let Ok(metadata) = file.metadata() else {
        return Vec::new();
    };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut pids: Vec<u32> = locks
        .lines()
        .filter_map(|line| lock_of(line, metadata.ino()))
        .filter(|pid| *pid != std::process::id() && has_open(*pid, &metadata))
        .collect();
    if pids.is_empty() {
        pids = all_processes()
            .filter(|pid| *pid != std::process::id() && has_open(*pid, &metadata))
            .collect();
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`: the pid, if the inode is ours. The device is not
/// compared here: overlay and btrfs show another one.
fn lock_of(line: &str, inode: u64) -> Option<u32> {
    let mut fields = line
        .split_whitespace()
        .skip_while(|field| *field != "WRITE");
    let pid = fields.nth(1)?.parse().ok()?;
    let found: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
    (found == inode).then_some(pid)
}

fn all_processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn has_open(pid: u32, metadata: &std::fs::Metadata) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd"));
    fds.into_iter().flatten().flatten().any(|fd| {
        let open = std::fs::metadata(fd.path());
        open.is_ok_and(|open| (open.dev(), open.ino()) == (metadata.dev(), metadata.ino()))
    })
}

/// Whether etcd is among them, or may be: nobody can be named where there is no /proc.
pub fn may_be_etcd(pids: &[u32]) -> bool {
    pids.is_empty()
        || pids.iter().any(|pid| match name_of(*pid) {
            Some(name) => name.starts_with("etcd") && !name.contains("rescue"),
            None => true,
        })
}

fn name_of(pid: u32) -> Option<String> {
    let comm = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
    comm.ok().map(|name| name.trim().to_string())
}

/// `pid 12 (etcd)`, `pids 12 (etcd), 13`, or `an unknown process`.
pub fn name_holders(pids: &[u32]) -> String {
    let names: Vec<String> = pids
        .iter()
        .map(|pid| match name_of(*pid) {
            Some(name) => format!("{pid} ({name})"),
            None => pid.to_string(),
        })
        .collect();
    match names.as_slice() {
        [] => "another process".into(),
        [one] => format!("pid {one}"),
        many => format!("pids {}", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let holder = File::create(&path).unwrap();
        assert_eq!(try_shared(&File::open(&path).unwrap()), Shared::Locked);
        holder.lock().unwrap();
        assert!(matches!(
            try_shared(&File::open(&path).unwrap()),
            Shared::HeldBy(_)
        ));
        assert_eq!(
            lock_of("1: FLOCK  ADVISORY  WRITE 77 fe:01:5678 0 EOF", 5678),
            Some(77)
        );
        assert_eq!(
            lock_of("1: -> FLOCK  ADVISORY  READ 77 fe:01:5678 0 EOF", 5678),
            None
        );
        assert_eq!(name_holders(&[]), "another process");
        // This test is not etcd, whatever its name begins with.
        assert!(may_be_etcd(&[]) && !may_be_etcd(&[std::process::id()]));
        // One that is gone, or hidden from us, may have been one.
        assert!(may_be_etcd(&[std::process::id(), u32::MAX]));
    }
}
