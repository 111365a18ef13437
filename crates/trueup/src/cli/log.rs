//! The log: lines on standard error, each with the request that it is about, if it is about one.

use crate::cause;
use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Held back whatever is asked for: the client of NATS shows messages, which are events, from
/// `debug` on.
const QUIET: &str = "async_nats=warn";

/// Logs to standard error, as much as TRUEUP_LOG says (warnings, unless it says otherwise).
pub(super) fn to_stderr() {
    let said = std::env::var("TRUEUP_LOG").ok().filter(|said| !said.trim().is_empty());
    let said = format!("{},{QUIET}", said.as_deref().unwrap_or("warn"));
    let filter = tracing_subscriber::EnvFilter::try_new(said)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second call in one process keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .map_event_format(WithCause)
        .try_init();
}

/// Lines as another form has them, and at their end the ids of the request and of its trace. A
/// span would have them too, and cost every request that logs nothing.
struct WithCause<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithCause<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(cause) = cause::current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let (line, request_id, trace_id) = (line.trim_end(), cause.request_id(), cause.trace_id);
        writeln!(writer, "{line} request_id={request_id} trace_id={trace_id:032x}")
    }
}
