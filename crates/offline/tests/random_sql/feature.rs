//! Features: an aggregate over a window, or in a subquery, with what its value may be off by.

use crate::scalar::{DEPTH, condition, exact, scalar};
use crate::text::{Column, Expr, Gen, Ty, either};
use crate::window::{Kept, Look, Relation, Window};

/// The types of features: numbers more often, since they have the most aggregates.
const TYPES: [Ty; 11] = [
    Ty::Int,
    Ty::Int,
    Ty::Dec,
    Ty::Dbl,
    Ty::Dbl,
    Ty::Dbl,
    Ty::Dbl,
    Ty::Text,
    Ty::Bool,
    Ty::Time,
    Ty::Date,
];

/// Where an aggregate looks.
struct Site {
    columns: Vec<Column>,
    /// Time and id: the order of events of one instant, which DuckDB has to be told.
    order: String,
    kept: Kept,
    /// What follows a call and its FILTER: `OVER ...`, or nothing in a subquery.
    behind: String,
    /// What a subquery puts around the whole.
    around: Option<String>,
}

impl Site {
    /// The value of a call, its FILTER included.
    fn of(&self, call: &str) -> String {
        match &self.around {
            None => format!("{call}{}", self.behind),
            Some(from_where) => format!("(SELECT {call} {from_where})"),
        }
    }
}

/// A feature over one of the windows of a view, of any type or of type `wanted`.
pub(crate) fn over_window(
    g: &mut Gen,
    relation: &Relation,
    window: &Window,
    name: Option<&str>,
    wanted: Option<Ty>,
) -> Expr {
    let behind = match name {
        Some(name) => format!(" OVER {name}"),
        None => format!(" OVER ({})", window.over),
    };
    let order = format!("{}, {}", relation.time, relation.id);
    let columns = relation.columns.clone();
    let site = Site { columns, order, kept: window.kept, behind, around: None };
    aggregate(g, &site, wanted)
}

/// `lag` over the relation.
pub(crate) fn lag(g: &mut Gen, relation: &Relation, ty: Ty) -> Expr {
    g.note("lag");
    let x = exact(g, &relation.columns, ty, DEPTH).sql;
    let rows = g.pick(&["", ", 1", ", 2", ", 5"]);
    let key = &relation.keys[g.below(3) as usize];
    let (time, id) = (&relation.time, &relation.id);
    Expr::exact(format!("lag({x}{rows}) OVER (PARTITION BY {key} ORDER BY {time}, {id})"))
}

/// A feature by a correlated subquery.
pub(crate) fn in_subquery(g: &mut Gen, look: &Look, wanted: Option<Ty>) -> Expr {
    let id = look.id;
    let site = Site {
        columns: look.table.columns("i."),
        order: format!("i.{}, i.{id}", look.table.time),
        kept: look.kept,
        behind: String::new(),
        around: Some(look.from_where.clone()),
    };
    aggregate(g, &site, wanted)
}

fn aggregate(g: &mut Gen, site: &Site, wanted: Option<Ty>) -> Expr {
    let filter = if g.one_in(3) {
        g.note("FILTER");
        format!(" FILTER (WHERE {})", condition(g, &site.columns))
    } else {
        String::new()
    };
    let ty = wanted.unwrap_or_else(|| g.pick(&TYPES));
    match (ty, g.below(10)) {
        (Ty::Int, 0..=7) => counted(g, site, &filter),
        (Ty::Dbl, 0..=7) => rounded(g, site, &filter),
        (Ty::Dec, 0..=2) => sum(g, site, &filter, Ty::Dec),
        (Ty::Bool, 0..=4) => truth(g, site, &filter),
        (ty, 8..) => edge(g, site, &filter, ty),
        (Ty::Bool, _) => truth(g, site, &filter),
        (ty, _) => extreme(g, site, &filter, ty),
    }
}

/// Counts and sums of integers.
fn counted(g: &mut Gen, site: &Site, filter: &str) -> Expr {
    let ty = g.pick(&Ty::ALL);
    let call = match g.below(5) {
        0 => {
            g.note("count(*)");
            "count(*)".to_string()
        }
        1 => {
            g.note("count(x)");
            format!("count({})", scalar(g, &site.columns, ty, DEPTH).sql)
        }
        2 if site.kept != Kept::Partials => {
            g.note("count(DISTINCT x)");
            format!("count(DISTINCT {})", exact(g, &site.columns, ty, DEPTH).sql)
        }
        2 | 3 => {
            g.note("approx_distinct, exact while values are few");
            format!("approx_distinct({})", exact(g, &site.columns, ty, DEPTH).sql)
        }
        _ => return sum(g, site, filter, Ty::Int),
    };
    Expr::exact(site.of(&format!("{call}{filter}")))
}

fn sum(g: &mut Gen, site: &Site, filter: &str, ty: Ty) -> Expr {
    g.note(format!("sum of {ty:?}"));
    let x = scalar(g, &site.columns, ty, DEPTH).sql;
    Expr::exact(site.of(&format!("sum({x}){filter}")))
}

/// Aggregates that give a DOUBLE and may round.
fn rounded(g: &mut Gen, site: &Site, filter: &str) -> Expr {
    let ty = g.pick(&[Ty::Int, Ty::Dec, Ty::Dbl, Ty::Dbl]);
    let x = scalar(g, &site.columns, ty, DEPTH).sql;
    let largest = site.of(&format!("max(abs(CAST({x} AS DOUBLE))){filter}"));
    let spreads = ["var_pop", "var_samp", "variance", "stddev_pop", "stddev_samp", "stddev"];
    let (call, scale) = match g.below(10) {
        0..3 => (format!("{}({x})", g.pick(&["avg", "mean"])), largest),
        3 | 4 if ty == Ty::Dbl => (format!("sum({x})"), largest),
        5 if site.kept != Kept::Partials && ty != Ty::Dec => {
            let p = g.pick(&["0", "0.25", "0.5", "0.95", "1"]);
            (format!("approx_percentile_cont({x}, {p})"), largest)
        }
        choice => match spreads[choice as usize % spreads.len()] {
            name if name.starts_with("var") => {
                (format!("{name}({x})"), format!("power({largest}, 2)"))
            }
            name => (format!("{name}({x})"), largest),
        },
    };
    let name = call.split('(').next().unwrap_or("");
    g.note(format!("{name} of {ty:?}"));
    Expr::near(site.of(&format!("{call}{filter}")), scale)
}

fn truth(g: &mut Gen, site: &Site, filter: &str) -> Expr {
    let name = g.pick(&["bool_and", "bool_or"]);
    g.note(name);
    let x = condition(g, &site.columns);
    Expr::exact(site.of(&format!("{name}({x}){filter}")))
}

fn extreme(g: &mut Gen, site: &Site, filter: &str, ty: Ty) -> Expr {
    let name = g.pick(&["min", "max"]);
    g.note(format!("{name} of {ty:?}"));
    let x = scalar(g, &site.columns, ty, DEPTH);
    Expr { sql: site.of(&format!("{name}({}){filter}", x.sql)), ..x }
}

/// The first and the last value. DuckDB is told the order within an instant; with a FILTER, or in
/// a subquery, it takes them from the list of all values.
fn edge(g: &mut Gen, site: &Site, filter: &str, ty: Ty) -> Expr {
    let first = g.one_in(2);
    let (name, place) = if first { ("first_value", "1") } else { ("last_value", "-1") };
    g.note(format!("{name} with ties"));
    let x = scalar(g, &site.columns, ty, DEPTH);
    let order = &site.order;
    let in_order = format!("{} ORDER BY {order}", x.sql);
    let call = if filter.is_empty() && site.around.is_none() {
        match site.kept {
            Kept::Rows => site.of(&format!("{name}({})", x.sql)),
            _ => site.of(&format!("{name}({in_order})")),
        }
    } else {
        g.note("first_value, last_value with FILTER or in a subquery");
        let (open, close) = (either("", "("), either("", &format!(")[{place}]")));
        let name = either(name, "array_agg");
        format!("{open}{}{close}", site.of(&format!("{name}({in_order}){filter}")))
    };
    Expr { sql: call, ..x }
}

/// The last values as a list.
pub(crate) fn list(g: &mut Gen, relation: &Relation) -> String {
    g.note("array_agg over ROWS");
    let ty = g.pick(&Ty::ALL);
    let x = exact(g, &relation.columns, ty, DEPTH).sql;
    let filter = if g.one_in(4) {
        format!(" FILTER (WHERE {})", condition(g, &relation.columns))
    } else {
        String::new()
    };
    let (key, far) = (&relation.keys[g.below(3) as usize], g.below(6));
    let near = if g.one_in(3) { "1 PRECEDING" } else { "CURRENT ROW" };
    let (time, id) = (&relation.time, &relation.id);
    format!(
        "array_agg({x}){filter} OVER (PARTITION BY {key} ORDER BY {time}, {id} \
         ROWS BETWEEN {} PRECEDING AND {near})",
        far + 1
    )
}
