//! `CREATE VIEW`: a feature set, from its SELECT to lookups and outputs.

use crate::collect::Collector;
use crate::definition::{Output, View};
use crate::digest::Canon;
use crate::error::{Checked, refuse};
use crate::evaluate::RowExpr;
use crate::group::Groups;
use crate::names::{check_name, checked, fold, single};
use crate::parse::Parsed;
use crate::plan::Planner;
use crate::scope::{Context, Relation, Scope, all_of, conjuncts};
use crate::stream::describe;
use crate::time::place;
use crate::walk;
use arrow::datatypes::{Field, Schema};
use datafusion_sql::sqlparser::ast::{
    CreateTableOptions, CreateView, Expr, GroupByExpr, Ident, Query, Select, SelectFlavor,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned, WildcardAdditionalOptions,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use std::collections::HashSet;
use std::sync::Arc;

/// Most columns of a view: a row of more is no feature vector but a table.
const MAX_OUTPUTS: usize = 4_096;
/// Most named windows of a view.
const MAX_WINDOWS: usize = 1_000;
/// Output names that rows of requests and training sets use for themselves.
const RESERVED: [&str; 1] = ["as_of"];

/// One column of the select list.
struct Item {
    name: Ident,
    expr: Expr,
}

/// Compiles a view. Its lookups name groups and aggregates by their places among the drafts.
pub(crate) fn compile(
    context: Context<'_>,
    groups: &mut Groups,
    create: &CreateView,
    parsed: &Parsed,
) -> Checked<View> {
    let at = context.words.find(parsed.at, "VIEW");
    let name = name_of(create, at)?;
    let select = plain_select(context, &create.query)?;
    if let Some(window) = select.named_window.get(MAX_WINDOWS) {
        let what = format!("the view has more than {MAX_WINDOWS} windows");
        return refuse(window.0.span, what, "split the view");
    }
    let relation = Relation::of(context, &select.from, at)?;
    let filter = filter_of(context, &relation, select.selection.as_ref(), at)?;
    let scope = Scope { context, own: &relation, outer: None };
    let mut collector = Collector::new(scope, groups, filter.as_ref(), &select.named_window);
    let mut items = Vec::new();
    for Item { name, expr } in items_of(&scope, &select, at)? {
        let around = place(&expr, name.span);
        let written = expr.to_string();
        items.push((name, collector.collect(expr, around)?, written, around));
    }
    let (lookups, features) = collector.finish();

    let stream = scope.stream();
    let mut canon = Canon::new("view");
    describe(stream, &mut canon);
    canon.line(format_args!("filter {}", filter.as_ref().map_or("TRUE", RowExpr::text)));
    let mut fields = stream.schema.fields().to_vec();
    for (place, lookup) in lookups.iter().enumerate() {
        let own = features.iter().filter(|feature| feature.lookup == place);
        for feature in own {
            fields.push(Arc::new(Field::new(&feature.name, feature.ty.clone(), true)));
        }
        debug_assert_eq!(
            features.iter().filter(|f| f.lookup == place).count(),
            lookup.aggregates.len()
        );
    }
    features.iter().for_each(|feature| feature.describe(&mut canon));
    let may_be_null = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let loose_schema = Schema::new(fields.iter().map(may_be_null).collect::<Vec<_>>());
    let row_schema = Arc::new(Schema::new(fields));
    let planner = Planner::new(Arc::clone(&row_schema))?;
    let outputs = items.into_iter().map(|(name, expr, written, at)| {
        let mut output = output(&planner, stream.columns.len(), &name, &expr, at)?;
        if !output.features.is_empty() {
            output.expr = output.expr.written(&written);
        }
        canon.line(format_args!("output {:?} {} {}", output.name, output.ty, output.expr.text()));
        Ok(output)
    });
    let outputs = outputs.collect::<Checked<Vec<_>>>()?;
    let (sql, stream, digest) = (parsed.text.clone(), relation.stream, canon.digest());
    let loose_schema = Arc::new(loose_schema);
    Ok(View { name, sql, stream, filter, lookups, outputs, row_schema, loose_schema, digest })
}

/// The SELECT of a query that is nothing else.
pub(crate) fn plain_select(context: Context<'_>, query: &Query) -> Checked<Select> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        let help = "write SELECT ... FROM stream";
        return refuse(query.body.span(), "a feature set is one SELECT", help);
    };
    let start = select.select_token.0.span;
    let every = "every event gives one row; put conditions into WHERE or FILTER";
    let group = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let clauses = [
        (query.with.as_ref().map(Spanned::span), "WITH", "write FROM (SELECT ...) AS name"),
        (
            select.distinct.as_ref().map(|_| context.words.find(start, "DISTINCT")),
            "SELECT DISTINCT",
            "count(DISTINCT x) counts values",
        ),
        (
            (!group).then(|| select.group_by.span()),
            "GROUP BY",
            "write OVER (PARTITION BY ...): a window keeps every row",
        ),
        (select.having.as_ref().map(Spanned::span), "HAVING", every),
        (select.qualify.as_ref().map(Spanned::span), "QUALIFY", every),
        (query.order_by.as_ref().map(Spanned::span), "ORDER BY", "order rows where they are read"),
        (query.limit_clause.as_ref().map(Spanned::span), "LIMIT", every),
    ];
    for (at, clause, help) in clauses {
        if let Some(at) = at {
            let at = if at == Span::empty() { start } else { at };
            return refuse(at, format!("{clause} is not supported in a feature set"), help);
        }
    }
    match is_plain(query, select) {
        true => Ok(select.as_ref().clone()),
        false => refuse(
            start,
            "this SELECT has a clause that is not supported",
            "write SELECT, FROM, WHERE and WINDOW only",
        ),
    }
}

/// Whether none of the clauses of other dialects is there.
fn is_plain(query: &Query, select: &Select) -> bool {
    query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty()
        && select.optimizer_hints.is_empty()
        && select.select_modifiers.is_none()
        && select.top.is_none()
        && select.exclude.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.value_table_mode.is_none()
        && select.flavor == SelectFlavor::Standard
}

fn name_of(create: &CreateView, at: Span) -> Checked<String> {
    let Some(ident) = single(&create.name) else {
        return refuse(create.name.span(), "views are not in schemas", "write the name alone");
    };
    if let Some(column) = create.columns.first() {
        return refuse(
            column.name.span,
            "a view has no list of column names",
            "name columns in the select list: expression AS name",
        );
    }
    let plain = !create.materialized
        && !create.temporary
        && !create.secure
        && !create.or_alter
        && !create.with_no_schema_binding
        && create.options == CreateTableOptions::None
        && create.cluster_by.is_empty()
        && create.comment.is_none()
        && create.to.is_none()
        && create.params.is_none();
    match plain {
        true => check_name(ident),
        false => {
            refuse(at, "a feature set is a plain view", "write CREATE VIEW name AS SELECT ...")
        }
    }
}

/// The conditions of the subselect and of WHERE: which events are rows of the view.
fn filter_of(
    context: Context<'_>,
    relation: &Relation,
    condition: Option<&Expr>,
    at: Span,
) -> Checked<Option<RowExpr>> {
    let scope = Scope { context, own: relation, outer: None };
    let mut parts = relation.filter.clone();
    let around = condition.map_or(at, |condition| place(condition, at));
    if let Some(condition) = condition {
        parts.extend(conjuncts(walk::row(&scope, condition, "WHERE")?));
    }
    all_of(parts).map(|all| scope.planner().condition(&all, around)).transpose()
}

/// The select list, wildcards written out.
fn items_of(scope: &Scope<'_>, select: &Select, at: Span) -> Checked<Vec<Item>> {
    let mut items = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::ExprWithAlias { expr, alias } => {
                items.push(Item { name: alias.clone(), expr: expr.clone() });
            }
            SelectItem::UnnamedExpr(expr) => {
                items.push(Item { name: own_name(expr, at)?, expr: expr.clone() });
            }
            SelectItem::Wildcard(options) => items.extend(wildcard(scope, options)?),
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                options,
            ) if single(name).is_some_and(|name| fold(name) == scope.own.name) => {
                items.extend(wildcard(scope, options)?);
            }
            other => {
                return refuse(
                    other.span(),
                    "this is no column of a feature set",
                    "write an expression AS name",
                );
            }
        }
    }
    let mut names = HashSet::new();
    for Item { name, .. } in &items {
        let text = checked(name)?;
        if RESERVED.contains(&&*text) {
            let what = format!("{text} is a name of Trueup's own");
            return refuse(name.span, what, "give the column another name");
        }
        if !names.insert(text) {
            let what = format!("there are two columns called {}", name.value);
            return refuse(name.span, what, "give one of them another name with AS");
        }
    }
    match items.len() {
        0 => refuse(at, "the view has no columns", "select at least one feature"),
        1..=MAX_OUTPUTS => Ok(items),
        _ => refuse(at, format!("the view has more than {MAX_OUTPUTS} columns"), "split the view"),
    }
}

fn own_name(expr: &Expr, at: Span) -> Checked<Ident> {
    match expr {
        Expr::Identifier(ident) => Ok(ident.clone()),
        Expr::CompoundIdentifier(path) if !path.is_empty() => Ok(path[path.len() - 1].clone()),
        _ => refuse(place(expr, at), "this feature has no name", "write AS and a name behind it"),
    }
}

fn wildcard(scope: &Scope<'_>, options: &WildcardAdditionalOptions) -> Checked<Vec<Item>> {
    let at = options.wildcard_token.0.span;
    let plain = WildcardAdditionalOptions {
        wildcard_token: options.wildcard_token.clone(),
        ..WildcardAdditionalOptions::default()
    };
    if *options != plain {
        return refuse(at, "* takes no options here", "list the columns by name");
    }
    let item = |(name, _): &(String, usize)| {
        let name = Ident { value: name.clone(), quote_style: Some('"'), span: at };
        Item { expr: Expr::Identifier(name.clone()), name }
    };
    Ok(scope.own.visible.iter().map(item).collect())
}

fn output(
    planner: &Planner,
    stream_columns: usize,
    name: &Ident,
    expr: &Expr,
    at: Span,
) -> Checked<Output> {
    let expr = planner.compile(expr, at)?;
    let (row_columns, features) =
        expr.columns().iter().partition::<Vec<usize>, _>(|column| **column < stream_columns);
    let features = features.into_iter().map(|column| column - stream_columns).collect();
    Ok(Output { name: fold(name), ty: expr.ty().clone(), expr, row_columns, features })
}
