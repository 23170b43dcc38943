//! File systems and machines that lack something: another way is found, and it is as clean.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::SNAPSHOT;
use super::site::{SaveSite, Site, State, WAYS, Way};
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script, Step, good, image};
use crate::util::mount::Namespace;
use crate::util::process::eventually;
use crate::util::run::Rescue;
use crate::util::strace;
use crate::util::temp_dir;
use crate::util::tree::names;

#[test]
fn a_machine_without_proc() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let without_proc = Namespace::without_proc();
    for way in WAYS {
        let site = Site::new(way, Path::new(SNAPSHOT));
        without_proc.run(&site.restore()).ok().stderr_is("");
        assert_eq!(site.check("without /proc"), State::Done);
        assert!(site.leftovers().is_empty());
    }
    for force in [false, true] {
        let site = SaveSite::new(&server, force, false);
        without_proc.run(&site.save()).ok().stderr_is("");
        assert_eq!(site.check("without /proc"), State::Done);
        assert!(site.leftovers().is_empty());
    }
    let dir = temp_dir();
    let bytes = std::fs::read(SNAPSHOT).unwrap();
    let verify = Rescue::new(["verify", "-"]).env("TMPDIR", dir.path());
    let output = without_proc.run_with(&verify, bytes);
    output.ok().stdout_has("GOOD").stderr_is("");
    assert!(names(dir.path()).is_empty());
}

#[test]
fn an_unfinished_name_is_private() {
    let beginning = good(&image())[0].clone();
    let fake = Fake::start(Script {
        snapshot: vec![beginning, Step::Stall],
        ..Script::default()
    });
    let dir = temp_dir();
    let save = Rescue::new(["save", "--endpoints", &fake.endpoint()]);
    let without_proc = Namespace::without_proc();
    let running = without_proc.spawn(&save.arg(dir.path().join("out.db")));
    eventually("a name", || !names(dir.path()).is_empty());
    let name = names(dir.path()).remove(0);
    assert!(
        name.starts_with(&format!(".out.db.partial-{}-", running.pid())),
        "{name}"
    );
    let mode = dir
        .path()
        .join(name)
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn file_systems_that_lack_something() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    for missing in [
        vec!["linkat:error=EPERM"],
        vec!["linkat:error=ENOENT"],
        vec!["linkat:error=EOPNOTSUPP"],
        vec!["renameat2:error=EINVAL"],
        vec!["renameat2:error=ENOSYS"],
        vec!["flock:error=EOPNOTSUPP"],
        vec!["fallocate:error=EOPNOTSUPP", "fadvise64:error=EINVAL"],
        vec![
            "linkat:error=EPERM",
            "link:error=EPERM",
            "renameat2:error=EINVAL",
        ],
    ] {
        let injections = missing.iter().map(|text| format!("inject={text}"));
        let injections: Vec<String> = injections.collect();
        for (force, named) in [(false, false), (true, false), (false, true), (true, true)] {
            let site = SaveSite::new(&server, force, named);
            let all = [site.always.clone(), injections.clone()].concat();
            let when = format!("without {all:?}");
            strace::inject(&site.save(), &all).expect(true, &when).ok();
            assert_eq!(site.check(&when), State::Done);
            assert!(site.leftovers().is_empty(), "{:?} {when}", site.leftovers());
            if !force {
                // Not even then is anything replaced.
                strace::inject(&site.save(), &all).code(4);
                std::fs::write(site.out(), "somebody was faster").unwrap();
                strace::inject(&site.save(), &all).code(4);
                assert_eq!(std::fs::read(site.out()).unwrap(), b"somebody was faster");
            }
        }
        for way in [Way::Fresh, Way::WalDirAside] {
            let site = Site::new(way, Path::new(SNAPSHOT));
            let when = format!("without {injections:?} ({way:?})");
            strace::inject(&site.restore(), &injections).ok();
            assert_eq!(site.check(&when), State::Done);
            assert!(site.leftovers().is_empty(), "{:?} {when}", site.leftovers());
        }
    }
}

#[test]
fn without_locks_nothing_is_taken_for_a_leftover() {
    let site = Site::new(Way::WalDir, Path::new(SNAPSHOT));
    let stale = site.data().join(".member.partial-1-0a1b2c3d");
    std::fs::create_dir(&stale).unwrap();
    let no_locks = ["inject=flock:error=ENOLCK".to_owned()];
    strace::inject(&site.restore(), &no_locks).ok();
    assert_eq!(site.leftovers(), [".member.partial-1-0a1b2c3d"]);
    std::fs::remove_dir_all(site.member()).unwrap();
    std::fs::remove_dir_all(site.wal()).unwrap();
    site.restore()
        .run()
        .ok()
        .stderr_has(&format!("removed {}", stale.display()));
    assert!(site.leftovers().is_empty());
}
