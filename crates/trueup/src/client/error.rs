//! What can go wrong between us and a server.

use super::url::Server;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a request has no reply. A reply with an error status is a reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The server's URL cannot be used; the caller must change it.
    Url {
        /// The URL as it was given, without what might be a password.
        url: String,
        /// What is wrong with it, and what to write.
        reason: &'static str,
    },
    /// An option or argument cannot be used; the caller must change it.
    Option {
        /// Which.
        option: &'static str,
        /// What to give instead.
        remedy: &'static str,
    },
    /// No connection; nothing was sent, so trying again is safe.
    Connect {
        /// The server's host and port.
        server: String,
        /// What the system said.
        source: io::Error,
    },
    /// No whole reply in time; the request may have been carried out.
    Timeout {
        /// The server's host and port.
        server: String,
        /// The time that was given.
        timeout: Duration,
    },
    /// The connection broke, or what came over it is no HTTP reply; the request may have been
    /// carried out.
    Broken {
        /// The server's host and port.
        server: String,
        /// What happened, from the outer to the innermost cause.
        reason: String,
    },
}

impl ClientError {
    /// A broken exchange, with all causes of `error`.
    pub(super) fn broken(server: &Server, error: &(dyn Error + 'static)) -> ClientError {
        let causes = std::iter::successors(Some(error), |&cause| cause.source());
        let reason: Vec<String> = causes.map(ToString::to_string).collect();
        ClientError::Broken { server: server.authority(), reason: reason.join(": ") }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Url { url, reason } => write!(f, "cannot use the URL `{url}`: {reason}"),
            ClientError::Option { option, remedy } => {
                write!(f, "cannot use the given {option}: {remedy}")
            }
            ClientError::Connect { server, source } => write!(
                f,
                "cannot connect to {server}: {source}; check that the server runs and listens there"
            ),
            ClientError::Timeout { server, timeout } => write!(
                f,
                "{server} gave no whole reply within {} ms; give more time, or look at the \
                 server's load",
                timeout.as_millis()
            ),
            ClientError::Broken { server, reason } => write!(
                f,
                "the exchange with {server} broke: {reason}; check that an HTTP server listens \
                 there, and its log"
            ),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ClientError::Connect { source, .. } => Some(source),
            _ => None,
        }
    }
}
