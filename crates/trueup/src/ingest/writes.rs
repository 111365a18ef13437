//! Writes to the store: one append behind the other, each under way while its worker works out the
//! next batch, and compaction beside them.
//!
//! ```text
//! worker      work out 2 ─▶ settle 1, begin 2 ─▶ work out 3 ─▶ settle 2, begin 3 ─▶ …
//! store       ─ append 1 ─▶ ──────── append 2 ──────────▶ ──── append 3 ────▶
//! compaction                  ── what 1 let outgrow ──▶     ── what 2 did ──▶
//! ```
//!
//! One append is under way at a time, so that those of one worker stay in order and each begins
//! with what the one before came to. Compaction may run beside appends, ours or other workers':
//! what it puts back is guarded by the bytes that it read.

use super::IngestError;
use super::compact::{Outgrown, compact};
use super::prepare::Prepared;
use super::progress::{Counts, Progress};
use super::quarantine::said;
use crate::catalog::Catalog;
use std::fmt;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use trueup_store::{
    Batch, Checkpoint, Durability, Grown, Marker, Space, Stands, Store, StoreError,
};

/// Keys that may wait for compaction while another is under way. With more, the worker waits too:
/// tails would grow faster than they are folded.
const MAX_WAITING: usize = 512;

/// What is written in one go.
#[derive(Debug)]
pub struct Write {
    /// The records.
    pub prepared: Prepared,
    /// Where the store is to stand.
    pub stands: Stands,
    /// How far everything is, these records included; nothing when it is not to be said yet.
    pub checkpoints: Vec<(Space, Checkpoint)>,
    /// What comes with them.
    pub markers: Vec<(Space, Marker)>,
}

/// Records that are in the store, and how long their values are now.
struct Appended {
    prepared: Prepared,
    grown: Vec<Grown>,
}

type Appending = Pin<Box<dyn Future<Output = Result<Appended, StoreError>> + Send>>;

/// The writes of one worker. They are begun and waited for on a thread of its own, not in a task.
pub struct Writes {
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    progress: Arc<Progress>,
    runtime: Handle,
    appending: Option<Appending>,
    compacting: Option<JoinHandle<Result<(), IngestError>>>,
    outgrown: Outgrown,
}

impl Writes {
    /// Nothing is under way yet.
    pub fn new(
        catalog: Arc<Catalog>,
        store: Arc<dyn Store>,
        progress: Arc<Progress>,
        runtime: Handle,
    ) -> Writes {
        let (appending, compacting, outgrown) = (None, None, Outgrown::default());
        Writes { catalog, store, progress, runtime, appending, compacting, outgrown }
    }

    /// Whether an append is under way.
    pub fn is_under_way(&self) -> bool {
        self.appending.is_some()
    }

    /// Sends a write, when the one before is settled.
    ///
    /// # Errors
    /// What became of the one before; then this one is not begun.
    pub fn begin(&mut self, write: Write) -> Result<(), IngestError> {
        self.settle()?;
        let (catalog, store) = (Arc::clone(&self.catalog), Arc::clone(&self.store));
        let mut appending: Appending = Box::pin(append(catalog, store, write));
        // Once is enough to have it on its way, unless a connection must be made or looked at.
        // Replies are collected, and a checkpoint that is due is sent, when it is settled.
        let sent = poll_fn(|context| Poll::Ready(appending.as_mut().poll(context)));
        self.appending = Some(match self.runtime.block_on(sent) {
            Poll::Ready(done) => Box::pin(ready(done)),
            Poll::Pending => appending,
        });
        Ok(())
    }

    /// Waits until the append that is under way is in the store, if there is one.
    ///
    /// # Errors
    /// What the store says. What was written may be there or not: nothing of it counts, and it is
    /// to be written again.
    pub fn settle(&mut self) -> Result<(), IngestError> {
        let Some(appending) = self.appending.take() else { return Ok(()) };
        let Appended { prepared, grown } = self.runtime.block_on(appending)?;
        Counts::add(&self.progress.counts.records, grown.len() as u64);
        self.outgrown.add(&self.catalog, &prepared, &grown);
        Ok(())
    }

    /// Begins to compact what has outgrown its bound, unless a compaction is under way: then it
    /// waits, and the caller too if there is much of it.
    ///
    /// # Errors
    /// What the compaction before met.
    pub fn compact(&mut self) -> Result<(), IngestError> {
        let under_way = self.compacting.as_ref().is_some_and(|before| !before.is_finished());
        if under_way && self.outgrown.len() <= MAX_WAITING {
            return Ok(());
        }
        self.wait_for_compaction()?;
        if self.outgrown.len() == 0 {
            return Ok(());
        }
        let outgrown = std::mem::take(&mut self.outgrown);
        let (catalog, store) = (Arc::clone(&self.catalog), Arc::clone(&self.store));
        let (progress, runtime) = (Arc::clone(&self.progress), self.runtime.clone());
        // On a thread where folding keeps no request waiting.
        self.compacting = Some(self.runtime.spawn_blocking(move || {
            runtime.block_on(compact(&catalog, &*store, &progress.counts, &outgrown))
        }));
        Ok(())
    }

    /// Waits for all that is under way, and compacts what is left.
    ///
    /// # Errors
    /// The first failure.
    pub fn drain(&mut self) -> Result<(), IngestError> {
        self.settle()?;
        while self.compacting.is_some() || self.outgrown.len() > 0 {
            self.wait_for_compaction()?;
            self.compact()?;
        }
        Ok(())
    }

    /// Waits for all that is under way, whatever comes of it: it will be written again.
    pub fn abandon(&mut self) {
        if let Some(appending) = self.appending.take() {
            drop(self.runtime.block_on(appending));
        }
        self.outgrown = Outgrown::default();
        if let Err(error) = self.wait_for_compaction() {
            tracing::warn!(%error, "a compaction failed; its keys are folded another time");
        }
    }

    fn wait_for_compaction(&mut self) -> Result<(), IngestError> {
        let Some(compacting) = self.compacting.take() else { return Ok(()) };
        match self.runtime.block_on(compacting) {
            Ok(compacted) => compacted,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => Err(IngestError::Panicked(said(&*panic).to_owned())),
                // The runtime is being shut down.
                Err(_) => Ok(()),
            },
        }
    }
}

impl Drop for Writes {
    /// Nothing of it is at work when it is gone. (After a panic the thread has other worries.)
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.abandon();
        }
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (appending, outgrown) = (self.appending.is_some(), self.outgrown.len());
        let mut shown = f.debug_struct("Writes");
        shown.field("appending", &appending).field("outgrown", &outgrown).finish_non_exhaustive()
    }
}

async fn append(
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    write: Write,
) -> Result<Appended, StoreError> {
    let Write { prepared, stands, checkpoints, markers } = write;
    let appends = prepared.appends(&catalog);
    let batch = Batch {
        under: &stands,
        appends: &appends,
        checkpoints: &checkpoints,
        markers: &markers,
        expiry: catalog.expiry(),
        durability: Durability::Buffered,
    };
    crate::fault::point("before-checkpoint");
    let grown = store.append(&batch).await?;
    crate::fault::point("after-checkpoint");
    drop(appends);
    Ok(Appended { prepared, grown })
}
