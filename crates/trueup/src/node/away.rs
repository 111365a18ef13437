//! What is away when a process starts. One that runs waits for it, and says so; one that starts
//! ends over it, and there is nothing left that could try again.

use super::{NodeError, open};
use crate::ingest::IngestError;
use crate::place::Place;
use crate::release::ReleaseError;
use std::sync::Arc;
use trueup_store::{Log, Store, StoreError};

/// The remedy for a store.
const STORE: &str = "Start that server, or mend `store` in the settings.";

/// The remedy for a source.
const SOURCE: &str = "Start the servers that it names, or mend `source` in the settings";

/// The error of a store that was to be opened, as it is for a process that ends over it.
fn store_at_start(error: StoreError, place: &Place) -> StoreError {
    match error {
        StoreError::Unavailable { detail } => StoreError::Unfit {
            place: format!("setting store, {place}"),
            detail: format!("no answer: {detail}"),
            remedy: STORE,
        },
        other => other,
    }
}

/// Opens the state, and the logs, for a process that ends if it cannot.
///
/// # Errors
/// The store's, with the remedy for such a process.
pub(crate) async fn open_at_start(
    place: &Place,
    ingest: bool,
) -> Result<(Arc<dyn Store>, Option<Arc<Log>>), StoreError> {
    open(place, ingest).await.map_err(|error| store_at_start(error, place))
}

impl NodeError {
    /// The same for all that a node opens; `place` is that of its store.
    pub(super) fn at_start(self, place: &Place) -> NodeError {
        match self {
            NodeError::Store(error)
            | NodeError::Release(ReleaseError::Store(error))
            | NodeError::Ingest(IngestError::Store(error)) => {
                NodeError::Store(store_at_start(error, place))
            }
            NodeError::Ingest(IngestError::Source(mut error)) if error.retry => {
                error.remedy = SOURCE;
                NodeError::Ingest(IngestError::Source(error))
            }
            other => other,
        }
    }
}
