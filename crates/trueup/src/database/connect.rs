//! What the clients of servers have in common in making connections: how long that may take, what
//! is read for it, and which servers are on this machine.

use super::DatabaseError;
use std::net::IpAddr;
use std::time::Duration;

/// How long a connection may take to be made, with all addresses, TLS and the password: else one
/// that is taken and never greeted would hold up a start for ever.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that a connection keeps prepared: one for each key and each form of the range.
pub(super) const MAX_STATEMENTS: usize = 64;

/// Waits for a connection that is being made, but not for ever.
pub(super) async fn greeted<T>(
    connecting: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let connected = tokio::time::timeout(GREETING_TIMEOUT, connecting).await;
    connected
        .map_err(|_| DatabaseError::Away(format!("no greeting within {GREETING_TIMEOUT:?}")))?
}

/// Reads what a connection needs where waiting for a disk holds nobody up.
pub(super) async fn apart<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    let done = tokio::task::spawn_blocking(read).await;
    done.map_err(|error| DatabaseError::Away(error.to_string()))?
}

/// Whether a host is this machine, so that nobody is between.
pub(super) fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
