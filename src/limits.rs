//! Every bound in one place, each with its reason. Going over one is an error, never a truncation.

use std::time::Duration;

/// Bounds for reading bytes that nobody vouches for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Findings listed in a report; the rest is counted. A screenful is read, a million are not.
    pub findings: usize,
    /// Depth of a bbolt tree, nested buckets included. A tree of 2^63 pages with the smallest fan-out
    /// that bbolt writes is shallower than this.
    pub tree_depth: usize,
    /// Page numbers that one file may have (its high-water mark). The walk remembers one bit for
    /// each: 2^33 pages (32 TiB at 4 KiB) are 1 GiB of bits, so a file is also held to its length.
    pub pages: u64,
    /// Bytes of a value outside the `key` bucket that are gathered in memory to be decoded (member
    /// JSON, roles, users, leases). Real ones are under a kilobyte; a role with 10,000 permissions
    /// is about one megabyte.
    pub small_value: usize,
    /// User keys whose versions are followed; with 0 none are, and live keys are not counted. At 16 bytes each and a load of 64 % this is 2.5 GB;
    /// etcd's own index would need ten times that.
    pub user_keys: usize,
    /// One WAL record. 3.4 refuses 10 MiB and more; an entry holds a request, and servers run with
    /// `--max-request-bytes` of up to a few hundred MiB are not unheard of.
    pub wal_record: usize,
    /// A .snap file as a whole. Its v2 JSON has members and nothing else since 3.4.
    pub snap_file: usize,
    /// JSON nesting and size of a member record, guarded by `small_value`; members in one cluster.
    pub members: usize,
    /// JSON of an archive's manifest. It lists 20 bytes for each frame: 64 MiB are 3 TB of snapshot.
    pub manifest: usize,
    /// Frames of an archive, 32 bytes of memory each. At 256 KiB a piece they are 1 TiB.
    pub frames: usize,
    /// Bytes that one frame gives when an archive is read at any place: one is held whole for each
    /// thread. What this program writes is smaller by far; frames of others that are larger are read
    /// from front to back.
    pub frame: u64,
    /// Bytes that a compressed stream may give whatever its ratio: etcd warns above a quota of 8 GiB,
    /// and this is twice as much.
    pub stream: u64,
    /// How many times its compressed bytes a stream may give beyond that. Snapshots are compressed 3 to
    /// 30 times; zeros in gzip 1,030 times, in zstd 30,000 times.
    pub stream_ratio: u64,
    /// Binary logarithm of the window that a zstd stream may ask for, all of which is held: 128 MiB, where
    /// `zstd -d` draws the line, too. Level 19 makes 8 MiB, `--ultra -22` and `--long` 128 MiB.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            findings: 100,
            tree_depth: 64,
            pages: 1 << 33,
            small_value: 4 << 20,
            user_keys: 100_000_000,
            wal_record: 512 << 20,
            snap_file: 64 << 20,
            members: 10_000,
            manifest: 64 << 20,
            frames: 4 << 20,
            frame: 16 << 20,
            stream: 16 << 30,
            stream_ratio: 200,
            window_log: 27,
        }
    }
}

/// How long to wait for a server.
#[derive(Clone, Debug)]
pub struct Deadlines {
    /// Connecting, TLS handshake included.
    pub connect: Duration,
    /// One unary call.
    pub call: Duration,
    /// A stream without a byte of progress.
    pub idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(5),
            idle: Duration::from_secs(30),
        }
    }
}
