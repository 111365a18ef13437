//! What is known of a log from one look to the next: where each partition is whole from, and where
//! it ended.
//!
//! ```text
//!   sequences of the stream  1 ………… first ……………… seen ……… last        gone: single ones between
//!   of one partition            (trimmed)  ▒ ▒   ▒ end    ▒  ▒            first and last
//!                                          from: nothing is missing from here on
//! ```
//!
//! A stream numbers the messages of all its subjects together and says what it has lost only as a
//! first sequence and as a number of messages that are gone behind it. Whose these were is found
//! out by what was seen at the look before: the partition's first message that was left, its end,
//! and up to where that was all (`seen`).
//!
//! - Nothing went since: it is whole from where it was whole.
//! - Its first message is another one, of those that were there: it is whole from that one.
//! - All that were there went: it is whole from its end, if nothing went behind `seen`, for only
//!   there others of it may have come and gone unseen.
//! - Else it is whole from the first that is left, or from the stream's end if none is. That may be
//!   too far, and is never too near: a gap is said where perhaps there is none, never the reverse.
//!
//! A single message that is deleted from the middle of a partition is not seen, and meant to be so.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a look found in the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// When the stream was made, nanoseconds since 1970.
    pub(super) created: i64,
    /// The last sequence that it gave, before partitions were asked for theirs.
    pub(super) last: u64,
    /// Its first sequence, after that; one past the last if it is empty.
    pub(super) first: u64,
    /// How many are gone between its first and its last, after that.
    pub(super) deleted: u64,
    /// Which ones, if that was asked for.
    pub(super) gone: Option<Vec<u64>>,
    /// Of each partition that was asked, its first and its last message.
    pub(super) edges: BTreeMap<u32, (Option<u64>, Option<u64>)>,
}

/// What is written down about a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// When its stream was made, nanoseconds since 1970.
    pub(super) created: i64,
    /// How often it has lost what it had taken, each time becoming another log.
    pub(super) losses: u64,
    /// The largest sequence that was seen.
    pub(super) last: u64,
    /// By partition.
    pub(super) parts: BTreeMap<u32, Part>,
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// The first offset from which on nothing is missing; 0 if nothing ever went.
    pub(super) from: u64,
    /// One past its last message.
    pub(super) end: u64,
    /// Up to here, the stream had nothing of it from `end` on.
    seen: u64,
    /// Its first message that was left.
    pub(super) left: Option<u64>,
    /// The stream's first sequence at that look.
    first: u64,
    /// How many were gone behind it at that look.
    deleted: u64,
}

impl Facts {
    /// No message that was there when partitions were asked, and was not told by them, is at or
    /// behind it.
    fn next(&self) -> u64 {
        self.first.max(self.last + 1)
    }

    /// Whether messages from a sequence on may have gone.
    fn may_have_gone(&self, from: u64) -> bool {
        let behind = || match &self.gone {
            Some(gone) => gone.iter().any(|&gone| gone >= from),
            None => self.deleted > 0,
        };
        self.first > from || behind()
    }
}

impl Note {
    /// About a log that nobody has looked at.
    pub(super) fn new(created: i64) -> Note {
        Note { created, losses: 0, last: 0, parts: BTreeMap::new() }
    }

    /// About the log that this one has become by losing what it had taken.
    pub(super) fn after_loss(&self) -> Note {
        Note { losses: self.losses + 1, ..Note::new(self.created) }
    }

    /// With what another look at the same log found, where that is younger.
    pub(super) fn or_younger(mut self, other: &Note) -> Note {
        if (other.created, other.losses) != (self.created, self.losses) {
            return self;
        }
        self.last = self.last.max(other.last);
        for (&partition, part) in &other.parts {
            let mine = self.parts.entry(partition).or_insert(*part);
            if mine.seen < part.seen {
                *mine = *part;
            }
        }
        self
    }

    /// With what a look found.
    pub(super) fn go_on(&self, facts: &Facts) -> Note {
        let mut next = self.clone();
        next.last = next.last.max(facts.last);
        for (&partition, &(left, last)) in &facts.edges {
            let part = Part::after(self.parts.get(&partition), facts, left, last);
            next.parts.insert(partition, part);
        }
        next
    }
}

impl Part {
    fn after(old: Option<&Part>, facts: &Facts, left: Option<u64>, last: Option<u64>) -> Part {
        let from = match old {
            None if facts.first <= 1 && facts.deleted == 0 => 0,
            None => left.unwrap_or(facts.next()),
            Some(old) => old.whole_from(facts, left),
        };
        let known = old.map_or(0, |old| old.end);
        // An emptied partition ends where it ended, or where it is known to be whole.
        let end = last.map_or(known, |last| last + 1).max(known).max(from);
        let Facts { first, deleted, .. } = *facts;
        Part { from, end, seen: end.max(facts.last + 1), left, first, deleted }
    }

    fn whole_from(&self, facts: &Facts, left: Option<u64>) -> u64 {
        let is_same = left == self.left && (left.is_some() || self.is_untouched(facts));
        match left {
            _ if is_same => self.from,
            Some(left) if left < self.end => left,
            _ if self.left.is_none() && !facts.may_have_gone(self.seen) => self.from,
            _ if !facts.may_have_gone(self.seen) => self.end,
            left => left.unwrap_or(facts.next()),
        }
    }

    /// Whether nothing went from the stream since.
    pub(super) fn is_untouched(&self, facts: &Facts) -> bool {
        (facts.first, facts.deleted) == (self.first, self.deleted)
    }

    /// Whether its first message is the one that it was, as far as can be told without asking.
    pub(super) fn has_first(&self, facts: &Facts) -> bool {
        let is_there = self.left.is_some_and(|left| left >= facts.first);
        is_there && (facts.deleted == 0 || self.is_untouched(facts))
    }

    /// Whether it must be known which messages are gone.
    pub(super) fn asks_for_gone(&self, left: Option<u64>, facts: &Facts) -> bool {
        let is_emptied = left.is_none_or(|left| left >= self.end);
        is_emptied && facts.deleted > 0 && !self.is_untouched(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a look finds in a stream that once had messages `1..=last`, those of partition 0 being
    /// `ours`, of which these are `gone`.
    fn facts(last: u64, ours: &[u64], gone: &[u64]) -> Facts {
        let is_left = |sequence: &u64| !gone.contains(sequence);
        let first = (1..=last).find(is_left).unwrap_or(last + 1);
        let gone: Vec<u64> = gone.iter().copied().filter(|&gone| gone > first).collect();
        let left: Vec<u64> = ours.iter().copied().filter(is_left).collect();
        let edges = BTreeMap::from([(0, (left.first().copied(), left.last().copied()))]);
        let deleted = gone.len() as u64;
        Facts { created: 1, last, first, deleted, gone: Some(gone), edges }
    }

    /// Where partition 0 is whole from, and its end, after looks one after the other.
    #[track_caller]
    fn check(looks: &[(u64, &[u64], &[u64])], from: u64, end: u64) {
        let look = |note: Note, &(last, ours, gone): &(u64, &[u64], &[u64])| {
            note.go_on(&facts(last, ours, gone))
        };
        let part = looks.iter().fold(Note::new(1), look).parts[&0];
        assert_eq!((part.from, part.end), (from, end), "{part:?}");
    }

    #[test]
    fn a_log_that_lost_nothing_is_whole_from_its_beginning() {
        check(&[(0, &[], &[])], 0, 0);
        check(&[(9, &[2, 7], &[])], 0, 8);
        check(&[(9, &[2, 7], &[]), (20, &[2, 7, 15], &[])], 0, 16);
    }

    #[test]
    fn what_went_in_front_is_a_gap_up_to_the_first_that_is_left() {
        check(&[(9, &[2, 5, 7], &[]), (9, &[2, 5, 7], &[1, 2, 3])], 5, 8);
        check(&[(9, &[2, 5, 7], &[1, 2, 3])], 5, 8);
        // Of this subject alone.
        check(&[(9, &[2, 5, 7], &[]), (9, &[2, 5, 7], &[2])], 5, 8);
    }

    #[test]
    fn what_others_lost_is_no_gap() {
        check(&[(9, &[5, 7], &[]), (12, &[5, 7], &[1, 2, 3, 9])], 0, 8);
        check(&[(9, &[], &[]), (9, &[], &[1, 2, 3])], 0, 0);
    }

    #[test]
    fn a_partition_that_was_emptied_is_whole_from_its_end_if_nothing_went_behind_it() {
        check(&[(9, &[2, 7], &[]), (20, &[2, 7], &[1, 2, 3, 4, 5, 6, 7, 8])], 8, 8);
        check(&[(9, &[2, 7], &[]), (9, &[2, 7], &[1, 2, 3, 4, 5, 6, 7, 8, 9])], 8, 8);
        // Its own messages, and none behind what was seen.
        check(&[(9, &[2, 7], &[]), (20, &[2, 7], &[2, 7])], 8, 8);
        // And stays so when it is written again.
        check(&[(9, &[2], &[]), (9, &[2], &[1, 2]), (12, &[2, 11], &[1, 2])], 3, 12);
    }

    #[test]
    fn what_may_have_come_and_gone_unseen_is_a_gap() {
        check(&[(9, &[2, 7], &[]), (20, &[2, 7], &[2, 7, 15])], 21, 21);
        check(&[(9, &[2, 7], &[]), (20, &[2, 7, 15], &[2, 7, 12])], 15, 16);
        let all: Vec<u64> = (1..=20).collect();
        check(&[(9, &[2, 7], &[]), (20, &[2, 7], &all)], 21, 21);
        check(&[(9, &[], &[]), (20, &[], &all)], 21, 21);
        // Nobody looked before.
        check(&[(20, &[2, 7], &all)], 21, 21);
    }

    #[test]
    fn a_list_of_what_is_gone_that_is_missing_makes_it_careful() {
        let note = Note::new(1).go_on(&facts(9, &[2, 7], &[]));
        let unlisted = Facts { gone: None, ..facts(20, &[2, 7], &[2, 7]) };
        assert_eq!(note.go_on(&unlisted).parts[&0].from, 21);
        assert!(note.parts[&0].asks_for_gone(None, &unlisted));
        assert!(!note.parts[&0].asks_for_gone(Some(2), &unlisted));
    }

    #[test]
    fn a_log_that_lost_what_it_had_is_another_one() {
        let note = Note::new(1).go_on(&facts(9, &[2, 7], &[])).after_loss();
        assert_eq!((note.created, note.losses, note.last), (1, 1, 0));
        assert!(note.parts.is_empty());
    }
}
