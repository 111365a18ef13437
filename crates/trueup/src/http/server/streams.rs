//! HTTP/2 within bounds. A connection has many calls at one time, each a stream, so what bounds a
//! connection of HTTP/1 must bound a stream here:
//!
//! ```text
//! connected ──▶ first call ──▶ … ──▶ no frame for PING_AFTER ──▶ ping ──▶ PONG_TIMEOUT: gone
//! head ──▶ body ──▶ work ──▶ reply taken      at most STREAM_TIMEOUT, unless it may last
//! ```
//!
//! A caller whose window is shut takes nothing of its replies while its socket seems alive, and
//! would hold them in memory. So a stream has one time for all of it. Those that watch the health,
//! and reflection's, may last, for who watches does so for hours; what they hold is small.

use super::{IDLE_TIMEOUT, MAX_HEAD_BYTES};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

/// How long a connection is kept until its first call: channels are opened ahead of it, and who is
/// told that one has gone opens it again. Those that have asked nothing make room all the while.
pub(super) const FIRST_CALL_TIMEOUT: Duration = IDLE_TIMEOUT;

/// How long nothing need come before the other end is asked whether it is there: less than the
/// times after which routers and balancers forget a connection that is idle.
const PING_AFTER: Duration = Duration::from_secs(60);

/// How long it may take to say so.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// All of a call: ten seconds for its body, the minute that a push may wait, ten seconds more for
/// the reply to be taken, and some to spare.
const STREAM_TIMEOUT: Duration = Duration::from_secs(90);

/// Calls of one connection at one time; its client holds back the others. Many clients have one
/// connection for all their threads.
const MAX_STREAMS: u32 = 256;

tokio::task_local! {
    /// Whether the stream of this task may last.
    static LASTS: Cell<bool>;
}

/// The stream that is being served may last for as long as its caller likes.
pub(in crate::http) fn may_last() {
    // It is set for every stream; elsewhere there is nothing that could last.
    let _ = LASTS.try_with(|lasts| lasts.set(true));
}

/// Runs streams, each for its time.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    timeout: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let timeout = self.timeout;
        tokio::spawn(LASTS.scope(Cell::new(false), async move {
            let mut stream = pin!(stream);
            let ended = tokio::time::timeout(timeout, stream.as_mut()).await.is_ok();
            // One that is dropped is reset, and what waited for its window with it.
            if !ended && LASTS.with(Cell::get) {
                stream.await;
            }
        }));
    }
}

/// Connections of HTTP/2 as this server has them.
pub(super) fn builder() -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams { timeout: STREAM_TIMEOUT });
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// A caller that shut its window held its reply in memory for ever.
    #[tokio::test]
    async fn a_stream_has_its_time_unless_it_may_last() {
        let streams = Streams { timeout: Duration::from_millis(20) };
        let (held, dropped) = oneshot::channel::<()>();
        streams.execute(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert!(dropped.await.is_err(), "it is dropped, and sent nothing");
        let (done, lasted) = oneshot::channel();
        streams.execute(async move {
            may_last();
            tokio::time::sleep(Duration::from_millis(60)).await;
            // Who waits for it is below.
            let _ = done.send(());
        });
        assert_eq!(lasted.await, Ok(()));
    }
}
