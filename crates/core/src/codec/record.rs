//! Records: one event as a group needs it, as the bytes that are appended to a key's value.
//!
//! ```text
//! record   length varint │ payload │ checksum u32 LE of (key, payload)
//! payload  flags u8 │ event time zigzag │ id │ [source, partition, offset varints]
//!          │ null bits │ values
//!          flags: 1 = has a position; all other bits 0
//!          id: zigzag integer │ 16 bytes │ length, text        (the group's IdKind)
//!          null bits: one a slot, set where the slot is NULL, least significant first
//! ```
//!
//! The length counts payload and checksum. Records follow one another without anything between, so
//! that a store can append them blind; the checksum has the key in it, so that bytes under a wrong
//! key never count.

use super::bytes::{Reader, put_bits, put_i64, put_u64};
use super::value::{put_id, put_value, read_id, read_value};
use super::{Corrupt, checksum};
use crate::events::Event;
use crate::group::Group;
use crate::value::{Id, Value};

/// Where an event stands in the log that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The source's number; a declared new beginning gets a new one.
    pub source: u32,
    /// The partition within the source.
    pub partition: u32,
    /// The place within the partition; ascending, not always without gaps.
    pub offset: u64,
}

const HAS_POSITION: u8 = 1;

/// Appends the record of `event` under `key` to `out`. Exact groups may leave the position out; the
/// others refuse such records when they fold.
pub fn record(key: &[u8], event: &Event, position: Option<Position>, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(48);
    payload.push(if position.is_some() { HAS_POSITION } else { 0 });
    put_i64(&mut payload, event.time);
    put_id(&mut payload, &event.id);
    if let Some(position) = position {
        put_u64(&mut payload, u64::from(position.source));
        put_u64(&mut payload, u64::from(position.partition));
        put_u64(&mut payload, position.offset);
    }
    let nulls: Vec<bool> = event.slots.iter().map(|v| *v == Value::Null).collect();
    put_bits(&mut payload, &nulls);
    for value in &event.slots {
        put_value(&mut payload, value);
    }
    seal_record(key, &payload, out);
}

/// Appends a payload with its length before it and its checksum behind.
pub(crate) fn seal_record(key: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    put_u64(out, payload.len() as u64 + 4);
    out.extend_from_slice(payload);
    out.extend_from_slice(&(checksum(key, payload) as u32).to_le_bytes());
}

/// A record as it is read.
pub(crate) struct Record<'s> {
    pub(crate) time: i64,
    pub(crate) id: Id,
    /// One value per slot of the group; the next record's stand there in their turn.
    pub(crate) slots: &'s mut Vec<Value>,
    pub(crate) position: Option<Position>,
}

impl Record<'_> {
    /// Its event, to be kept.
    pub(crate) fn event(self) -> Event {
        Event { time: self.time, id: self.id, slots: std::mem::take(self.slots) }
    }
}

/// The records of a tail, in the order in which they were appended, each with its bytes.
pub(crate) fn records(
    group: &Group,
    key: &[u8],
    tail: &[u8],
    mut each: impl FnMut(Record<'_>, &[u8]),
) -> Result<(), Corrupt> {
    let mut input = Reader::new(tail);
    let (mut place, mut slots) = (0, Vec::with_capacity(group.slots.len()));
    while !input.is_empty() {
        let start = tail.len() - input.left();
        let record = one(group, key, &mut input, &mut slots);
        let record = record.ok_or(Corrupt::Record { number: place })?;
        each(record, &tail[start..tail.len() - input.left()]);
        place += 1;
    }
    Ok(())
}

fn one<'s>(
    group: &Group,
    key: &[u8],
    input: &mut Reader<'_>,
    slots: &'s mut Vec<Value>,
) -> Option<Record<'s>> {
    let length = input.count(1)?;
    let payload = input.take(length.checked_sub(4)?)?;
    let sum = u32::from_le_bytes(input.array()?);
    if checksum(key, payload) as u32 != sum {
        return None;
    }
    let mut input = Reader::new(payload);
    let flags = input.byte()?;
    if flags & !HAS_POSITION != 0 {
        return None;
    }
    let time = input.i64()?;
    let id = read_id(&mut input, group.id)?;
    let position = match flags & HAS_POSITION {
        0 => None,
        _ => Some(Position {
            source: u32::try_from(input.u64()?).ok()?,
            partition: u32::try_from(input.u64()?).ok()?,
            offset: input.u64()?,
        }),
    };
    let nulls = input.bits(group.slots.len())?;
    slots.clear();
    for (kind, null) in group.slots.iter().zip(nulls) {
        slots.push(if null { Value::Null } else { read_value(&mut input, kind)? });
    }
    if !input.is_empty() {
        return None;
    }
    Some(Record { time, id, slots, position })
}
