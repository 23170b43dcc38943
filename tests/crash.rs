//! Promise 2: a name means that it is whole. Whatever ends a run (SIGKILL, a signal, a full disk, an I/O error, another
//! run), what was there before is there still, what is new is whole, and nothing else is left.

mod fallback;
mod faults;
pub mod kill;
mod power;
mod race;
mod signals;
mod site;
mod space;

/// Of a Kubernetes API server: 294,944 bytes.
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/k8s-plain-3.5.db");
