//! Small files that ask for a lot: of depth, of work, of memory. Each is a file that a naive reader would
//! choke on; the largest has some megabytes.

use std::time::{Duration, Instant};

use etcd_rescue::error::Kind;
use etcd_rescue::snapshot::Sum;

use super::craft::{BRANCH, File, Item, LEAF, NO_FREELIST, bucket, inline};
use super::doors;
use super::house::{House, content, lease, put, revision};
use crate::util::wire;

/// A file that asks for a lot.
pub struct Bomb {
    pub name: &'static str,
    pub make: fn() -> Vec<u8>,
    /// Part of what is said of it.
    pub told: &'static str,
    /// It is odd, and not damaged.
    pub good: bool,
}

const fn bomb(name: &'static str, make: fn() -> Vec<u8>, told: &'static str) -> Bomb {
    Bomb {
        name,
        make,
        told,
        good: false,
    }
}

/// All of them.
pub const BOMBS: &[Bomb] = &[
    bomb("branches-64-deep", || deep(64), "bucket meta is missing"),
    bomb(
        "branches-65-deep",
        || deep(65),
        "tree deeper than 64 levels",
    ),
    bomb(
        "branches-5000-deep",
        || deep(5000),
        "tree deeper than 64 levels",
    ),
    bomb("branches-uneven", uneven, "leaf at depth"),
    bomb(
        "inline-buckets-in-inline-buckets",
        matryoshka,
        "tree deeper than 64 levels",
    ),
    bomb(
        "inline-buckets-and-pages-by-turns",
        || turns(5000),
        "tree deeper than 64 levels",
    ),
    bomb(
        "a-page-of-elements-with-one-value",
        shared_value,
        "where the element before it ends",
    ),
    bomb(
        "a-branch-of-elements-with-one-key",
        shared_key,
        "where the element before it ends",
    ),
    bomb(
        "a-branch-of-children-that-are-one",
        one_child,
        "page reached twice",
    ),
    bomb(
        "a-thousand-branches-with-the-same-children",
        same_children,
        "page reached twice",
    ),
    bomb(
        "20000-buckets",
        many_buckets,
        "more than 10000 members, alarms or buckets",
    ),
    bomb(
        "a-bucket-20000-times",
        || repeated("lease", 20_000),
        "more than 10000 members, alarms or buckets",
    ),
    bomb(
        "key-bucket-20000-times",
        || repeated("key", 20_000),
        "more than 10000 members, alarms or buckets",
    ),
    bomb("20000-members", many_members, "more than 10000 members"),
    bomb(
        "members-of-8-megabytes",
        large_members,
        "members of more than",
    ),
    bomb(
        "20000-alarms",
        many_alarms,
        "more than 10000 members, alarms or buckets",
    ),
    bomb(
        "a-member-of-5-megabytes",
        || small("members", b"1", 5 << 20),
        "value of more than 4194304 bytes",
    ),
    Bomb {
        name: "a-role-of-2-million-permissions",
        make: || repeated_field("authRoles", 2),
        told: "",
        good: true,
    },
    Bomb {
        name: "a-user-of-2-million-roles",
        make: || repeated_field("authUsers", 3),
        told: "",
        good: true,
    },
    bomb("a-member-of-2-million-urls", many_urls, "member"),
    bomb(
        "a-conf-state-of-a-million-voters",
        || json("meta", "confState"),
        "confState",
    ),
    bomb(
        "a-downgrade-of-a-million-numbers",
        || json("cluster", "downgrade"),
        "downgrade",
    ),
    Bomb {
        name: "30-megabytes-of-cluster",
        make: large_cluster,
        told: "not a key that etcd 3.4 to 3.8 writes here",
        good: true,
    },
    bomb(
        "300000-keys-in-meta",
        || tiny_keys("meta"),
        "does not ascend",
    ),
    bomb(
        "300000-keys-in-cluster",
        || tiny_keys("cluster"),
        "does not ascend",
    ),
    Bomb {
        name: "300000-keys-without-their-leases",
        make: dangling,
        told: "which does not exist",
        good: true,
    },
];

/// `depth` branches above one leaf, each with one child, and a bucket for it: one page a level.
fn deep(depth: usize) -> Vec<u8> {
    let mut file = File::new(512);
    let mut page = file.leaf(&[item(&revision(1, 0), b"")]);
    // The root is one level, the leaf another.
    for _ in 2..depth {
        page = file.branch(&[(revision(1, 0), page)]);
    }
    let root = file.leaf(&[top("key", bucket(page))]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// The second leaf is a level deeper than the first.
fn uneven() -> Vec<u8> {
    let mut file = File::new(512);
    let leaf = |file: &mut File, n| file.leaf(&[(0, put(n, 0, b"k", n, 1, b"", 0).0, vec![])]);
    let (one, two) = (leaf(&mut file, 2), leaf(&mut file, 3));
    let lower = file.branch(&[(revision(3, 0), two)]);
    let page = file.branch(&[(revision(2, 0), one), (revision(3, 0), lower)]);
    let root = file.leaf(&[top("key", bucket(page))]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// As many inline buckets in each other as fit a quarter of the largest page.
fn matryoshka() -> Vec<u8> {
    let mut value = inline(&[]);
    while value.len() + 100 < 65536 / 4 {
        value = inline(&[(1, b"x".to_vec(), value)]);
    }
    let mut file = File::new(65536);
    let root = file.leaf(&[top("key", value)]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// A page with an inline bucket with a bucket that has a page with an inline bucket …
fn turns(depth: usize) -> Vec<u8> {
    let mut file = File::new(512);
    let mut page = file.leaf(&[]);
    for _ in 0..depth {
        let inner = inline(&[(1, b"x".to_vec(), bucket(page))]);
        page = file.leaf(&[(1, b"x".to_vec(), inner)]);
    }
    let root = file.leaf(&[top("key", bucket(page))]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// 60000 elements whose value is the same four megabytes: 240 GB to read.
fn shared_value() -> Vec<u8> {
    const COUNT: usize = 60_000;
    let key = revision(2, 0);
    let value = vec![b'v'; 4 << 20];
    let mut body = Vec::new();
    for index in 0..COUNT {
        let pos = (COUNT - index) * 16;
        for field in [0, pos as u32, key.len() as u32, value.len() as u32] {
            body.extend_from_slice(&field.to_le_bytes());
        }
    }
    body.extend_from_slice(&key);
    body.extend_from_slice(&value);
    let mut file = File::new(4096);
    let leaf = file.block(LEAF, COUNT as u16, &body);
    let root = file.leaf(&[top("key", bucket(leaf))]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// 60000 children whose key is the same 32 KiB.
fn shared_key() -> Vec<u8> {
    const COUNT: usize = 60_000;
    let mut body = Vec::new();
    for index in 0..COUNT {
        body.extend_from_slice(&(((COUNT - index) * 16) as u32).to_le_bytes());
        body.extend_from_slice(&32768u32.to_le_bytes());
        body.extend_from_slice(&2u64.to_le_bytes());
    }
    body.extend_from_slice(&[b'k'; 32768]);
    let mut file = File::new(4096);
    file.leaf(&[]);
    let branch = file.block(BRANCH, COUNT as u16, &body);
    let root = file.leaf(&[top("key", bucket(branch))]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// A branch with 60000 children that are all the same leaf.
fn one_child() -> Vec<u8> {
    let mut file = File::new(4096);
    let leaf = file.leaf(&[item(&revision(2, 0), b"")]);
    let children: Vec<_> = (0..60_000).map(|n| (revision(n, 0), leaf)).collect();
    let branch = file.branch(&children);
    let root = file.leaf(&[top("key", bucket(branch))]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// Without a memory of what was seen: a million pages to walk.
fn same_children() -> Vec<u8> {
    let mut file = File::new(65536);
    let mut children: Vec<(Vec<u8>, u64)> = Vec::new();
    for level in 0..4 {
        let below = std::mem::take(&mut children);
        for n in 0..32 {
            let key = revision(n, level);
            let page = match below.is_empty() {
                true => file.leaf(&[item(&key, b"")]),
                false => file.branch(&below),
            };
            children.push((key, page));
        }
    }
    let branch = file.branch(&children);
    let root = file.leaf(&[top("key", bucket(branch))]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

fn many_buckets() -> Vec<u8> {
    let mut file = File::new(4096);
    let buckets: Vec<Item> = (0..20_000)
        .map(|n| top(&format!("b{n:05}"), inline(&[])))
        .collect();
    let root = file.leaf(&buckets);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

/// One name many times: the first one has much in it, the others claim the same.
fn repeated(name: &str, times: usize) -> Vec<u8> {
    let mut file = File::new(65536);
    let entries: Vec<Item> = (1..20_000)
        .map(|n| match name {
            "lease" => lease(n, 60),
            _ => put(n + 1, 0, &n.to_be_bytes(), n + 1, 1, b"", 7),
        })
        .map(|(key, value)| (0, key, value))
        .collect();
    let page = file.leaf(&entries);
    let root = file.leaf(&vec![top(name, bucket(page)); times]);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

fn many_members() -> Vec<u8> {
    house("members", |entries| {
        for id in 0x10000..0x10000 + 20_000 {
            entries.push((
                format!("{id:x}").into_bytes(),
                format!(r#"{{"id":{id}}}"#).into_bytes(),
            ));
        }
        entries.sort();
    })
}

fn large_members() -> Vec<u8> {
    house("members", |entries| {
        for id in 1..=80 {
            let name = "n".repeat(100_000);
            entries.push((
                format!("{id:x}").into_bytes(),
                format!(r#"{{"id":{id},"name":"{name}"}}"#).into_bytes(),
            ));
        }
        entries.sort();
    })
}

fn many_alarms() -> Vec<u8> {
    house("alarm", |entries| {
        for id in 1..=20_000u64 {
            let mut key = Vec::new();
            wire::number(&mut key, 1, id);
            wire::number(&mut key, 2, 1);
            entries.push((key, vec![]));
        }
        entries.sort();
    })
}

fn small(bucket: &'static str, key: &[u8], len: usize) -> Vec<u8> {
    house(bucket, |entries| {
        *entries = vec![(key.to_vec(), vec![b'x'; len])]
    })
}

/// A message whose repeated field is there as often as four megabytes allow, two bytes each.
fn repeated_field(bucket: &'static str, number: u8) -> Vec<u8> {
    house(bucket, |entries| {
        let mut value = Vec::new();
        wire::bytes(&mut value, 1, b"root");
        let rest = (4 << 20) - value.len();
        value.extend([number << 3 | 2, 0].repeat(rest / 2));
        entries[0].1 = value;
    })
}

fn many_urls() -> Vec<u8> {
    house("members", |entries| {
        let urls = r#""","#.repeat(1_300_000);
        entries[0].1 =
            format!(r#"{{"id":10276657743932975437,"peerURLs":[{urls}""]}}"#).into_bytes();
    })
}

fn json(bucket: &'static str, key: &'static str) -> Vec<u8> {
    house(bucket, |entries| {
        entries.retain(|(found, _)| found != key.as_bytes());
        let numbers = "0,".repeat(1_000_000);
        entries.push((
            key.as_bytes().to_vec(),
            format!(r#"{{"voters":[{numbers}0]}}"#).into_bytes(),
        ));
        entries.sort();
    })
}

/// A restore gathers this bucket before it writes it.
fn large_cluster() -> Vec<u8> {
    house("cluster", |entries| {
        for n in 0..30 {
            entries.push((format!("x{n:02}").into_bytes(), vec![0; 1 << 20]));
        }
    })
}

/// Keys of one byte: next to nothing each, if only the bytes are counted.
fn tiny_keys(name: &'static str) -> Vec<u8> {
    let mut file = File::new(65536);
    let mut content = content(65536);
    content.retain(|(found, _)| found != name.as_bytes());
    let mut children = Vec::new();
    for _ in 0..6 {
        let leaf = file.leaf(&vec![item(b"k", b""); 50_000]);
        children.push((b"k".to_vec(), leaf));
    }
    let branch = file.branch(&children);
    let mut buckets: Vec<Item> = vec![top(name, bucket(branch))];
    for (name, entries) in content {
        let items: Vec<Item> = entries
            .into_iter()
            .map(|(key, value)| (0, key, value))
            .collect();
        let leaf = file.leaf(&items);
        buckets.push((1, name, bucket(leaf)));
    }
    buckets.sort();
    let root = file.leaf(&buckets);
    file.metas(root, NO_FREELIST);
    file.sealed()
}

fn dangling() -> Vec<u8> {
    house("key", |entries| {
        for n in 0..300_000i64 {
            entries.push(put(
                n + 100,
                0,
                format!("k{n}").as_bytes(),
                n + 100,
                1,
                b"",
                n + 1,
            ));
        }
    })
}

/// The house in pages of 64 KiB, with another content in one bucket. It may have more leaves than usual.
fn house(name: &str, edit: impl Fn(&mut Vec<(Vec<u8>, Vec<u8>)>)) -> Vec<u8> {
    let mut content = content(65536);
    let bucket = content
        .iter_mut()
        .find(|(found, _)| found == name.as_bytes());
    edit(&mut bucket.unwrap().1);
    House::of(&content, 65536).file.sealed()
}

fn item(key: &[u8], value: &[u8]) -> Item {
    (0, key.to_vec(), value.to_vec())
}

fn top(name: &str, value: Vec<u8>) -> Item {
    (1, name.as_bytes().to_vec(), value)
}

/// Seconds, not minutes: the library is not optimised here, and shares the machine with other tests.
const LONGEST: Duration = Duration::from_secs(20);

#[test]
fn none_takes_long() {
    let mut failures = 0;
    for bomb in BOMBS {
        failures += usize::from(std::panic::catch_unwind(|| goes_off(bomb)).is_err());
    }
    assert_eq!(failures, 0, "failures, told above");
}

fn goes_off(bomb: &Bomb) {
    let bytes = (bomb.make)();
    let started = Instant::now();
    let told = match doors::verify(&bytes, false) {
        Ok(verdict) => {
            let good = verdict.sum == Sum::Good;
            assert_eq!(good, bomb.good, "{}: {:?}", bomb.name, verdict.report);
            let told = verdict.report.listed().iter().map(ToString::to_string);
            told.collect::<Vec<_>>().join("\n")
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Damaged, "{}: {error}", bomb.name);
            error.to_string()
        }
    };
    let took = started.elapsed();
    let Bomb {
        name,
        told: expected,
        ..
    } = bomb;
    println!("{name}: {} bytes, {took:?}", bytes.len());
    assert!(
        told.contains(expected),
        "{name}: expected {expected:?}, found\n{told}"
    );
    assert!(took < LONGEST, "{name} took {took:?}");
}
