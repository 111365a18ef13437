//! What names mean: the relation that a SELECT reads, and the columns that it can see.

use crate::error::{Checked, refuse};
use crate::names::{canonical, fold, single, suggest};
use crate::parse::Words;
use crate::plan::Planner;
use crate::schema::Stream;
use crate::time::place;
use crate::view::plain_select;
use crate::walk;
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, SelectItem, Spanned, TableAlias, TableFactor,
    TableWithJoins,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use std::collections::HashSet;
use std::sync::Arc;

/// What every part of a view's compilation looks at.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The declared streams.
    pub(crate) streams: &'a [Arc<Stream>],
    /// A planner for each stream's rows.
    pub(crate) planners: &'a [Planner],
    /// The names of the views so far, for messages.
    pub(crate) views: &'a HashSet<String>,
    /// The statement's tokens.
    pub(crate) words: &'a Words,
}

/// A FROM clause: one stream, perhaps under another name, perhaps with fewer columns and rows.
pub(crate) struct Relation {
    /// Index of the stream.
    pub(crate) stream: usize,
    /// The name that qualifies its columns.
    pub(crate) name: String,
    /// Visible column names and the stream's columns that they mean.
    pub(crate) visible: Vec<(String, usize)>,
    /// Conditions of the subselects, over the stream's columns.
    pub(crate) filter: Vec<Expr>,
}

/// Whose column a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The SELECT's own relation.
    Own,
    /// The relation of the query around it.
    Outer,
}

/// The relations whose columns an expression can name.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The streams and planners.
    pub(crate) context: Context<'a>,
    /// The SELECT's own relation.
    pub(crate) own: &'a Relation,
    /// The relation of the query around it, in a correlated subquery.
    pub(crate) outer: Option<&'a Relation>,
}

impl Scope<'_> {
    /// The column that a name means: own columns first, as SQL says.
    pub(crate) fn resolve(&self, name: &[Ident]) -> Checked<(Side, usize)> {
        let (qualifier, column) = match name {
            [column] => (None, column),
            [qualifier, column] => (Some(fold(qualifier)), column),
            _ => {
                let at = name.first().map_or(Span::empty(), |ident| ident.span);
                return refuse(at, "a column's name has two parts at most", "write stream.column");
            }
        };
        let sides = [(Side::Own, Some(self.own)), (Side::Outer, self.outer)];
        let named = || {
            let present = sides.iter().filter_map(|(side, relation)| Some((*side, (*relation)?)));
            present.filter(|(_, r)| qualifier.as_ref().is_none_or(|q| *q == r.name))
        };
        let wanted = fold(column);
        for (side, relation) in named() {
            if let Some((_, column)) = relation.visible.iter().find(|(name, _)| *name == wanted) {
                return Ok((side, *column));
            }
            if qualifier.is_some() {
                break;
            }
        }
        if named().next().is_none() {
            let known: Vec<&str> = sides.iter().filter_map(|(_, r)| Some(&*(*r)?.name)).collect();
            let qualifier = qualifier.unwrap_or_default();
            return refuse(
                name[0].span,
                format!("there is no relation {qualifier} in this query"),
                suggest(&qualifier, "relation", known),
            );
        }
        let known: Vec<&str> = named().flat_map(|(_, r)| r.columns()).collect();
        refuse(
            column.span,
            format!("there is no column {wanted}"),
            suggest(&wanted, "column", known),
        )
    }

    /// The canonical identifier of a column.
    pub(crate) fn ident(&self, side: Side, column: usize, written: &Ident) -> Ident {
        let relation = match side {
            Side::Own => self.own,
            Side::Outer => self.outer.unwrap_or(self.own),
        };
        canonical(&self.context.streams[relation.stream].columns[column].name, written)
    }

    /// The stream of the SELECT's own relation.
    pub(crate) fn stream(&self) -> &Stream {
        &self.context.streams[self.own.stream]
    }

    /// The planner of the SELECT's own relation.
    pub(crate) fn planner(&self) -> &Planner {
        &self.context.planners[self.own.stream]
    }
}

impl Relation {
    fn columns(&self) -> impl Iterator<Item = &str> {
        self.visible.iter().map(|(name, _)| &**name)
    }

    /// The relation of a FROM clause; `at` is where to point when it is missing.
    pub(crate) fn of(context: Context<'_>, from: &[TableWithJoins], at: Span) -> Checked<Relation> {
        let [only] = from else {
            let at = from.get(1).map_or(at, |second| second.span()).union(&Span::empty());
            return match from.is_empty() {
                true => refuse(at, "a feature set needs a FROM", "write FROM and a stream's name"),
                false => refuse_join(at),
            };
        };
        if let Some(join) = only.joins.first() {
            return refuse_join(join.span());
        }
        match &only.relation {
            TableFactor::Table {
                name,
                alias,
                args: None,
                version: None,
                with_ordinality: false,
                json_path: None,
                sample: None,
                ..
            } => Relation::table(context, name, alias.as_ref()),
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                Relation::derived(context, subquery, alias.as_ref(), at)
            }
            other => refuse(
                place_of(other.span(), at),
                "FROM takes one stream or one subselect of a stream",
                "write FROM stream, or FROM (SELECT * FROM stream WHERE ...) AS name",
            ),
        }
    }

    fn table(
        context: Context<'_>,
        name: &ObjectName,
        alias: Option<&TableAlias>,
    ) -> Checked<Relation> {
        let known = context.streams.iter().map(|stream| &*stream.name);
        let Some(ident) = single(name) else {
            let help = "write the stream's name alone";
            return refuse(name.span(), "streams are not in schemas", help);
        };
        let wanted = fold(ident);
        let Some(stream) = context.streams.iter().position(|stream| stream.name == wanted) else {
            if context.views.contains(&wanted) {
                let what = format!("{wanted} is a view; a feature set reads a stream");
                return refuse(ident.span, what, "write out what it selects, over its stream");
            }
            let what = format!("there is no stream {wanted}");
            return refuse(ident.span, what, suggest(&wanted, "stream", known));
        };
        let columns = context.streams[stream].columns.iter().enumerate();
        let visible = columns.map(|(place, column)| (column.name.clone(), place)).collect();
        let name = alias_name(alias)?.unwrap_or(wanted);
        Ok(Relation { stream, name, visible, filter: Vec::new() })
    }

    fn derived(
        context: Context<'_>,
        query: &Query,
        alias: Option<&TableAlias>,
        at: Span,
    ) -> Checked<Relation> {
        let select = plain_select(context, query)?;
        if let Some(window) = select.named_window.first() {
            return refuse(
                window.0.span,
                "a subselect in FROM has no windows",
                "put the WINDOW clause into the outer SELECT",
            );
        }
        let inner = Relation::of(context, &select.from, at)?;
        let scope = Scope { context, own: &inner, outer: None };
        let mut filter = Vec::new();
        if let Some(condition) = &select.selection {
            filter = conjuncts(walk::row(&scope, condition, "WHERE")?);
        }
        let mut visible = Vec::new();
        for item in &select.projection {
            let (written, name) = match item {
                SelectItem::Wildcard(options) if options == &Default::default() => {
                    visible.extend(inner.visible.iter().cloned());
                    continue;
                }
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
                other => return refuse_subselect_item(other.span()),
            };
            let path = match written {
                Expr::Identifier(ident) => std::slice::from_ref(ident),
                Expr::CompoundIdentifier(path) => path,
                other => return refuse_subselect_item(place(other, at)),
            };
            let (_, column) = scope.resolve(path)?;
            let name = name.or(path.last()).map(fold).unwrap_or_default();
            visible.push((name, column));
        }
        let mut filters = inner.filter;
        filters.append(&mut filter);
        let name = alias_name(alias)?.unwrap_or_default();
        Ok(Relation { stream: inner.stream, name, visible, filter: filters })
    }
}

/// The parts of a chain of ANDs, in order.
pub(crate) fn conjuncts(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::Nested(inner) => conjuncts(*inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut parts = conjuncts(*left);
            parts.extend(conjuncts(*right));
            parts
        }
        part => vec![part],
    }
}

/// A chain of ANDs of canonical parts; `None` without parts.
pub(crate) fn all_of(parts: Vec<Expr>) -> Option<Expr> {
    let several = parts.len() > 1;
    let bracketed = parts.into_iter().map(|part| match part {
        Expr::BinaryOp { op: BinaryOperator::Or | BinaryOperator::Xor, .. } if several => {
            Expr::Nested(Box::new(part))
        }
        part => part,
    });
    bracketed.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}

fn alias_name(alias: Option<&TableAlias>) -> Checked<Option<String>> {
    match alias {
        None => Ok(None),
        Some(alias) if alias.columns.is_empty() => Ok(Some(fold(&alias.name))),
        Some(alias) => refuse(
            alias.name.span,
            "an alias cannot rename columns here",
            "rename them in the subselect: (SELECT a AS b FROM ...) AS name",
        ),
    }
}

fn refuse_join<T>(at: Span) -> Checked<T> {
    refuse(
        at,
        "a feature set reads one stream; joins are not supported",
        "look into another stream with a correlated subquery: (SELECT count(*) FROM other WHERE \
         other.key = this.key AND other.event_time BETWEEN this.event_time - INTERVAL '1 hour' \
         AND this.event_time)",
    )
}

fn refuse_subselect_item<T>(at: Span) -> Checked<T> {
    refuse(
        at,
        "a subselect in FROM gives columns only",
        "write the expression where it is used, in the outer SELECT",
    )
}

fn place_of(span: Span, around: Span) -> Span {
    if span == Span::empty() { around } else { span }
}
