//! The note in the store: read, and changed by compare-and-swap.

use super::judge::{goal, look, waits};
use super::{Note, Release, ReleaseError};
use crate::catalog::Catalog;
use crate::clock::Clock;
use std::time::{Duration, Instant};
use trueup_store::Store;

/// The note's name.
const NAME: &str = "definitions";

/// How often a change is tried against those of others: each of these succeeds in its turn.
const TRIES: usize = 16;

/// How long a rollback waits until what it goes back to has what is served now.
const ROLLBACK_WITHIN: Duration = Duration::from_secs(5);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The note as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its bytes, to be expected when it is changed.
    pub bytes: Vec<u8>,
    /// What they say.
    pub note: Note,
}

/// What the store says; `None` if it says nothing.
///
/// # Errors
/// [`ReleaseError::Store`] and [`ReleaseError::Unreadable`].
pub async fn read(store: &dyn Store) -> Result<Option<Seen>, ReleaseError> {
    let Some(bytes) = store.note(NAME).await? else { return Ok(None) };
    let note = Note::parse(&bytes)?;
    Ok(Some(Seen { bytes, note }))
}

/// Says what follows from what is there; `next` gives `None` to leave it.
///
/// # Errors
/// [`ReleaseError`], and what `next` says.
pub async fn change(
    store: &dyn Store,
    next: impl Fn(Option<&Note>) -> Result<Option<Note>, ReleaseError>,
) -> Result<Option<Seen>, ReleaseError> {
    for _ in 0..TRIES {
        let seen = read(store).await?;
        let Some(note) = next(seen.as_ref().map(|seen| &seen.note))? else { return Ok(seen) };
        let bytes = note.bytes();
        let expected = seen.as_ref().map(|seen| seen.bytes.as_slice());
        if store.set_note(NAME, expected, &bytes).await? {
            return Ok(Some(Seen { bytes, note }));
        }
    }
    Err(ReleaseError::Contended)
}

/// Puts back what a store has lost, unless somebody was faster.
///
/// # Errors
/// [`ReleaseError::Store`].
pub(crate) async fn restore(
    store: &dyn Store,
    found: Option<&Seen>,
    known: &Seen,
) -> Result<bool, ReleaseError> {
    let expected = found.map(|found| found.bytes.as_slice());
    Ok(store.set_note(NAME, expected, &known.bytes).await?)
}

/// Enters definitions that the note does not name: as those in service where there is no note, else
/// as the candidate.
///
/// # Errors
/// [`ReleaseError`].
pub async fn register(
    store: &dyn Store,
    own: &Release,
    now_us: i64,
) -> Result<Option<Seen>, ReleaseError> {
    change(store, |note| {
        Ok(match note {
            None => Some(Note::first(own.clone())),
            Some(note) if note.find(&own.digest).is_some() => None,
            Some(note) => Some(note.with_candidate(own.clone(), now_us)),
        })
    })
    .await
}

/// What a change led from and to, by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Served before; of [`forget`], what was forgotten.
    pub from: String,
    /// Served from now on; `None` where nothing is there any more.
    pub to: Option<String>,
}

/// Serves again what was served before, if it vouches for as much as what is served now.
///
/// # Errors
/// [`ReleaseError::Refused`] with the groups that do not, and what the store says.
pub async fn roll_back(
    store: &dyn Store,
    clock: &Clock,
    max_staleness_us: i64,
) -> Result<Changed, ReleaseError> {
    let seen = read(store).await?;
    let note = seen.map(|seen| seen.note);
    let Some((note, previous)) = note.as_ref().and_then(|it| Some((it, it.previous.as_ref()?)))
    else {
        return refused(
            "there are no previous definitions to go back to: there never were others, or they \
             were forgotten",
        );
    };
    let wanted = match previous.catalog() {
        Ok(wanted) => wanted,
        Err(why) => {
            let short = previous.short();
            return refused(format!("the previous definitions {short} cannot be used: {why}"));
        }
    };
    // What cannot be compiled here is not in service here either: nothing to compare with.
    let served = note.current.catalog().ok();
    let lacks = lacks(store, clock, note, (&wanted, served.as_ref()), max_staleness_us).await?;
    if !lacks.is_empty() {
        return refused(format!(
            "the previous definitions do not vouch for what those in service do: {}; nothing was \
             changed",
            lacks.join("; ")
        ));
    }
    step(store, note, |note| note.rolled_back(clock.now().0)).await
}

/// What definitions lack, after some time to catch up with those in service.
async fn lacks(
    store: &dyn Store,
    clock: &Clock,
    note: &Note,
    (wanted, served): (&Catalog, Option<&Catalog>),
    max_staleness_us: i64,
) -> Result<Vec<String>, ReleaseError> {
    let began = Instant::now();
    let goal = goal(served, &look(store, &[Some(wanted), served]).await?);
    loop {
        let metas = look(store, &[Some(wanted), served]).await?;
        let times = (clock.now().0, max_staleness_us);
        let waits = waits(wanted, served, note, &metas, &goal, times);
        if waits.is_empty() || began.elapsed() > ROLLBACK_WITHIN {
            return Ok(waits.iter().map(ToString::to_string).collect());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Serves the candidate whatever it lacks.
///
/// # Errors
/// [`ReleaseError::Refused`] if there is none, and what the store says.
pub async fn promote(store: &dyn Store, now_us: i64) -> Result<Changed, ReleaseError> {
    match read(store).await?.map(|seen| seen.note) {
        Some(note) if note.candidate.is_some() => {
            step(store, &note, |note| note.flipped(now_us)).await
        }
        _ => refused("no definitions are on their way"),
    }
}

/// Keeps nothing to go back to any more.
///
/// # Errors
/// [`ReleaseError::Refused`] if nothing was kept, and what the store says.
pub async fn forget(store: &dyn Store, now_us: i64) -> Result<Changed, ReleaseError> {
    let note = read(store).await?.map(|seen| seen.note);
    let Some((note, from)) = note.and_then(|note| Some((note.clone(), note.previous?.digest)))
    else {
        return refused("there are no previous definitions to forget");
    };
    step(store, &note, |note| Some(note.forgotten(now_us))).await?;
    Ok(Changed { from, to: None })
}

/// One step from a note that was looked at; whoever else changed it meanwhile has the word.
async fn step(
    store: &dyn Store,
    from: &Note,
    to: impl Fn(&Note) -> Option<Note>,
) -> Result<Changed, ReleaseError> {
    let is_it = |note: &&Note| {
        let candidate = |note: &Note| note.candidate.as_ref().map(|it| it.digest.clone());
        let previous = |note: &Note| note.previous.as_ref().map(|it| it.digest.clone());
        (note.current.digest == from.current.digest)
            && (candidate(note), previous(note)) == (candidate(from), previous(from))
    };
    let changed = change(store, |note| {
        let next = note.filter(is_it).and_then(&to);
        next.map(Some).ok_or(ReleaseError::Contended)
    });
    let to = changed.await?.map(|seen| seen.note.current.digest);
    Ok(Changed { from: from.current.digest.clone(), to })
}

fn refused<T>(why: impl Into<String>) -> Result<T, ReleaseError> {
    Err(ReleaseError::Refused(why.into()))
}
