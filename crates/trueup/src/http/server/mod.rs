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
//! HTTP/1.1 only; what speaks HTTP/2 or TLS stands in front.

mod doors;
mod patient;

pub(super) use doors::Doors;

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
use std::pin::pin;
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

/// Serves a router until `stop` is done; then closes what is idle, and lets requests under way end
/// within [`DRAIN`].
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    app: &App,
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
                        tokio::spawn(converse(stream, router.clone(), inside, told.clone()));
                    }
                    None => turn_away(stream),
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

/// Says that there is no room, as far as that goes without waiting for the caller.
fn turn_away(stream: TcpStream) {
    let _ = stream.into_std().and_then(|mut stream| stream.write(FULL));
}

/// One connection, to its end.
async fn converse(
    stream: TcpStream,
    router: Router,
    inside: Inside,
    mut told: watch::Receiver<()>,
) {
    // Of a socket that is broken already the first read tells.
    let _ = stream.set_nodelay(true);
    let (has_asked, router) = (AtomicBool::new(false), TowerToHyperService::new(router));
    let service = service_fn(|request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let (answer, inside) = (router.call(request), &inside);
        async move {
            let answer = answer.await;
            inside.answered();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = pin!(connection);
    let mut first_head = pin!(tokio::time::sleep(HEAD_TIMEOUT));
    let (mut is_first, mut is_ending) = (true, false);
    loop {
        tokio::select! {
            // What ended it its caller knows.
            _ = connection.as_mut() => return,
            _ = told.changed(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = first_head.as_mut(), if is_first => {
                is_first = false;
                if !has_asked.load(Ordering::Relaxed) {
                    inside.doors().count(What::Silent);
                    return;
                }
            }
            () = inside.told_to_go() => return,
        }
    }
}
