//! Ordered events as columns of bytes: the body of an exact base, and the raw part of the others.
//!
//! ```text
//! events  n varint │ times: first zigzag, then deltas │ ids │ slot │ slot │ …
//! ids     integers: first zigzag, then zigzag deltas │ hashes: 16 bytes each
//!         │ texts: length, bytes
//! slot    byte length varint │ 0: no NULL, 1: a bit a value, set where valid
//!         │ values that are not NULL
//!         Bool: bits │ Int, Time, Date, Decimal: zigzag │ Float: 8 bytes LE
//!         │ Text: length, bytes
//! ```
//!
//! The length before a slot lets a reader leap over the columns that a query does not need.

use super::bytes::{Reader, put_bits, put_i64, put_i128, put_text, put_u64};
use super::value::{finite, put_id, read_id};
use crate::column::{Cells, Column};
use crate::events::Events;
use crate::group::Group;
use crate::value::{Id, IdKind, Kind};

pub(crate) fn put_events(out: &mut Vec<u8>, events: &Events) {
    put_u64(out, events.len() as u64);
    let mut last = 0;
    for (i, &time) in events.times.iter().enumerate() {
        match i {
            0 => put_i64(out, time),
            // Ordered, so the delta is never negative; wrapping holds where it passes 2^63.
            _ => put_u64(out, time.wrapping_sub(last) as u64),
        }
        last = time;
    }
    let mut last = 0;
    for id in &events.ids {
        match id {
            Id::Int(id) => {
                put_i64(out, id.wrapping_sub(last));
                last = *id;
            }
            id => put_id(out, id),
        }
    }
    let mut bytes = Vec::new();
    for column in &events.slots {
        bytes.clear();
        put_column(&mut bytes, column);
        put_u64(out, bytes.len() as u64);
        out.extend_from_slice(&bytes);
    }
}

/// What a delta of event times takes at most, in bytes: 2^56 us are 2,283 years.
const TIME_BYTES: u64 = 8;

/// What the event at `i` takes in a base, in bytes, by itself: without the savings of deltas from
/// its neighbours, so that it depends on nothing but the event. The sum over events is a little
/// more than what [`put_events`] makes of them.
pub(crate) fn weight(events: &Events, i: usize) -> u64 {
    let id = match &events.ids[i] {
        // The delta of two numbers may take a bit more than either.
        Id::Int(id) => 1 + varint_bytes(i128::from(*id)),
        Id::Hash(hash) => hash.len() as u64,
        Id::Text(text) => text_bytes(text),
    };
    let slots = events.slots.iter().map(|column| cell_bytes(column, i));
    TIME_BYTES + id + slots.sum::<u64>()
}

/// At least the [`weight`] of all events together, found in a moment.
pub(crate) fn weight_at_most(events: &Events) -> u64 {
    let n = events.len() as u64;
    let texts = |texts: &[Box<str>]| texts.iter().map(|text| text_bytes(text)).sum::<u64>();
    let columns = events.slots.iter().map(|column| match column.cells() {
        Cells::Bool(_) => n,
        Cells::Int(_) | Cells::Float(_) => n * 10,
        Cells::Decimal(_) => n * 19,
        Cells::Text(v) => n + texts(v),
    });
    let ids =
        events.ids.iter().map(|id| if let Id::Text(text) = id { text_bytes(text) } else { 16 });
    n * TIME_BYTES + ids.sum::<u64>() + columns.sum::<u64>()
}

fn cell_bytes(column: &Column, i: usize) -> u64 {
    match column.cells() {
        _ if !column.is_valid(i) => 1,
        Cells::Bool(_) => 1,
        Cells::Int(v) => varint_bytes(i128::from(v[i])),
        Cells::Decimal(v) => varint_bytes(v[i]),
        Cells::Float(_) => 8,
        Cells::Text(v) => text_bytes(&v[i]),
    }
}

fn text_bytes(text: &str) -> u64 {
    varint_bytes(text.len() as i128) + text.len() as u64
}

/// Bytes of a zigzag varint: seven bits each, of the magnitude and the sign.
fn varint_bytes(x: i128) -> u64 {
    let magnitude = (x ^ (x >> 127)) as u128;
    u64::from(129 - magnitude.leading_zeros()).div_ceil(7)
}

fn put_column(out: &mut Vec<u8>, column: &Column) {
    let valid = column.valid();
    if valid.iter().all(|&v| v) {
        out.push(0);
    } else {
        out.push(1);
        put_bits(out, valid);
    }
    let present = |i: &usize| valid[*i];
    let places = (0..column.len()).filter(present);
    match column.cells() {
        Cells::Bool(v) => put_bits(out, &places.map(|i| v[i]).collect::<Vec<_>>()),
        Cells::Int(v) => places.for_each(|i| put_i64(out, v[i])),
        Cells::Decimal(v) => places.for_each(|i| put_i128(out, v[i])),
        Cells::Float(v) => {
            places.for_each(|i| out.extend_from_slice(&v[i].to_bits().to_le_bytes()));
        }
        Cells::Text(v) => places.for_each(|i| put_text(out, &v[i])),
    }
}

/// Room for the request's own event behind those that are read.
const SPARE: usize = 1;

/// Reads events; slots that `needed` leaves out come back as columns of NULLs.
pub(crate) fn read_events(
    group: &Group,
    input: &mut Reader<'_>,
    needed: &dyn Fn(usize) -> bool,
) -> Option<Events> {
    // A time and an id take at least a byte each.
    let n = input.count(2)?;
    let mut times = Vec::with_capacity(n + SPARE);
    for i in 0..n {
        let time = match i {
            0 => input.i64()?,
            _ => i64::try_from(i128::from(times[i - 1]) + i128::from(input.u64()?)).ok()?,
        };
        times.push(time);
    }
    let mut ids = Vec::with_capacity(n + SPARE);
    let mut last = 0i64;
    for _ in 0..n {
        ids.push(match group.id {
            IdKind::Int => {
                last = last.wrapping_add(input.i64()?);
                Id::Int(last)
            }
            kind => read_id(input, kind)?,
        });
    }
    let mut slots = Vec::with_capacity(group.slots.len());
    for (slot, kind) in group.slots.iter().enumerate() {
        let length = input.count(1)?;
        let bytes = input.take(length)?;
        slots.push(match needed(slot) {
            true => read_column(&mut Reader::new(bytes), kind, n)?,
            false => Column::nulls(kind, n),
        });
    }
    Some(Events { times, ids, slots })
}

fn read_column(input: &mut Reader<'_>, kind: &Kind, n: usize) -> Option<Column> {
    let valid = match input.byte()? {
        0 => vec![true; n],
        1 => {
            let valid: Vec<bool> = input.bits(n)?.collect();
            // All valid has the other spelling.
            if valid.iter().all(|&v| v) {
                return None;
            }
            valid
        }
        _ => return None,
    };
    fn fill<T: Default>(valid: &[bool], mut next: impl FnMut() -> Option<T>) -> Option<Vec<T>> {
        let mut cells = Vec::with_capacity(valid.len() + SPARE);
        for &v in valid {
            cells.push(if v { next()? } else { T::default() });
        }
        Some(cells)
    }
    let cells = match Column::new(kind).cells() {
        Cells::Bool(_) => {
            let mut bits = input.bits(valid.iter().filter(|&&v| v).count())?;
            Cells::Bool(fill(&valid, || bits.next())?)
        }
        Cells::Int(_) if *kind == Kind::Date => {
            Cells::Int(fill(&valid, || i32::try_from(input.i64()?).ok().map(i64::from))?)
        }
        Cells::Int(_) => Cells::Int(fill(&valid, || input.i64())?),
        Cells::Decimal(_) => Cells::Decimal(fill(&valid, || input.i128())?),
        Cells::Float(_) => {
            Cells::Float(fill(&valid, || finite(u64::from_le_bytes(input.array()?)))?)
        }
        Cells::Text(_) => Cells::Text(fill(&valid, || input.text().map(Into::into))?),
    };
    input.is_empty().then(|| Column::from_parts(kind, valid, cells))
}
