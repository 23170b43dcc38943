//! What the buckets mean: revisions, members, leases, auth, alarms, and etcd's own hashes.

pub mod facts;
