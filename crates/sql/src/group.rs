//! Groups in the making: what all views ask of one key's state, each thing once.

use crate::aggregate::Call;
use crate::bridge;
use crate::definition::GroupDef;
use crate::digest::Canon;
use crate::error::{Checked, refuse};
use crate::evaluate::RowExpr;
use crate::frame::Window;
use crate::schema::Stream;
use crate::stream::describe;
use arrow::datatypes::DataType;
use datafusion_sql::sqlparser::tokenizer::Span;
use std::fmt::Write;
use std::sync::Arc;
use trueup_core::{Aggregate, Frame, Func, Group, IdKind, Keep, Kind};

/// Most aggregates of one group: each is evaluated for every request of its key.
const MAX_AGGREGATES: usize = 4_096;
/// Most slots of one group: each is a part of every event's record.
const MAX_SLOTS: usize = 1_024;

/// The groups found so far.
#[derive(Default)]
pub(crate) struct Groups(Vec<Draft>);

struct Draft {
    stream: usize,
    keys: Vec<usize>,
    filter: Option<RowExpr>,
    keep: Keep,
    slots: Vec<RowExpr>,
    aggregates: Vec<Aggregate>,
}

/// Where an aggregate was put.
pub(crate) struct Placed {
    /// The group, by its place among the drafts.
    pub(crate) group: usize,
    /// The aggregate, by its place in the draft.
    pub(crate) aggregate: usize,
    /// The type of its answer.
    pub(crate) ty: DataType,
    /// All that decides its value, in canonical words.
    pub(crate) text: String,
}

/// The finished groups, and where the drafts went.
pub(crate) struct Finished {
    pub(crate) groups: Vec<GroupDef>,
    /// For each draft: its group, and for each of its aggregates the new place.
    pub(crate) moved: Vec<(usize, Vec<usize>)>,
}

impl Groups {
    /// Puts an aggregate into the group that keeps what it needs, which is made if there is none
    /// yet.
    pub(crate) fn place(
        &mut self,
        stream: usize,
        filter: Option<&RowExpr>,
        window: Window,
        call: Call,
        at: Span,
    ) -> Checked<Placed> {
        check_kept(&window, &call.func, at)?;
        let same = |draft: &Draft| {
            let texts = (draft.filter.as_ref().map(RowExpr::text), filter.map(RowExpr::text));
            draft.stream == stream
                && draft.keys == window.keys
                && draft.keep == window.keep
                && texts.0 == texts.1
        };
        let group = self.0.iter().position(same).unwrap_or_else(|| {
            let filter = filter.cloned();
            let (slots, aggregates) = (Vec::new(), Vec::new());
            let Window { keys, keep, .. } = window;
            self.0.push(Draft { stream, keys, filter, keep, slots, aggregates });
            self.0.len() - 1
        });
        let draft = &mut self.0[group];
        let arg = call.arg.map(|arg| draft.slot(arg));
        let filter = call.filter.map(|filter| draft.slot(filter));
        let wanted = Aggregate { func: call.func, arg, filter, frame: window.frame };
        let known = draft.aggregates.iter().position(|aggregate| *aggregate == wanted);
        let aggregate = known.unwrap_or_else(|| {
            draft.aggregates.push(wanted);
            draft.aggregates.len() - 1
        });
        if draft.aggregates.len() > MAX_AGGREGATES || draft.slots.len() > MAX_SLOTS {
            return refuse(
                at,
                format!(
                    "one key has more than {MAX_AGGREGATES} aggregates or {MAX_SLOTS} arguments"
                ),
                "look some of them up by another key, or drop some",
            );
        }
        let text = text_of(&draft.aggregates[aggregate], &draft.slots);
        let ty = type_of(&draft.aggregates[aggregate], &draft.slots);
        Ok(Placed { group, aggregate, ty, text })
    }

    /// Brings groups, slots and aggregates into an order that does not depend on the order of the
    /// text.
    pub(crate) fn finish(self, streams: &[Arc<Stream>]) -> Finished {
        let finished = self.0.into_iter().map(|draft| draft.finish(streams));
        let (mut groups, inner): (Vec<_>, Vec<_>) = finished.unzip();
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|place| (groups[*place].name.clone(), groups[*place].digest));
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, old)| places[*old] = new);
        let moved = places.iter().copied().zip(inner).collect();
        groups.sort_by_key(|group| (group.name.clone(), group.digest));
        Finished { groups, moved }
    }
}

impl Draft {
    fn slot(&mut self, expr: RowExpr) -> usize {
        let known = self.slots.iter().position(|slot| slot.text() == expr.text());
        known.unwrap_or_else(|| {
            self.slots.push(expr);
            self.slots.len() - 1
        })
    }

    /// The finished group, and the new place of each aggregate.
    fn finish(self, streams: &[Arc<Stream>]) -> (GroupDef, Vec<usize>) {
        let (slots, slot_places) = sorted(self.slots, |slot| slot.text().to_string());
        let moved = self.aggregates.into_iter().map(|mut aggregate| {
            aggregate.arg = aggregate.arg.map(|slot| slot_places[slot]);
            aggregate.filter = aggregate.filter.map(|slot| slot_places[slot]);
            aggregate
        });
        let (aggregates, places) = sorted(moved.collect(), |a| text_of(a, &slots));
        let stream = &streams[self.stream];
        let core = Group {
            keep: self.keep,
            id: id_kind(stream, &aggregates),
            slots: slots.iter().map(slot_kind).collect(),
            aggregates,
            lateness_us: stream.lateness_us,
            future_us: stream.future_us,
            reorder_us: stream.reorder_us,
        };
        let name = name_of(stream, &self.keys, self.keep, self.filter.as_ref());
        let mut canon = Canon::new("group");
        describe(stream, &mut canon);
        canon.line(key_text(stream, &self.keys, self.filter.as_ref(), self.keep));
        canon.line(format_args!("id {:?}", core.id));
        slots
            .iter()
            .for_each(|slot| canon.line(format_args!("slot {} {}", slot.ty(), slot.text())));
        for aggregate in &core.aggregates {
            canon.line(format_args!("aggregate {}", text_of(aggregate, &slots)));
        }
        let digest = canon.digest();
        let Draft { stream, keys, filter, .. } = self;
        (GroupDef { name, stream, keys, filter, slots, core, digest }, places)
    }
}

/// Refuses what the group could not answer from the state that it keeps.
fn check_kept(window: &Window, func: &Func, at: Span) -> Checked<()> {
    let whole = match window.keep {
        Keep::Exact => false,
        Keep::Binned { .. } | Keep::Lifetime => true,
    };
    match func {
        Func::CountDistinct if whole => refuse(
            at,
            "count(DISTINCT x) would keep every value for ever in a binned or unbounded window",
            "write approx_distinct(x), or a bounded RANGE over the event time itself",
        ),
        Func::ArrayAgg if !matches!(window.frame, Frame::Rows { .. }) => refuse(
            at,
            "array_agg needs a frame of a bounded number of rows",
            "write ROWS BETWEEN 9 PRECEDING AND CURRENT ROW for the last ten",
        ),
        _ => Ok(()),
    }
}

fn slot_kind(slot: &RowExpr) -> Kind {
    bridge::kind_of(slot.ty()).expect("row expressions are compiled to kept types only")
}

/// The type of an aggregate's answers. Those that give back a value of their argument keep its
/// type, precision included; `core` knows of a decimal its scale alone.
fn type_of(aggregate: &Aggregate, slots: &[RowExpr]) -> DataType {
    if let Some(arg) = aggregate.arg.map(|slot| slots[slot].ty()) {
        match aggregate.func {
            Func::Min | Func::Max | Func::First | Func::Last | Func::Lag => return arg.clone(),
            Func::ArrayAgg => return bridge::list_type(arg.clone()),
            _ => {}
        }
    }
    let group = Group {
        keep: Keep::Exact,
        id: IdKind::Int,
        slots: slots.iter().map(slot_kind).collect(),
        aggregates: Vec::new(),
        lateness_us: 0,
        future_us: 0,
        reorder_us: 0,
    };
    bridge::arrow_of(&group.kind_of(aggregate))
}

/// Text ids stay whole only where an answer depends on the order of events of one instant.
fn id_kind(stream: &Stream, aggregates: &[Aggregate]) -> IdKind {
    let ordered = |aggregate: &Aggregate| {
        matches!(aggregate.frame, Frame::Rows { .. })
            || matches!(aggregate.func, Func::First | Func::Last | Func::ArrayAgg | Func::Lag)
    };
    match stream.id_kind() {
        IdKind::Hash if aggregates.iter().any(ordered) => IdKind::Text,
        kind => kind,
    }
}

/// Everything that decides an aggregate's value within its group.
fn text_of(aggregate: &Aggregate, slots: &[RowExpr]) -> String {
    let func = match aggregate.func {
        Func::Percentile(p) => format!("Percentile {p}"),
        ref func => format!("{func:?}"),
    };
    let mut text = match aggregate.arg {
        Some(slot) => format!("{func}({})", slots[slot].text()),
        None => format!("{func}(*)"),
    };
    let bound = |us: Option<i64>| us.map_or("unbounded".to_string(), |us| us.to_string());
    let written = match aggregate.frame {
        Frame::Range { far_us, near_us } => {
            write!(text, " RANGE {} to {near_us} us", bound(far_us))
        }
        Frame::Rows { far, near } => write!(text, " ROWS {far} to {near}"),
    };
    written.expect("writing to a String cannot fail");
    if let Some(slot) = aggregate.filter {
        text.push_str(" FILTER ");
        text.push_str(slots[slot].text());
    }
    text
}

/// What an event's place in the group depends on, in canonical words.
pub(crate) fn key_text(
    stream: &Stream,
    keys: &[usize],
    filter: Option<&RowExpr>,
    keep: Keep,
) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("{:?}", stream.columns[*key].name)).collect();
    let filter = filter.map_or("TRUE", RowExpr::text);
    format!("{:?} by {} keep {keep:?} where {filter}", stream.name, keys.join(" "))
}

fn name_of(stream: &Stream, keys: &[usize], keep: Keep, filter: Option<&RowExpr>) -> String {
    let keys: Vec<&str> = keys.iter().map(|key| &*stream.columns[*key].name).collect();
    let mut name = format!("{}/{}", stream.name, keys.join("+"));
    match keep {
        Keep::Exact => {}
        Keep::Lifetime => name.push_str("/lifetime"),
        Keep::Binned { width_us, origin_us: 0 } => name += &format!("/bin={}", brief(width_us)),
        Keep::Binned { width_us, origin_us } => {
            name += &format!("/bin={}+{}", brief(width_us), brief(origin_us));
        }
    }
    if let Some(filter) = filter {
        let mut canon = Canon::new("filter");
        canon.line(filter.text());
        name += &format!("/where={}", &canon.digest().short()[..8]);
    }
    name
}

/// A length of time in its largest whole unit: `1h`.
fn brief(us: i64) -> String {
    let units = [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)];
    let whole = units.iter().find(|(_, unit)| us % unit == 0);
    whole.map_or_else(|| format!("{us}us"), |(name, unit)| format!("{}{name}", us / unit))
}

/// The items sorted by a canonical text, and the new place of each.
fn sorted<T>(items: Vec<T>, text: impl Fn(&T) -> String) -> (Vec<T>, Vec<usize>) {
    let mut order: Vec<(String, usize, T)> =
        items.into_iter().enumerate().map(|(place, item)| (text(&item), place, item)).collect();
    order.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, (_, old, _))| places[*old] = new);
    (order.into_iter().map(|(_, _, item)| item).collect(), places)
}
