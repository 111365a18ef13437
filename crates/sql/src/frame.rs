//! Windows: partition columns, order and frame, in the words of `core`.

use crate::error::{Checked, Refusal, refuse};
use crate::names::{fold, suggest};
use crate::scope::{Scope, Side};
use crate::time::{interval_us, place, strip, timestamp_us};
use crate::walk::{arguments, function_name, unquoted};
use datafusion_sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderByExpr, Spanned, Value, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use trueup_core::{Frame, Keep};

/// Most rows that a ROWS frame or lag reaches back: all of them are kept for every key, for ever.
pub(crate) const MAX_ROWS: u32 = 10_000;

/// A window over a stream.
pub(crate) struct Window {
    /// The stream's columns that make the key, ascending.
    pub(crate) keys: Vec<usize>,
    /// How the group must keep its events.
    pub(crate) keep: Keep,
    /// Which events an aggregate sees.
    pub(crate) frame: Frame,
}

/// What the events are ordered by.
enum Order {
    Time,
    TimeAndId,
    Bins { width_us: i64, origin_us: i64 },
}

/// Compiles what stands behind OVER. `lag` is how many rows `lag` reaches back, which has no frame
/// of its own.
pub(crate) fn window(
    scope: &Scope<'_>,
    over: &WindowType,
    named: &[NamedWindowDefinition],
    lag: Option<u32>,
    call: Span,
) -> Checked<Window> {
    let spec = expand(over, named, call)?;
    let keys = keys(scope, &spec, call)?;
    let (order, at) = order(scope, &spec, call)?;
    let (keep, frame) = match (&spec.window_frame, lag) {
        (_, Some(rows)) => (Keep::Exact, Frame::Rows { far: rows, near: rows }),
        (None, None) => (Keep::Lifetime, Frame::Range { far_us: None, near_us: 0 }),
        (Some(frame), None) => match frame.units {
            WindowFrameUnits::Range => range(frame, at)?,
            WindowFrameUnits::Rows => {
                (Keep::Exact, rows(frame, scope.context.words.find(at, "ROWS"))?)
            }
            WindowFrameUnits::Groups => {
                return refuse(
                    scope.context.words.find(at, "GROUPS"),
                    "GROUPS frames are not supported",
                    "write RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW",
                );
            }
        },
    };
    let keep = match (order, frame) {
        (Order::Bins { .. }, Frame::Rows { .. }) => {
            let help = "order by the event time itself";
            return refuse(at, "ROWS frames and lag need single events, not bins", help);
        }
        (Order::Bins { width_us, origin_us }, _) => Keep::Binned { width_us, origin_us },
        (Order::TimeAndId, Frame::Range { .. }) => {
            return refuse(
                place_of_second(&spec, at),
                "a RANGE frame has one ORDER BY column",
                "order by the event time alone; ties are in the frame together",
            );
        }
        _ => keep,
    };
    Ok(Window { keys, keep, frame })
}

/// The window's specification with names replaced by what they stand for.
fn expand(over: &WindowType, named: &[NamedWindowDefinition], call: Span) -> Checked<WindowSpec> {
    let mut spec = match over {
        WindowType::WindowSpec(spec) => spec.clone(),
        WindowType::NamedWindow(name) => return definition(name, named).map(|(spec, _)| spec),
    };
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let (base, _) = definition(&name, named)?;
    extend(base, spec, name.span.union(&call))
}

/// The specification of a named window; it may build on those before it only, so this ends.
fn definition<'a>(
    name: &Ident,
    named: &'a [NamedWindowDefinition],
) -> Checked<(WindowSpec, &'a [NamedWindowDefinition])> {
    let wanted = fold(name);
    let Some(found) = named.iter().position(|window| fold(&window.0) == wanted) else {
        let known: Vec<String> = named.iter().map(|window| fold(&window.0)).collect();
        return refuse(
            name.span,
            format!("there is no window {wanted}"),
            suggest(&wanted, "window", known.iter().map(|name| &**name)),
        );
    };
    let before = &named[..found];
    match &named[found].1 {
        NamedWindowExpr::NamedWindow(other) => definition(other, before),
        NamedWindowExpr::WindowSpec(spec) => {
            let mut spec = spec.clone();
            match spec.window_name.take() {
                None => Ok((spec, before)),
                Some(base) => {
                    let at = base.span;
                    Ok((extend(definition(&base, before)?.0, spec, at)?, before))
                }
            }
        }
    }
}

/// `OVER (base ...)`: the base gives the partition, and the order if the extension has none.
fn extend(base: WindowSpec, mut spec: WindowSpec, at: Span) -> Checked<WindowSpec> {
    let clash = match () {
        () if !spec.partition_by.is_empty() => "the partition of a named window cannot be changed",
        () if !spec.order_by.is_empty() && !base.order_by.is_empty() => {
            "the order of a named window cannot be changed"
        }
        () if base.window_frame.is_some() => "a window with a frame cannot be built upon",
        () => {
            spec.partition_by = base.partition_by;
            if spec.order_by.is_empty() {
                spec.order_by = base.order_by;
            }
            return Ok(spec);
        }
    };
    refuse(at, clash, "write the window out in full")
}

fn keys(scope: &Scope<'_>, spec: &WindowSpec, call: Span) -> Checked<Vec<usize>> {
    if spec.partition_by.is_empty() {
        return refuse(
            call,
            "a window without PARTITION BY puts the whole stream under one key",
            "write PARTITION BY and the columns that features are looked up by",
        );
    }
    let mut keys = Vec::new();
    for expr in &spec.partition_by {
        let Some((Side::Own, column)) = column_of(scope, expr)? else {
            return refuse(
                place(expr, call),
                "PARTITION BY takes columns",
                "declare a column of the stream that holds this value",
            );
        };
        keys.push(column);
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn order(scope: &Scope<'_>, spec: &WindowSpec, call: Span) -> Checked<(Order, Span)> {
    let time = &scope.stream().columns[scope.stream().event_time].name;
    let Some((first, others)) = spec.order_by.split_first() else {
        return refuse(
            call,
            "a window without ORDER BY sees the whole partition, the future too",
            format!(
                "write ORDER BY {time} RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW"
            ),
        );
    };
    let at = place(&first.expr, call);
    for by in &spec.order_by {
        ascending(scope, by, at)?;
    }
    let first = match strip(&first.expr) {
        Expr::Function(function) if function_name(function).as_deref() == Some("date_bin") => {
            bins(scope, &first.expr, at)?
        }
        expr => match column_of(scope, expr)? {
            Some((Side::Own, column)) if column == scope.stream().event_time => Order::Time,
            _ => {
                return refuse(
                    at,
                    "a window is ordered by the stream's event time",
                    format!("write ORDER BY {time}, or date_bin(INTERVAL '1 minute', {time})"),
                );
            }
        },
    };
    let id = &scope.stream().columns[scope.stream().id].name;
    match (first, others) {
        (first, []) => Ok((first, at)),
        (Order::Time, [by])
            if column_of(scope, &by.expr)? == Some((Side::Own, scope.stream().id)) =>
        {
            Ok((Order::TimeAndId, at))
        }
        (_, [second, ..]) => refuse(
            place(&second.expr, at),
            "behind the event time only the stream's id may follow in ORDER BY",
            format!("write ORDER BY {time}, or ORDER BY {time}, {id} with a ROWS frame"),
        ),
    }
}

fn ascending(scope: &Scope<'_>, by: &OrderByExpr, at: Span) -> Checked<()> {
    if by.options.asc == Some(false) {
        return refuse(
            scope.context.words.find(place(&by.expr, at), "DESC"),
            "in descending order PRECEDING rows are the future",
            "write ORDER BY ... ASC with a frame that ends at CURRENT ROW",
        );
    }
    Ok(())
}

/// `date_bin(INTERVAL width, event_time [, origin])`.
fn bins(scope: &Scope<'_>, expr: &Expr, at: Span) -> Checked<Order> {
    let (width_us, origin_us, time) = date_bin(expr, at)?;
    match column_of(scope, time)? {
        Some((Side::Own, column)) if column == scope.stream().event_time => {
            Ok(Order::Bins { width_us, origin_us })
        }
        _ => refuse(
            place(time, at),
            "bins are cut along the stream's event time",
            format!("write {}", scope.stream().columns[scope.stream().event_time].name),
        ),
    }
}

/// Width and origin in microseconds, and the expression binned, of a call of `date_bin`. The origin
/// is kept as the start of a bin in `0..width`, so that equal bins compare equal.
pub(crate) fn date_bin(expr: &Expr, around: Span) -> Checked<(i64, i64, &Expr)> {
    let call = match strip(expr) {
        Expr::Function(function) => arguments(function),
        _ => None,
    };
    let (width, time, origin) = match call.as_deref() {
        Some([width, time]) => (*width, *time, None),
        Some([width, time, origin]) => (*width, *time, Some(*origin)),
        _ => {
            return refuse(
                around,
                "date_bin takes a width, a time and perhaps an origin",
                "write date_bin(INTERVAL '1 minute', event_time)",
            );
        }
    };
    let width_us = interval_us(width, around)?;
    if width_us == 0 {
        return refuse(place(width, around), "a bin is wider than 0", "write INTERVAL '1 minute'");
    }
    let origin_us = origin.map_or(Ok(0), |origin| timestamp_us(origin, around))?;
    Ok((width_us, origin_us.rem_euclid(width_us), time))
}

fn range(frame: &WindowFrame, at: Span) -> Checked<(Keep, Frame)> {
    let far_us = match &frame.start_bound {
        WindowFrameBound::CurrentRow => Some(0),
        WindowFrameBound::Preceding(None) => None,
        WindowFrameBound::Preceding(Some(far)) => Some(interval_us(far, at)?),
        WindowFrameBound::Following(end) => return Err(ahead(end.as_deref(), at)),
    };
    let near_us = match &frame.end_bound {
        None | Some(WindowFrameBound::CurrentRow) => 0,
        Some(WindowFrameBound::Preceding(Some(near))) => interval_us(near, at)?,
        Some(WindowFrameBound::Preceding(None)) => return Err(empty(frame, at)),
        Some(WindowFrameBound::Following(end)) => return Err(ahead(end.as_deref(), at)),
    };
    if far_us.is_some_and(|far_us| far_us < near_us) {
        return Err(empty(frame, at));
    }
    let keep = if far_us.is_none() { Keep::Lifetime } else { Keep::Exact };
    Ok((keep, Frame::Range { far_us, near_us }))
}

fn rows(frame: &WindowFrame, at: Span) -> Checked<Frame> {
    let far = match &frame.start_bound {
        WindowFrameBound::CurrentRow => 0,
        WindowFrameBound::Preceding(Some(far)) => row_count(far, at)?,
        WindowFrameBound::Preceding(None) => {
            return refuse(
                at,
                "a ROWS frame must have a bound: its rows are kept for every key",
                "write ROWS BETWEEN 100 PRECEDING AND CURRENT ROW, or RANGE UNBOUNDED PRECEDING",
            );
        }
        WindowFrameBound::Following(end) => return Err(ahead(end.as_deref(), at)),
    };
    let near = match &frame.end_bound {
        None | Some(WindowFrameBound::CurrentRow) => 0,
        Some(WindowFrameBound::Preceding(Some(near))) => row_count(near, at)?,
        Some(WindowFrameBound::Preceding(None)) => return Err(empty(frame, at)),
        Some(WindowFrameBound::Following(end)) => return Err(ahead(end.as_deref(), at)),
    };
    match far >= near {
        true => Ok(Frame::Rows { far, near }),
        false => Err(empty(frame, at)),
    }
}

/// A whole number of rows, from 0 to [`MAX_ROWS`].
pub(crate) fn row_count(expr: &Expr, around: Span) -> Checked<u32> {
    let number = match strip(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse::<u32>().ok(),
            _ => None,
        },
        _ => None,
    };
    match number {
        Some(rows) if rows <= MAX_ROWS => Ok(rows),
        _ => refuse(
            place(expr, around),
            format!("rows are counted by a whole number from 0 to {MAX_ROWS}"),
            "write a smaller number, or a RANGE frame, which is bounded by time",
        ),
    }
}

/// The column that an expression is, if it is nothing else.
pub(crate) fn column_of(scope: &Scope<'_>, expr: &Expr) -> Checked<Option<(Side, usize)>> {
    match strip(expr) {
        Expr::Identifier(ident) => scope.resolve(std::slice::from_ref(ident)).map(Some),
        Expr::CompoundIdentifier(path) => scope.resolve(path).map(Some),
        Expr::Function(function) => unquoted(scope, function, expr.span()).map_or(Ok(None), Err),
        _ => Ok(None),
    }
}

fn ahead(end: Option<&Expr>, at: Span) -> Refusal {
    Refusal {
        what: "FOLLOWING looks ahead, which no live answer can".into(),
        at: end.map_or(at, |end| place(end, at)),
        help: "end the frame at CURRENT ROW or at an interval PRECEDING".into(),
    }
}

fn empty(frame: &WindowFrame, at: Span) -> Refusal {
    let start = match &frame.start_bound {
        WindowFrameBound::Preceding(Some(start)) => place(start, at),
        _ => at,
    };
    Refusal {
        what: "the frame ends before it starts".into(),
        at: start,
        help: "write BETWEEN the longer interval PRECEDING AND the shorter one PRECEDING".into(),
    }
}

fn place_of_second(spec: &WindowSpec, at: Span) -> Span {
    spec.order_by.get(1).map_or(at, |second| second.span())
}
