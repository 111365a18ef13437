//! The server below the routes: connections taken in, held to their times, and let go at the end.
//! Whether a request is taken is `admission`'s.
//!
//! A caller that is slow, or means harm, costs one of a bounded number of connections, for a
//! bounded time:
//!
//! ```text
//! connected ──▶ first head ──▶ body ──▶ work ──▶ reply ──▶ next head ──▶ …
//!      HEAD_TIMEOUT    BODY_TIMEOUT (body)  WRITE_TIMEOUT   IDLE_TIMEOUT
//! ```
//!
//! When there are as many as there may be, room is made by closing the one that has waited longest
//! for its first answer, so that connections which ask nothing keep nobody out. If all had one,
//! the new one is told so and closed: left in the system's backlog it would seem connected and hear
//! nothing, and its caller could not turn to another server.
//!
//! HTTP/1.1; what speaks HTTP/2 or TLS stands in front. gRPC has an address of its own, where only
//! HTTP/2 is spoken (`streams`).

mod doors;
mod patient;
#[cfg(feature = "grpc")]
mod streams;

pub(super) use doors::Doors;
#[cfg(feature = "grpc")]
pub(super) use streams::may_last;

use super::App;
use axum::Router;
use axum::extract::Request;
use doors::{Inside, What};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use patient::Patient;
use std::io::{ErrorKind, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long a new connection may take until the head of its first request is there. A caller on a
/// bad line needs a second or two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept until the head of a next request is there: longer than the minute
/// after which most proxies and clients close theirs, so that none sends into one that is closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Bytes of a head: several times those of a token and a trace.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long to wait when no connection can be taken in, for want of descriptors above all: whoever
/// has them needs a moment, and asking without a pause would take a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests that are under way may take to end after the word to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// What one hears for whom there is no room.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
                      content-length: 0\r\n\r\n";

/// What is spoken on the connections of an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    Http1,
    #[cfg(feature = "grpc")]
    Http2,
}

/// A connection's caller.
struct Caller {
    inside: Inside,
    has_asked: AtomicBool,
}

/// Serves a router until `stop` is done; then closes what is idle, and lets requests under way end
/// within [`DRAIN`].
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    app: &App,
    wire: Wire,
    stop: impl Future<Output = ()>,
) {
    let doors = &app.doors;
    let (tell, told) = watch::channel(());
    let mut stop = pin!(stop);
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                failing = false;
                match doors.enter() {
                    Some(inside) => {
                        let router = router.clone();
                        tokio::spawn(converse(stream, router, wire, inside, told.clone()));
                    }
                    None => turn_away(stream, wire),
                }
            }
            Err(error) if is_of_its_caller(error.kind()) => {}
            Err(error) => {
                doors.count(What::AcceptError);
                if !failing {
                    tracing::error!(%error, "no connection can be taken in; trying again");
                }
                failing = true;
                tokio::select! {
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    () = &mut stop => break,
                }
            }
        }
    }
    drop((listener, told));
    tell.send_replace(());
    // What is not done by then is cut off when the process ends.
    let _ = tokio::time::timeout(DRAIN, tell.closed()).await;
}

/// Whether accepting failed because the one who called has gone again.
fn is_of_its_caller(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(kind, ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Says that there is no room, as far as that goes without waiting for the caller. HTTP/2 has no
/// word for it before it was greeted; that the connection ends is UNAVAILABLE to gRPC's clients.
fn turn_away(stream: TcpStream, wire: Wire) {
    if matches!(wire, Wire::Http1) {
        let _ = stream.into_std().and_then(|mut stream| stream.write(FULL));
    }
}

/// One connection, to its end.
async fn converse(
    stream: TcpStream,
    router: Router,
    wire: Wire,
    inside: Inside,
    told: watch::Receiver<()>,
) {
    // Of a socket that is broken already the first read tells.
    let _ = stream.set_nodelay(true);
    let caller = Arc::new(Caller { inside, has_asked: AtomicBool::new(false) });
    let (router, asking) = (TowerToHyperService::new(router), Arc::clone(&caller));
    let service = service_fn(move |request: Request<Incoming>| {
        asking.has_asked.store(true, Ordering::Relaxed);
        let (answer, caller) = (router.call(request), Arc::clone(&asking));
        async move {
            let answer = answer.await;
            caller.inside.answered();
            answer
        }
    });
    let stream = TokioIo::new(Patient::new(stream));
    match wire {
        Wire::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE_TIMEOUT)
                .max_header_size(MAX_HEAD_BYTES)
                .serve_connection(stream, service);
            let end = http1::Connection::graceful_shutdown;
            attend(connection, end, HEAD_TIMEOUT, &caller, told).await;
        }
        #[cfg(feature = "grpc")]
        Wire::Http2 => {
            let connection = streams::builder().serve_connection(stream, service);
            let end = hyper::server::conn::http2::Connection::graceful_shutdown;
            attend(connection, end, streams::FIRST_CALL_TIMEOUT, &caller, told).await;
        }
    }
}

/// Drives a connection until it ends, its caller asks nothing for too long or has to go. `end`
/// has it take no more requests.
async fn attend<C: Future>(
    connection: C,
    end: impl Fn(Pin<&mut C>),
    first: Duration,
    caller: &Caller,
    mut told: watch::Receiver<()>,
) {
    let mut connection = pin!(connection);
    let mut first_head = pin!(tokio::time::sleep(first));
    let (mut is_first, mut is_ending) = (true, false);
    loop {
        tokio::select! {
            // What ended it its caller knows.
            _ = connection.as_mut() => return,
            _ = told.changed(), if !is_ending => {
                is_ending = true;
                end(connection.as_mut());
            }
            () = first_head.as_mut(), if is_first => {
                is_first = false;
                if !caller.has_asked.load(Ordering::Relaxed) {
                    caller.inside.doors().count(What::Silent);
                    return;
                }
            }
            () = caller.inside.told_to_go() => return,
        }
    }
}
