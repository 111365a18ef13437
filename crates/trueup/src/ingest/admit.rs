//! Admission: which decoded events may enter the state. A function of the event and of the time
//! that its log gave it, so that a replay decides alike.

use crate::catalog::StreamPart;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use trueup_sql::Stream;
use trueup_sql::decode::print::Timestamp;

/// Why the event in a row is a dead letter, and the column at fault; `None` if it may enter. The log
/// took it at `log_us`, microseconds since 1970.
pub(super) fn refusal(
    part: &StreamPart,
    batch: &RecordBatch,
    row: usize,
    log_us: i64,
) -> Option<(String, String)> {
    let stream = &part.stream;
    let times = batch.column(stream.event_time).as_primitive::<TimestampMicrosecondType>();
    if let Some(reason) = too_far_ahead(stream, times.value(row), log_us) {
        return Some((stream.columns[stream.event_time].name.clone(), reason));
    }
    let (column, reason) = part.long_key(batch, row)?;
    Some((column.to_string(), reason))
}

fn too_far_ahead(stream: &Stream, event_us: i64, log_us: i64) -> Option<String> {
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
