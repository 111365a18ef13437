//! Two helpers for futures, so that no crate is needed for them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Polls a future within a runtime, whoever polls: timers and sockets find it there.
pub(super) struct Within<F> {
    runtime: Handle,
    future: Pin<Box<F>>,
}

impl<F: Future> Within<F> {
    pub(super) fn new(runtime: Handle, future: F) -> Self {
        Self { runtime, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let runtime = self.runtime.clone();
        let _entered = runtime.enter();
        self.future.as_mut().poll(context)
    }
}

enum Slot<F: Future> {
    Waiting(Pin<Box<F>>),
    Done(Option<F::Output>),
}

/// Runs futures side by side; their outcomes come in the order given.
pub(super) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut slots: Vec<Slot<F>> =
        futures.into_iter().map(|future| Slot::Waiting(Box::pin(future))).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for slot in &mut slots {
            if let Slot::Waiting(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(done) => *slot = Slot::Done(Some(done)),
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let done = slots.into_iter().filter_map(|slot| match slot {
        Slot::Done(done) => done,
        Slot::Waiting(_) => None,
    });
    done.collect()
}
