//! Backups that run for years, through the program and on real servers: `backup`, `list`, `prune`, `check`, `pin`,
//! `unpin` and `DIR --latest`.

mod after;
mod check;
mod failover;
mod failures;
mod faults;
mod good;
mod killed;
mod locks;
mod logs;
mod lying;
mod prune;
mod real;
mod rot;
mod site;
mod space;
mod suspicious;
mod telling;
