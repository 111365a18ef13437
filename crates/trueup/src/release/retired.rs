//! State that no definitions need any more: dropped by one process alone, and never what a history
//! is being read into.

use super::stored::{Seen, change, read};
use super::{Kept, Note, ReleaseError};
use crate::ingest::backfill::is_under_way;
use trueup_store::{Space, Store, StoreError};

/// How long one process may take to drop state before another does so.
const DROP_WITHIN_US: i64 = 600_000_000;

impl Note {
    /// Whether a process is dropping what is retired.
    fn is_dropping(&self, now_us: i64) -> bool {
        self.dropping_us > 0 && self.dropping_us.saturating_add(DROP_WITHIN_US) > now_us
    }
}

/// Drops the state of those retired groups that are `meant`, and takes them off the list. `None` if
/// there is none to drop, or another process is at it.
///
/// # Errors
/// [`ReleaseError`]; then another process does it later.
pub async fn drop_retired(
    store: &dyn Store,
    note: &Note,
    meant: impl Fn(&Kept) -> bool,
    now_us: i64,
) -> Result<Option<Seen>, ReleaseError> {
    if note.is_dropping(now_us) {
        return Ok(None);
    }
    let mut gone = droppable(store, note).await?;
    gone.retain(meant);
    if gone.is_empty() {
        return Ok(None);
    }
    let dropping = note.dropping(now_us);
    let claim = change(store, |there| {
        Ok(there.filter(|it| it.revision == note.revision).map(|_| dropping.clone()))
    });
    if claim.await?.is_none_or(|seen| seen.note != dropping) {
        return Ok(None);
    }
    for group in &gone {
        if let Some(space) = group.space() {
            store.drop_space(space).await?;
        }
        tracing::warn!(group = group.name, "no definitions need its state: it is dropped");
    }
    change(store, |there| Ok(there.map(|it| it.dropped(&gone)))).await
}

/// The retired groups but those that a history is being read into.
async fn droppable(store: &dyn Store, note: &Note) -> Result<Vec<Kept>, StoreError> {
    let spaces: Vec<Option<Space>> = note.retired.iter().map(Kept::space).collect();
    let there: Vec<Space> = spaces.iter().copied().flatten().collect();
    let mut metas = store.look(&there).await?.metas.into_iter();
    let mut is_free = |space: &Option<Space>| match space {
        Some(_) => !metas.next().is_some_and(|meta| is_under_way(&meta)),
        None => true,
    };
    let groups = note.retired.iter().zip(&spaces);
    Ok(groups.filter(|(_, space)| is_free(space)).map(|(group, _)| group.clone()).collect())
}

/// Makes groups with these digests free for one who reads a history into them: what is retired of
/// them is dropped now, lest it be dropped later together with what was built meanwhile.
///
/// # Errors
/// [`ReleaseError::Refused`] while a process drops them, and what the store says.
pub async fn free(store: &dyn Store, digests: &[String], now_us: i64) -> Result<(), ReleaseError> {
    let meant = |group: &Kept| digests.contains(&group.digest);
    let Some(seen) = read(store).await? else { return Ok(()) };
    if !seen.note.retired.iter().any(meant) {
        return Ok(());
    }
    drop_retired(store, &seen.note, meant, now_us).await?;
    let Some(seen) = read(store).await? else { return Ok(()) };
    let dropped_elsewhere = droppable(store, &seen.note).await?.into_iter().find(meant);
    if let Some(group) = dropped_elsewhere {
        return Err(ReleaseError::Refused(format!(
            "an older state of group {} is being dropped; try it again in a moment",
            group.name
        )));
    }
    // What is left is half built, by a backfill that is to go on.
    let kept: Vec<Kept> = seen.note.retired.iter().filter(|it| meant(it)).cloned().collect();
    if !kept.is_empty() {
        change(store, |there| Ok(there.map(|it| it.spared(&kept)))).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::source::{FIRST_LOG, PLAN};
    use crate::release::stored::restore;
    use trueup_store::testing::block_on;
    use trueup_store::{Batch, Checkpoint, MemoryStore};

    /// The partition under which a backfill says whether it is under way.
    const ROUND: u32 = u32::MAX;

    fn group(of: u8) -> Kept {
        Kept { name: format!("g{of}"), digest: format!("{of:02x}").repeat(32) }
    }

    /// A store that is told to drop two groups, with a state each.
    fn store() -> (MemoryStore, Note) {
        let store = MemoryStore::new();
        let note = Note::retiring(vec![group(1), group(2)]);
        let seen = Seen { bytes: note.bytes(), note: note.clone() };
        assert!(block_on(restore(&store, None, &seen)).unwrap());
        for of in [1, 2] {
            say(&store, of, FIRST_LOG, 0, 7);
        }
        (store, note)
    }

    fn say(store: &MemoryStore, of: u8, source: u32, partition: u32, offset: u64) {
        let space = group(of).space().unwrap();
        let stands = block_on(store.look(&[space])).unwrap().stands;
        let said = [(space, Checkpoint { source, partition, offset, fresh_us: 0 })];
        block_on(store.append(&Batch { checkpoints: &said, ..Batch::under(&stands) })).unwrap();
    }

    fn has_state(store: &MemoryStore, of: u8) -> bool {
        let space = group(of).space().unwrap();
        !block_on(store.look(&[space])).unwrap().metas[0].checkpoints.is_empty()
    }

    fn retired(store: &MemoryStore) -> Vec<Kept> {
        block_on(read(store)).unwrap().unwrap().note.retired
    }

    /// Hours of reading a history would be gone.
    #[test]
    fn what_a_history_is_being_read_into_is_not_dropped_before_its_end() {
        let (store, note) = store();
        say(&store, 1, PLAN, ROUND, 1);
        let found = block_on(drop_retired(&store, &note, |_| true, 5)).unwrap();
        let note = found.unwrap().note;
        assert_eq!(note.retired, [group(1)]);
        assert!(has_state(&store, 1) && !has_state(&store, 2));
        assert_eq!(block_on(drop_retired(&store, &note, |_| true, 5)).unwrap(), None);
        say(&store, 1, PLAN, ROUND, 2);
        block_on(drop_retired(&store, &note, |_| true, 5)).unwrap();
        assert!(!has_state(&store, 1) && retired(&store).is_empty());
    }

    /// What a backfill has built would be dropped in place of what was there before it.
    #[test]
    fn a_backfill_begins_when_what_was_retired_of_its_groups_is_gone() {
        let (store, _) = store();
        block_on(free(&store, &[group(1).digest], 5)).unwrap();
        assert!(!has_state(&store, 1) && has_state(&store, 2));
        assert_eq!(retired(&store), [group(2)]);
        say(&store, 2, PLAN, ROUND, 1);
        block_on(free(&store, &[group(2).digest], 5)).unwrap();
        assert!(has_state(&store, 2), "it goes on where it was");
        assert!(retired(&store).is_empty());
    }

    #[test]
    fn a_backfill_is_refused_while_another_process_drops_its_groups() {
        let (store, note) = store();
        let at_it = change(&store, |_| Ok(Some(note.dropping(5))));
        block_on(at_it).unwrap();
        let refused = block_on(free(&store, &[group(1).digest], 6)).unwrap_err();
        assert!(refused.to_string().contains("older state of group g1 is being dropped"));
        assert!(has_state(&store, 1));
        block_on(free(&store, &[group(1).digest], 6 + DROP_WITHIN_US)).unwrap();
        assert!(!has_state(&store, 1), "that process is given up");
    }
}
