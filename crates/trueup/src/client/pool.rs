//! A fixed number of connections, each used by one request at a time.
//!
//! A request first takes a turn, of which there are as many as connections; then it takes a kept
//! connection or opens one. A connection goes back only after a whole reply: one that is dropped
//! midway (an error, a timeout) is closed.

use super::ClientError;
use super::url::Server;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

/// An open connection, between two requests.
pub(super) type Connection = SendRequest<Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Pool {
    size: usize,
    turns: Semaphore,
    kept: Mutex<Vec<Connection>>,
}

/// The right to use one connection; it ends when it is dropped.
pub(super) struct Turn<'a> {
    pool: &'a Pool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Pool {
    pub(super) fn new(size: usize) -> Pool {
        Pool { size, turns: Semaphore::new(size), kept: Mutex::new(Vec::with_capacity(size)) }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Waits for a turn; the turns go in the order in which they were asked for.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // The semaphore is never closed, so there is always a permit.
        Turn { pool: self, _permit: self.turns.acquire().await.ok() }
    }

    /// Opens connections until all are open.
    pub(super) async fn fill(&self, server: &Server) -> Result<(), ClientError> {
        let mut turns = Vec::new();
        for _ in 0..self.size {
            let mut turn = self.turn().await;
            let connection = match turn.take_open().await {
                Some(kept) => kept,
                None => connect(server).await?,
            };
            turns.push((turn, connection));
        }
        turns.into_iter().for_each(|(turn, connection)| turn.give_back(connection));
        Ok(())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// A kept connection that the server has not closed, as far as we know.
    pub(super) async fn take_open(&mut self) -> Option<Connection> {
        loop {
            let mut connection = self.pool.kept().pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection` for the next request and ends the turn.
    pub(super) fn give_back(self, connection: Connection) {
        self.pool.kept().push(connection);
    }
}

/// Opens a connection; its work is done by a task that ends with it.
pub(super) async fn connect(server: &Server) -> Result<Connection, ClientError> {
    let failed = |source| ClientError::Connect { server: server.authority(), source };
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let opened = handshake(TokioIo::new(stream)).await;
    let (connection, work) = opened.map_err(|error| ClientError::broken(server, &error))?;
    // What ends the connection is told to the request that uses it.
    tokio::spawn(async move { drop(work.await) });
    Ok(connection)
}
