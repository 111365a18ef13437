//! The simulated transactions into the store, by the way that every event takes: push, log, worker.

use super::say::Phase;
use crate::cli::Failure;
use crate::http::App;
use crate::simulate::{Record, Transaction, to_json};
use std::time::{Duration, Instant};

/// Events of one push: large enough that its sync costs nothing beside it.
const CALL_EVENTS: usize = 20_000;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A worker that applies nothing for so long is stuck: it applies thousands of events a second.
const STUCK: Duration = Duration::from_secs(60);

/// Pushes all transactions and waits until they are applied.
pub(super) async fn fill(
    app: &App,
    transactions: &[Transaction],
    phase: &Phase,
) -> Result<(), Failure> {
    let live = app.live();
    let streams = live.catalog().streams();
    let stream = streams.iter().position(|part| part.stream.name == Transaction::STREAM);
    let stream = stream.ok_or("error: the definitions have no stream of transactions")?;
    let progress = &live.pusher.progress[stream];
    let mut places = Vec::new();
    for call in transactions.chunks(CALL_EVENTS) {
        let rows = tokio::task::block_in_place(|| lines(call));
        let rows: Vec<&[u8]> = rows.split(|byte| *byte == b'\n').collect();
        let pushed = live.pusher.push(stream, &rows[..call.len()]).await?;
        if let Some(rejected) = pushed.rejected.first() {
            return Err(format!("error: a simulated event was refused: {}", rejected.reason).into());
        }
        places = pushed.places;
        phase.at(progress.applied().records);
    }
    let (mut applied, mut moved) = (0, Instant::now());
    while tokio::time::timeout(LOOK, progress.wait_for(&places)).await.is_err() {
        let now = progress.applied().records;
        phase.at(now);
        if now > applied {
            (applied, moved) = (now, Instant::now());
        } else if moved.elapsed() > STUCK {
            let all: u64 = places.iter().map(|(_, records)| records).sum();
            return Err(format!("error: ingest stands at event {applied} of {all}").into());
        }
    }
    Ok(())
}

/// Each transaction as JSON on a line of its own.
fn lines(transactions: &[Transaction]) -> Vec<u8> {
    let mut lines = Vec::new();
    for transaction in transactions {
        to_json(transaction, &mut lines);
        lines.push(b'\n');
    }
    lines
}
