//! One call with one message each way: the body within its bounds, the caller's deadline, and
//! problems as statuses.
//!
//! A status has the code that follows from HTTP's and the text of the problem document: what is
//! wrong, where, and the remedy. In its metadata are the document's type (`trueup-problem`) and,
//! where the same call may succeed later, `retry-after` in seconds and `grpc-retry-pushback-ms`, by
//! which clients with a policy of retries go.

use super::super::App;
use super::super::body;
use super::super::problem::Problem;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use prost::Message;
use std::time::{Duration, Instant};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// How long a caller waits for its reply.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Bytes of a status's text: clients refuse heads of over 8 KiB, in which each byte that is not
/// ASCII takes three.
const MAX_TEXT_BYTES: usize = 2 << 10;

/// A message that has come.
pub(super) struct Call<T> {
    pub(super) message: T,
    /// When it was here.
    pub(super) arrived: Instant,
    /// How long its caller waits for the reply, where that is said.
    pub(super) timeout: Option<Duration>,
}

/// Takes a message of at most so many bytes in, and replies with what `answer` makes of it.
pub(super) async fn unary<In, Out, Fut>(
    app: &App,
    request: Request,
    limit: usize,
    answer: impl Fn(Call<In>) -> Fut,
) -> Response
where
    In: Message + Default + 'static,
    Out: Message + 'static,
    Fut: Future<Output = Result<Out, Problem>>,
{
    let (parts, body) = request.into_parts();
    // Its room is held until the reply is there.
    let held = match body::read(&app.admission, Request::new(body), limit + PREFIX_BYTES).await {
        Ok(held) => held,
        Err(problem) => return status(problem).into_http(),
    };
    let (arrived, timeout) = (Instant::now(), timeout(&parts.headers));
    let method = Method(|message| {
        let answering = answer(Call { message, arrived, timeout });
        async move { answering.await.map(tonic::Response::new).map_err(status) }
    });
    let request = Request::from_parts(parts, Body::from(held.clone()));
    let mut grpc = Grpc::new(ProstCodec::<Out, In>::new()).max_decoding_message_size(limit);
    grpc.unary(method, request).await.map(Body::new)
}

/// A method as tonic calls it.
struct Method<F>(F);

impl<F, In, Out, Fut> UnaryService<In> for Method<F>
where
    F: Fn(In) -> Fut,
    Fut: Future<Output = Result<tonic::Response<Out>, Status>>,
{
    type Response = Out;
    type Future = Fut;

    fn call(&mut self, request: tonic::Request<In>) -> Fut {
        (self.0)(request.into_inner())
    }
}

/// A problem as a status.
pub(super) fn status(problem: Problem) -> Status {
    let Problem { status, kind, detail, at, remedy, retry_after_s, .. } = problem;
    let at = at.map(|at| format!(" (in {at})")).unwrap_or_default();
    let remedy = if remedy.is_empty() { remedy } else { format!("; help: {remedy}") };
    let mut metadata = MetadataMap::new();
    let kind = MetadataValue::try_from(format!("urn:trueup:problem:{kind}"));
    kind.into_iter().for_each(|kind| drop(metadata.insert("trueup-problem", kind)));
    if let Some(seconds) = retry_after_s {
        metadata.insert("retry-after", seconds.into());
        metadata.insert("grpc-retry-pushback-ms", seconds.saturating_mul(1_000).into());
    }
    let mut text = format!("{detail}{at}{remedy}");
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    Status::with_metadata(code(status), text, metadata)
}

fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::CONFLICT => Code::FailedPrecondition,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        // No repeat helps, not even of what is too large.
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// The caller's own deadline: up to eight digits and a unit. What is none is passed over, as
/// other servers do.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = said.split_at_checked(said.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_callers_deadline_is_read_in_every_unit_and_nonsense_is_none() {
        let read = |said: &'static str| {
            let value = HeaderValue::from_static(said);
            timeout(&HeaderMap::from_iter([(GRPC_TIMEOUT, value)]))
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for wrong in ["", "S", "100000000S", "1", "1s", "-1S", "1.5S"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn a_problem_keeps_its_text_its_type_and_when_to_come_again() {
        let busy = status(Problem::busy("300 answers are under way").at("body"));
        assert_eq!(busy.code(), Code::Unavailable);
        assert!(busy.message().starts_with("300 answers are under way (in body); help: wait"));
        let said = |name| busy.metadata().get(name).unwrap().to_str().unwrap();
        assert_eq!(said("trueup-problem"), "urn:trueup:problem:busy");
        assert_eq!(said("retry-after"), "1");
        assert_eq!(said("grpc-retry-pushback-ms"), "1000");
    }

    /// A remedy that names hundreds of columns would be refused by clients, as metadata too large.
    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = status(Problem::bad_request("x").remedy("\u{e9}".repeat(5_000)));
        let length = long.message().len();
        assert!((MAX_TEXT_BYTES - 2..=MAX_TEXT_BYTES).contains(&length), "{length}");
    }
}
