//! Keys read, and early copies put behind their values in the same step.
//!
//! ```text
//!   no copies ─▶ store.read
//!   copies ────▶ store.record ─ fails ─▶ store.read: nothing is known of the copies
//! ```

use super::answer::Serving;
use crate::catalog::Catalog;
use std::sync::Arc;
use tokio::runtime::Handle;
use trueup_store::{Append, At, Detail, Early, Recorded, Space, StoreError};

/// Bytes that a value may have beyond the bound of a key's state with early copies: some thousands
/// of events that no worker has folded yet. A card with more of them while the workers are away is
/// answered without those that found no room, whose reply says so.
pub const EARLY_BYTES: usize = 256 << 10;

impl Serving {
    /// Reads keys at one moment, and puts copies behind values in that step.
    pub(super) async fn touch(
        &self,
        ats: &[At<'_>],
        copies: &[Append<'_>],
        detail: Detail,
    ) -> Result<Recorded, StoreError> {
        if !copies.is_empty() {
            let recorded = match self.store.writes_block() {
                true => self.record_apart(ats, copies, detail).await,
                false => self.store.record(ats, &early(&self.catalog, copies), detail).await,
            };
            match recorded {
                Ok(recorded) => return Ok(recorded),
                // A disk that is full can be read all the same.
                Err(error) => tracing::warn!(%error, "early copies are not known to be stored"),
            }
        }
        let reads = self.store.read(ats, detail).await?;
        Ok(Recorded { reads, appended: vec![false; copies.len()] })
    }

    /// The same on a thread that answers nobody, since the store's writes hold up who polls them.
    async fn record_apart(
        &self,
        ats: &[At<'_>],
        copies: &[Append<'_>],
        detail: Detail,
    ) -> Result<Recorded, StoreError> {
        let owned = |at: &At<'_>| (at.space, at.key.to_vec());
        let keys: Vec<(Space, Vec<u8>)> = ats.iter().map(owned).collect();
        let copies: Vec<_> =
            copies.iter().map(|copy| (owned(&copy.at), copy.record.to_vec())).collect();
        let (store, catalog) = (Arc::clone(&self.store), Arc::clone(&self.catalog));
        let runtime = Handle::current();
        let work = move || {
            let ats: Vec<At<'_>> = keys.iter().map(borrowed).collect();
            let copies = copies.iter().map(|(at, record)| Append { at: borrowed(at), record });
            let copies: Vec<Append<'_>> = copies.collect();
            runtime.block_on(store.record(&ats, &early(&catalog, &copies), detail))
        };
        let ended = |_| StoreError::Unavailable { detail: "the process ends".to_owned() };
        tokio::task::spawn_blocking(work).await.map_err(ended)?
    }
}

fn borrowed((space, key): &(Space, Vec<u8>)) -> At<'_> {
    At { space: *space, key }
}

fn early<'a>(catalog: &'a Catalog, appends: &'a [Append<'a>]) -> Early<'a> {
    let room = catalog.limits.max_bytes.saturating_add(EARLY_BYTES);
    Early { appends, expiry: catalog.expiry(), room }
}
