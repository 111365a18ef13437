//! The callers' own threads.
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
    /// As many threads as there are processors.
    pub(super) fn new() -> Result<Callers, Failure> {
        let runtime = Builder::new_multi_thread().thread_name("caller").enable_all().build()?;
        Ok(Callers(Some(runtime)))
    }

    /// Runs `asking` on the callers' threads, and gives its result.
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
