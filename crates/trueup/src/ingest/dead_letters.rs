//! Dead letters for people: looked at page by page, and pushed again once the producer or the
//! definitions are mended. It files none: that is the worker's and the pusher's.

use super::push::{PushError, Pusher};
use super::quarantine::QUARANTINED;
use trueup_store::{DeadLetter, Log, StoreError};

/// Letters of one page, at most: what a person scrolls through, and one call of a replay.
pub const MAX_PAGE: usize = 1_000;

/// Bytes of events at which a page ends: far below what a client takes of a reply.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// Letters that are read at one time: at most a megabyte of events.
const CHUNK: usize = 16;

/// Letters in the order of their filing, each with its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The letters.
    pub letters: Vec<(u64, DeadLetter)>,
    /// Behind which the next page begins; none if this is the last.
    pub next: Option<u64>,
}

/// Which letters of a stream are pushed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// A page of all, but those that were set aside because they end the process.
    Page {
        /// Those behind this one.
        after: Option<u64>,
    },
    /// Those with these numbers, at most [`MAX_PAGE`].
    These(Vec<u64>),
}

/// What became of letters that were pushed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events that the log has now; their letters are gone.
    pub taken: usize,
    /// Those that were refused again, each with the reason, which its letter has from now on.
    pub refused: Vec<(u64, String)>,
    /// Those that were not tried because they end the process.
    pub left_out: Vec<u64>,
    /// Behind which the next page begins; none if this was the last.
    pub next: Option<u64>,
}

/// Some letters of a stream behind one.
///
/// # Errors
/// The disk's.
pub fn page(log: &Log, stream: &str, after: Option<u64>, limit: usize) -> Result<Page, StoreError> {
    let mut page = Page { letters: Vec::new(), next: after };
    let mut bytes = 0;
    while page.letters.len() < limit && bytes < MAX_PAGE_BYTES {
        let wanted = CHUNK.min(limit - page.letters.len());
        let found = log.dead_letters(stream, page.next, wanted)?;
        let is_last = found.len() < wanted;
        bytes += found.iter().map(|(_, letter)| letter.bytes.len()).sum::<usize>();
        page.next = found.last().map_or(page.next, |(number, _)| Some(*number));
        page.letters.extend(found);
        if is_last {
            page.next = None;
            break;
        }
    }
    Ok(page)
}

/// The letter with a number.
///
/// # Errors
/// The disk's.
fn one(log: &Log, stream: &str, number: u64) -> Result<Option<DeadLetter>, StoreError> {
    let found = log.dead_letters(stream, number.checked_sub(1), 1)?;
    Ok(found.into_iter().find(|(found, _)| *found == number).map(|(_, letter)| letter))
}

/// Pushes letters of a stream, by its number, again, and forgets those that are taken.
///
/// # Errors
/// [`PushError`]; then no letter is forgotten, and the call can be made again.
pub async fn replay(pusher: &Pusher, stream: usize, which: Which) -> Result<Replayed, PushError> {
    let name = &pusher.catalog.streams()[stream].stream.name;
    let Some(log) = &pusher.log else {
        return Err(PushError::Elsewhere { stream: name.clone() });
    };
    let mut done = Replayed::default();
    let mut letters = Vec::new();
    match which {
        Which::Page { after } => {
            let page = page(log, name, after, MAX_PAGE)?;
            done.next = page.next;
            let fatal = |letter: &DeadLetter| letter.reason.starts_with(QUARANTINED);
            let (out, these) = page.letters.into_iter().partition(|(_, letter)| fatal(letter));
            letters = these;
            let out: Vec<(u64, DeadLetter)> = out;
            done.left_out = out.into_iter().map(|(number, _)| number).collect();
        }
        Which::These(numbers) => {
            for number in numbers {
                match one(log, name, number)? {
                    Some(letter) => letters.push((number, letter)),
                    None => done.refused.push((number, "there is no such letter".into())),
                }
            }
        }
    }
    let rows: Vec<&[u8]> = letters.iter().map(|(_, letter)| &letter.bytes[..]).collect();
    let pushed = pusher.push_again(stream, &rows).await?;
    let mut outcomes: Vec<(u64, Option<String>)> =
        letters.iter().map(|(number, _)| (*number, None)).collect();
    for rejected in pushed.rejected {
        outcomes[rejected.index].1 = Some(rejected.said());
    }
    log.settle(name, &outcomes)?;
    done.taken = pushed.accepted;
    done.refused.extend(outcomes.into_iter().filter_map(|(number, why)| Some((number, why?))));
    Ok(done)
}
