//! Free loopback ports for servers.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

// Below the range from which the kernel serves outgoing connections (32768 up), so that only
// another listener can take a port between the trial here and the server's start.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on 127.0.0.1 that nothing listens on. Never the same twice in one process; another
/// process may still be faster, which whoever starts a server there must expect.
pub fn free_port() -> u16 {
    // Two test processes at once start their search in different places.
    let offset = (std::process::id() % 997) as u16 * 20;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + offset.wrapping_add(step) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

/// `http://127.0.0.1:PORT` with a free port.
pub fn free_url() -> String {
    format!("http://127.0.0.1:{}", free_port())
}
