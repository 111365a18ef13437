//! Any bytes as the state of a key: `read` and `fold` give an answer or [`Corrupt`], never panic,
//! and never hold more memory than follows from the input's length.
//!
//! Random bytes end at the checksum, so the bytes are sealed as the codec seals them:
//!
//! ```text
//! input   how u8 │ group u8 │ split u16 LE │ bytes
//! how     bits 0-1: exact, binned, lifetime, exact │ bits 2-3: ids as integers, hashes, texts
//!         bits 4-5: 0 the bytes as they are │ 1 sealed: a base, then records of 16 bytes each
//!                   2, 3 a true state of `group` with the bytes put over its own at `split`
//! ```

use trueup_core::testing::{Dice, any_group, events_for};
use trueup_core::{
    Event, FORMAT_VERSION, Group, Id, IdKind, Instant, Keep, Kind, Limits, Micros, Plan, Position,
    Stored, Value, fold, read, record,
};
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes that any work may hold: empty columns, measures and answers of a group.
const FREE_BYTES: usize = 8 << 10;
/// Bytes for each aggregate that is asked for: a read has a window of each, 400 bytes large.
const BYTES_PER_ANSWER: usize = 512;
/// Bytes for each byte of input. An event of NULLs is three bytes of input or more and takes 151 in
/// columns (time 8, id 24, seven slots of up to 17), and a merge holds old, new and both.
const BYTES_PER_BYTE: usize = 160;
/// The bound on a key's state: small, so that inputs reach it.
const MAX_BYTES: usize = 2 << 10;
/// The key that everything is stored under.
const KEY: &[u8] = b"key";
/// Bytes of each record's payload in sealed input.
const PAYLOAD: usize = 16;
/// Bytes before a base's body.
const HEADER: usize = 16;

/// One input.
pub(super) fn run(bytes: &[u8]) {
    let [how, group, low, high, rest @ ..] = bytes else { return };
    let split = usize::from(u16::from_le_bytes([*low, *high]));
    let mut dice = Dice::new(u64::from(*group));
    let group = group_of(&mut dice, *how);
    let plan = Plan::new(group);
    let (base, tail) = match how >> 4 & 3 {
        0 => {
            let (base, tail) = rest.split_at(split.min(rest.len()));
            (base.to_vec(), tail.to_vec())
        }
        1 => {
            let (body, tail) = rest.split_at(split.min(rest.len()));
            (seal(plan.group().keep, body), records(tail))
        }
        _ => (damaged(&mut dice, &plan, split, rest), Vec::new()),
    };
    check(&plan, Stored { base: Some(&base), tail: &tail });
    check(&plan, Stored { base: None, tail: &tail });
}

/// A group with slots of every kind, kept as `how` says.
fn group_of(dice: &mut Dice, how: u8) -> Group {
    let keep = match how & 3 {
        1 => Keep::Binned { width_us: 25, origin_us: 5 },
        2 => Keep::Lifetime,
        _ => Keep::Exact,
    };
    let id = [IdKind::Int, IdKind::Hash, IdKind::Text, IdKind::Int][usize::from(how >> 2 & 3)];
    let mut group = any_group(dice, keep);
    group.slots.extend([Kind::Time, Kind::Date]);
    Group { id, ..group }
}

fn check(plan: &Plan, stored: Stored<'_>) {
    let input = stored.base.map_or(0, <[u8]>::len) + stored.tail.len();
    let bound = FREE_BYTES + BYTES_PER_BYTE * input;
    let limits = Limits { max_bytes: MAX_BYTES };
    let (_, held) = super::peak_of(|| fold(plan, KEY, stored, &limits));
    assert!(held <= bound, "fold held {held} bytes for {input} of input, bound {bound}");
    let instant = Instant { at: Micros(1_000_100), own: None, complete_from: Micros(i64::MIN) };
    let all: Vec<usize> = (0..plan.group().aggregates.len()).collect();
    for wanted in [&all[..], &all[..1]] {
        let bound = bound + BYTES_PER_ANSWER * wanted.len();
        let (_, held) = super::peak_of(|| read(plan, KEY, stored, instant, wanted, &limits));
        assert!(held <= bound, "read held {held} bytes for {input} of input, bound {bound}");
    }
}

/// A base that `fold` wrote, with `over` put over its body from `at` on.
fn damaged(dice: &mut Dice, plan: &Plan, at: usize, over: &[u8]) -> Vec<u8> {
    let mut tail = Vec::new();
    for (offset, event) in events_for(dice, 24, 120).into_iter().enumerate() {
        let position = Position { source: 0, partition: 0, offset: offset as u64 };
        record(KEY, &of_group(plan.group(), event), Some(position), &mut tail);
    }
    let stored = Stored { base: None, tail: &tail };
    let folded = fold(plan, KEY, stored, &Limits::default()).expect("these records are true");
    let mut body = folded.base[HEADER..].to_vec();
    let at = at % (body.len() + 1);
    for (place, byte) in over.iter().enumerate() {
        match body.get_mut(at + place) {
            Some(old) => *old = *byte,
            None => body.push(*byte),
        }
    }
    seal(plan.group().keep, &body)
}

/// An event of `any_group` with the slots and the id that this group has besides.
fn of_group(group: &Group, mut event: Event) -> Event {
    event.slots.extend([Value::Time(event.time), Value::Null]);
    if let (IdKind::Hash | IdKind::Text, Id::Int(id)) = (group.id, &event.id) {
        event.id = Id::of_text(group.id, &format!("event {id}")).expect("texts are hashed or kept");
    }
    event
}

/// A body behind the header that the codec's drawing shows.
fn seal(keep: Keep, body: &[u8]) -> Vec<u8> {
    let keeping = match keep {
        Keep::Exact => 0,
        Keep::Binned { .. } => 1,
        Keep::Lifetime => 2,
    };
    let mut base = vec![FORMAT_VERSION, keeping, 0, 0];
    base.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let tag = checksum(body) ^ checksum(&base).rotate_left(32);
    base.extend_from_slice(&tag.to_le_bytes());
    base.extend_from_slice(body);
    base
}

/// Records of these payloads.
fn records(payloads: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for payload in payloads.chunks(PAYLOAD) {
        out.push(payload.len() as u8 + 4);
        out.extend_from_slice(payload);
        out.extend_from_slice(&(checksum(payload) as u32).to_le_bytes());
    }
    out
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&(KEY.len() as u64).to_le_bytes());
    hash.update(KEY);
    hash.update(bytes);
    hash.digest()
}
