//! What the buckets mean: revisions, members, leases, auth, alarms, and etcd's own hashes.

pub mod facts;
pub mod ids;
pub mod members;
pub mod urls;
