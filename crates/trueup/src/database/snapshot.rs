//! All rows of a table as they were at one moment, for one who copies them.
//!
//! ```text
//! Database::snapshot ─▶ the moment is fixed ─▶ next, next, next …  ─▶ an empty part: the end
//! ```
//!
//! The server is not asked for rows before the first [`Snapshot::next`], so whoever has to look
//! elsewhere after the moment, and before the rows, may take his time. What waits between server
//! and caller is bounded: a caller that is slow holds up the server.

use super::{DatabaseError, Fields};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Rows of one part: enough that their number costs nothing, some hundred kilobytes.
pub(super) const PART_ROWS: usize = 4_096;

/// Parts that wait for the caller, so that neither waits for the other for long.
const WAITING: usize = 2;

/// How long a server may say nothing: a view that sorts takes its time before its first row.
pub(super) const SILENT: Duration = Duration::from_secs(600);

/// A row of the table; or in words what of it cannot be read, and where.
pub type Copied = Result<Fields, String>;

/// A table at one moment.
#[derive(Debug)]
pub struct Snapshot {
    go: Option<oneshot::Sender<()>>,
    parts: mpsc::Receiver<Result<Vec<Copied>, DatabaseError>>,
}

/// The side of it that has the connection.
pub(super) struct Hand {
    go: oneshot::Receiver<()>,
    parts: mpsc::Sender<Result<Vec<Copied>, DatabaseError>>,
    part: Vec<Copied>,
}

impl Snapshot {
    /// Both sides.
    pub(super) fn new() -> (Snapshot, Hand) {
        let (go, gone) = oneshot::channel();
        let (sender, parts) = mpsc::channel(WAITING);
        let hand = Hand { go: gone, parts: sender, part: Vec::new() };
        (Snapshot { go: Some(go), parts }, hand)
    }

    /// The next rows, none at the end. After an error nothing follows.
    ///
    /// # Errors
    /// [`DatabaseError`], when the database broke off: then what came is not all.
    pub async fn next(&mut self) -> Result<Vec<Copied>, DatabaseError> {
        if let Some(go) = self.go.take() {
            // One that has ended says so below.
            let _ = go.send(());
        }
        match tokio::time::timeout(SILENT, self.parts.recv()).await {
            Ok(Some(part)) => part,
            Ok(None) => Err(DatabaseError::Away("it ended before the table's end".into())),
            Err(_) => Err(DatabaseError::Away(format!("nothing came within {SILENT:?}"))),
        }
    }
}

impl Hand {
    /// Waits until rows are wanted; `false` if nobody wants them any more.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) async fn wanted(&mut self) -> bool {
        (&mut self.go).await.is_ok()
    }

    /// The same on a thread of its own.
    pub(super) fn wanted_blocking(&mut self) -> bool {
        // Blocking takes the receiver itself; it is asked once.
        let (_, never) = oneshot::channel();
        std::mem::replace(&mut self.go, never).blocking_recv().is_ok()
    }

    /// Hands over a row; `false` if nobody wants it any more.
    pub(super) fn row_blocking(&mut self, row: Copied) -> bool {
        self.part.push(row);
        if self.part.len() < PART_ROWS {
            return true;
        }
        let part = self.taken();
        self.parts.blocking_send(Ok(part)).is_ok()
    }

    /// The same in a task.
    #[cfg(feature = "mysql")]
    pub(super) async fn row(&mut self, row: Copied) -> bool {
        self.part.push(row);
        self.part.len() < PART_ROWS || self.rows(Vec::new()).await
    }

    /// Hands over a part, behind what waits; `false` if nobody wants it any more.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) async fn rows(&mut self, rows: Vec<Copied>) -> bool {
        self.part.extend(rows);
        let part = self.taken();
        part.is_empty() || self.parts.send(Ok(part)).await.is_ok()
    }

    /// The last word: all rows were handed over, or why not.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) async fn end(mut self, done: Result<(), DatabaseError>) {
        // Nobody need want it.
        let _ = match done {
            Ok(()) => self.rows(Vec::new()).await && self.parts.send(Ok(Vec::new())).await.is_ok(),
            Err(error) => self.parts.send(Err(error)).await.is_ok(),
        };
    }

    /// The same on a thread of its own.
    pub(super) fn end_blocking(mut self, done: Result<(), DatabaseError>) {
        let rest = self.taken();
        let _ = match done {
            Ok(()) if rest.is_empty() => self.parts.blocking_send(Ok(rest)),
            Ok(()) => self
                .parts
                .blocking_send(Ok(rest))
                .and_then(|()| self.parts.blocking_send(Ok(Vec::new()))),
            Err(error) => self.parts.blocking_send(Err(error)),
        };
    }

    fn taken(&mut self) -> Vec<Copied> {
        std::mem::take(&mut self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Field;

    fn row(number: i64) -> Copied {
        Ok(vec![Field::Int(number)])
    }

    #[tokio::test]
    async fn rows_come_in_order_after_they_were_wanted_and_the_end_is_said() {
        let rows = 2 * PART_ROWS as i64 + 7;
        let (mut snapshot, mut hand) = Snapshot::new();
        let thread = std::thread::spawn(move || {
            assert!(hand.wanted_blocking());
            assert!((0..rows).all(|number| hand.row_blocking(row(number))));
            hand.end_blocking(Ok(()));
        });
        let mut came = Vec::new();
        loop {
            match snapshot.next().await.expect("rows") {
                part if part.is_empty() => break,
                part => came.extend(part),
            }
        }
        assert_eq!(came, (0..rows).map(row).collect::<Vec<_>>());
        thread.join().expect("it ended well");
    }

    /// The harm: a connection that was cut makes a short table.
    #[tokio::test]
    async fn one_that_breaks_off_is_no_end() {
        let (mut snapshot, hand) = Snapshot::new();
        drop(hand);
        assert!(matches!(snapshot.next().await, Err(DatabaseError::Away(_))));
        let (snapshot, mut hand) = Snapshot::new();
        drop(snapshot);
        let wanted = std::thread::spawn(move || hand.wanted_blocking()).join();
        assert!(!wanted.expect("it ended well"), "nobody wants them");
    }
}
