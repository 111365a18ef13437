//! So many callers, each of whom asks again when the answer is there.

use crate::times::percentile_ms;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a caller waits that was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// What the callers met.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// Answers with what was asked for.
    pub(crate) per_second: f64,
    pub(crate) refused: usize,
    /// Of answers, sorted.
    times: Vec<Duration>,
}

impl Met {
    pub(crate) fn ms(&self, share: f64) -> f64 {
        percentile_ms(&self.times, share).unwrap_or_default()
    }
}

/// Has `callers` ask in turn until `phase` is over; requests that have begun are waited for. `call`
/// gets the caller and a number that nobody else has, and says whether it was answered.
pub(crate) async fn run<F: Future<Output = bool> + Send>(
    callers: usize,
    phase: Duration,
    call: impl Fn(usize, u64) -> F + Clone + Send + 'static,
) -> Met {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let began = Instant::now();
    let one = |caller| {
        let call = call.clone();
        tokio::spawn(async move {
            let (mut times, mut refused) = (Vec::new(), 0);
            while began.elapsed() < phase {
                let sent = Instant::now();
                match call(caller, NUMBER.fetch_add(1, Ordering::Relaxed)).await {
                    true => times.push(sent.elapsed()),
                    false => {
                        refused += 1;
                        tokio::time::sleep(REFUSED_PAUSE).await;
                    }
                }
            }
            (times, refused)
        })
    };
    let asked: Vec<_> = (0..callers).map(one).collect();
    let (mut times, mut refused) = (Vec::new(), 0);
    for caller in asked {
        let (of_caller, refused_to) = caller.await.expect("no request fails");
        times.extend(of_caller);
        refused += refused_to;
    }
    let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    Met { per_second, refused, times }
}
