//! Scalar expressions: typed, folded and compiled by DataFusion's planner.
//!
//! What arrives here has its names resolved and its windows and subqueries replaced by columns, so
//! the planner sees one flat schema and no table. Number literals with a point are decimals, as the
//! standard says; the quotient of decimals is a DOUBLE, and that of integers an integer.

use crate::checked::{checked, failing};
use crate::error::{Checked, Refusal, refuse};
use crate::evaluate::RowExpr;
use crate::functions;
use crate::mend::{HELP, approximate, mend};
use crate::time::{place, strip};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{
    DFSchema, DataFusionError, Result as PlanResult, TableReference, plan_err,
};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::planner::{
    ContextProvider, ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner,
};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{
    AggregateUDF, Expr as Plan, ExprSchemable, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF,
    cast,
};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::create_physical_expr;
use datafusion_physical_expr::utils::collect_columns;
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{self, BinaryOperator, Expr, Visit, Visitor};
use datafusion_sql::sqlparser::tokenizer::Span;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Compiles expressions over one flat schema.
pub(crate) struct Planner {
    schema: Arc<DFSchema>,
    functions: Functions,
}

impl Planner {
    /// A planner for rows of `schema`, whose column names must differ.
    pub(crate) fn new(schema: SchemaRef) -> Checked<Planner> {
        let schema = DFSchema::try_from(schema).map_err(|error| Refusal {
            what: error.strip_backtrace(),
            at: Span::empty(),
            help: "rename one of the columns".into(),
        })?;
        Ok(Planner { schema: Arc::new(schema), functions: Functions::new() })
    }

    /// Compiles `expr`, whose names are columns of the schema. Errors point into it, or at
    /// `around`.
    pub(crate) fn compile(&self, expr: &Expr, around: Span) -> Checked<RowExpr> {
        let expr = strip(expr);
        let text = expr.to_string();
        if let Expr::Identifier(ident) = expr
            && let Some(column) =
                self.schema.as_arrow().fields().iter().position(|f| *f.name() == ident.value)
        {
            let ty = self.schema.field(column).data_type().clone();
            return Ok(RowExpr::column(&text, ty, column));
        }
        let plan = self.plan(expr).map_err(|error| self.explain(expr, error, around))?;
        let ty = self.type_of(&plan, expr, around)?;
        let failed = |error| self.explain(expr, error, around);
        let physical = self.physical(&plan, &ty).map_err(failed)?;
        let mut columns: Vec<usize> =
            collect_columns(&physical).iter().map(|c| c.index()).collect();
        columns.sort_unstable();
        Ok(RowExpr::physical(&text, ty, columns, physical))
    }

    /// As [`Planner::compile`], for a condition: the result must be BOOLEAN.
    pub(crate) fn condition(&self, expr: &Expr, around: Span) -> Checked<RowExpr> {
        let compiled = self.compile(expr, around)?;
        match compiled.ty() {
            DataType::Boolean => Ok(compiled),
            ty => refuse(
                place(expr, around),
                format!("a condition must be BOOLEAN, and this is {}", sql_name(ty)),
                "write a comparison, such as status = 'declined'",
            ),
        }
    }

    fn plan(&self, expr: &Expr) -> PlanResult<Plan> {
        let options = ParserOptions::new()
            .with_parse_float_as_decimal(true)
            .with_map_string_types_to_utf8view(false);
        let planner = SqlToRel::new_with_options(&self.functions, options);
        let mut expr = expr.clone();
        approximate(&mut expr);
        let plan = planner.sql_to_expr(expr, &self.schema, &mut PlannerContext::new())?;
        let context = SimplifyContext::builder().with_schema(Arc::clone(&self.schema)).build();
        let simplifier = ExprSimplifier::new(context);
        let plan = mend(plan, &self.schema)?;
        let plan = checked(simplifier.coerce(plan, &self.schema)?, &self.schema)?;
        simplifier.simplify(plan)
    }

    fn type_of(&self, plan: &Plan, expr: &Expr, around: Span) -> Checked<DataType> {
        let ty = plan.get_type(&*self.schema).map_err(|error| self.explain(expr, error, around))?;
        let at = place(expr, around);
        match kept_type(&ty) {
            Some(kept) => Ok(kept),
            None => {
                let help = match ty {
                    DataType::Null => "give it a type: CAST(NULL AS DOUBLE)",
                    DataType::Interval(_) | DataType::Duration(_) => {
                        "turn it into a number: extract(epoch FROM a - b) gives seconds"
                    }
                    DataType::Timestamp(_, Some(_)) => {
                        "times are UTC; take what you need of it: extract(hour FROM ...)"
                    }
                    _ => "cast it to BOOLEAN, BIGINT, DECIMAL, DOUBLE, VARCHAR, TIMESTAMP or DATE",
                };
                refuse(at, format!("a value of type {} cannot be kept", sql_name(&ty)), help)
            }
        }
    }

    fn physical(
        &self,
        plan: &Plan,
        ty: &DataType,
    ) -> PlanResult<Arc<dyn datafusion_physical_expr::PhysicalExpr>> {
        let plan = match plan.get_type(&*self.schema)? == *ty {
            true => plan.clone(),
            false => cast(plan.clone(), ty.clone()),
        };
        let context = PhysicalPlanningContext::default();
        failing(create_physical_expr(&plan, &self.schema, &ExecutionProps::new(), &context)?)
    }

    /// A refusal at the innermost part of `expr` that the planner cannot take.
    fn explain(&self, expr: &Expr, error: DataFusionError, around: Span) -> Refusal {
        let around = place(expr, around);
        let mut search = Culprit { planner: self, found: None, left: MAX_SEARCHED };
        let _ = expr.visit(&mut search);
        let (at, error) = match search.found {
            Some((span, inner)) if span != Span::empty() => (span, inner),
            _ => (around, error),
        };
        let message = error.strip_backtrace();
        let message = message.lines().next().unwrap_or("").trim_end_matches('.');
        let what =
            ["Error during planning: ", "Optimizer rule", "This feature is not implemented: "]
                .iter()
                .find_map(|prefix| message.strip_prefix(prefix))
                .unwrap_or(message);
        if let Some((what, help)) = HELP.iter().find(|(known, _)| *known == what) {
            return Refusal { what: (*what).into(), at, help: (*help).into() };
        }
        Refusal {
            what: format!("this expression cannot be compiled: {}", shorten(what)),
            at,
            help: "check the types of its parts; CAST(x AS type) converts".into(),
        }
    }
}

/// Longest part of a planner's message that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

fn shorten(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{} ...", &message[..end]),
        None => message.to_string(),
    }
}

/// Parts of an expression that are planned on their own at most to find the wrong one. Each costs
/// as much as it is long, so that all parts of a long chain of operators would cost seconds.
const MAX_SEARCHED: usize = 24;

/// Looks for the first part, innermost first, that does not plan on its own.
struct Culprit<'a> {
    planner: &'a Planner,
    found: Option<(Span, DataFusionError)>,
    /// How many more may be planned.
    left: usize,
}

impl Visitor for Culprit<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Identifier(_) | Expr::Value(_)) {
            return ControlFlow::Continue(());
        }
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        self.left -= 1;
        match self.planner.plan(expr) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                self.found = Some((place(expr, Span::empty()), error));
                ControlFlow::Break(())
            }
        }
    }
}

/// The type that values of a planned type are kept as: the narrow ones widen, as columns do.
fn kept_type(ty: &DataType) -> Option<DataType> {
    Some(match ty {
        DataType::Boolean
        | DataType::Utf8
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond, None) => ty.clone(),
        DataType::Decimal128(_, scale) if *scale >= 0 => ty.clone(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) if *s >= 0 => {
            DataType::Decimal128(*p, *s)
        }
        ty if ty.is_integer() => DataType::Int64,
        ty if ty.is_floating() => DataType::Float64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value) => kept_type(value)?,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => return None,
    })
}

/// An Arrow type in the words of SQL.
pub(crate) fn sql_name(ty: &DataType) -> String {
    match ty {
        DataType::Null => "NULL".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Utf8 => "VARCHAR".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".into(),
        DataType::List(item) => format!("{}[]", sql_name(item.data_type())),
        other => other.to_string(),
    }
}

/// What the planner may look up: functions and types, never tables.
struct Functions {
    options: ConfigOptions,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    fn new() -> Functions {
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(Quotient),
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        ];
        Functions { options: ConfigOptions::new(), planners }
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        plan_err!("there is no table {name} here")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Micros))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::scalar(name)
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        functions::scalar_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The quotient of decimals is a DOUBLE: the planner's own would keep four more digits than the
/// dividend and drop the rest.
#[derive(Debug)]
struct Quotient;

impl ExprPlanner for Quotient {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> PlanResult<PlannerResult<RawBinaryExpr>> {
        let decimal = |side: &Plan| side.get_type(schema).is_ok_and(|ty| ty.is_decimal());
        if expr.op != BinaryOperator::Divide || !(decimal(&expr.left) || decimal(&expr.right)) {
            return Ok(PlannerResult::Original(expr));
        }
        let double = |side: Plan| cast(side, DataType::Float64);
        Ok(PlannerResult::Planned(double(expr.left) / double(expr.right)))
    }
}

/// TIMESTAMP, with a time zone or without, is microseconds of UTC everywhere; the planner's default
/// of nanoseconds ends in 2262.
#[derive(Debug)]
struct Micros;

impl TypePlanner for Micros {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> PlanResult<Option<FieldRef>> {
        Ok(match sql_type {
            ast::DataType::Timestamp(None | Some(6), _) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                Some(Arc::new(Field::new("", micros, true)))
            }
            _ => None,
        })
    }
}
