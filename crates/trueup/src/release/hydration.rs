//! How far the candidate is, told by the workers to all servers: a note of its own, which decides
//! nothing.

use super::ReleaseError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trueup_store::Store;

/// The note's name.
const NAME: &str = "hydration";

/// Where one partition of a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The offset at which the candidate began.
    pub from: u64,
    /// The next offset to apply.
    pub next: u64,
    /// One past the last.
    pub end: u64,
}

/// How far a candidate is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hydration {
    /// Of the candidate.
    pub digest: String,
    /// By stream and partition, as each worker knows of those that it reads.
    pub places: BTreeMap<String, BTreeMap<u32, Place>>,
    /// What it lacks to be served, and the log brings.
    pub waits: Vec<String>,
    /// What it lacks, and the log does not bring.
    pub stuck: Vec<String>,
}

impl Hydration {
    /// What the workers last said; `None` if nothing, or nothing that can be read.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(store: &dyn Store) -> Result<Option<Hydration>, ReleaseError> {
        let bytes = store.note(NAME).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Adds what this process knows. One that others have overtaken says it the next time.
    ///
    /// # Errors
    /// The store's.
    pub async fn tell(self, store: &dyn Store) -> Result<Hydration, ReleaseError> {
        let seen = store.note(NAME).await?;
        let there = seen.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        let all = match there {
            Some(there) => self.joined(there),
            None => self,
        };
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        if seen.as_deref() != Some(bytes.as_slice()) {
            store.set_note(NAME, seen.as_deref(), &bytes).await?;
        }
        Ok(all)
    }

    /// With what others knew of the same candidate.
    fn joined(mut self, there: Hydration) -> Hydration {
        if there.digest != self.digest {
            return self;
        }
        for (stream, places) in there.places {
            let own = self.places.entry(stream).or_default();
            for (partition, place) in places {
                // Whoever began earlier knows where it was begun.
                own.entry(partition)
                    .and_modify(|own| own.from = own.from.min(place.from))
                    .or_insert(place);
            }
        }
        self
    }

    /// How much of a stream's log is applied, percent, rounded down; `None` before the first word.
    pub fn percent(&self, stream: &str) -> Option<u64> {
        let places = self.places.get(stream).filter(|places| !places.is_empty())?;
        let (mut done, mut all) = (0u128, 0u128);
        for place in places.values() {
            done += u128::from(place.next.saturating_sub(place.from));
            all += u128::from(place.end.max(place.next).saturating_sub(place.from));
        }
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        u64::try_from(percent).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hydration(digest: &str, places: &[(u32, u64, u64, u64)]) -> Hydration {
        let place = |&(partition, from, next, end): &(u32, u64, u64, u64)| {
            (partition, Place { from, next, end })
        };
        let places = BTreeMap::from([("s".to_string(), places.iter().map(place).collect())]);
        Hydration { digest: digest.into(), places, ..Hydration::default() }
    }

    #[test]
    fn percent_counts_from_where_the_log_was_begun() {
        assert_eq!(Hydration::default().percent("s"), None);
        assert_eq!(hydration("d", &[(0, 900, 950, 1_000)]).percent("s"), Some(50));
        assert_eq!(hydration("d", &[(0, 0, 10, 10), (1, 0, 0, 30)]).percent("s"), Some(25));
        assert_eq!(hydration("d", &[(0, 7, 7, 7)]).percent("s"), Some(100), "there is nothing");
    }

    #[test]
    fn what_several_workers_say_is_joined_and_an_older_candidate_is_forgotten() {
        let there = hydration("d", &[(0, 0, 5, 10), (1, 0, 7, 10)]);
        let joined = hydration("d", &[(0, 4, 8, 10)]).joined(there.clone());
        assert_eq!(joined, hydration("d", &[(0, 0, 8, 10), (1, 0, 7, 10)]));
        let other = hydration("e", &[(0, 4, 8, 10)]);
        assert_eq!(other.clone().joined(there), other);
    }
}
