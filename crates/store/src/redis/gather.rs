//! The records of a batch by the value that they go to.
//!
//! Records of one value may go in one `APPEND` of all their bytes, in their order: a busy merchant
//! has many in a batch. What is known and looked up of a value is so looked up once.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::name::{Hashed, Placed};
use crate::store::{Append, At};

/// Bytes after which a further record of a value begins an `APPEND` of its own: far below what a
/// server takes for one argument (512 MB), far above what the command itself costs.
const TOGETHER: usize = 64 << 10;

/// One value that a batch appends to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touched<'a> {
    pub(super) at: At<'a>,
    pub(super) placed: Placed,
    /// Of all its records.
    pub(super) bytes: usize,
    first: usize,
    records: usize,
}

/// A batch's records, gathered.
#[derive(Debug)]
pub(super) struct Gathered<'a> {
    /// Each value once, in the order in which the batch first names them.
    pub(super) values: Vec<Touched<'a>>,
    /// The number of its value, by record.
    of_record: Vec<usize>,
    /// The records, those of a value together and in their order.
    sorted: Vec<&'a [u8]>,
}

/// A place with its hash.
struct Place<'a> {
    hash: u64,
    at: At<'a>,
}

impl PartialEq for Place<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.at == other.at
    }
}

impl Eq for Place<'_> {}

impl Hash for Place<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<'a> Gathered<'a> {
    pub(super) fn of(appends: &[Append<'a>]) -> Self {
        let mut numbers: HashMap<Place<'a>, usize, Hashed> =
            HashMap::with_capacity_and_hasher(appends.len(), Hashed::default());
        let mut values: Vec<Touched<'a>> = Vec::with_capacity(appends.len());
        let mut of_record = Vec::with_capacity(appends.len());
        for &Append { at, record } in appends {
            let placed = Placed::of(at);
            let nth = *numbers.entry(Place { hash: placed.hash, at }).or_insert_with(|| {
                values.push(Touched { at, placed, bytes: 0, first: 0, records: 0 });
                values.len() - 1
            });
            values[nth].bytes += record.len();
            values[nth].records += 1;
            of_record.push(nth);
        }
        let mut first = 0;
        for value in &mut values {
            value.first = first;
            first += value.records;
        }
        let mut next: Vec<usize> = values.iter().map(|value| value.first).collect();
        let mut sorted: Vec<&[u8]> = vec![&[]; appends.len()];
        for (append, &nth) in appends.iter().zip(&of_record) {
            sorted[next[nth]] = append.record;
            next[nth] += 1;
        }
        Self { values, of_record, sorted }
    }

    /// What is appended to a value, one command after the other.
    pub(super) fn commands(&self, value: &Touched<'_>) -> impl Iterator<Item = &[&'a [u8]]> {
        let mut rest = &self.sorted[value.first..value.first + value.records];
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let end = rest.iter().position(|record| {
                let full = bytes > 0 && bytes + record.len() > TOGETHER;
                bytes += record.len();
                full
            });
            let (now, later) = rest.split_at(end.unwrap_or(rest.len()));
            rest = later;
            (!now.is_empty()).then_some(now)
        })
    }

    /// What is known of each record's value, from what is known of each value.
    pub(super) fn by_record<T: Copy>(&self, of_values: &[T]) -> Vec<T> {
        self.of_record.iter().map(|&nth| of_values[nth]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Space;

    fn append<'a>(space: u8, key: &'a str, record: &'a [u8]) -> Append<'a> {
        Append { at: At { space: Space::from([space; 32]), key: key.as_bytes() }, record }
    }

    #[test]
    fn records_of_one_value_are_together_and_in_their_order() {
        let appends = [
            append(1, "a", b"1"),
            append(1, "b", b"2"),
            append(2, "a", b"3"),
            append(1, "a", b"4"),
            append(2, "a", b"56"),
        ];
        let gathered = Gathered::of(&appends);
        let commands: Vec<Vec<&[&[u8]]>> =
            gathered.values.iter().map(|value| gathered.commands(value).collect()).collect();
        let together: [&[&[u8]]; 3] = [&[b"1", b"4"], &[b"2"], &[b"3", b"56"]];
        assert_eq!(commands, together.map(|records| vec![records]));
        let bytes: Vec<usize> = gathered.values.iter().map(|value| value.bytes).collect();
        assert_eq!(bytes, [2, 1, 3]);
        assert_eq!(gathered.by_record(&bytes), [2, 1, 3, 2, 3]);
    }

    #[test]
    fn many_bytes_of_one_value_go_in_several_commands() {
        let (large, small) = (vec![7; TOGETHER - 1], [8; 1]);
        let records: [&[u8]; 5] = [&large, &small, &small, &large, &large];
        let appends = records.map(|record| append(1, "a", record));
        let gathered = Gathered::of(&appends);
        let commands = gathered.commands(&gathered.values[0]);
        let lengths: Vec<usize> = commands.map(<[_]>::len).collect();
        assert_eq!(lengths, [2, 2, 1]);
    }

    #[test]
    fn an_empty_record_is_a_command_too() {
        let appends = [append(1, "a", b""), append(1, "b", b"")];
        let gathered = Gathered::of(&appends);
        let commands = gathered.values.iter().flat_map(|value| gathered.commands(value)).count();
        assert_eq!(commands, 2);
    }
}
