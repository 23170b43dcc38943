//! A small etcd db with one of everything, whose pages are known by name: what the cases damage.

use super::craft::{File, Item, NO_FREELIST, bucket, inline};
use crate::util::wire;

/// Top-level buckets and their entries, in the order in which they are written.
pub type Content = Vec<(Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>)>;

/// The db as a file.
#[derive(Clone)]
pub struct House {
    pub file: File,
    /// Root page of the root bucket: a leaf with all buckets.
    pub root: u64,
    /// Root page of `key`: a branch over [`House::leaves`] and [`House::large`].
    pub branch: u64,
    /// Leaves of `key`.
    pub leaves: [u64; 3],
    /// The last leaf of `key`, with one record that needs two overflow pages.
    pub large: u64,
    /// Root page of `lease`: a leaf.
    pub lease: u64,
    /// A page that nothing reaches.
    pub free: u64,
}

/// Page sizes that the cases are tried with.
pub const PAGE_SIZES: [usize; 4] = [512, 4096, 16384, 65536];

impl House {
    /// The content as it should be.
    pub fn new(page_size: usize) -> House {
        House::of(&content(page_size), page_size)
    }

    /// Other content. The last record of `key` gets a page of its own, the others are dealt out to three.
    pub fn of(content: &Content, page_size: usize) -> House {
        let mut file = File::new(page_size);
        let free = file.block(0xdead, 0xbeef, b"freed long ago");
        let (mut branch, mut leaves, mut large, mut lease) = (0, [0; 3], 0, 0);
        let mut root_items: Vec<Item> = Vec::new();
        for (name, entries) in content {
            let items: Vec<Item> = entries
                .iter()
                .map(|(key, value)| (0, key.clone(), value.clone()))
                .collect();
            let inlined = inline(&items);
            let value = match name.as_slice() {
                b"key" if items.len() >= 4 => {
                    let (last, front) = items.split_last().unwrap();
                    // Dealt out to more where a page could not count them.
                    let share = front.len().div_ceil(3).min(20_000);
                    let mut children: Vec<(Vec<u8>, u64)> = front
                        .chunks(share)
                        .map(|items| (items[0].1.clone(), file.leaf(items)))
                        .collect();
                    for (leaf, (_, page)) in leaves.iter_mut().zip(&children) {
                        *leaf = *page;
                    }
                    large = file.leaf(std::slice::from_ref(last));
                    children.push((last.1.clone(), large));
                    branch = file.branch(&children);
                    bucket(branch)
                }
                b"lease" => {
                    lease = file.leaf(&items);
                    bucket(lease)
                }
                _ if inlined.len() - 16 > page_size / 4 => bucket(file.leaf(&items)),
                _ => inlined,
            };
            root_items.push((1, name.clone(), value));
        }
        let root = file.leaf(&root_items);
        file.metas(root, NO_FREELIST);
        House {
            file,
            root,
            branch,
            leaves,
            large,
            lease,
            free,
        }
    }

    /// Index of a bucket in the root page.
    pub fn index_of(&self, name: &str) -> usize {
        // All of it: it may have overflow pages, which are the last ones of the file.
        let page = &self.file.bytes[self.root as usize * self.file.page_size..];
        let count = self.file.u16(self.root, 10).into();
        (0..count)
            .find(|index| {
                let at = File::element(*index);
                let key = at + self.file.u32(self.root, at + 4) as usize;
                page.get(key..key + name.len()) == Some(name.as_bytes())
                    && self.file.u32(self.root, at + 8) as usize == name.len()
            })
            .unwrap_or_else(|| panic!("no bucket {name}"))
    }

    /// Offset in the root page of a bucket's value.
    pub fn value_of(&self, name: &str) -> usize {
        let at = File::element(self.index_of(name));
        let pos = self.file.u32(self.root, at + 4) as usize;
        at + pos + self.file.u32(self.root, at + 8) as usize
    }
}

/// A small cluster's content: a history with everything in it, a lease, users, members, marks.
pub fn content(page_size: usize) -> Content {
    let large = vec![b'L'; 2 * page_size + page_size / 2];
    let keys = vec![
        put(2, 0, b"a", 2, 1, b"one", 0),
        put(3, 0, b"a", 2, 2, b"two", 0),
        put(3, 1, b"b", 3, 1, b"", 0),
        tombstone(4, 0, b"b"),
        put(5, 0, b"/registry/pods/x", 5, 1, b"k8s\0", LEASE),
        put(6, 0, b"b", 6, 1, b"again", 0),
        put(7, 0, b"a", 2, 3, b"three", 0),
        put(8, 0, b"\xff\0", 8, 1, b"binary", 0),
        put(9, 0, b"compacted before", 5, 7, b"v7", 0),
        put(10, 0, b"large", 10, 1, &large, 0),
    ];
    let text = |key: &str, value: &[u8]| (key.as_bytes().to_vec(), value.to_vec());
    let bucket = |name: &str, entries| (name.as_bytes().to_vec(), entries);
    vec![
        bucket("alarm", vec![]),
        bucket(
            "auth",
            vec![
                text("authEnabled", &[0]),
                text("authRevision", &1u64.to_be_bytes()),
            ],
        ),
        bucket("authRoles", vec![text("root", b"\x0a\x04root")]),
        bucket("authUsers", vec![text("root", b"\x0a\x04root\x1a\x04root")]),
        bucket("cluster", vec![text("clusterVersion", b"3.5.0")]),
        bucket("key", keys),
        bucket("lease", vec![lease(LEASE, 60)]),
        bucket(
            "members",
            vec![text(
                "8e9e05c52164694d",
                br#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default"}"#,
            )],
        ),
        bucket("members_removed", vec![text("1234", b"removed")]),
        bucket(
            "meta",
            vec![
                text("confState", br#"{"voters":[10276657743932975437],"auto_leave":false}"#),
                text("consistent_index", &20u64.to_be_bytes()),
                text("finishedCompactRev", &revision(1, 0)),
                text("scheduledCompactRev", &revision(1, 0)),
                text("term", &2u64.to_be_bytes()),
            ],
        ),
    ]
}

/// The lease that exists.
pub const LEASE: i64 = 0x7000_0000_0000_0001;

pub fn revision(main: i64, sub: i64) -> Vec<u8> {
    [&main.to_be_bytes()[..], b"_", &sub.to_be_bytes()].concat()
}

/// A record of `key`: revision, and KeyValue.
pub fn put(
    main: i64,
    sub: i64,
    key: &[u8],
    create: i64,
    version: i64,
    value: &[u8],
    lease: i64,
) -> (Vec<u8>, Vec<u8>) {
    (
        revision(main, sub),
        key_value(key, create, main, version, value, lease),
    )
}

pub fn tombstone(main: i64, sub: i64, key: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let place = [&revision(main, sub)[..], b"t"].concat();
    (place, key_value(key, 0, 0, 0, b"", 0))
}

/// An entry of `lease`.
pub fn lease(id: i64, ttl: i64) -> (Vec<u8>, Vec<u8>) {
    let mut value = Vec::new();
    wire::number(&mut value, 1, id.cast_unsigned());
    wire::number(&mut value, 2, ttl.cast_unsigned());
    (id.to_be_bytes().to_vec(), value)
}

/// mvccpb.KeyValue.
pub fn key_value(
    key: &[u8],
    create: i64,
    modified: i64,
    version: i64,
    value: &[u8],
    lease: i64,
) -> Vec<u8> {
    let mut out = Vec::new();
    wire::bytes(&mut out, 1, key);
    wire::number(&mut out, 2, create.cast_unsigned());
    wire::number(&mut out, 3, modified.cast_unsigned());
    wire::number(&mut out, 4, version.cast_unsigned());
    wire::bytes(&mut out, 5, value);
    wire::number(&mut out, 6, lease.cast_unsigned());
    out
}
