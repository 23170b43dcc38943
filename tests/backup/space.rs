//! Disks that are too small, fill up, or are read-only.

use super::site::{LOCK, Site, failed_in};
use crate::util::etcd::Etcd;
use crate::util::fill;
use crate::util::mount::Namespace;
use crate::util::tree::{Tree, names};

/// A site whose directory is a disk of this size.
struct Disk {
    site: Site,
    namespace: Namespace,
}

impl Disk {
    #[track_caller]
    fn of(size: &str) -> Disk {
        let site = Site::new();
        let namespace = Namespace::tmpfs(site.dir(), size);
        Disk { site, namespace }
    }

    fn tree(&self) -> Tree {
        Tree::of(&self.namespace.outside(self.site.dir())).without(LOCK)
    }

    fn archives(&self) -> Vec<String> {
        let mut names = names(&self.namespace.outside(self.site.dir()));
        names.retain(|name| !name.starts_with(".etcd-rescue"));
        names
    }

    /// Takes all room there is.
    #[track_caller]
    fn fill(&self) {
        let filler = self.site.at("filler");
        let fill = format!("cat /dev/zero > '{}' || true", filler.display());
        self.namespace.shell(&fill);
    }

    /// A backup that fails and leaves everything as it was.
    #[track_caller]
    fn fails(&self, server: &Etcd, code: i32, stage: &str) -> crate::util::process::Output {
        let before = self.tree();
        let output = self.namespace.run(&self.site.backup(&server.url()));
        let output = failed_in(&self.site, output, code, stage);
        before.assert_unchanged(&self.tree(), "a failed backup");
        output
    }
}

/// Five megabytes that do not compress.
#[track_caller]
fn server() -> Etcd {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "bulk/", 50, 100_000);
    server
}

#[test]
fn the_last_backup_tells_that_the_next_does_not_fit() {
    let server = server();
    let disk = Disk::of("8m");
    disk.namespace.run(&disk.site.backup(&server.url())).ok();
    let size = disk.site.report()["saved"]["bytes"].as_u64().unwrap();
    let snapshot = disk.site.report()["saved"]["snapshotBytes"]
        .as_u64()
        .unwrap();
    let output = disk.fails(&server, 4, "space");
    output
        .stderr_has("not enough space in ")
        .stderr_has(&format!(
            "the last one has {size} bytes for a snapshot of {snapshot}"
        ))
        .stderr_has(" free")
        .stderr_has(&format!(
            "hint: backup prunes when the new one is there; free some space first: etcd-rescue prune {} --keep-",
            disk.site.dir().display()
        ));
    assert_eq!(disk.archives().len(), 1);
    assert!(!disk.site.report()["lastGood"].is_null());
    // With room again it goes on.
    disk.namespace.shell(&format!(
        "mount -o remount,size=20m '{}'",
        disk.site.dir().display()
    ));
    disk.namespace.run(&disk.site.backup(&server.url())).ok();
    assert_eq!(disk.archives().len(), 2);
}

#[test]
fn the_first_one_fills_the_disk() {
    let server = server();
    // Far too small: that is seen before. A bit too small: nobody knows yet how well it compresses.
    let output = Disk::of("500k").fails(&server, 4, "space");
    output.stderr_has("there is no backup to go by");
    let disk = Disk::of("3m");
    let output = disk.fails(&server, 4, "save");
    output
        .stderr_has("cannot write the new backup in ")
        .stderr_has("No space left on device")
        .stderr_lacks("backup.db.zst")
        .stderr_has("hint: the disk is full; nothing was left behind");
    assert!(disk.archives().is_empty());
}

#[test]
fn a_disk_that_is_read_only() {
    let server = server();
    let disk = Disk::of("20m");
    disk.namespace.run(&disk.site.backup(&server.url())).ok();
    let dir = disk.site.dir().display().to_string();
    disk.namespace
        .shell(&format!("mount -o remount,ro '{dir}'"));
    let output = disk.fails(&server, 4, "lock");
    output.stderr_has("hint: the file system is mounted read-only");
    // To look, to restore and to prove changes nothing there.
    for verb in ["list", "check"] {
        disk.namespace.run(&disk.site.verb(verb)).ok();
    }
    let verify = disk.site.verb("verify").arg("--latest");
    disk.namespace.run(&verify).ok().stdout_has("GOOD");
    let prune = disk.site.verb("prune").arg("--keep-last=1");
    disk.namespace.run(&prune.clone().arg("--dry-run")).ok();
    disk.namespace.run(&prune).code(4);
}

#[test]
fn a_full_disk_can_be_pruned() {
    let server = server();
    let disk = Disk::of("20m");
    for key in ["one", "two"] {
        server.api().put(key, "value");
        disk.namespace.run(&disk.site.backup(&server.url())).ok();
    }
    disk.fill();
    disk.fails(&server, 4, "space");
    let prune = disk.site.verb("prune").arg("--keep-last=1");
    let output = disk.namespace.run(&prune).ok();
    output.stdout_has("removed 1 backup").stderr_is("");
    let check = disk.site.verb("check").arg("--full");
    disk.namespace.run(&check).ok().stdout_has("1 verified");
}

#[test]
fn a_disk_without_room_for_the_catalogue() {
    let server = server();
    let disk = Disk::of("20m");
    disk.namespace.run(&disk.site.backup(&server.url())).ok();
    let catalogue = disk
        .namespace
        .outside(&disk.site.at(super::site::CATALOGUE));
    let before = std::fs::read(&catalogue).unwrap();
    disk.fill();
    let check = disk.site.verb("check").arg("--full");
    disk.namespace
        .run(&check)
        .code(1)
        .stderr_has(super::site::CATALOGUE)
        .stderr_has("No space left on device");
    assert_eq!(std::fs::read(&catalogue).unwrap(), before);
    disk.namespace.run(&disk.site.verb("check")).ok();
}
