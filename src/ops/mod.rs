//! The operations: Request in, Outcome out. They know nothing of arguments, terminals and exit codes.

pub mod backup;
pub mod check;
pub mod list;
pub mod pack;
pub mod pin;
pub mod prune;
pub mod restore;
pub mod save;
pub mod status;
pub mod unpack;
pub mod verify;
