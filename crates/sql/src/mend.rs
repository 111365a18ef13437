//! Where the planner types or computes otherwise than SQL: its plan is mended before it is coerced.
//!
//! - A DECIMAL that meets a DOUBLE becomes a DOUBLE. The planner would round the double to a
//!   decimal of its choice, or fail on a large one.
//! - `x IN (a, b)` with columns in the list is a chain of comparisons. The planner's own takes a
//!   list for constant if it can be evaluated without rows, as some CASEs can, and is wrong then.
//! - 0.0 and -0.0, which only computing gives, are equal. Arrow compares them as different.
//! - A literal with an exponent is a DOUBLE, as the standard says; the planner's decimals end at
//!   1e38.
//! - A literal becomes the nearest double in one step, from its digits.
//! - `extract(epoch FROM a - b)` divides the microseconds once. The planner's own takes
//!   nanoseconds in 32 bits and loses the fraction of all that is longer than 2.147 seconds.
//! - A cast to an integer rounds, as databases do: doubles half to even, decimals half away from
//!   zero. The planner's own cuts the fraction off.
//! - Integers are BIGINT: a narrower one is computed with as one (`checked` says why).
//! - A cast that takes digits from a decimal rounds in a step of its own. The planner compares
//!   `CAST(x AS BIGINT) < 13` as `x < 13.00`, which is another question for 12.50.

use crate::checked::{is_arithmetic, to_bigint, widened};
use crate::walk;
use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result as PlanResult, ScalarValue, plan_err};
use datafusion_expr::expr::{Between, BinaryExpr, Case, Cast, InList, ScalarFunction};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast, lit,
};
use datafusion_sql::sqlparser::ast::{self, CastKind, Value, ValueWithSpan};
use std::sync::{Arc, LazyLock};

/// Refuses all parts of a length of time but one: databases cut it into days and hours differently.
pub(crate) const ONLY_EPOCH: &str = "the time between two times has no part but the epoch";
/// Refuses the text of a double or a time: each database writes it otherwise.
pub(crate) const NO_TEXT: &str = "the text of a DOUBLE or a TIMESTAMP differs between databases";

/// What to write instead of what these say.
pub(crate) const HELP: [(&str, &str); 2] = [
    (ONLY_EPOCH, "write extract(epoch FROM a - b), which is in seconds, and divide by 60 or 3600"),
    (NO_TEXT, "take parts of a time with extract; cast a DOUBLE to a DECIMAL first"),
];

/// Writes literals with an exponent as casts of their text to DOUBLE; infinite ones stay, and the
/// planner refuses them.
pub(crate) fn approximate(expr: &mut ast::Expr) {
    walk::each(expr, |part| {
        let literal = match part {
            ast::Expr::Value(value) => Some(value),
            _ => None,
        };
        if let Some(ValueWithSpan { value: Value::Number(digits, false), span }) = literal
            && digits.contains(['e', 'E'])
            && digits.parse().is_ok_and(f64::is_finite)
        {
            let (span, text) = (*span, Value::SingleQuotedString(digits.clone()));
            *part = ast::Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(ast::Expr::Value(text.with_span(span))),
                data_type: ast::DataType::DoublePrecision,
                array: false,
                format: None,
            };
        }
    });
}

/// The same expression with SQL's types and values.
pub(crate) fn mend(plan: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let mended = plan.transform_up(|part| Ok(Transformed::yes(part_of(part, schema)?)))?;
    Ok(mended.data)
}

fn part_of(part: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let meet = |parts: Vec<Expr>| doubles_win(parts, schema);
    Ok(match part {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_numeric(op) => {
            let [mut left, mut right] = meet_all(meet, [*left, *right]);
            if is_arithmetic(op) {
                (left, right) = widened(left, right, schema)?;
            } else {
                [left, right] = [left, right].map(|part| one_zero(part, schema));
            }
            Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
        }
        Expr::Negative(operand) => Expr::Negative(Box::new(to_bigint(*operand, schema)?)),
        Expr::Between(Between { expr, negated, low, high }) => {
            let [expr, low, high] =
                meet_all(meet, [*expr, *low, *high]).map(|part| Box::new(one_zero(part, schema)));
            Expr::Between(Between { expr, negated, low, high })
        }
        Expr::InList(InList { expr, list, negated }) if has_columns(&list) => {
            either_of(*expr, list, negated, schema)
        }
        Expr::InList(InList { expr, list, negated }) => {
            let all = meet(std::iter::once(*expr).chain(list).collect()).into_iter();
            let mut all = all.map(|part| one_zero(part, schema));
            let expr = Box::new(all.next().unwrap_or(lit(ScalarValue::Null)));
            Expr::InList(InList { expr, list: all.collect(), negated })
        }
        Expr::Case(case) => Expr::Case(of_case(case, schema)),
        Expr::ScalarFunction(ScalarFunction { func, args }) => match func.name() {
            "date_part" => date_part(func, args, schema)?,
            "nullif" => {
                let args = meet(args).into_iter().map(|part| one_zero(part, schema)).collect();
                Expr::ScalarFunction(ScalarFunction { func, args })
            }
            _ => Expr::ScalarFunction(ScalarFunction { func, args: meet(args) }),
        },
        Expr::Cast(Cast { expr, field }) => {
            let (from, to) = (expr.get_type(schema)?, field.data_type().clone());
            let expr = match () {
                () if from.is_decimal() && to == DataType::Float64 => return Ok(to_double(*expr)),
                () if from.is_floating() && to.is_integer() => {
                    NEAREST.call(vec![cast(*expr, DataType::Float64)])
                }
                () if to.is_string()
                    && (from.is_floating() || matches!(from, DataType::Timestamp(..))) =>
                {
                    return plan_err!("{NO_TEXT}");
                }
                () => match (scale_of(&from), scale_of(&to).or(to.is_integer().then_some(0))) {
                    (Some(from), Some(to)) if to < from => rounded(*expr, to),
                    _ => *expr,
                },
            };
            // What has passed the bounds of a narrow integer is a BIGINT like all others.
            to_bigint(Expr::Cast(Cast { expr: Box::new(expr), field }), schema)?
        }
        other => other,
    })
}

fn has_columns(list: &[Expr]) -> bool {
    list.iter().any(|item| !item.column_refs().is_empty())
}

/// `x IN (a, b)` as `x = a OR x = b`.
fn either_of(expr: Expr, list: Vec<Expr>, negated: bool, schema: &DFSchema) -> Expr {
    let one = |item: Expr| {
        let [left, right] = meet_all(|parts| doubles_win(parts, schema), [expr.clone(), item])
            .map(|part| one_zero(part, schema));
        left.eq(right)
    };
    let any = list.into_iter().map(one).reduce(Expr::or).unwrap_or(lit(false));
    if negated { !any } else { any }
}

/// Whether the sides of `op` are brought to one type of number.
fn is_numeric(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    op.is_numerical_operators()
        || matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn meet_all<const N: usize>(meet: impl Fn(Vec<Expr>) -> Vec<Expr>, all: [Expr; N]) -> [Expr; N] {
    let met = meet(all.into());
    met.try_into().expect("as many come back as went in")
}

/// `parts`, of which the decimals are doubles if any of them is a double.
fn doubles_win(parts: Vec<Expr>, schema: &DFSchema) -> Vec<Expr> {
    let is =
        |part: &Expr, test: fn(&DataType) -> bool| part.get_type(schema).is_ok_and(|ty| test(&ty));
    if !parts.iter().any(|part| is(part, DataType::is_floating)) {
        return parts;
    }
    let double = |part: Expr| match is(&part, DataType::is_decimal) {
        true => to_double(part),
        false => part,
    };
    parts.into_iter().map(double).collect()
}

/// A computed DOUBLE without -0.0, which no column and no literal has, to be compared.
fn one_zero(part: Expr, schema: &DFSchema) -> Expr {
    match part {
        Expr::Column(_) | Expr::Literal(..) => part,
        _ if part.get_type(schema).is_ok_and(|ty| ty.is_floating()) => part + lit(0.0),
        _ => part,
    }
}

/// A decimal as a DOUBLE: a literal from its digits, rounded once.
fn to_double(decimal: Expr) -> Expr {
    match decimal {
        Expr::Literal(ref value, _) => match nearest_double(value) {
            Some(double) => lit(double),
            None => cast(decimal, DataType::Float64),
        },
        Expr::Negative(inner) => Expr::Negative(Box::new(to_double(*inner))),
        other => cast(other, DataType::Float64),
    }
}

fn nearest_double(value: &ScalarValue) -> Option<f64> {
    let (digits, scale) = match value {
        ScalarValue::Decimal32(Some(digits), _, scale) => (digits.to_string(), *scale),
        ScalarValue::Decimal64(Some(digits), _, scale) => (digits.to_string(), *scale),
        ScalarValue::Decimal128(Some(digits), _, scale) => (digits.to_string(), *scale),
        ScalarValue::Decimal256(Some(digits), _, scale) => (digits.to_string(), *scale),
        _ => return None,
    };
    format!("{digits}e{}", -i32::from(scale)).parse().ok().filter(|x: &f64| x.is_finite())
}

/// The operand of a CASE meets its WHENs, the THENs meet one another and the ELSE.
fn of_case(case: Case, schema: &DFSchema) -> Case {
    let Case { expr, when_then_expr, else_expr } = case;
    let (whens, thens): (Vec<Expr>, Vec<Expr>) =
        when_then_expr.into_iter().map(|(when, then)| (*when, *then)).unzip();
    let (has_operand, has_else) = (expr.is_some(), else_expr.is_some());
    let mut whens = match has_operand {
        true => {
            let met = doubles_win(expr.into_iter().map(|x| *x).chain(whens).collect(), schema);
            met.into_iter().map(|part| one_zero(part, schema)).collect()
        }
        false => whens,
    };
    let expr = has_operand.then(|| Box::new(whens.remove(0)));
    let mut thens = doubles_win(thens.into_iter().chain(else_expr.map(|x| *x)).collect(), schema);
    let else_expr = if has_else { thens.pop().map(Box::new) } else { None };
    let when_then_expr =
        whens.into_iter().zip(thens).map(|(when, then)| (Box::new(when), Box::new(then)));
    Case { expr, when_then_expr: when_then_expr.collect(), else_expr }
}

/// Digits behind the point of a decimal type.
fn scale_of(ty: &DataType) -> Option<i8> {
    match ty {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

/// A decimal rounded to `scale`, half away from zero, before a cast that has nothing left to round.
fn rounded(decimal: Expr, scale: i8) -> Expr {
    datafusion_functions::math::round().call(vec![decimal, lit(i64::from(scale))])
}

/// `extract(part FROM x)`; of a length of time only its seconds have one meaning everywhere.
fn date_part(func: Arc<ScalarUDF>, args: Vec<Expr>, schema: &DFSchema) -> PlanResult<Expr> {
    let [part, of] = args.as_slice() else {
        return Ok(Expr::ScalarFunction(ScalarFunction { func, args }));
    };
    let DataType::Duration(unit) = of.get_type(schema)? else {
        return Ok(Expr::ScalarFunction(ScalarFunction { func, args }));
    };
    let name = match part {
        Expr::Literal(value, _) => value.try_as_str().flatten().unwrap_or_default().to_lowercase(),
        _ => String::new(),
    };
    if name != "epoch" {
        return plan_err!("{ONLY_EPOCH}");
    }
    let per_second = match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1e6,
        TimeUnit::Nanosecond => 1e9,
    };
    let units = cast(cast(of.clone(), DataType::Int64), DataType::Float64);
    Ok(units / lit(per_second))
}

/// The nearest whole number, half to even: what a cast from DOUBLE to an integer rounds by.
static NEAREST: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
    ScalarUDF::from(Nearest { signature })
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nearest {
    signature: Signature,
}

impl ScalarUDFImpl for Nearest {
    fn name(&self) -> &str {
        "nearest"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let doubles = arrays[0].as_primitive::<Float64Type>();
        let nearest: Float64Array = doubles.unary(f64::round_ties_even);
        Ok(ColumnarValue::Array(Arc::new(nearest) as ArrayRef))
    }
}
