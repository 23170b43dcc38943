//! A directory tree as a value: what is in it, whose it is, and whether anything changed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::io::Errno;

/// Everything below a directory, and the directory itself under the empty path.
#[derive(PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, Node>);

/// One file, directory or link.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds; none where it does not matter.
    pub modified: Option<(i64, i64)>,
    /// Of a file's length and bytes, or of the path a link has.
    sha256: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    Link,
    Other,
}

impl Tree {
    /// Takes all of it in. That something was made in a directory and removed again does not show.
    #[track_caller]
    pub fn of(dir: &Path) -> Tree {
        let mut tree = Tree::exactly(dir);
        for node in tree.0.values_mut().filter(|node| node.kind == Kind::Dir) {
            node.modified = None;
        }
        tree
    }

    /// The same with the times of directories: nothing was even tried.
    #[track_caller]
    pub fn exactly(dir: &Path) -> Tree {
        let mut nodes = BTreeMap::new();
        gather(dir, Path::new(""), &mut nodes);
        Tree(nodes)
    }

    /// What is in it and no times: equal for two runs that made the same.
    #[track_caller]
    pub fn timeless(dir: &Path) -> Tree {
        let mut tree = Tree::exactly(dir);
        for node in tree.0.values_mut() {
            node.modified = None;
        }
        tree
    }

    /// The same but for this path, which may change.
    pub fn without(mut self, path: &str) -> Tree {
        self.0.remove(Path::new(path));
        self
    }

    /// Paths and nodes, parents first.
    pub fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// The same tree is there now.
    #[track_caller]
    pub fn assert_unchanged(&self, now: &Tree, what: &str) {
        let mut differences = Vec::new();
        for (path, before) in &self.0 {
            match now.0.get(path) {
                None => differences.push(format!("gone:    {}", path.display())),
                Some(after) if after != before => differences.push(format!(
                    "changed: {}\n    before {before:?}\n    after  {after:?}",
                    path.display()
                )),
                Some(_) => {}
            }
        }
        let new = now.0.keys().filter(|path| !self.0.contains_key(*path));
        differences.extend(new.map(|path| format!("new:     {}", path.display())));
        assert!(
            differences.is_empty(),
            "{what} changed something\n{}",
            differences.join("\n")
        );
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// The names in a directory, sorted.
#[track_caller]
pub fn names(dir: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(dir).unwrap_or_else(|err| panic!("cannot list {}: {err}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn gather(root: &Path, below: &Path, nodes: &mut BTreeMap<PathBuf, Node>) {
    let path = root.join(below);
    // A trailing slash would follow a link at the root; there is none.
    let metadata = std::fs::symlink_metadata(if below.as_os_str().is_empty() {
        root
    } else {
        &path
    });
    let metadata =
        metadata.unwrap_or_else(|err| panic!("cannot look at {}: {err}", path.display()));
    let node = node(&path, &metadata);
    let is_dir = node.kind == Kind::Dir;
    nodes.insert(below.to_owned(), node);
    if is_dir {
        for name in names(&path) {
            gather(root, &below.join(name), nodes);
        }
    }
}

fn node(path: &Path, metadata: &Metadata) -> Node {
    let (kind, bytes) = if metadata.is_file() {
        (Kind::File, content(path).unwrap())
    } else if metadata.is_dir() {
        (Kind::Dir, Vec::new())
    } else if metadata.is_symlink() {
        let target = std::fs::read_link(path).unwrap();
        (Kind::Link, target.into_os_string().into_encoded_bytes())
    } else {
        (Kind::Other, Vec::new())
    };
    Node {
        kind,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        modified: Some((metadata.mtime(), metadata.mtime_nsec())),
        sha256: digest(&SHA256, &bytes).as_ref().to_owned(),
    }
}

/// Length and non-zero blocks: a WAL segment is 64 MB of nothing, which need not be read to be compared.
fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    use rustix::fs::{SeekFrom, seek};
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let mut content = end.to_le_bytes().to_vec();
    let mut at = 0;
    let mut block = [0; 4096];
    while at < end {
        at = match seek(&file, SeekFrom::Data(at)) {
            Ok(data) => data / 4096 * 4096,
            Err(Errno::NXIO) => break,
            Err(other) => return Err(other.into()),
        };
        let hole = seek(&file, SeekFrom::Hole(at))?;
        while at < hole {
            let wanted = (end - at).min(4096) as usize;
            file.read_exact_at(&mut block[..wanted], at)?;
            if block[..wanted].iter().any(|byte| *byte != 0) {
                content.extend(at.to_le_bytes());
                content.extend(&block[..wanted]);
            }
            at += 4096;
        }
    }
    Ok(content)
}

#[test]
fn a_tree_notices_what_changes() {
    let dir = super::temp_dir();
    let file = dir.path().join("a/file");
    std::fs::create_dir(dir.path().join("a")).unwrap();
    std::fs::write(&file, "x").unwrap();
    let before = Tree::of(dir.path());
    before.assert_unchanged(&Tree::of(dir.path()), "nothing");
    std::fs::write(dir.path().join("a/other"), "x").unwrap();
    assert_ne!(before, Tree::of(dir.path()));
    std::fs::remove_file(dir.path().join("a/other")).unwrap();
    assert_eq!(before, Tree::of(dir.path()));
    let modified = file.metadata().unwrap().modified().unwrap();
    std::fs::write(&file, "y").unwrap();
    let handle = std::fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(modified).unwrap();
    assert_ne!(before, Tree::of(dir.path()));
}
