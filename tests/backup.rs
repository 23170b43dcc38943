//! Backups that run for years, through the program and on real servers: `backup`, `list`, `prune`, `check`, `pin`,
//! `unpin` and `DIR --latest`.

mod check;
mod failover;
mod failures;
mod good;
mod locks;
mod logs;
mod lying;
mod prune;
mod site;
mod suspicious;
