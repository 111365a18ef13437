//! `first_value`, `last_value`: the value of the first or last event in (event time, id) order,
//! NULL or not.

use crate::codec::{Reader, put_i64, put_id, put_value, read_id, read_value};
use crate::column::Column;
use crate::events::Events;
use crate::value::{Id, IdKind, Kind, Value};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edge {
    last: bool,
    held: Option<(i64, Id, Value)>,
}

impl Edge {
    pub(crate) fn empty(last: bool) -> Edge {
        Edge { last, held: None }
    }

    fn wins(&self, time: i64, id: &Id) -> bool {
        match &self.held {
            None => true,
            Some((t, held, _)) if self.last => (time, id) > (*t, held),
            Some((t, held, _)) => (time, id) < (*t, held),
        }
    }

    pub(crate) fn add(&mut self, events: &Events, column: &Column, i: usize) {
        if self.wins(events.times[i], &events.ids[i]) {
            self.held = Some((events.times[i], events.ids[i].clone(), column.value(i)));
        }
    }

    pub(crate) fn merge(&mut self, other: &Edge) {
        if let Some((time, id, value)) = &other.held
            && self.wins(*time, id)
        {
            self.held = Some((*time, id.clone(), value.clone()));
        }
    }

    pub(crate) fn finish(&self) -> Value {
        self.held.as_ref().map_or(Value::Null, |(_, _, value)| value.clone())
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let Some((time, id, value)) = &self.held else { return out.push(0) };
        out.push(if *value == Value::Null { 1 } else { 2 });
        put_i64(out, *time);
        put_id(out, id);
        put_value(out, value);
    }

    pub(crate) fn read(
        last: bool,
        id: IdKind,
        kind: &Kind,
        input: &mut Reader<'_>,
    ) -> Option<Edge> {
        let flag = input.byte()?;
        let held = match flag {
            0 => None,
            1 | 2 => {
                let (time, id) = (input.i64()?, read_id(input, id)?);
                let value = if flag == 1 { Value::Null } else { read_value(input, kind)? };
                Some((time, id, value))
            }
            _ => return None,
        };
        Some(Edge { last, held })
    }
}
