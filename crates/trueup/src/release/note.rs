//! What the store is told of definitions, and how one word of it follows from another. Pure.

use super::ReleaseError;
use crate::catalog::Catalog;
use serde::{Deserialize, Serialize};
use std::path::Path;
use trueup_sql::{Definitions, SourceFile, compile};
use trueup_store::Space;

/// The version of the note.
const FORMAT: u32 = 1;

/// Hex digits that name definitions to people.
const SHORT_HEX: usize = 16;

/// A group, by what names its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its readable name.
    pub name: String,
    /// Its digest, 64 hex digits.
    pub digest: String,
}

impl Kept {
    /// Where its state is kept.
    pub fn space(&self) -> Option<Space> {
        let mut digest = [0; 32];
        for (nth, byte) in digest.iter_mut().enumerate() {
            let pair = self.digest.get(2 * nth..2 * nth + 2)?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Space::from(digest))
    }
}

/// A file of definitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    name: String,
    text: String,
}

/// One set of definitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Of the definitions as a whole, 64 hex digits.
    pub digest: String,
    /// Counts releases in the order of their coming. Of several releases with one group the oldest
    /// one's workers keep it.
    pub serial: u64,
    /// Since when it stands where it stands, wall-clock microseconds since 1970.
    pub since_us: i64,
    /// What its views need.
    pub groups: Vec<Kept>,
    files: Vec<Text>,
}

impl Release {
    /// The release of compiled definitions.
    pub fn of(definitions: &Definitions, now_us: i64) -> Release {
        let name = |file: &SourceFile| {
            // Where it lay on this machine is nobody's business.
            let name = Path::new(&file.name).file_name();
            name.map_or_else(|| file.name.clone(), |name| name.to_string_lossy().into_owned())
        };
        let text = |file: &SourceFile| Text { name: name(file), text: file.text.clone() };
        let kept = |group: &trueup_sql::GroupDef| Kept {
            name: group.name.clone(),
            digest: group.digest.to_string(),
        };
        Release {
            digest: definitions.digest().to_string(),
            serial: 0,
            since_us: now_us,
            groups: definitions.groups.iter().map(kept).collect(),
            files: definitions.files.iter().map(text).collect(),
        }
    }

    /// Enough of the digest to tell definitions apart at a glance.
    pub fn short(&self) -> &str {
        self.digest.get(..SHORT_HEX).unwrap_or(&self.digest)
    }

    /// The definitions, compiled again.
    ///
    /// # Errors
    /// If this program gives them another digest or does not take them: another version wrote them.
    pub fn catalog(&self) -> Result<Catalog, String> {
        let files = self.files.iter();
        let files: Vec<SourceFile> = files
            .map(|file| SourceFile { name: file.name.clone(), text: file.text.clone() })
            .collect();
        let definitions = compile(&files).map_err(|errors| errors.to_string())?;
        let digest = definitions.digest().to_string();
        match digest == self.digest {
            true => Ok(Catalog::new(definitions)),
            false => Err(format!("this version of the program reads them as {digest}")),
        }
    }

    fn has(&self, group: &Kept) -> bool {
        self.groups.iter().any(|own| own.digest == group.digest)
    }
}

/// Which definitions are served, which were, and which are on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    format: u32,
    /// Counts the changes, so that a store that went back is noticed.
    pub revision: u64,
    /// Every answer is by these.
    pub current: Release,
    /// What was served before, kept up to date so that one step leads back.
    pub previous: Option<Release>,
    /// What is served next, once it vouches for as much.
    pub candidate: Option<Release>,
    /// Groups that no release has any more and whose state is to be dropped.
    pub retired: Vec<Kept>,
    /// When the last of them was retired, wall-clock microseconds since 1970.
    pub retired_us: i64,
    /// When a process began to drop them, wall-clock microseconds since 1970; 0 if none did.
    pub dropping_us: i64,
}

impl Note {
    /// The first word: these are served.
    pub fn first(current: Release) -> Note {
        Note {
            format: FORMAT,
            revision: 1,
            current: Release { serial: 1, ..current },
            previous: None,
            candidate: None,
            retired: Vec::new(),
            retired_us: 0,
            dropping_us: 0,
        }
    }

    /// One by which these groups are to be dropped.
    #[cfg(test)]
    pub(super) fn retiring(retired: Vec<Kept>) -> Note {
        let (digest, groups, files) = ("a".to_owned(), Vec::new(), Vec::new());
        Note { retired, ..Note::first(Release { digest, serial: 1, since_us: 0, groups, files }) }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`ReleaseError::Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Note, ReleaseError> {
        let unreadable = |why: String| ReleaseError::Unreadable(why);
        let note: Note =
            serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        match note.format {
            FORMAT => Ok(note),
            other => Err(unreadable(format!("it has format {other}, not {FORMAT}"))),
        }
    }

    /// As the store keeps it.
    pub fn bytes(&self) -> Vec<u8> {
        // Numbers, texts and lists of them can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// All releases that it names.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        [Some(&self.current), self.previous.as_ref(), self.candidate.as_ref()].into_iter().flatten()
    }

    /// The release of these definitions.
    pub fn find(&self, digest: &str) -> Option<&Release> {
        self.releases().find(|release| release.digest == digest)
    }

    /// Whether a group's state is still to be dropped, so that nobody may begin it anew.
    pub fn is_retired(&self, digest: &str) -> bool {
        self.retired.iter().any(|group| group.digest == digest)
    }

    /// A new candidate, in place of one there is.
    pub fn with_candidate(&self, candidate: Release, now_us: i64) -> Note {
        let serial = self.releases().map(|release| release.serial).max().unwrap_or(0) + 1;
        let candidate = Some(Release { serial, since_us: now_us, ..candidate });
        self.followed_by(Note { candidate, ..self.clone() }, now_us)
    }

    /// The candidate is served from now on.
    pub fn flipped(&self, now_us: i64) -> Option<Note> {
        let current = Release { since_us: now_us, ..self.candidate.clone()? };
        let previous = Some(Release { since_us: now_us, ..self.current.clone() });
        let after = Note { current, previous, candidate: None, ..self.clone() };
        Some(self.followed_by(after, now_us))
    }

    /// What was served before is served again, and what is served now is the way forward again. A
    /// candidate is given up: it would come into service in the middle of what made somebody go
    /// back.
    pub fn rolled_back(&self, now_us: i64) -> Option<Note> {
        let current = Release { since_us: now_us, ..self.previous.clone()? };
        let previous = Some(Release { since_us: now_us, ..self.current.clone() });
        let after = Note { current, previous, candidate: None, ..self.clone() };
        Some(self.followed_by(after, now_us))
    }

    /// Nothing is kept to go back to.
    pub fn forgotten(&self, now_us: i64) -> Note {
        self.followed_by(Note { previous: None, ..self.clone() }, now_us)
    }

    /// A process drops what is retired.
    pub fn dropping(&self, now_us: i64) -> Note {
        Note { dropping_us: now_us, revision: self.revision + 1, ..self.clone() }
    }

    /// These were dropped.
    pub fn dropped(&self, gone: &[Kept]) -> Note {
        Note { dropping_us: 0, ..self.spared(gone) }
    }

    /// These are not to be dropped any more.
    pub fn spared(&self, groups: &[Kept]) -> Note {
        let mut after = Note { revision: self.revision + 1, ..self.clone() };
        after.retired.retain(|group| !groups.contains(group));
        after
    }

    /// The next word: what no release has any more is retired.
    fn followed_by(&self, mut after: Note, now_us: i64) -> Note {
        after.revision = self.revision + 1;
        for group in self.releases().flat_map(|release| &release.groups) {
            let needed = after.releases().any(|release| release.has(group));
            if !needed && !after.is_retired(&group.digest) {
                after.retired.push(group.clone());
                after.retired_us = now_us;
            }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(name: &str, groups: &[&str]) -> Release {
        let kept = |group: &&str| Kept { name: group.to_string(), digest: group.to_string() };
        Release {
            digest: name.into(),
            serial: 0,
            since_us: 0,
            groups: groups.iter().map(kept).collect(),
            files: Vec::new(),
        }
    }

    fn retired(note: &Note) -> Vec<&str> {
        note.retired.iter().map(|group| group.name.as_str()).collect()
    }

    #[test]
    fn groups_are_dropped_only_when_no_release_has_them() {
        let a = Note::first(release("a", &["users", "cards"]));
        let ab = a.with_candidate(release("b", &["users", "merchants"]), 1);
        let b = ab.flipped(2).unwrap();
        assert!(retired(&ab).is_empty() && retired(&b).is_empty(), "a is one step back");
        let bc = b.with_candidate(release("c", &["users"]), 3);
        assert!(retired(&bc).is_empty(), "a is one step back until c is served");
        let c = bc.flipped(4).unwrap();
        assert_eq!((retired(&c), c.retired_us), (vec!["cards"], 4));
        assert_eq!(retired(&c.forgotten(5)), ["cards", "merchants"]);
    }

    #[test]
    fn a_candidate_that_another_one_replaces_leaves_nothing_behind() {
        let a = Note::first(release("a", &["users"]));
        let b = a.with_candidate(release("b", &["users", "cards"]), 1);
        let c = b.with_candidate(release("c", &["users", "merchants"]), 2);
        assert_eq!(retired(&c), ["cards"]);
        let again = c.with_candidate(release("b", &["users", "cards"]), 3);
        assert!(again.is_retired("cards"), "it is dropped before it is begun anew");
        let gone: Vec<Kept> = again.retired[..1].to_vec();
        assert_eq!(retired(&again.dropping(4).dropped(&gone)), ["merchants"]);
    }

    #[test]
    fn a_rollback_swaps_and_gives_the_candidate_up() {
        let a = Note::first(release("a", &["users"]));
        assert_eq!(a.rolled_back(1), None, "there is nothing to go back to");
        let b = a.with_candidate(release("b", &["cards"]), 1).flipped(2).unwrap();
        let back = b.with_candidate(release("c", &["other"]), 3).rolled_back(4).unwrap();
        let names = |note: &Note| note.releases().map(|r| r.digest.clone()).collect::<Vec<_>>();
        assert_eq!(names(&back), ["a", "b"]);
        assert_eq!(retired(&back), ["other"]);
        assert_eq!(names(&back.rolled_back(5).unwrap()), ["b", "a"]);
    }

    #[test]
    fn each_change_raises_the_revision_and_each_release_has_a_number_of_its_own() {
        let mut note = Note::first(release("a", &["users"]));
        for (nth, name) in ["b", "c", "d"].into_iter().enumerate() {
            let next = note.with_candidate(release(name, &["users"]), 1).flipped(2).unwrap();
            assert_eq!(next.revision, note.revision + 2);
            assert_eq!(next.current.serial, nth as u64 + 2);
            note = Note::parse(&next.bytes()).unwrap();
            assert_eq!(note, next);
        }
    }
}
