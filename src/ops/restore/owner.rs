//! Whose the restored files are: `--owner`, else whoever owned what was there before.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use crate::error::{Error, Result};
use crate::observe::Observer;

/// User and group, an SELinux label if the old files have one, and where both come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User id and group id; nothing to do if `None`.
    pub ids: Option<(u32, u32)>,
    /// `security.selinux` of the old directory.
    pub label: Option<Vec<u8>>,
    /// In words.
    pub from: String,
    /// Asked for, not inherited: then failing is an error.
    pub demanded: bool,
}

const LABEL: &str = "security.selinux";

impl Owner {
    /// `--owner`, else the owner of the first of `like` that exists.
    pub fn find(demanded: Option<&str>, like: &[&Path]) -> Result<Owner> {
        let model = like
            .iter()
            .find_map(|path| path.metadata().ok().map(|metadata| (*path, metadata)));
        let label = model.as_ref().and_then(|(path, _)| label_of(path));
        match (demanded, model) {
            (Some(text), _) => Ok(Owner {
                ids: Some(parse(text)?),
                label,
                from: "--owner".into(),
                demanded: true,
            }),
            (None, Some((path, metadata))) => Ok(Owner {
                ids: foreign(&metadata),
                label,
                from: path.display().to_string(),
                demanded: false,
            }),
            (None, None) => Ok(Owner::default()),
        }
    }

    /// `uid:gid`, if there is anything to set.
    pub fn text(&self) -> Option<String> {
        self.ids.map(|(uid, gid)| format!("{uid}:{gid}"))
    }

    /// Gives `path` and everything below it to the owner.
    pub fn apply(&self, path: &Path, observer: &dyn Observer) -> Result<()> {
        self.judge(path, self.set_below(path), observer)
    }

    /// Gives `path` alone to the owner.
    pub fn apply_one(&self, path: &Path, observer: &dyn Observer) -> Result<()> {
        self.judge(path, self.set(path), observer)
    }

    /// What was asked for must work; what is inherited is worth a notice if it does not.
    fn judge(&self, path: &Path, done: std::io::Result<()>, observer: &dyn Observer) -> Result<()> {
        let Err(e) = done else {
            return Ok(());
        };
        let hint = "run it as root, or set the owner yourself with chown -R before etcd starts";
        let error = Error::io("set the owner of", path, e).hint(hint);
        if self.demanded {
            return Err(error);
        }
        observer.warn(&format!("{error}; {hint}"));
        Ok(())
    }

    /// Warns if `dir`, which was there before and keeps its owner, does not let the new owner in.
    pub fn look_at_door(&self, dir: &Path, observer: &dyn Observer) {
        let (Some((uid, gid)), Ok(metadata)) = (self.ids, dir.metadata()) else {
            return;
        };
        if !lets_in(
            metadata.mode(),
            (metadata.uid(), metadata.gid()),
            (uid, gid),
        ) {
            let dir = dir.display();
            observer.warn(&format!(
                "{dir} (owner {}:{}, mode {:04o}) is closed to {uid}:{gid}: etcd cannot get in before chown {uid}:{gid} {dir}",
                metadata.uid(),
                metadata.gid(),
                metadata.mode() & 0o7777
            ));
        }
    }

    fn set_below(&self, path: &Path) -> std::io::Result<()> {
        self.set(path)?;
        if path.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.set_below(&entry?.path())?;
            }
        }
        Ok(())
    }

    fn set(&self, path: &Path) -> std::io::Result<()> {
        if let Some((uid, gid)) = self.ids {
            chown(path, Some(uid), Some(gid))?;
        }
        if let Some(label) = &self.label {
            rustix::fs::lsetxattr(path, LABEL, label, rustix::fs::XattrFlags::empty())?;
        }
        Ok(())
    }
}

/// Whether a directory of that mode and owner may be entered by `who`; root enters everywhere.
fn lets_in(mode: u32, owner: (u32, u32), who: (u32, u32)) -> bool {
    let bit = match (owner.0 == who.0, owner.1 == who.1) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    who.0 == 0 || mode & bit != 0
}

/// The owner, if it is not who we are anyway.
fn foreign(metadata: &Metadata) -> Option<(u32, u32)> {
    let us = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let owner = (metadata.uid(), metadata.gid());
    (owner != us).then_some(owner)
}

fn label_of(path: &Path) -> Option<Vec<u8>> {
    let mut label = vec![0; 1024];
    let len = rustix::fs::lgetxattr(path, LABEL, &mut label[..]).ok()?;
    label.truncate(len);
    Some(label)
}

/// `USER:GROUP`, `USER`, by name or number. A user alone brings their own group.
fn parse(text: &str) -> Result<(u32, u32)> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let (uid, own_group) = match (user.parse(), lookup("/etc/passwd", user)) {
        (_, Some(entry)) => entry,
        (Ok(uid), None) => (uid, None),
        (Err(_), None) => return Err(unknown(text, "user", user, "/etc/passwd")),
    };
    let gid = match (group, own_group) {
        (Some(group), _) => match (group.parse(), lookup("/etc/group", group)) {
            (_, Some((gid, _))) => gid,
            (Ok(gid), None) => gid,
            (Err(_), None) => return Err(unknown(text, "group", group, "/etc/group")),
        },
        (None, Some(gid)) => gid,
        (None, None) => uid,
    };
    Ok((uid, gid))
}

fn unknown(text: &str, what: &str, name: &str, file: &str) -> Error {
    Error::usage(format!("--owner {text}: no {what} {name:?} in {file}"))
        .hint("give numbers: --owner UID:GID")
}

/// The third field of the line that starts with `name`, and the fourth if it is a number. A static
/// binary has no name service; these files are what a rescue system has.
fn lookup(file: &str, name: &str) -> Option<(u32, Option<u32>)> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let id = fields.next()?.parse().ok()?;
    Some((id, fields.next().and_then(|group| group.parse().ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_door_is_seen() {
        let (root, etcd) = ((0, 0), (998, 998));
        for (mode, owner, who, open) in [
            (0o700, root, etcd, false),
            (0o700, root, root, true),
            (0o700, etcd, etcd, true),
            (0o000, etcd, root, true),
            (0o710, (0, 998), etcd, true),
            (0o701, (0, 998), etcd, false),
            (0o755, root, etcd, true),
        ] {
            assert_eq!(
                lets_in(mode, owner, who),
                open,
                "{mode:o} {owner:?} {who:?}"
            );
        }
    }

    #[test]
    fn owners_are_names_or_numbers() {
        assert_eq!(parse("root:root").unwrap(), (0, 0));
        assert_eq!(parse("root").unwrap(), (0, 0));
        assert_eq!(parse("1234:5678").unwrap(), (1234, 5678));
        assert_eq!(parse("1234").unwrap(), (1234, 1234));
        let error = parse("nobody-of-that-name:0").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no user \"nobody-of-that-name\""),
            "{error}"
        );
    }

    #[test]
    fn our_own_files_need_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner::find(None, &[Path::new("/nonexistent"), dir.path()]).unwrap();
        assert_eq!((owner.ids, owner.demanded), (None, false));
        assert_eq!(owner.from, dir.path().display().to_string());
    }
}
