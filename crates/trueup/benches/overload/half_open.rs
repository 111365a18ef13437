//! Callers that never end their first head: a byte a second, and a new connection as soon as theirs
//! is closed.

use crate::scene::Scene;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Over how long they come, and how long it then takes until their coming is over.
const COMING: Duration = Duration::from_secs(2);

/// How often a byte comes.
const TRICKLE: Duration = Duration::from_secs(1);

pub(crate) struct HalfOpen {
    /// They go when this is dropped.
    _callers: JoinSet<()>,
    open: Arc<AtomicUsize>,
}

impl HalfOpen {
    pub(crate) async fn start(scene: &Arc<Scene>, many: usize) -> HalfOpen {
        let (mut callers, open) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for number in 0..many {
            let (address, open) = (scene.address, Arc::clone(&open));
            let wait = COMING.mul_f64(number as f64 / many as f64);
            callers.spawn(async move {
                tokio::time::sleep(wait).await;
                loop {
                    trickle(address, &open).await;
                }
            });
        }
        tokio::time::sleep(2 * COMING).await;
        HalfOpen { _callers: callers, open }
    }

    /// How many were open.
    pub(crate) fn stop(self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// One connection, until it is closed.
async fn trickle(address: SocketAddr, open: &AtomicUsize) {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        tokio::time::sleep(TRICKLE).await;
        return;
    };
    let head = b"POST /v1/features/risk HTTP/1.1\r\nhost: x\r\nx-slow: ";
    if stream.write_all(head).await.is_err() {
        return;
    }
    open.fetch_add(1, Ordering::Relaxed);
    let mut byte = [0];
    loop {
        let read = tokio::time::timeout(TRICKLE, stream.read(&mut byte)).await;
        if read.is_ok() || stream.write_all(b"x").await.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
    }
}
