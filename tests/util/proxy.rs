//! A relay in front of a real server that can be made to fail: TCP or unix socket in, TCP out.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes on what the server sends until it has sent so much, over all connections; then every connection is cut.
/// Its threads end with the test process.
pub struct Proxy {
    port: u16,
    left: Arc<AtomicU64>,
}

impl Proxy {
    /// In front of 127.0.0.1:PORT, without a limit for now.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let left = Arc::new(AtomicU64::new(u64::MAX));
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            left: Arc::clone(&left),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let (answers, client_write) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                let left = Arc::clone(&left);
                std::thread::spawn(move || {
                    pass(&client, &server, &AtomicU64::new(u64::MAX));
                    let _ = server.shutdown(Shutdown::Write);
                });
                std::thread::spawn(move || {
                    pass(&answers, &client_write, &left);
                    // Both ways at once, as when a cable is pulled and plugged in again.
                    let _ = answers.shutdown(Shutdown::Both);
                    let _ = client_write.shutdown(Shutdown::Both);
                });
            }
        });
        proxy
    }

    /// Cuts after this many more bytes from the server.
    pub fn cut_after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// Bytes that the server has sent since the last `cut_after`.
    pub fn passed(&self, limit: u64) -> u64 {
        limit - self.left.load(Ordering::SeqCst)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

/// A unix socket that leads to 127.0.0.1:PORT.
pub fn unix_to_tcp(path: &Path, port: u16) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (answers, client_write) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                pass(&client, &server, &AtomicU64::new(u64::MAX));
                let _ = server.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                pass(answers, &client_write, &AtomicU64::new(u64::MAX));
                let _ = client_write.shutdown(Shutdown::Both);
            });
        }
    });
}

/// Copies until either side ends or `left` bytes are used up.
fn pass(mut from: impl Read, mut to: impl Write, left: &AtomicU64) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let length = length as u64;
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            Some(left.saturating_sub(length))
        });
        let allowed = before.unwrap().min(length);
        if to.write_all(&buffer[..allowed as usize]).is_err() || allowed < length {
            return;
        }
    }
}
