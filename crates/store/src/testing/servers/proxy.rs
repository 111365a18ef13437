//! A proxy between a client and a server that does to bytes what networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens to what the server sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// It comes in pieces of so many bytes.
    Slice(usize),
    /// Each piece comes so much later.
    Delay(Duration),
    /// It never comes, and nobody says so.
    Swallow,
    /// The connection ends in the middle, after so many bytes from now on.
    CutAfter(usize),
}

/// Passes connections on to a server; gone with the value, connections included.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    mode: Mode,
    target: u16,
    open: Vec<TcpStream>,
    closed: bool,
}

impl Proxy {
    /// A proxy before a port of this machine.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Shared { mode: Mode::Pass, target, open: Vec::new(), closed: false };
        let shared = Arc::new(Mutex::new(shared));
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { port, shared }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What happens from now on.
    pub fn set(&self, mode: Mode) {
        lock(&self.shared).mode = mode;
    }

    /// Ends all connections; new ones are taken.
    pub fn cut(&self) {
        for stream in lock(&self.shared).open.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        lock(&self.shared).closed = true;
        // Wakes the one that waits for connections.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Mutex<Shared>>) {
    for client in listener.incoming() {
        let target = {
            let shared = lock(shared);
            if shared.closed {
                return;
            }
            shared.target
        };
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", target))) else {
            continue;
        };
        let (Ok(from_client), Ok(to_client)) = (client.try_clone(), client.try_clone()) else {
            continue;
        };
        let (Ok(from_server), Ok(to_server)) = (server.try_clone(), server.try_clone()) else {
            continue;
        };
        lock(shared).open.extend([client, server]);
        thread::spawn(move || copy(from_client, to_server));
        let shared = Arc::clone(shared);
        thread::spawn(move || answer(from_server, to_client, &shared));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
}

fn answer(mut from: TcpStream, mut to: TcpStream, shared: &Mutex<Shared>) {
    let mut buffer = [0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let mode = lock(shared).mode;
        if !pass(&buffer[..len], &mut to, mode, shared) {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// Passes bytes on; not so when the connection is to end.
fn pass(bytes: &[u8], to: &mut TcpStream, mode: Mode, shared: &Mutex<Shared>) -> bool {
    match mode {
        Mode::Pass => to.write_all(bytes).is_ok(),
        Mode::Swallow => true,
        Mode::Delay(pause) => {
            thread::sleep(pause);
            to.write_all(bytes).is_ok()
        }
        Mode::Slice(size) => bytes.chunks(size).all(|piece| {
            let sent = to.write_all(piece).and_then(|()| to.flush()).is_ok();
            thread::yield_now();
            sent
        }),
        Mode::CutAfter(left) => {
            let passed = bytes.len().min(left);
            lock(shared).mode =
                if passed < bytes.len() { Mode::Pass } else { Mode::CutAfter(left - passed) };
            to.write_all(&bytes[..passed]).is_ok() && passed == bytes.len()
        }
    }
}
