//! One group's state of a key, as text and as JSON.

use crate::ingest::backfill::{Plan, file_and_row, is_under_way, rows_in};
use crate::ingest::source::FIRST_LOG;
use crate::json;
use serde_json::{Value, json};
use trueup_core::{Base, Corrupt, Event, Inspected, Keep, Partials, Position, Vouch};
use trueup_sql::bridge::arrow_of;
use trueup_sql::decode::print::Timestamp;
use trueup_sql::{GroupDef, array_of};
use trueup_store::{Meta, NEVER_US, Read};

/// What was read of a group, taken apart.
pub(super) struct Shown<'a> {
    pub(super) group: &'a GroupDef,
    pub(super) read: &'a Read,
    pub(super) inspected: Result<Inspected, Corrupt>,
    /// Whether the events themselves are wanted.
    pub(super) events: bool,
}

impl Shown<'_> {
    pub(super) fn text(&self) -> String {
        let (group, meta) = (self.group, &self.read.meta);
        let mut text = format!("group {}  {}\n", group.name, group.digest);
        let mut line = |line: String| text.extend(["  ", line.as_str(), "\n"]);
        let (base, tail) = self.bytes();
        if !self.is_stored() {
            line("nothing is stored of this key".to_string());
        }
        line(format!("{} bytes: base {base}, tail {tail}; {}", base + tail, keep(group)));
        match &self.inspected {
            Err(damage) => line(format!("damaged: {damage}")),
            Ok(Inspected { base, tail }) => {
                match base {
                    None => line("no base: nothing was folded yet".to_string()),
                    Some(base) => base_lines(base).into_iter().for_each(&mut line),
                }
                line(format!("tail of {} records", tail.len()));
                if self.events {
                    let held = base.iter().flat_map(|base| &base.events);
                    held.for_each(|event| line(format!("  held  {}", self.event(event))));
                    for (event, position) in tail {
                        let at = position.map_or("without a position".to_string(), place);
                        line(format!("  tail  {}  {at}", self.event(event)));
                    }
                }
            }
        }
        line(format!("bucket at epoch/incarnation {}", self.read.stand));
        meta_lines(meta).into_iter().for_each(&mut line);
        text
    }

    pub(super) fn json(&self) -> Value {
        let (base_bytes, tail_bytes) = self.bytes();
        let mut shown = json!({
            "group": self.group.name,
            "digest": self.group.digest.to_string(),
            "keeps": keep(self.group),
            "stored": self.is_stored(),
            "bytes": base_bytes + tail_bytes,
            "base_bytes": base_bytes,
            "tail_bytes": tail_bytes,
            "epoch": format!("{:016x}", self.read.stand.epoch),
            "incarnation": format!("{:016x}", self.read.stand.incarnation),
            "meta": meta_json(&self.read.meta),
        });
        match &self.inspected {
            Err(damage) => shown["damaged"] = damage.to_string().into(),
            Ok(Inspected { base, tail }) => {
                shown["base"] = base.as_ref().map_or(Value::Null, base_json);
                shown["tail_records"] = tail.len().into();
                if self.events {
                    let held = base.iter().flat_map(|base| &base.events);
                    shown["events"] = held.map(|event| self.event(event)).collect();
                    let tail = tail.iter().map(|(event, position)| {
                        let mut event = self.event(event);
                        event["position"] = position.map_or(Value::Null, position_json);
                        event
                    });
                    shown["tail"] = tail.collect();
                }
            }
        }
        shown
    }

    /// Whether the store has anything of the key; an event of it that no worker has applied yet is
    /// only in the log.
    fn is_stored(&self) -> bool {
        self.bytes() != (0, 0)
    }

    /// Bytes of base and tail.
    fn bytes(&self) -> (usize, usize) {
        let value = self.read.value.as_ref();
        value.map_or((0, 0), |value| (value.base().len(), value.tail().len()))
    }

    /// An event as the group keeps it: what is not in its slots is not known any more.
    fn event(&self, event: &Event) -> Value {
        let kinds = self.group.core.slots.iter().zip(&self.group.slots);
        let slots = kinds.zip(&event.slots).map(|((kind, slot), value)| {
            let array = array_of(&arrow_of(kind), [value]);
            let mut text = Vec::new();
            json::value(&mut text, &*array, 0);
            (slot.text().to_string(), serde_json::from_slice(&text).unwrap_or_default())
        });
        json!({
            "time": Timestamp(event.time).to_string(),
            "id": json::id(&event.id),
            "slots": slots.collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn keep(group: &GroupDef) -> String {
    match group.core.keep {
        Keep::Exact => "exact".to_string(),
        Keep::Binned { width_us, .. } => format!("bins of {} s", width_us as f64 / 1e6),
        Keep::Lifetime => "lifetime".to_string(),
    }
}

fn instant(us: Option<i64>, none: &str) -> String {
    us.map_or(none.to_string(), |us| Timestamp(us).to_string())
}

fn base_lines(base: &Base) -> Vec<String> {
    let mut lines = vec![format!(
        "base of format {}: {} events one by one, {} beaten; newest {}, oldest ever {}",
        base.version,
        base.events.len(),
        base.beaten,
        instant(base.newest_us, "none"),
        instant(base.oldest_us, "none"),
    )];
    let sealed: u64 = base.bins.iter().chain(&base.floor).map(|partials| partials.events).sum();
    if sealed > 0 {
        let floor = base.floor.map_or(0, |floor| floor.events);
        lines.push(format!(
            "{} bins; {sealed} events in partials, {floor} of them older than all bins; {} ids \
             remembered",
            base.bins.len(),
            base.recent_ids
        ));
    }
    lines.push(format!("whole from {}", instant(base.whole_from_us, "the first event on")));
    lines.extend(base.vouch.map(|Vouch { from, as_of }| {
        let from = instant(Some(from.0).filter(|&us| us != i64::MIN), "the first event on");
        format!("filled from the database from {from}, as it was at {}", Timestamp(as_of.0))
    }));
    lines.extend(base.admitted.iter().map(|&at| format!("taken in up to {}", place(at))));
    lines
}

fn place(position: Position) -> String {
    let Position { source, partition, offset } = position;
    match source >= FIRST_LOG {
        true => format!("offset {offset} of partition {partition} of log {source}"),
        false => row(offset),
    }
}

/// The row of a history below an offset.
fn row(offset: u64) -> String {
    let (file, row) = file_and_row(offset);
    format!("row {row} of file {file} of the history")
}

fn meta_lines(meta: &Meta) -> Vec<String> {
    let since = match meta.complete_since_us {
        None => "no marker: nobody vouches for it".to_string(),
        Some(i64::MIN) => "complete since for ever".to_string(),
        Some(since_us) => format!("complete since {}", Timestamp(since_us)),
    };
    let mut lines = vec![since, format!("fresh as of {}", instant(fresh(meta.fresh_us), "never"))];
    let of_logs = meta.checkpoints.iter().filter(|it| it.source >= FIRST_LOG);
    lines.extend(of_logs.map(|it| {
        let position = Position { source: it.source, partition: it.partition, offset: it.offset };
        let fresh = instant(fresh(Some(it.fresh_us)), "never");
        format!("checkpoint at {}, fresh as of {fresh}", place(position))
    }));
    if let Some((stage, rows)) = backfill(meta) {
        lines.push(format!("backfill {stage}, in up to {}", row(rows)));
    }
    lines
}

/// How a backfill stands, and up to which row it is.
fn backfill(meta: &Meta) -> Option<(&'static str, u64)> {
    let under_way = is_under_way(meta);
    if !under_way && Plan::of(meta).is_none() {
        return None;
    }
    Some((if under_way { "under way or broken off" } else { "done" }, rows_in(meta).unwrap_or(0)))
}

/// An instant that was said, unless it stands for never or for always.
fn fresh(us: Option<i64>) -> Option<i64> {
    us.filter(|us| ![NEVER_US, i64::MAX].contains(us))
}

fn time_json(us: Option<i64>) -> Value {
    us.map_or(Value::Null, |us| Timestamp(us).to_string().into())
}

fn position_json(position: Position) -> Value {
    let Position { source, partition, offset } = position;
    json!({ "source": source, "partition": partition, "offset": offset })
}

fn base_json(base: &Base) -> Value {
    let partials = |it: &Partials| {
        let start = time_json(Some(it.start_us).filter(|&us| us != i64::MIN));
        json!({ "start": start, "newest": time_json(Some(it.newest_us)), "events": it.events })
    };
    json!({
        "format": base.version,
        "events": base.events.len(),
        "beaten": base.beaten,
        "bins": base.bins.iter().map(partials).collect::<Vec<_>>(),
        "floor": base.floor.as_ref().map(partials),
        "oldest": time_json(base.oldest_us),
        "newest": time_json(base.newest_us),
        "whole_from": time_json(base.whole_from_us),
        "filled": base.vouch.map(|Vouch { from, as_of }| json!({
            "from": time_json(Some(from.0).filter(|&us| us != i64::MIN)),
            "as_of": time_json(Some(as_of.0)),
        })),
        "remembered_ids": base.recent_ids,
        "admitted": base.admitted.iter().copied().map(position_json).collect::<Vec<_>>(),
    })
}

fn meta_json(meta: &Meta) -> Value {
    let of_logs = meta.checkpoints.iter().filter(|it| it.source >= FIRST_LOG);
    let checkpoints = of_logs.map(|it| {
        json!({
            "source": it.source,
            "partition": it.partition,
            "offset": it.offset,
            "fresh": time_json(fresh(Some(it.fresh_us))),
        })
    });
    let since_us = meta.complete_since_us;
    json!({
        "complete": since_us.is_some(),
        "complete_since": time_json(since_us.filter(|&us| us != i64::MIN)),
        "fresh": time_json(fresh(meta.fresh_us)),
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "backfill": backfill(meta).map(|(stage, rows)| {
            let (file, row) = file_and_row(rows);
            json!({ "stage": stage, "file": file, "row": row })
        }),
    })
}
