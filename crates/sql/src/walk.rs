//! The walk over an expression's tree that resolves its names and refuses what no row expression
//! can be.
//!
//! What comes out is canonical: unqualified names of the stream's columns, function names in lower
//! case. Its text is what digests and deduplication compare.

use crate::error::{Checked, Refusal, refuse};
use crate::functions::{self, Scalar};
use crate::names::single;
use crate::scope::{Scope, Side};
use crate::time::place;
use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Value,
    VisitMut, VisitorMut,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use std::ops::ControlFlow;

/// Deepest expression tree: what planning and evaluation recurse on, on stacks of 2 MiB.
const MAX_DEPTH: usize = 200;

/// Makes `expr` canonical: a scalar expression over the scope's own columns. `clause` is where it
/// stands.
pub(crate) fn row(scope: &Scope<'_>, expr: &Expr, clause: &str) -> Checked<Expr> {
    let mut expr = expr.clone();
    let around = place(&expr, Span::empty());
    let hook = |part: &mut Expr| refuse_sets(part, clause, around).map(|()| false);
    walk(scope, Side::Own, &mut expr, hook)?;
    Ok(expr)
}

/// Makes `expr` canonical. Before each part, `hook` may replace it and say `true`. Names may mean
/// columns of the `allowed` side only.
pub(crate) fn walk(
    scope: &Scope<'_>,
    allowed: Side,
    expr: &mut Expr,
    mut hook: impl FnMut(&mut Expr) -> Checked<bool>,
) -> Checked<()> {
    let around = place(expr, Span::empty());
    let mut walk = Walk { scope, allowed, hook: &mut hook, depth: 0, around };
    match VisitMut::visit(expr, &mut walk) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(refusal.or_at(around)),
    }
}

/// Has `change` look at each part of `expr`, those inside first.
pub(crate) fn each(expr: &mut Expr, mut change: impl FnMut(&mut Expr)) {
    let _ = VisitMut::visit(expr, &mut Each(&mut change));
}

/// The name of a function in lower case, if it is a plain one.
pub(crate) fn function_name(function: &Function) -> Option<String> {
    single(&function.name).map(|ident| ident.value.to_lowercase())
}

/// What is said of a column's name that SQL reads as a function without arguments, such as `user`.
pub(crate) fn unquoted(scope: &Scope<'_>, function: &Function, at: Span) -> Option<Refusal> {
    let FunctionArguments::None = function.args else { return None };
    let name = function_name(function)?;
    scope.resolve(&[Ident::new(&name)]).ok()?;
    let what = format!("{name} is a function of SQL where it stands without quotes");
    Some(Refusal { what, at, help: format!("write \"{name}\" for the column") })
}

/// The expressions that a function is called with, if it is called with nothing else.
pub(crate) fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    match &function.args {
        FunctionArguments::List(list)
            if list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
        {
            list.args.iter().map(plain_argument).collect()
        }
        _ => None,
    }
}

/// The expression of an unnamed argument.
pub(crate) fn plain_argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// Not generic, nor is [`Walk`]: each kind of visitor has the whole tree of the parser compiled.
struct Each<'a>(&'a mut dyn FnMut(&mut Expr));

impl VisitorMut for Each<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        (self.0)(expr);
        ControlFlow::Continue(())
    }
}

struct Walk<'a> {
    scope: &'a Scope<'a>,
    allowed: Side,
    hook: &'a mut dyn FnMut(&mut Expr) -> Checked<bool>,
    depth: usize,
    around: Span,
}

impl VisitorMut for Walk<'_> {
    type Break = Refusal;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refusal> {
        self.depth += 1;
        let at = place(expr, self.around);
        match self.enter(expr, at) {
            Ok(()) => ControlFlow::Continue(()),
            Err(refusal) => ControlFlow::Break(refusal.or_at(at)),
        }
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<Refusal> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn enter(&mut self, expr: &mut Expr, at: Span) -> Checked<()> {
        if self.depth > MAX_DEPTH {
            return refuse(
                at,
                format!("the expression is more than {MAX_DEPTH} operations deep"),
                "split it; write x IN (...) for a long chain of comparisons",
            );
        }
        if (self.hook)(expr)? {
            return Ok(());
        }
        match expr {
            Expr::Identifier(ident) => {
                *ident = self.column(std::slice::from_ref(ident))?;
                Ok(())
            }
            Expr::CompoundIdentifier(path) => {
                *expr = Expr::Identifier(self.column(path)?);
                Ok(())
            }
            Expr::Function(function) => check_scalar(self.scope, function, at),
            Expr::Value(value) => match &value.value {
                Value::Number(_, false)
                | Value::SingleQuotedString(_)
                | Value::Boolean(_)
                | Value::Null => Ok(()),
                other => refuse(
                    at,
                    format!("the constant {other} is not supported"),
                    "write a number, a text in single quotes, TRUE, FALSE or NULL",
                ),
            },
            other if is_scalar(other) => Ok(()),
            _ => refuse(
                at,
                "this kind of expression is not supported",
                "write arithmetic, comparisons, CASE, CAST, IN, LIKE, EXTRACT or a function",
            ),
        }
    }

    fn column(&self, path: &[Ident]) -> Checked<Ident> {
        let (side, column) = self.scope.resolve(path)?;
        let written = &path[path.len() - 1];
        if side == self.allowed {
            return Ok(self.scope.ident(side, column, written));
        }
        match side {
            Side::Own => refuse(
                written.span,
                format!("{} must be inside an aggregate here", written.value),
                "a scalar subquery gives one value: write max(x), count(*) or another aggregate",
            ),
            Side::Outer => refuse(
                written.span,
                format!("{} belongs to the outer query", written.value),
                "inside the subquery use its own columns; compare with outer columns only as \
                 inner.key = outer.key and in the bounds of event time",
            ),
        }
    }
}

fn check_scalar(scope: &Scope<'_>, function: &mut Function, at: Span) -> Checked<()> {
    let Some(name) = function_name(function) else {
        return refuse(at, "functions are not in schemas", "write the function's name alone");
    };
    let at = single(&function.name).map_or(at, |ident| ident.span);
    match functions::classify(&name) {
        Scalar::Known => {}
        Scalar::Volatile => {
            let stream = scope.stream();
            let time = &stream.columns[stream.event_time];
            return refuse(
                at,
                format!("{name} gives another value each time it is called"),
                format!("use the row's own columns: {} is the time of the row", time.name),
            );
        }
        Scalar::Unbounded => {
            return refuse(
                at,
                format!("{name} can build a text of any size"),
                "keep the text as it is and format it where it is shown",
            );
        }
        Scalar::Unlike => {
            return refuse(
                at,
                format!("{name} is not the same in every database"),
                "take parts of a time with extract or date_trunc; convert with CAST",
            );
        }
        Scalar::Unknown(near) => {
            if let Some(refusal) = unquoted(scope, function, at) {
                return Err(refusal);
            }
            let help = match near {
                Some(near) => format!("did you mean {near}?"),
                None => "use a function of PostgreSQL, or write it with CASE and arithmetic".into(),
            };
            return refuse(at, format!("there is no function {name}"), help);
        }
    }
    let plain = function.filter.is_none()
        && function.over.is_none()
        && function.null_treatment.is_none()
        && function.within_group.is_empty()
        && matches!(function.parameters, FunctionArguments::None);
    if !plain || arguments(function).is_none() {
        return refuse(
            at,
            format!("{name} is a scalar function and takes plain arguments only"),
            "FILTER, DISTINCT, ORDER BY and OVER belong to aggregates",
        );
    }
    function.name = ObjectName::from(vec![Ident::with_span(at, name)]);
    Ok(())
}

/// Refuses windows, subqueries and aggregates.
pub(crate) fn refuse_sets(expr: &Expr, clause: &str, around: Span) -> Checked<()> {
    let at = place(expr, around);
    match expr {
        Expr::Function(function) if function.over.is_some() => refuse(
            at,
            format!("a window has no place in {clause}"),
            "put the window into the select list, as a feature of its own",
        ),
        Expr::Function(function)
            if function_name(function).is_some_and(|name| crate::aggregate::is_known(&name)) =>
        {
            refuse(
                at,
                format!("an aggregate has no place in {clause}"),
                "put it into the select list with OVER (...)",
            )
        }
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => refuse(
            at,
            format!("a subquery has no place in {clause}"),
            "put it into the select list as a scalar subquery, as a feature of its own",
        ),
        _ => Ok(()),
    }
}

fn is_scalar(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::BinaryOp { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. }
            | Expr::UnaryOp { .. }
            | Expr::Cast { .. }
            | Expr::AtTimeZone { .. }
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Overlay { .. }
            | Expr::Nested(_)
            | Expr::TypedString(_)
            | Expr::Case { .. }
            | Expr::Interval(_)
    )
}
