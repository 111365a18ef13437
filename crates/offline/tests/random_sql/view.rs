//! A whole definition: streams, a view of several columns, and the same for DuckDB.

use crate::events::{LOGINS_TABLE, TRANSACTIONS_TABLE};
use crate::feature::{in_subquery, lag, list, over_window};
use crate::scalar::{DEPTH, beyond, comparison, constant, exact, lenient, scalar};
use crate::text::{Expr, Gen, Ty, ours, theirs};
use crate::window::{Relation, STEPS, Window, look, relation, window};
use std::collections::BTreeSet;

/// A random definition.
pub(crate) struct Definition {
    /// The streams and the view, as Trueup compiles them.
    pub(crate) sql: String,
    /// The same rows by DuckDB: for each column, how far its value may be off beside it.
    pub(crate) judged: String,
    pub(crate) outputs: Vec<Output>,
    /// Microseconds of the grid of times that suits its frames.
    pub(crate) step_us: i64,
}

/// A column of the view, behind the id.
pub(crate) struct Output {
    pub(crate) name: String,
    /// Whether it must be equal to the last bit.
    pub(crate) exact: bool,
    /// Whether it may have no value, and the judge says when.
    pub(crate) may_fail: bool,
    /// The constructs that it is made of.
    pub(crate) made_of: BTreeSet<String>,
}

/// A column of the select list.
struct Item {
    sql: String,
    may_fail: bool,
    scale: Option<String>,
    made_of: BTreeSet<String>,
}

/// What the columns of one view share.
struct Shared {
    relation: Relation,
    windows: Vec<Choice>,
    step: usize,
}

/// A window that columns may look through.
struct Choice {
    /// Its name in the WINDOW clause, if it stands there.
    name: Option<String>,
    window: Window,
    made_of: BTreeSet<String>,
}

/// The definition that these choices make.
pub(crate) fn definition(g: &mut Gen) -> Definition {
    let step = g.below(STEPS.len() as u64) as usize;
    let id = g.pick(&TRANSACTIONS_TABLE.ids);
    let streams = TRANSACTIONS_TABLE.create(id) + &LOGINS_TABLE.create(LOGINS_TABLE.ids[0]);
    let relation = relation(g, id);
    let filter = match g.one_in(8) {
        true => {
            g.note("WHERE");
            format!("\nWHERE {}", lenient(g, &relation.columns))
        }
        false => String::new(),
    };
    let of_all = std::mem::take(&mut g.met);
    let mut shared = Shared { relation, windows: Vec::new(), step };
    let named = g.below(4);
    for number in 0..named.max(3) {
        let window = window(g, &shared.relation, step);
        let name = (number < named).then(|| format!("w{number}"));
        shared.windows.push(Choice { name, window, made_of: std::mem::take(&mut g.met) });
    }
    let columns = 3 + g.below(6);
    let items: Vec<Item> = (0..columns)
        .map(|_| {
            let item = item(g, &shared);
            Item { made_of: &item.made_of | &of_all, ..item }
        })
        .collect();
    let clause = window_clause(g, &shared.windows);
    let from = format!("FROM {}{filter}{clause}", shared.relation.from);
    Definition {
        sql: format!("{streams}{}", ours(&view(&shared.relation.id, &items, &from))),
        judged: theirs(&judged(&shared.relation.id, &items, &from)),
        outputs: items
            .into_iter()
            .enumerate()
            .map(|(n, item)| Output {
                name: format!("f{n}"),
                exact: item.scale.is_none(),
                may_fail: item.may_fail,
                made_of: item.made_of,
            })
            .collect(),
        step_us: STEPS[step].0,
    }
}

fn view(id: &str, items: &[Item], from: &str) -> String {
    let columns = items.iter().enumerate().map(|(n, item)| format!(",\n  {} AS f{n}", item.sql));
    format!("CREATE VIEW v AS SELECT {id} AS id{}\n{from};\n", columns.collect::<String>())
}

fn judged(id: &str, items: &[Item], from: &str) -> String {
    let columns = items.iter().enumerate().map(|(n, item)| {
        let scale = item.scale.as_deref().unwrap_or("0");
        format!(",\n  {} AS f{n}, {scale} AS s{n}", item.sql)
    });
    format!("SELECT {id} AS id{}\n{from}", columns.collect::<String>())
}

/// The WINDOW clause; a window may be built on one that gives its partition.
fn window_clause(g: &mut Gen, windows: &[Choice]) -> String {
    let named = windows.iter().filter_map(|choice| Some((choice.name.as_ref()?, &choice.window)));
    let named: Vec<String> = named
        .map(|(name, window)| match window.over.split_once(" ORDER BY ") {
            Some((partition, order)) if g.one_in(3) => {
                format!("{name}_keys AS ({partition}), {name} AS ({name}_keys ORDER BY {order})")
            }
            _ => format!("{name} AS ({})", window.over),
        })
        .collect();
    match named.is_empty() {
        true => String::new(),
        false => format!("\nWINDOW {}", named.join(",\n  ")),
    }
}

fn item(g: &mut Gen, shared: &Shared) -> Item {
    let choice = g.below(21);
    let expr = match choice {
        20 => Expr::exact(beyond(g, &shared.relation.edge)),
        0 => {
            g.note("the row's own columns");
            let ty = g.pick(&Ty::ALL);
            scalar(g, &shared.relation.columns, ty, DEPTH + 1)
        }
        1 => Expr::exact(list(g, &shared.relation)),
        2 => ratio(g, shared),
        3 => usual(g, shared),
        4 => since(g, shared),
        5..8 => combined(g, shared),
        _ => feature(g, shared, None),
    };
    let made_of = std::mem::take(&mut g.met);
    Item { sql: expr.sql, may_fail: choice == 20, scale: expr.scale, made_of }
}

fn feature(g: &mut Gen, shared: &Shared, ty: Option<Ty>) -> Expr {
    match g.below(8) {
        0 => {
            let ty = ty.unwrap_or_else(|| g.pick(&Ty::ALL));
            lag(g, &shared.relation, ty)
        }
        1 | 2 => {
            let look = look(g, &shared.relation, shared.step);
            in_subquery(g, &look, ty)
        }
        _ => {
            let Choice { name, window, .. } = choose(g, shared);
            over_window(g, &shared.relation, window, name.as_deref(), ty)
        }
    }
}

fn choose<'a>(g: &mut Gen, shared: &'a Shared) -> &'a Choice {
    let choice = &shared.windows[g.below(shared.windows.len() as u64) as usize];
    g.met.extend(choice.made_of.iter().cloned());
    choice
}

/// A feature on which both sides decide alike.
fn sharp(g: &mut Gen, shared: &Shared, ty: Ty) -> Expr {
    let met = g.met.clone();
    for _ in 0..8 {
        let feature = feature(g, shared, Some(ty));
        if feature.is_exact() {
            return feature;
        }
        g.met.clone_from(&met);
    }
    lag(g, &shared.relation, ty)
}

/// A feature over another: the divisor decides alike on both sides whether it is 0.
fn ratio(g: &mut Gen, shared: &Shared) -> Expr {
    g.note("a feature divided by another");
    let ty = g.pick(&[Ty::Int, Ty::Dec, Ty::Dbl]);
    let over = feature(g, shared, Some(ty));
    let ty = g.pick(&[Ty::Int, Ty::Dec]);
    let under = sharp(g, shared, ty).sql;
    let scale = over.scale.unwrap_or("0".into());
    Expr::near(
        format!("CAST({} AS DOUBLE) / nullif({under}, 0)", over.sql),
        format!("({scale}) / abs(nullif({under}, 0))"),
    )
}

/// How far the row is from what is usual, in standard deviations.
fn usual(g: &mut Gen, shared: &Shared) -> Expr {
    g.note("the row against mean and deviation");
    let Choice { name, window, .. } = choose(g, shared);
    let over = name.clone().unwrap_or_else(|| format!("({})", window.over));
    let ty = g.pick(&[Ty::Int, Ty::Dec]);
    let x = exact(g, &shared.relation.columns, ty, 0).sql;
    let mean = format!("avg({x}) OVER {over}");
    let spread = format!("stddev_samp({x}) OVER {over}");
    let largest = format!("max(abs(CAST({x} AS DOUBLE))) OVER {over}");
    // Decimals and integers of this size have no deviation between 0 and a thousandth.
    let when = format!("{spread} > 0.0001");
    let scale = format!("{largest} / ({spread}) * (1 + abs({x} - {mean}) / ({spread}))");
    Expr::near(
        format!("CASE WHEN {when} THEN ({x} - {mean}) / ({spread}) END"),
        format!("CASE WHEN {when} THEN {scale} END"),
    )
}

/// Seconds since an earlier event.
fn since(g: &mut Gen, shared: &Shared) -> Expr {
    g.note("seconds since an earlier event");
    let now = shared.relation.time.clone();
    let then = match g.one_in(2) {
        true => {
            let (key, id) = (&shared.relation.keys[0], &shared.relation.id);
            Expr::exact(format!("lag({now}) OVER (PARTITION BY {key} ORDER BY {now}, {id})"))
        }
        false => sharp(g, shared, Ty::Time),
    };
    // DuckDB adds whole days and the rest as doubles, which rounds twice.
    Expr::near(format!("extract(epoch FROM {now} - {})", then.sql), "0")
}

/// Exact features in comparisons, differences, CASE, coalesce.
fn combined(g: &mut Gen, shared: &Shared) -> Expr {
    g.note("an expression of features");
    let ty = g.pick(&Ty::ALL);
    let a = sharp(g, shared, ty).sql;
    let k = constant(g, ty);
    let b = match g.below(3) {
        0 => k.clone(),
        1 => exact(g, &shared.relation.columns, ty, 1).sql,
        _ => sharp(g, shared, ty).sql,
    };
    let sql = match g.below(6) {
        0 => format!("coalesce({a}, {k})"),
        1 => {
            let distinct = g.pick(&["IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
            format!("{a} {distinct} {b}")
        }
        2 => format!("CASE WHEN {a} {} {b} THEN {a} ELSE {k} END", comparison(g)),
        3 if ty.is_number() => format!("{a} - {b}"),
        4 if ty.is_number() => format!("nullif({a}, {k})"),
        5 => format!("{a} IS NULL"),
        _ => format!("{a} {} {b}", comparison(g)),
    };
    Expr::exact(sql)
}
