//! Aggregate calls: which function of `core`, over which argument, for which events.

use crate::error::{Checked, refuse};
use crate::evaluate::RowExpr;
use crate::frame::row_count;
use crate::functions;
use crate::names::suggest;
use crate::plan::sql_name;
use crate::scope::{Scope, Side, all_of, conjuncts};
use crate::time::{place, strip};
use crate::walk::{function_name, plain_argument, row};
use crate::{bridge, frame};
use datafusion_sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, NullTreatment, OrderByExpr, Value,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use trueup_core::{Func, Kind};

/// An aggregate without its window.
pub(crate) struct Call {
    /// What is computed.
    pub(crate) func: Func,
    /// Its argument, over the stream's columns.
    pub(crate) arg: Option<RowExpr>,
    /// Its FILTER, over the stream's columns.
    pub(crate) filter: Option<RowExpr>,
}

/// The parts of a call before they are typed.
struct Parts<'a> {
    name: String,
    distinct: bool,
    star: bool,
    args: Vec<&'a Expr>,
    ordered_by: &'a [OrderByExpr],
}

/// Whether `name` is an aggregate or window function, kept or not.
pub(crate) fn is_known(name: &str) -> bool {
    func_of(name).is_some() || functions::unkept(name).is_some()
}

/// The functions that are kept, by all their names; percentiles get their p later.
const KEPT: [(&str, Func); 24] = [
    ("count", Func::Count),
    ("sum", Func::Sum),
    ("avg", Func::Avg),
    ("mean", Func::Avg),
    ("min", Func::Min),
    ("max", Func::Max),
    ("var_pop", Func::VarPop),
    ("var_samp", Func::VarSamp),
    ("var", Func::VarSamp),
    ("variance", Func::VarSamp),
    ("stddev_pop", Func::StddevPop),
    ("stddev_samp", Func::StddevSamp),
    ("stddev", Func::StddevSamp),
    ("first_value", Func::First),
    ("last_value", Func::Last),
    ("bool_and", Func::BoolAnd),
    ("every", Func::BoolAnd),
    ("bool_or", Func::BoolOr),
    ("approx_distinct", Func::ApproxDistinct),
    ("approx_count_distinct", Func::ApproxDistinct),
    ("approx_percentile_cont", Func::Percentile(0.0)),
    ("approx_quantile", Func::Percentile(0.0)),
    ("array_agg", Func::ArrayAgg),
    ("lag", Func::Lag),
];

fn func_of(name: &str) -> Option<Func> {
    KEPT.iter().find(|(kept, _)| *kept == name).map(|(_, func)| func.clone())
}

/// How many rows a call of `lag` reaches back; `None` for every other function.
pub(crate) fn lag_rows(function: &Function, at: Span) -> Checked<Option<u32>> {
    if function_name(function).as_deref() != Some("lag") {
        return Ok(None);
    }
    let parts = parts(function, at)?;
    match parts.args.as_slice() {
        [_] => Ok(Some(1)),
        [_, rows] => match row_count(rows, at)? {
            0 => refuse(place(rows, at), "lag(x, 0) is x itself", "write x"),
            rows => Ok(Some(rows)),
        },
        _ => refuse(
            at,
            "lag takes a value and perhaps a number of rows",
            "write lag(x) or lag(x, 2); for a default write coalesce(lag(x) OVER w, default)",
        ),
    }
}

/// Compiles a call over the rows of the scope's own relation. Events must also meet all of
/// `conditions`, which are canonical.
pub(crate) fn call(
    scope: &Scope<'_>,
    function: &Function,
    at: Span,
    conditions: &[Expr],
) -> Checked<Call> {
    let parts = parts(function, at)?;
    let Some(func) = func_of(&parts.name) else {
        let (what, help) = match functions::unkept(&parts.name) {
            Some(help) => (format!("{} cannot be kept up to date", parts.name), help.to_string()),
            None => (
                format!("there is no aggregate {}", parts.name),
                suggest(&parts.name, "aggregate", KEPT.iter().map(|(name, _)| *name)),
            ),
        };
        return refuse(at, what, help);
    };
    let func = distinct(func, &parts, at)?;
    let (func, arg) = argument(scope, func, &parts, function, at)?;
    if let Some(arg) = &arg {
        check_type(&func, &parts.name, arg, parts.args.first().map_or(at, |x| place(x, at)))?;
    }
    let filter = filter(scope, &func, function, conditions, at)?;
    Ok(Call { func, arg, filter })
}

fn parts(function: &Function, at: Span) -> Checked<Parts<'_>> {
    let Some(name) = function_name(function) else {
        return refuse(at, "functions are not in schemas", "write the function's name alone");
    };
    if matches!(function.null_treatment, Some(NullTreatment::IgnoreNulls)) {
        return refuse_ignore_nulls(at);
    }
    let FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses }) =
        &function.args
    else {
        return refuse(at, format!("{name} needs brackets"), format!("write {name}(...)"));
    };
    let mut ordered_by: &[OrderByExpr] = &[];
    for clause in clauses {
        match clause {
            FunctionArgumentClause::OrderBy(by) => ordered_by = by,
            FunctionArgumentClause::IgnoreOrRespectNulls(NullTreatment::RespectNulls) => {}
            FunctionArgumentClause::IgnoreOrRespectNulls(_) => return refuse_ignore_nulls(at),
            _ => {
                return refuse(
                    at,
                    format!("{name} takes no {clause} here"),
                    "leave it out; FILTER (WHERE ...) chooses events",
                );
            }
        }
    }
    let star = matches!(args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
    let plain: Option<Vec<&Expr>> = match star {
        true => Some(Vec::new()),
        false => args.iter().map(plain_argument).collect(),
    };
    let Some(args) = plain else {
        return refuse(at, format!("{name} takes plain arguments"), "write them by their places");
    };
    let distinct = *duplicate_treatment == Some(DuplicateTreatment::Distinct);
    Ok(Parts { name, distinct, star, args, ordered_by })
}

fn refuse_ignore_nulls<T>(at: Span) -> Checked<T> {
    refuse(
        at,
        "IGNORE NULLS is not supported",
        "choose events with FILTER (WHERE x IS NOT NULL); lag has no FILTER",
    )
}

fn distinct(func: Func, parts: &Parts<'_>, at: Span) -> Checked<Func> {
    match (func, parts.distinct) {
        (func, false) => Ok(func),
        (Func::Count, true) if !parts.star => Ok(Func::CountDistinct),
        (func @ (Func::Min | Func::Max | Func::BoolAnd | Func::BoolOr), true) => Ok(func),
        _ => refuse(
            at,
            format!("{} has no DISTINCT", parts.name),
            "DISTINCT belongs to count: count(DISTINCT x)",
        ),
    }
}

fn argument(
    scope: &Scope<'_>,
    func: Func,
    parts: &Parts<'_>,
    function: &Function,
    at: Span,
) -> Checked<(Func, Option<RowExpr>)> {
    let compile = |expr: &Expr| {
        let canonical = row(scope, expr, "an aggregate's argument")?;
        scope.planner().compile(&canonical, place(expr, at))
    };
    let name = &parts.name;
    check_order(scope, &func, parts, function, at)?;
    match (func, parts.args.as_slice()) {
        (Func::Count, []) if parts.star => Ok((Func::Count, None)),
        (_, []) if parts.star => {
            refuse(at, format!("{name}(*) means nothing"), format!("write {name}(x)"))
        }
        (Func::Count, [x]) if is_constant(x) => Ok((Func::Count, None)),
        (Func::Percentile(_), args) => {
            let (x, p) = match (args, function.within_group.as_slice()) {
                ([x, p], []) => (*x, *p),
                ([p], [x]) => (&x.expr, *p),
                _ => {
                    return refuse(
                        at,
                        format!("{name} takes a value and a fraction"),
                        format!("write {name}(x, 0.95)"),
                    );
                }
            };
            Ok((Func::Percentile(fraction(p, at)?), Some(compile(x)?)))
        }
        (Func::Lag, [x, ..]) => Ok((Func::Lag, Some(compile(x)?))),
        (func, [x]) => Ok((func, Some(compile(x)?))),
        (_, args) => refuse(
            at,
            format!("{name} takes one argument, and this call has {}", args.len()),
            format!("write {name}(x)"),
        ),
    }
}

/// ORDER BY inside a call is taken where it says what is so anyway.
fn check_order(
    scope: &Scope<'_>,
    func: &Func,
    parts: &Parts<'_>,
    function: &Function,
    at: Span,
) -> Checked<()> {
    if !function.within_group.is_empty() && !matches!(func, Func::Percentile(_)) {
        let what = format!("{} has no WITHIN GROUP", parts.name);
        return refuse(at, what, format!("write {}(x)", parts.name));
    }
    let order = [scope.stream().event_time, scope.stream().id];
    for (place, by) in parts.ordered_by.iter().enumerate() {
        let column = frame::column_of(scope, &by.expr)?;
        let expected = order.get(place).map(|column| (Side::Own, *column));
        if column.is_none() || column != expected || by.options.asc == Some(false) {
            return refuse(
                crate::time::place(&by.expr, at),
                "inside a call ORDER BY can only be the event time, then the id",
                "leave ORDER BY out: events are in that order already",
            );
        }
    }
    Ok(())
}

fn is_constant(expr: &Expr) -> bool {
    matches!(strip(expr), Expr::Value(value) if value.value != Value::Null)
}

fn fraction(expr: &Expr, around: Span) -> Checked<f64> {
    let number = match strip(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse::<f64>().ok(),
            _ => None,
        },
        _ => None,
    };
    match number {
        Some(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => refuse(
            place(expr, around),
            "the fraction is a constant from 0 to 1",
            "write 0.95 for the 95th percentile",
        ),
    }
}

fn check_type(func: &Func, name: &str, arg: &RowExpr, at: Span) -> Checked<()> {
    let kind = bridge::kind_of(arg.ty());
    let number = matches!(kind, Some(Kind::Int | Kind::Float | Kind::Decimal { .. }));
    let (fits, help) = match func {
        Func::Sum
        | Func::Avg
        | Func::VarPop
        | Func::VarSamp
        | Func::StddevPop
        | Func::StddevSamp
        | Func::Percentile(_) => (number, "give it a number; CAST(x AS DOUBLE) converts"),
        Func::BoolAnd | Func::BoolOr => {
            (kind == Some(Kind::Bool), "give it a condition, such as status = 'declined'")
        }
        Func::Min | Func::Max => {
            (kind != Some(Kind::Bool), "write bool_and(x) for min and bool_or(x) for max")
        }
        _ => (true, ""),
    };
    match fits {
        true => Ok(()),
        false => refuse(at, format!("{name} of {} means nothing", sql_name(arg.ty())), help),
    }
}

fn filter(
    scope: &Scope<'_>,
    func: &Func,
    function: &Function,
    conditions: &[Expr],
    at: Span,
) -> Checked<Option<RowExpr>> {
    let mut parts = conditions.to_vec();
    if let Some(condition) = &function.filter {
        if *func == Func::Lag {
            return refuse(
                place(condition, at),
                "lag has no FILTER: it goes by rows",
                "write last_value(x) FILTER (WHERE ...) over a frame that ends before the row",
            );
        }
        parts.extend(conjuncts(row(scope, condition, "FILTER")?));
    }
    let around = function.filter.as_ref().map_or(at, |condition| place(condition, at));
    all_of(parts).map(|all| scope.planner().condition(&all, around)).transpose()
}
