//! Admission: which decoded events may enter the state. A function of the event and of the time
//! that its log gave it, so that a replay decides alike.

use trueup_sql::Stream;
use trueup_sql::decode::print::Timestamp;

/// Why an event whose time lies too far ahead of the time that its log gave it is a dead letter;
/// `None` if it may enter. All times are microseconds since 1970.
pub(super) fn refusal(stream: &Stream, event_us: i64, log_us: i64) -> Option<String> {
    if event_us <= log_us.saturating_add(stream.future_us) {
        return None;
    }
    let ahead = stream.columns[stream.event_time].name.as_str();
    Some(format!(
        "{ahead} {} lies more than {} s ahead of {}, when the log took it; check the producer's \
         clock and unit, or declare a larger `future` for stream {}",
        Timestamp(event_us),
        stream.future_us as f64 / 1e6,
        Timestamp(log_us),
        stream.name
    ))
}
