//! What windows hold that events may enter and leave at any place.

use crate::column::Column;
use std::collections::BTreeSet;

/// The rank of each event's value among those of its key, equal values sharing one.
fn ranks(column: Option<&Column>) -> Vec<u32> {
    let Some(column) = column else { return Vec::new() };
    let mut places: Vec<usize> = (0..column.len()).collect();
    places.sort_unstable_by(|&a, &b| column.compare(a, column, b));
    let mut of = vec![0; places.len()];
    let mut rank = 0;
    for (n, &place) in places.iter().enumerate() {
        let same = n > 0 && column.compare(places[n - 1], column, place).is_eq();
        rank += u32::from(!same);
        of[place] = rank;
    }
    of
}

/// All values of a window by rank, so that any may leave.
pub(crate) struct Ranks {
    of: Vec<u32>,
    /// (rank, place) of those in the window.
    held: BTreeSet<(u32, usize)>,
}

impl Ranks {
    pub(crate) fn new(column: Option<&Column>) -> Ranks {
        Ranks { of: ranks(column), held: BTreeSet::new() }
    }

    pub(crate) fn enter(&mut self, i: usize) {
        self.held.insert((self.of[i], i));
    }

    pub(crate) fn leave(&mut self, i: usize) {
        self.held.remove(&(self.of[i], i));
    }

    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }

    /// The place of the least value, or of the greatest.
    pub(crate) fn first(&self, greatest: bool) -> Option<&usize> {
        let held = if greatest { self.held.last() } else { self.held.first() };
        held.map(|(_, place)| place)
    }
}

/// How many events of a window hold each value.
pub(crate) struct LooseDistinct {
    of: Vec<u32>,
    /// By rank.
    held: Vec<u32>,
    /// How many values some event holds.
    pub(crate) count: i64,
}

impl LooseDistinct {
    pub(crate) fn new(column: Option<&Column>) -> LooseDistinct {
        let of = ranks(column);
        // Ranks begin at 1 or, where there are none, are not asked for.
        let values = of.iter().max().map_or(0, |&greatest| greatest as usize + 1);
        LooseDistinct { of, held: vec![0; values], count: 0 }
    }

    pub(crate) fn enter(&mut self, i: usize) {
        let held = &mut self.held[self.of[i] as usize];
        self.count += i64::from(*held == 0);
        *held += 1;
    }

    pub(crate) fn leave(&mut self, i: usize) {
        let held = &mut self.held[self.of[i] as usize];
        // An event leaves only after it has entered.
        *held = held.saturating_sub(1);
        self.count -= i64::from(*held == 0);
    }

    pub(crate) fn clear(&mut self) {
        self.held.fill(0);
        self.count = 0;
    }
}
