//! What the buckets mean: revisions, members, leases, auth, alarms, and etcd's own hashes.

pub mod buckets;
pub mod facts;
pub mod ids;
pub mod keyspace;
pub mod keytable;
pub mod meaning;
pub mod members;
pub mod revision;
pub mod urls;
