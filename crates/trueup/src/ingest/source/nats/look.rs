//! Where the partitions of a log begin and end, and whether it is the log that it was.
//!
//! ```text
//!   what was written down ─▶ the stream ─▶ last and first message of each partition ─▶ the stream
//!            ▲                                                                            │
//!            └──────────────────── compare and swap ◀───── note.rs ◀──────────────────────┘
//! ```
//!
//! The order matters: what is written down is older than what the stream says, so a stream that
//! ends before it did has lost what it had; and what the partitions say lies between two words of
//! the stream, so nothing came and went unseen in between.

use super::link::{Ask, Link};
use super::note::{Facts, Note, Part};
use crate::ingest::source::SourceError;
use async_nats::jetstream::stream::Info;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// How often what merely goes on is written down: the less often, the more a retention of seconds
/// would take for a gap.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// How often a look is taken again because others wrote down theirs meanwhile.
const TRIES: usize = 8;

/// How long a stream must end before it did until that counts as a loss, and not as the word of a
/// server that is behind.
const BEHIND: Duration = Duration::from_secs(3);

/// Messages gone from the middle of a stream up to which it is asked which ones: they come in one
/// answer, some 10 bytes each.
const MAX_GONE: u64 = 10_000;

/// What was seen of a log.
#[derive(Debug, Default)]
pub(super) struct Looker {
    note: Option<Note>,
    /// When it was last written down from here.
    noted: Option<Instant>,
}

impl Looker {
    /// The number of the log among the sources of positions: another one for a stream made anew,
    /// and for one that has lost what it had. 0 before the first look.
    pub(super) fn number(&self, link: &Link) -> u32 {
        let Some(Note { created, losses, .. }) = self.note else { return 0 };
        let stream = link.settings.stream();
        xxh3_64(format!("{stream} {created} {losses}").as_bytes()) as u32
    }

    /// A partition, as it was last seen.
    pub(super) fn part(&self, partition: u32) -> Option<&Part> {
        self.note.as_ref()?.parts.get(&partition)
    }

    /// Looks at some partitions.
    pub(super) async fn look(
        &mut self,
        link: &mut Link,
        partitions: &[u32],
    ) -> Result<(), SourceError> {
        let key = link.settings.log_key();
        let (mut tries, mut behind) = (0, None);
        while tries < TRIES {
            let (old, revision) = match link.written(&key).await? {
                Some((text, revision)) => (serde_json::from_slice::<Note>(&text).ok(), revision),
                None => (None, 0),
            };
            let before = link.info(false).await?;
            let created = created(&before);
            let old = old.filter(|note| note.created == created);
            let mut base = old.clone().unwrap_or_else(|| Note::new(created));
            if let Some(mine) = &self.note {
                base = base.or_younger(mine);
            }
            let last = before.state.last_sequence;
            if last < base.last {
                if behind.get_or_insert_with(Instant::now).elapsed() < BEHIND {
                    tokio::time::sleep(BEHIND / 10).await;
                    continue;
                }
                let (source, had) = (&link.settings, base.last);
                tracing::warn!(%source, last, had, "the stream has lost what it had");
                base = base.after_loss();
            }
            tries += 1;
            let Some(facts) = find(link, &base, before, partitions).await? else { continue };
            let next = base.go_on(&facts);
            if !self.is_due(old.as_ref(), &next) {
                self.note = Some(next);
                return Ok(());
            }
            let text = serde_json::to_vec(&next)
                .map_err(|error| link.failed("a note could not be written", &error))?;
            if link.write(&key, text, revision).await? {
                (self.note, self.noted) = (Some(next), Some(Instant::now()));
                return Ok(());
            }
        }
        Err(link.changed("others write down what they see of it all the time".into()))
    }

    /// What is written down must say at once what changes its meaning.
    fn is_due(&self, old: Option<&Note>, next: &Note) -> bool {
        let Some(old) = old else { return true };
        let from = |note: &Note| -> Vec<(u32, u64)> {
            note.parts.iter().map(|(&partition, part)| (partition, part.from)).collect()
        };
        let means_else = old.losses != next.losses || from(old) != from(next);
        let is_old = self.noted.is_none_or(|at| at.elapsed() >= NOTE_EVERY);
        means_else || (is_old && old != next)
    }

    /// From here on the log counts as another one: a message that was read is not in it.
    pub(super) async fn disown(&mut self, link: &mut Link) -> Result<(), SourceError> {
        let key = link.settings.log_key();
        let (Some(note), Some((_, revision))) = (&self.note, link.written(&key).await?) else {
            return Ok(());
        };
        let text = serde_json::to_vec(&note.after_loss())
            .map_err(|error| link.failed("a note could not be written", &error))?;
        // Whoever was first has seen the same.
        link.write(&key, text, revision).await.map(drop)
    }

    /// Whether all partitions are whole from these places on, as the stream is now. Asks no more
    /// than the stream unless something went from it.
    pub(super) async fn is_whole(
        &mut self,
        link: &mut Link,
        places: &BTreeMap<u32, u64>,
    ) -> Result<bool, SourceError> {
        let number = self.number(link);
        let info = link.info(false).await?;
        let now = facts(&info);
        let is_same = self.note.as_ref().is_some_and(|note| note.created == now.created);
        let is_whole = |(&partition, &place): (&u32, &u64)| {
            self.part(partition).is_some_and(|part| {
                let went = now.deleted > 0 || now.first > place;
                part.from <= place && (part.is_untouched(&now) || !went)
            })
        };
        if is_same && places.iter().all(is_whole) {
            return Ok(true);
        }
        let partitions: Vec<u32> = places.keys().copied().collect();
        self.look(link, &partitions).await?;
        let is_whole = |(&partition, &place): (&u32, &u64)| {
            self.part(partition).is_some_and(|part| part.from <= place)
        };
        Ok(self.number(link) == number && places.iter().all(is_whole))
    }
}

fn created(info: &Info) -> i64 {
    i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

fn facts(info: &Info) -> Facts {
    let state = &info.state;
    Facts {
        created: created(info),
        last: state.last_sequence,
        first: state.first_sequence,
        deleted: state.deleted_count.unwrap_or(0),
        ..Facts::default()
    }
}

/// What the partitions say, between two words of the stream; nothing if it was made anew between
/// them.
async fn find(
    link: &Link,
    note: &Note,
    before: Info,
    partitions: &[u32],
) -> Result<Option<Facts>, SourceError> {
    let before = facts(&before);
    let before = &before;
    let ask = async |partition: u32| {
        let subject = link.subjects()[partition as usize].as_str();
        let last = link.message(Ask::Last(subject)).await?.map(|message| message.sequence);
        let part = note.parts.get(&partition);
        let left = match part.filter(|part| part.has_first(before)) {
            Some(part) => part.left,
            None => link.message(Ask::First(subject)).await?.map(|message| message.sequence),
        };
        // One that came between the two questions.
        Ok::<_, SourceError>((partition, (left, last.or(left))))
    };
    let asked = partitions.iter().map(|&partition| ask(partition));
    let edges: BTreeMap<_, _> = try_join_all(asked).await?.into_iter().collect();
    let after = facts(&link.info(false).await?);
    if after.created != before.created {
        return Ok(None);
    }
    let must_know = |(partition, &(left, _)): (&u32, &(Option<u64>, _))| {
        note.parts.get(partition).is_some_and(|part| part.asks_for_gone(left, &after))
    };
    let gone = match edges.iter().any(must_know) && after.deleted <= MAX_GONE {
        true => Some(link.info(true).await?.state.deleted.unwrap_or_default()),
        false => None,
    };
    Ok(Some(Facts { last: before.last, gone, edges, ..after }))
}
