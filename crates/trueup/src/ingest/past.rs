//! Whether a stream has a past that its log does not hold: a history was read into its state. Then
//! a log that is held from its first record is not the whole history, and a group that begins with
//! it (its definition has changed, or the store was emptied) is not complete for ever.
//!
//! It is remembered in three places, since each may be lost with what it is in: a note in the
//! store, which every worker of the stream sees; this process, which outlives a store that is
//! emptied; and a file of the worker's directory, which outlives both.

use super::source::FIRST_LOG;
use std::path::{Path, PathBuf};
use trueup_store::{Meta, Store, StoreError};
use xxhash_rust::xxh3::xxh3_64;

/// What the note and the file hold.
const SAID: &[u8] = b"a history was read in";

/// What the note holds when a backfill was abandoned: what the log has is to be all.
const RETRACTED: &[u8] = b"no history";

/// What is known of a stream's past.
#[derive(Debug)]
pub(crate) struct Past {
    /// Of the note.
    name: String,
    file: Option<PathBuf>,
    is_known: bool,
}

impl Past {
    /// Of a stream, with what a directory remembers of it.
    pub(crate) fn of(stream: &str, dir: Option<&Path>) -> Past {
        // Names of streams may hold anything, and be long.
        let file = dir.map(|dir| dir.join(format!("past-{:016x}", xxh3_64(stream.as_bytes()))));
        let is_known = file.as_ref().is_some_and(|file| file.exists());
        Past { name: format!("past:{stream}"), file, is_known }
    }

    /// Whether there is one, as far as anybody remembers; `metas` are those of the stream's groups.
    pub(super) async fn look(
        &mut self,
        store: &dyn Store,
        metas: &[Meta],
    ) -> Result<bool, StoreError> {
        let note = store.note(&self.name).await?;
        let has_history = |meta: &Meta| meta.checkpoints.iter().any(|it| it.source < FIRST_LOG);
        if note.as_deref() == Some(RETRACTED) {
            self.forget();
        }
        let is_noted = note.as_deref() == Some(SAID);
        if is_noted || self.is_known || metas.iter().any(has_history) {
            self.remember(store, note.as_deref()).await?;
        }
        Ok(self.is_known)
    }

    /// A history is being read in.
    pub(super) async fn declare(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let note = store.note(&self.name).await?;
        self.remember(store, note.as_deref()).await
    }

    /// What was read in is dropped, and what the log has is to be all.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn retract(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let note = store.note(&self.name).await?;
        store.set_note(&self.name, note.as_deref(), RETRACTED).await?;
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.is_known = false;
        if let Some(file) = &self.file {
            // Mostly there is none.
            drop(std::fs::remove_file(file));
        }
    }

    async fn remember(&mut self, store: &dyn Store, note: Option<&[u8]>) -> Result<(), StoreError> {
        self.is_known = true;
        if note != Some(SAID) {
            // Whoever was quicker has noted the same.
            store.set_note(&self.name, note, SAID).await?;
        }
        let Some(file) = self.file.take_if(|file| !file.exists()) else { return Ok(()) };
        match std::fs::write(&file, SAID) {
            Ok(()) => self.file = Some(file),
            Err(error) => {
                let file = file.display().to_string();
                tracing::warn!(file, %error, "that a history was read in is in the store alone");
            }
        }
        Ok(())
    }
}
