//! The select list's windows and subqueries: each becomes a feature, and a column that the rest
//! computes with.

use crate::aggregate;
use crate::definition::Lookup;
use crate::digest::Canon;
use crate::error::{Checked, refuse};
use crate::evaluate::RowExpr;
use crate::frame;
use crate::group::{Groups, Placed, key_text};
use crate::scope::{Scope, Side};
use crate::stream::describe;
use crate::subquery::Subquery;
use crate::time::place;
use crate::walk;
use arrow::datatypes::DataType;
use datafusion_sql::sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, Query, WindowType,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use std::sync::Arc;

/// Begins the names of feature columns: no column of a stream can begin with it.
pub(crate) const FEATURE_PREFIX: char = '$';
/// Begins the names that stand for subqueries during the walk.
const SUBQUERY_PREFIX: &str = "$subquery ";

/// A feature: an aggregate of a lookup.
pub(crate) struct Feature {
    /// What outputs call it.
    pub(crate) name: String,
    /// The lookup.
    pub(crate) lookup: usize,
    /// The type of its values.
    pub(crate) ty: DataType,
    facts: Vec<String>,
    stream: Arc<crate::schema::Stream>,
}

/// Gathers the features of a view.
pub(crate) struct Collector<'a> {
    scope: Scope<'a>,
    groups: &'a mut Groups,
    filter: Option<&'a RowExpr>,
    named: &'a [NamedWindowDefinition],
    lookups: Vec<Lookup>,
    features: Vec<Feature>,
    values: Vec<Expr>,
}

impl Feature {
    /// Adds all that decides its value.
    pub(crate) fn describe(&self, canon: &mut Canon) {
        describe(&self.stream, canon);
        self.facts.iter().for_each(|fact| canon.line(format_args!("feature {fact}")));
    }
}

impl<'a> Collector<'a> {
    /// Gathers from expressions of `scope`, whose rows are those that `filter` is true for.
    pub(crate) fn new(
        scope: Scope<'a>,
        groups: &'a mut Groups,
        filter: Option<&'a RowExpr>,
        named: &'a [NamedWindowDefinition],
    ) -> Collector<'a> {
        let (lookups, features, values) = (Vec::new(), Vec::new(), Vec::new());
        Collector { scope, groups, filter, named, lookups, features, values }
    }

    /// Makes an expression of the select list canonical: over the stream's columns and those of
    /// features.
    pub(crate) fn collect(&mut self, mut expr: Expr, around: Span) -> Checked<Expr> {
        let scope = self.scope;
        walk::walk(&scope, Side::Own, &mut expr, |part| self.replace(part, around))?;
        walk::each(&mut expr, |part| self.inline(part));
        Ok(expr)
    }

    /// Puts the value of a subquery where its name stands.
    fn inline(&self, part: &mut Expr) {
        if let Expr::Identifier(ident) = part
            && let Some(number) = ident.value.strip_prefix(SUBQUERY_PREFIX)
            && let Some(value) = number.parse().ok().and_then(|place: usize| self.values.get(place))
        {
            *part = Expr::Nested(Box::new(value.clone()));
        }
    }

    /// The lookups and features of all that was collected.
    pub(crate) fn finish(self) -> (Vec<Lookup>, Vec<Feature>) {
        (self.lookups, self.features)
    }

    fn replace(&mut self, part: &mut Expr, around: Span) -> Checked<bool> {
        let at = place(part, around);
        let replacement = match part {
            Expr::Function(function) => match &function.over {
                Some(over) => self.window(function, over, at)?,
                None => return refuse_bare(function, at).map(|()| false),
            },
            Expr::Subquery(query) => self.subquery(query, at)?,
            Expr::InSubquery { .. } | Expr::Exists { .. } => {
                return refuse(
                    at,
                    "IN and EXISTS of a subquery are not supported",
                    "count instead: (SELECT count(*) FROM ... WHERE ...) > 0",
                );
            }
            _ => return Ok(false),
        };
        *part = replacement;
        Ok(true)
    }

    fn window(&mut self, function: &Function, over: &WindowType, at: Span) -> Checked<Expr> {
        let lag = aggregate::lag_rows(function, at)?;
        let call = aggregate::call(&self.scope, function, at, &[])?;
        let window = frame::window(&self.scope, over, self.named, lag, at)?;
        let (keys, keep) = (window.keys.clone(), window.keep);
        let stream = self.scope.own.stream;
        let placed = self.groups.place(stream, self.filter, window, call, at)?;
        let facts = key_text(self.scope.stream(), &keys, self.filter, keep);
        let lookup = Lookup { group: placed.group, keys, null_matches: true, aggregates: vec![] };
        Ok(self.feature(lookup, placed, stream, facts, at))
    }

    fn subquery(&mut self, query: &Query, at: Span) -> Checked<Expr> {
        let context = self.scope.context;
        let subquery = Subquery::of(context, query, self.scope.own, at)?;
        let inner = Scope { context, own: &subquery.relation, outer: Some(self.scope.own) };
        let mut value = subquery.value.clone();
        let mut aggregates = 0;
        walk::walk(&inner, Side::Outer, &mut value, |part| {
            let part_at = place(part, at);
            let Expr::Function(function) = part else {
                let clause = "a subquery's select expression";
                return walk::refuse_sets(part, clause, at).map(|()| false);
            };
            if function.over.is_some() {
                let help = "write plain aggregates: the WHERE clause is the window";
                return refuse(part_at, "a subquery has no windows", help);
            }
            match walk::function_name(function) {
                Some(name) if aggregate::is_known(&name) && name != "lag" => {}
                _ => return Ok(false),
            }
            aggregates += 1;
            *part = self.looked_up(&inner, &subquery, function, part_at)?;
            Ok(true)
        })?;
        if aggregates == 0 {
            return refuse(
                at,
                "the subquery has no aggregate, so it could give several rows",
                "write count(*), max(x) or another aggregate",
            );
        }
        self.values.push(value);
        let value = format!("{SUBQUERY_PREFIX}{}", self.values.len() - 1);
        Ok(Expr::Identifier(Ident { value, quote_style: Some('"'), span: at }))
    }

    fn looked_up(
        &mut self,
        inner: &Scope<'_>,
        subquery: &Subquery,
        function: &Function,
        at: Span,
    ) -> Checked<Expr> {
        let call = aggregate::call(inner, function, at, &subquery.conditions)?;
        let window = subquery.window();
        let stream = subquery.relation.stream;
        let facts = key_text(inner.stream(), &window.keys, None, window.keep);
        let placed = self.groups.place(stream, None, window, call, at)?;
        let keys = subquery.keys.iter().map(|(_, outer)| *outer).collect();
        let lookup = Lookup { group: placed.group, keys, null_matches: false, aggregates: vec![] };
        Ok(self.feature(lookup, placed, stream, facts, at))
    }

    /// The column of a feature, which is a new one only if no equal one is there.
    fn feature(
        &mut self,
        wanted: Lookup,
        placed: Placed,
        stream: usize,
        facts: String,
        at: Span,
    ) -> Expr {
        let same = |lookup: &Lookup| {
            lookup.group == wanted.group
                && lookup.keys == wanted.keys
                && lookup.null_matches == wanted.null_matches
        };
        let lookup = self.lookups.iter().position(same).unwrap_or_else(|| {
            self.lookups.push(wanted);
            self.lookups.len() - 1
        });
        let Lookup { aggregates, keys, null_matches, .. } = &mut self.lookups[lookup];
        let stream = &self.scope.context.streams[stream];
        let known = aggregates.iter().position(|aggregate| *aggregate == placed.aggregate);
        let place = known.unwrap_or_else(|| {
            aggregates.push(placed.aggregate);
            self.features.push(Feature {
                name: format!("{FEATURE_PREFIX}{}", self.features.len()),
                lookup,
                ty: placed.ty,
                facts: vec![facts, format!("of {keys:?} nulls {null_matches}"), placed.text],
                stream: Arc::clone(stream),
            });
            aggregates.len() - 1
        });
        let feature = self.features.iter().filter(|feature| feature.lookup == lookup).nth(place);
        let value = feature.map_or_else(String::new, |feature| feature.name.clone());
        Expr::Identifier(Ident { value, quote_style: Some('"'), span: at })
    }
}

/// Refuses an aggregate that is called without a window.
fn refuse_bare(function: &Function, at: Span) -> Checked<()> {
    match walk::function_name(function) {
        Some(name) if aggregate::is_known(&name) => refuse(
            at,
            format!("{name} needs a window"),
            format!("write {name}(...) OVER w, with w in the WINDOW clause"),
        ),
        _ => Ok(()),
    }
}
