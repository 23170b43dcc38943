//! SIGINT, SIGTERM and SIGHUP: the first one asks the work to stop and clean up, the second one ends
//! the process at once. A signal that the parent chose to ignore (nohup) stays ignored.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::error::{Error, Result};

/// The number of the first signal that arrived, 0 before.
static ARRIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From here on a signal only sets a mark.
pub fn install() -> Result<()> {
    let arrived = Arc::new(AtomicUsize::new(0));
    let any = Arc::new(AtomicBool::new(false));
    let ignored = ignored_by_parent();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if ignored >> (signal - 1) & 1 == 1 {
            continue;
        }
        // In this order: the first signal finds the mark unset and only sets it.
        let second = match first_process() {
            true => flag::register_conditional_shutdown(signal, 128 + signal, any.clone()),
            false => flag::register_conditional_default(signal, any.clone()),
        };
        second
            .and_then(|_| flag::register_usize(signal, arrived.clone(), signal as usize))
            .and_then(|_| flag::register(signal, any.clone()))
            .map_err(|error| Error::failed("cannot handle signals").because(error))?;
    }
    ARRIVED.get_or_init(|| arrived);
    Ok(())
}

/// An error of kind [`crate::error::Kind::Interrupted`] once a signal has arrived.
pub fn check() -> Result<()> {
    match arrived() {
        0 => Ok(()),
        _ => Err(Error::interrupted()),
    }
}

/// The name of the signal that arrived.
pub fn name() -> &'static str {
    low_level::signal_name(arrived()).unwrap_or("a signal")
}

/// Ends the process by the signal that arrived. The first process of a container cannot end that way: then this
/// is the exit code that a shell would show for it. None if no signal arrived.
pub fn end_by_signal() -> Option<u8> {
    let signal = arrived();
    if signal == 0 {
        return None;
    }
    if !first_process() {
        // If even this fails, the exit code has to do.
        let _ = low_level::emulate_default_handler(signal);
    }
    u8::try_from(128 + signal).ok()
}

/// Signals have no default for the first process of a pid namespace: what would end any other does nothing there.
fn first_process() -> bool {
    std::process::id() == 1
}

fn arrived() -> i32 {
    let number = ARRIVED
        .get()
        .map_or(0, |arrived| arrived.load(Ordering::Relaxed));
    i32::try_from(number).unwrap_or(0)
}

/// The mask of ignored signals, bit 0 for signal 1. Without /proc nothing counts as ignored.
fn ignored_by_parent() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    mask_in(&status)
}

fn mask_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mask_of_ignored_signals() {
        let status = "Name:\tx\nSigBlk:\t00ff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert_eq!(mask_in(status), 0x1001);
        assert_eq!(mask_in(""), 0);
        assert_eq!(mask_in("SigIgn:\tzz\n"), 0);
    }
}
