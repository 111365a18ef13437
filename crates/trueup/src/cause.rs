//! Whose doing a piece of work is: the id of the request and its trace, for log lines and problem
//! documents, wherever the work is done. Not what was asked for: no key and no value is in here.
//!
//! A request's handler runs within [`scoped`]; work that goes on in a task of its own is
//! [`carried`] there. Log lines have both ids from [`current`] when they are written
//! (`cli::log`), so a request that logs nothing pays for none.

use axum::http::HeaderValue;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use xxhash_rust::xxh3::xxh3_128;

tokio::task_local! {
    static CAUSE: Arc<Cause>;
}

/// What a piece of work is done for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The id of the request; visible ASCII.
    pub request_id: HeaderValue,
    /// The trace that the request is a part of (W3C Trace Context).
    pub trace_id: u128,
}

impl Cause {
    /// By what a request says of itself; what it does not say, or not in the form that is wanted,
    /// is made up. A trace that begins with a request has the id of that request.
    pub fn new(request_id: Option<HeaderValue>, trace_id: Option<u128>) -> Cause {
        match (request_id, trace_id) {
            (Some(request_id), Some(trace_id)) => Cause { request_id, trace_id },
            (Some(request_id), None) => Cause { request_id, trace_id: fresh() },
            (None, Some(trace_id)) => Cause { request_id: written(fresh()), trace_id },
            (None, None) => {
                let trace_id = fresh();
                Cause { request_id: written(trace_id), trace_id }
            }
        }
    }

    /// The id of the request.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

fn written(id: u128) -> HeaderValue {
    HeaderValue::try_from(format!("{id:032x}")).expect("hexadecimal digits are ASCII")
}

/// An id that no other request has, in this process or another; no secret.
pub(crate) fn fresh() -> u128 {
    static SEED: LazyLock<u128> = LazyLock::new(|| {
        let mut seed = [0; 16];
        // Without it ids differ within this process alone.
        let _ = getrandom::fill(&mut seed);
        u128::from_le_bytes(seed)
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut what = [0; 24];
    what[..16].copy_from_slice(&SEED.to_le_bytes());
    what[16..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    // Zero is no id of a trace.
    xxh3_128(&what).max(1)
}

/// Does work for a cause.
pub async fn scoped<F: Future>(cause: Arc<Cause>, work: F) -> F::Output {
    CAUSE.scope(cause, work).await
}

/// Work for a task of its own, with the cause of what spawns it.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let cause = current();
    async move {
        match cause {
            Some(cause) => CAUSE.scope(cause, work).await,
            None => work.await,
        }
    }
}

/// What the work under way is done for, if a request is behind it.
pub fn current() -> Option<Arc<Cause>> {
    CAUSE.try_with(Arc::clone).ok()
}

/// Bytes of a `traceparent` of version 00: `00-TRACE-SPAN-FLAGS`, in hexadecimal digits.
const TRACEPARENT_BYTES: usize = 55;

/// The caller's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace_id: u128,
    /// The caller's own span.
    pub span_id: u64,
    /// Whether the caller records the trace.
    pub is_sampled: bool,
}

impl Parent {
    /// Reads a `traceparent` as the Recommendation of W3C wants it: version 00 to the letter, of
    /// later versions what 00 has and nothing behind it.
    pub fn read(traceparent: &[u8]) -> Option<Parent> {
        let (known, more) = traceparent.split_at_checked(TRACEPARENT_BYTES)?;
        let parts: Vec<&[u8]> = known.split(|byte| *byte == b'-').collect();
        let [version, trace, span, flags] = parts[..] else { return None };
        let is_whole = match hex(version, 2)? {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let (trace_id, span_id, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        let parent = Parent { trace_id, span_id: span_id as u64, is_sampled: flags & 1 == 1 };
        (is_whole && trace_id != 0 && span_id != 0).then_some(parent)
    }
}

/// The number that so many digits stand for, lower case alone.
fn hex(digits: &[u8], count: usize) -> Option<u128> {
    let fits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(digits).ok()?;
    (digits.len() == count && digits.iter().all(fits))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn read(traceparent: &str) -> Option<Parent> {
        Parent::read(traceparent.as_bytes())
    }

    #[test]
    fn a_traceparent_is_read_to_the_letter() {
        let trace_id = u128::from_str_radix(TRACE, 16).unwrap();
        let parent =
            |is_sampled| Some(Parent { trace_id, span_id: 0xb7ad_6b71_6920_3331, is_sampled });
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let said = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
            assert_eq!(read(&said), parent(is_sampled), "{said}");
        }
        // Later versions may say more, behind what this one knows.
        for later in ["cc-T-b7ad6b7169203331-01", "cc-T-b7ad6b7169203331-01-what-the-future-has"] {
            assert_eq!(read(&later.replace('T', TRACE)), parent(true), "{later}");
        }
    }

    /// Two readers of one header must not take it for two traces, or one for none.
    #[test]
    fn what_is_no_traceparent_begins_another_trace() {
        for bad in [
            "",
            "00",
            "ff-T-b7ad6b7169203331-01",
            "00-T-b7ad6b7169203331-01-",
            "00-T-b7ad6b7169203331-01-more",
            "cc-T-b7ad6b7169203331-01.more",
            "00-T-b7ad6b7169203331-0",
            "00-T-b7ad6b7169203331-0x",
            "00-T-b7ad6b716920333-011",
            "00-T-B7AD6B7169203331-01",
            "00-T-0000000000000000-01",
            "00-T_b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "0-T-b7ad6b7169203331-001",
            " 00-T-b7ad6b7169203331-1",
        ] {
            assert_eq!(read(&bad.replace('T', TRACE)), None, "{bad}");
        }
    }

    #[test]
    fn requests_without_an_id_have_different_ones_and_a_trace_that_begins_has_the_same() {
        let [one, other] = [Cause::new(None, None), Cause::new(None, None)];
        assert_ne!(one, other);
        assert_eq!(one.request_id(), format!("{:032x}", one.trace_id));
        let of_a_trace = Cause::new(None, Some(7));
        assert_eq!(of_a_trace.trace_id, 7);
        assert_ne!(of_a_trace.request_id(), format!("{:032x}", 7));
    }

    #[tokio::test]
    async fn a_task_that_a_request_begins_is_done_for_that_request() {
        assert_eq!(current(), None);
        let cause = Arc::new(Cause::new(None, None));
        let spawned = scoped(Arc::clone(&cause), async {
            let bare = tokio::spawn(async { current() }).await.unwrap();
            assert_eq!(bare, None);
            tokio::spawn(carried(async { current() })).await.unwrap()
        });
        assert_eq!(spawned.await, Some(cause));
        assert_eq!(tokio::spawn(carried(async { current() })).await.unwrap(), None);
    }
}
