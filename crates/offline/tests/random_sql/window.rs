//! Windows: a relation, partition columns, an order, a frame; and the same as a subquery's WHERE.

use crate::events::{EDGE, LOGINS_TABLE, TRANSACTIONS_TABLE, Table};
use crate::scalar::lenient;
use crate::text::{Column, Gen};

/// Microseconds of the grids that times may lie on, and how SQL writes them.
pub(crate) const STEPS: [(i64, &str); 5] = [
    (1, "0.000001 seconds"),
    (1_000_000, "1 second"),
    (60_000_000, "1 minute"),
    (3_600_000_000, "1 hour"),
    (86_400_000_000, "1 day"),
];

/// What a window keeps, which decides which aggregates it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Events of a bounded RANGE.
    Range,
    /// Events of a ROWS frame.
    Rows,
    /// Partials: without an old end, or in bins.
    Partials,
}

/// A relation that a view reads.
pub(crate) struct Relation {
    /// What stands behind FROM.
    pub(crate) from: String,
    /// What qualifies its columns.
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Its key columns, its time and its id, by the names that they have here.
    pub(crate) keys: Vec<String>,
    pub(crate) time: String,
    pub(crate) id: String,
    /// The column with values near the ends of integer types.
    pub(crate) edge: String,
    /// The stream's own name of its id.
    pub(crate) identity: &'static str,
}

/// What stands behind OVER, and the order of the events that it sees.
#[derive(Clone)]
pub(crate) struct Window {
    pub(crate) over: String,
    pub(crate) kept: Kept,
}

/// The columns of transactions that may be keys.
const KEYS: [&str; 6] = ["user_id", "merchant_id", "country", "online", "opened", "rate"];

/// The relation of a view: the table, an alias, or a subselect.
pub(crate) fn relation(g: &mut Gen, id: &'static str) -> Relation {
    let table = &TRANSACTIONS_TABLE;
    let plain = |from: String, name: &str, qualified: bool| {
        let prefix = if qualified { format!("{name}.") } else { String::new() };
        let named = |column: &str| format!("{prefix}{column}");
        Relation {
            from,
            name: name.into(),
            columns: table.columns(&prefix),
            keys: KEYS.map(named).to_vec(),
            time: named(table.time),
            id: named(id),
            edge: named(EDGE),
            identity: id,
        }
    };
    let qualified = g.one_in(3);
    // A WHERE takes away half of the rows that are to be compared.
    match g.below(8) {
        0..3 => plain(table.name.into(), table.name, qualified),
        3..6 => plain(format!("{} AS t", table.name), "t", qualified),
        6 => {
            g.note("FROM a subselect with WHERE");
            let condition = lenient(g, &table.columns(""));
            plain(format!("(SELECT * FROM transactions WHERE {condition}) AS t"), "t", qualified)
        }
        _ => {
            g.note("FROM a subselect that renames columns");
            renamed(g, id)
        }
    }
}

fn renamed(g: &mut Gen, id: &'static str) -> Relation {
    let table = &TRANSACTIONS_TABLE;
    let condition = lenient(g, &table.columns("x."));
    let new = |name: &str| format!("my_{name}");
    let columns = table.columns("");
    let every = table.every_column("");
    let list: Vec<String> =
        every.iter().map(|c| format!("x.{} AS {}", c.name, new(&c.name))).collect();
    let list = list.join(", ");
    let columns = columns.into_iter().map(|c| Column { name: new(&c.name), ..c });
    Relation {
        from: format!("(SELECT {list} FROM transactions x WHERE {condition}) AS t"),
        name: "t".into(),
        columns: columns.collect(),
        keys: KEYS.map(new).to_vec(),
        time: new(table.time),
        id: new(id),
        edge: new(EDGE),
        identity: id,
    }
}

/// A window over `relation`, its definition written out.
pub(crate) fn window(g: &mut Gen, relation: &Relation, step: usize) -> Window {
    let first = g.below(3) as usize;
    let mut keys = vec![relation.keys[first].clone()];
    let other = g.below(KEYS.len() as u64) as usize;
    g.note(format!("key: {}", KEYS[first]));
    if other != first && g.one_in(3) {
        keys.push(relation.keys[other].clone());
        g.note(format!("key: {} and another", KEYS[other]));
    }
    let keys = keys.join(", ");
    let (time, id) = (&relation.time, &relation.id);
    let (kept, order) = match g.below(20) {
        0..10 => (Kept::Range, format!("ORDER BY {time} {}", range(g, step))),
        10..14 => (Kept::Rows, format!("ORDER BY {time}, {id} {}", rows(g))),
        14..18 => (Kept::Partials, format!("ORDER BY {time}{}", unbounded(g, step))),
        _ => (Kept::Partials, bins(g, time, step)),
    };
    Window { over: format!("PARTITION BY {keys} {order}"), kept }
}

/// Some steps of the grid, now and then a microsecond more.
fn interval(g: &mut Gen, steps: u64, step: usize) -> String {
    let (_, unit) = STEPS[step];
    let steps = 1 + g.below(steps);
    let (number, unit) = unit.split_once(' ').unwrap_or((unit, ""));
    match number {
        "1" if unit == "second" => {
            let more = g.pick(&["", "", "", ".000001", ".5"]);
            format!("INTERVAL '{steps}{more} seconds'")
        }
        "1" if g.one_in(5) => format!("INTERVAL '{steps} {unit} 0.000001 seconds'"),
        "1" => format!("INTERVAL '{steps} {unit}'"),
        _ => format!("INTERVAL '0.{steps:06} seconds'"),
    }
}

fn range(g: &mut Gen, step: usize) -> String {
    let far = interval(g, 20, step);
    let (construct, frame) = match g.below(6) {
        0..3 => ("up to the row", format!("BETWEEN {far} PRECEDING AND CURRENT ROW")),
        3 => ("without BETWEEN", format!("{far} PRECEDING")),
        4 => {
            let strict = "INTERVAL '0.000001 seconds'";
            ("strictly before", format!("BETWEEN {far} PRECEDING AND {strict} PRECEDING"))
        }
        _ => {
            let (far, near) = (delayed_far(g, step), interval(g, 9, step));
            ("delayed", format!("BETWEEN {far} PRECEDING AND {near} PRECEDING"))
        }
    };
    g.note(format!("frame: RANGE {construct}"));
    format!("RANGE {frame}")
}

/// Longer than every `interval` of nine steps.
fn delayed_far(g: &mut Gen, step: usize) -> String {
    let (_, unit) = STEPS[step];
    let steps = 12 + g.below(20);
    match unit.split_once(' ') {
        Some(("1", unit)) => format!("INTERVAL '{steps} {unit}'"),
        _ => format!("INTERVAL '0.{steps:06} seconds'"),
    }
}

fn rows(g: &mut Gen) -> String {
    let (near, more) = (g.below(3), g.below(8));
    let far = near + more;
    g.note("frame: ROWS in the order of time and id");
    match (near, g.below(3)) {
        (0, 0) => format!("ROWS {far} PRECEDING"),
        (0, _) => format!("ROWS BETWEEN {far} PRECEDING AND CURRENT ROW"),
        _ => format!("ROWS BETWEEN {far} PRECEDING AND {near} PRECEDING"),
    }
}

fn unbounded(g: &mut Gen, step: usize) -> String {
    g.note("frame: unbounded");
    match g.below(4) {
        0 => String::new(),
        1 => " RANGE UNBOUNDED PRECEDING".into(),
        2 => " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".into(),
        _ => {
            let near = interval(g, 9, step);
            format!(" RANGE BETWEEN UNBOUNDED PRECEDING AND {near} PRECEDING")
        }
    }
}

/// Bins that are closed when the row comes: the newest one no warehouse sees as a server does.
fn bins(g: &mut Gen, time: &str, step: usize) -> String {
    let (_, unit) = STEPS[step.max(2)];
    let (_, unit) = unit.split_once(' ').unwrap_or(("", unit));
    let width = 2 + g.below(4);
    let far = width * (2 + g.below(5));
    let origin = if g.one_in(3) { ", TIMESTAMP '2020-01-01 00:00:30'" } else { "" };
    g.note("frame: closed bins");
    format!(
        "ORDER BY date_bin(INTERVAL '{width} {unit}', {time}{origin}) \
         RANGE BETWEEN INTERVAL '{far} {unit}' PRECEDING AND INTERVAL '{width} {unit}' PRECEDING"
    )
}

/// A correlated subquery without its select expression: the inner table's alias is `i`.
pub(crate) struct Look {
    pub(crate) table: &'static Table,
    /// The column that identifies its events.
    pub(crate) id: &'static str,
    pub(crate) from_where: String,
    pub(crate) kept: Kept,
}

/// A look into a stream from a row of `outer`.
///
/// The inner relation of the same stream has the id that the outer one has.
pub(crate) fn look(g: &mut Gen, outer: &Relation, step: usize) -> Look {
    let logins = g.one_in(2);
    let table = if logins { &LOGINS_TABLE } else { &TRANSACTIONS_TABLE };
    g.note(if logins { "subquery on another stream" } else { "subquery on the same stream" });
    let outer_column = |name: &str| format!("{}.{name}", outer.name);
    let bare = |name: &str| name.rsplit('.').next().unwrap_or(name).to_string();
    let (user, country) = (bare(&outer.keys[0]), bare(&outer.keys[2]));
    let mut parts = match g.below(4) {
        0 => vec![format!("i.country = {}", outer_column(&country))],
        1 => vec![
            format!("i.user_id = {}", outer_column(&user)),
            format!("{} = i.country", outer_column(&country)),
        ],
        _ => vec![format!("i.user_id = {}", outer_column(&user))],
    };
    let inner = format!("i.{}", table.time);
    let now = outer_column(&bare(&outer.time));
    let far = delayed_far(g, step);
    let near = interval(g, 9, step);
    let mut kept = Kept::Range;
    match g.below(6) {
        0 | 1 => parts.push(format!("{inner} BETWEEN {now} - {far} AND {now}")),
        2 => parts.push(format!("{inner} BETWEEN {now} - {far} AND {now} - {near}")),
        3 => {
            parts.push(format!("{inner} > {now} - {far}"));
            parts.push(format!("{now} > {inner}"));
        }
        4 => {
            parts.push(format!("{inner} <= {now} - {near}"));
            kept = Kept::Partials;
        }
        _ => {
            parts.push(format!("{inner} < {now}"));
            parts.push(format!("{now} - {far} <= {inner}"));
        }
    }
    if g.one_in(2) {
        g.note("subquery with conditions of its own");
        parts.push(lenient(g, &table.columns("i.")));
    }
    let from_where = format!("FROM {} i WHERE {}", table.name, parts.join(" AND "));
    let id = if logins { table.ids[0] } else { outer.identity };
    Look { table, id, from_where, kept }
}
