//! The operations: Request in, Outcome out. They know nothing of arguments, terminals and exit codes.

pub mod restore;
pub mod save;
pub mod status;
pub mod verify;
