//! The callers' own thread.
//!
//! Callers are other processes in the world. Here they share the processors with the server, which
//! the figures include; but they must not share its runtime, where a caller would find its reply
//! only when the server's work lets it, and that wait would be counted as latency.

use crate::cli::Failure;
use tokio::runtime::{Builder, Runtime};

/// A runtime for everything that asks.
#[derive(Debug)]
pub(super) struct Callers(Option<Runtime>);

impl Callers {
    /// One thread: it sends several times what the server answers, and of more the processors would
    /// be busy with handing requests from one to the other.
    pub(super) fn new() -> Result<Callers, Failure> {
        let mut threads = Builder::new_multi_thread();
        let runtime = threads.worker_threads(1).thread_name("caller").enable_all().build()?;
        Ok(Callers(Some(runtime)))
    }

    /// Runs `asking` on the callers' thread, and gives its result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        asking: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let runtime = self.0.as_ref().ok_or("error: the callers have ended")?;
        runtime.spawn(asking).await?
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for threads is not allowed where this is dropped, and nothing is under way.
            runtime.shutdown_background();
        }
    }
}
