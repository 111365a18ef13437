//! Correlated scalar subqueries: a look into a stream, the same one or another, by key and up to
//! the row's time.
//!
//! `(SELECT count(*) FROM logins l WHERE l.user_id = t.user_id AND l.at BETWEEN t.at - INTERVAL '1
//! hour' AND t.at)` is a window over `logins`, partitioned by `user_id`. Of its WHERE, equalities
//! of columns give the key, comparisons of the two event times the frame, and what speaks of the
//! inner stream alone becomes the FILTER of every aggregate.

use crate::error::{Checked, Refusal, refuse};
use crate::frame::{Window, column_of, date_bin};
use crate::scope::{Context, Relation, Scope, Side, conjuncts};
use crate::time::{interval_us, place, strip};
use crate::view::plain_select;
use crate::walk::{self, function_name};
use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, Query, Select, SelectItem, Spanned};
use datafusion_sql::sqlparser::tokenizer::Span;
use trueup_core::{Frame, Keep};

/// A subquery taken apart.
pub(crate) struct Subquery {
    /// What it reads.
    pub(crate) relation: Relation,
    /// Pairs of an inner and an outer column that must be equal, by inner column.
    pub(crate) keys: Vec<(usize, usize)>,
    /// How the group must keep its events.
    pub(crate) keep: Keep,
    /// Which events its aggregates see.
    pub(crate) frame: Frame,
    /// Conditions on inner columns, canonical.
    pub(crate) conditions: Vec<Expr>,
    /// The select expression, names not yet resolved.
    pub(crate) value: Expr,
}

/// What a condition says about the two event times: both plain, or both in the same bins.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Instant {
    side: Side,
    /// Width and origin of the bins, if any.
    bins: Option<(i64, i64)>,
    /// Microseconds that are subtracted.
    back_us: i64,
}

/// The bounds gathered from WHERE.
#[derive(Default)]
struct Bounds {
    far_us: Option<i64>,
    near_us: Option<i64>,
    bins: Option<Option<(i64, i64)>>,
}

impl Subquery {
    /// Takes a subquery apart, or says why it is no window.
    pub(crate) fn of(
        context: Context<'_>,
        query: &Query,
        outer: &Relation,
        around: Span,
    ) -> Checked<Subquery> {
        let at = match query.span() {
            span if span == Span::empty() => around,
            span => span,
        };
        let select = plain_select(context, query)?;
        if let Some(window) = select.named_window.first() {
            let help = "write plain aggregates: the WHERE clause is the window";
            return refuse(window.0.span, "a subquery has no windows", help);
        }
        let mut relation = Relation::of(context, &select.from, at)?;
        let mut conditions = std::mem::take(&mut relation.filter);
        let value = value_of(&select, at)?;
        let scope = Scope { context, own: &relation, outer: Some(outer) };
        let (mut keys, mut bounds) = (Vec::new(), Bounds::default());
        for part in select.selection.clone().map(conjuncts).unwrap_or_default() {
            if let Some(pair) = key_pair(&scope, &part)? {
                keys.push(pair);
            } else if !bounds.take(&scope, &part, at)? {
                conditions.extend(conjuncts(walk::row(&scope, &part, "a subquery's WHERE")?));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        check_keys(&keys, at)?;
        let (keep, frame) = bounds.frame(&scope, at)?;
        Ok(Subquery { relation, keys, keep, frame, conditions, value })
    }

    /// The window that the subquery's aggregates look through.
    pub(crate) fn window(&self) -> Window {
        let keys = self.keys.iter().map(|(inner, _)| *inner).collect();
        Window { keys, keep: self.keep, frame: self.frame }
    }
}

fn value_of(select: &Select, at: Span) -> Checked<Expr> {
    let value = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => expr,
        [] => return refuse(at, "the subquery selects nothing", "select one aggregate"),
        [first] => return refuse_value(first.span()),
        [_, second, ..] => return refuse_value(second.span()),
    };
    Ok(value.clone())
}

fn refuse_value<T>(at: Span) -> Checked<T> {
    refuse(at, "a scalar subquery gives one value", "write one subquery for each feature")
}

fn check_keys(keys: &[(usize, usize)], at: Span) -> Checked<()> {
    if keys.is_empty() {
        return refuse(
            at,
            "the subquery is not tied to the row by a key",
            "add an equality of columns, such as logins.user_id = transactions.user_id; give the \
             inner stream an alias if both are the same",
        );
    }
    match keys.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        false => Ok(()),
        true => refuse(
            at,
            "one inner column is compared with two outer columns",
            "compare each inner column with one outer column",
        ),
    }
}

/// `inner.column = outer.column`, either way round.
fn key_pair(scope: &Scope<'_>, part: &Expr) -> Checked<Option<(usize, usize)>> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = strip(part) else {
        return Ok(None);
    };
    let pair = match (column_of(scope, left)?, column_of(scope, right)?) {
        (Some((Side::Own, inner)), Some((Side::Outer, outer)))
        | (Some((Side::Outer, outer)), Some((Side::Own, inner))) => (inner, outer),
        _ => return Ok(None),
    };
    let inner_ty = scope.context.streams[scope.own.stream].columns[pair.0].ty;
    let outer = scope.outer.unwrap_or(scope.own);
    let outer_ty = scope.context.streams[outer.stream].columns[pair.1].ty;
    match inner_ty.kind() == outer_ty.kind() {
        true => Ok(Some(pair)),
        false => refuse(
            place(part, Span::empty()),
            format!("the key is {inner_ty} inside and {outer_ty} outside"),
            "declare both columns with the same type",
        ),
    }
}

impl Bounds {
    /// Takes a condition on the event times in; `false` if it is none.
    fn take(&mut self, scope: &Scope<'_>, part: &Expr, at: Span) -> Checked<bool> {
        match strip(part) {
            Expr::Between { expr, negated: false, low, high } => {
                let Some(inner) = instant(scope, expr, at)?.filter(Instant::is_inner) else {
                    return Ok(false);
                };
                let low_at = instant(scope, low, at)?.filter(Instant::is_outer);
                let high_at = instant(scope, high, at)?.filter(Instant::is_outer);
                match (low_at, high_at) {
                    (Some(low_at), Some(high_at)) => {
                        self.lower(inner, low_at, 0, place(low, at))?;
                        self.upper(inner, high_at, 0, place(high, at))?;
                        Ok(true)
                    }
                    _ => Ok(false),
                }
            }
            Expr::BinaryOp { left, op, right } => {
                let (Some(one), Some(two)) =
                    (instant(scope, left, at)?, instant(scope, right, at)?)
                else {
                    return Ok(false);
                };
                let (inner, outer, op) = match (one.side, two.side) {
                    (Side::Own, Side::Outer) => (one, two, op.clone()),
                    (Side::Outer, Side::Own) => (two, one, mirrored(op)),
                    _ => return Ok(false),
                };
                let at = place(part, at);
                match op {
                    BinaryOperator::GtEq => self.lower(inner, outer, 0, at)?,
                    BinaryOperator::Gt => self.lower(inner, outer, -1, at)?,
                    BinaryOperator::LtEq => self.upper(inner, outer, 0, at)?,
                    BinaryOperator::Lt => self.upper(inner, outer, 1, at)?,
                    BinaryOperator::Eq => {
                        self.lower(inner, outer, 0, at)?;
                        self.upper(inner, outer, 0, at)?;
                    }
                    _ => return Ok(false),
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// `inner >= outer - back`: `strict_us` is -1 for `>`.
    fn lower(&mut self, inner: Instant, outer: Instant, strict_us: i64, at: Span) -> Checked<()> {
        self.same_bins(inner, outer, at)?;
        let far_us = outer.back_us.saturating_sub(inner.back_us).saturating_add(strict_us);
        if far_us < 0 {
            return Err(future(at));
        }
        self.far_us = Some(self.far_us.map_or(far_us, |known| known.min(far_us)));
        Ok(())
    }

    /// `inner <= outer - back`: `strict_us` is 1 for `<`.
    fn upper(&mut self, inner: Instant, outer: Instant, strict_us: i64, at: Span) -> Checked<()> {
        self.same_bins(inner, outer, at)?;
        let near_us = outer.back_us.saturating_sub(inner.back_us).saturating_add(strict_us);
        if near_us < 0 {
            return Err(future(at));
        }
        self.near_us = Some(self.near_us.map_or(near_us, |known| known.max(near_us)));
        Ok(())
    }

    fn same_bins(&mut self, inner: Instant, outer: Instant, at: Span) -> Checked<()> {
        let known = *self.bins.get_or_insert(inner.bins);
        match inner.bins == outer.bins && inner.bins == known {
            true => Ok(()),
            false => refuse(
                at,
                "the event times are not cut into the same bins",
                "write date_bin with the same width around both event times, or around neither",
            ),
        }
    }

    fn frame(&self, scope: &Scope<'_>, at: Span) -> Checked<(Keep, Frame)> {
        let Some(near_us) = self.near_us else {
            let inner = &scope.stream().columns[scope.stream().event_time].name;
            return refuse(
                at,
                "the subquery has no upper bound on its event time, so it sees the future",
                format!("add AND inner.{inner} <= outer.event_time, each with its own name"),
            );
        };
        if self.far_us.is_some_and(|far_us| far_us < near_us) {
            let help = "the lower bound must be the earlier one";
            return refuse(at, "the frame ends before it starts", help);
        }
        let keep = match (self.bins.flatten(), self.far_us) {
            (Some((width_us, origin_us)), _) => Keep::Binned { width_us, origin_us },
            (None, None) => Keep::Lifetime,
            (None, Some(_)) => Keep::Exact,
        };
        Ok((keep, Frame::Range { far_us: self.far_us, near_us }))
    }
}

impl Instant {
    fn is_inner(&self) -> bool {
        self.side == Side::Own
    }

    fn is_outer(&self) -> bool {
        self.side == Side::Outer
    }
}

/// An event time, perhaps binned, perhaps with intervals added or subtracted; `None` for anything
/// else.
fn instant(scope: &Scope<'_>, expr: &Expr, around: Span) -> Checked<Option<Instant>> {
    match strip(expr) {
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Minus | BinaryOperator::Plus), right } => {
            let Some(mut base) = instant(scope, left, around)? else { return Ok(None) };
            let us = interval_us(right, around)?;
            let signed = if *op == BinaryOperator::Minus { us } else { -us };
            base.back_us = base.back_us.saturating_add(signed);
            Ok(Some(base))
        }
        Expr::Function(function) if function_name(function).as_deref() == Some("date_bin") => {
            let (width_us, origin_us, time) = date_bin(expr, around)?;
            let base = instant(scope, time, around)?;
            let plain = base.filter(|base| base.back_us == 0 && base.bins.is_none());
            Ok(plain.map(|base| Instant { bins: Some((width_us, origin_us)), ..base }))
        }
        expr => {
            let Some((side, column)) = column_of(scope, expr)? else { return Ok(None) };
            let relation = match side {
                Side::Own => Some(scope.own),
                Side::Outer => scope.outer,
            };
            let is_time =
                |relation: &Relation| scope.context.streams[relation.stream].event_time == column;
            let instant = Instant { side, bins: None, back_us: 0 };
            Ok(relation.filter(|relation| is_time(relation)).map(|_| instant))
        }
    }
}

fn mirrored(op: &BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        other => other.clone(),
    }
}

fn future(at: Span) -> Refusal {
    Refusal {
        what: "the bound lies behind the row's event time, in the future".into(),
        at,
        help: "subtract the interval from the outer event time: outer.event_time - INTERVAL \
               '1 hour'"
            .into(),
    }
}
