//! Integer arithmetic that never wraps.
//!
//! The planner's own `+`, `-`, `*` and unary minus wrap around at the ends of a type, and so does
//! its folding of constants. Standard SQL has no value there ("numeric value out of range"), and
//! neither have these. All integers are BIGINT, as columns are, so that
//! `extract(year FROM t) * 10000000` does not end at 32 bits.

use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result as PlanResult};
use datafusion_expr::expr::BinaryExpr;
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast,
};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr as BinaryProgram;
use std::sync::{Arc, LazyLock};

/// Two operands of arithmetic: integers both as BIGINT, all else as it is.
pub(crate) fn widened(left: Expr, right: Expr, schema: &DFSchema) -> PlanResult<(Expr, Expr)> {
    let is_integer = |part: &Expr| part.get_type(schema).map(|ty| ty.is_signed_integer());
    match is_integer(&left)? && is_integer(&right)? {
        true => Ok((to_bigint(left, schema)?, to_bigint(right, schema)?)),
        false => Ok((left, right)),
    }
}

/// A narrow integer as a BIGINT, all else as it is.
pub(crate) fn to_bigint(operand: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let ty = operand.get_type(schema)?;
    match ty.is_signed_integer() && ty != DataType::Int64 {
        true => Ok(cast(operand, DataType::Int64)),
        false => Ok(operand),
    }
}

/// Whether it computes, and could pass the end of a type.
pub(crate) fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply)
}

/// The same expression, whose types have met, with what the planner would compute itself checked:
/// arithmetic on constants alone. A minus before a column is checked here too, for want of a
/// physical form; all else that has columns is checked by [`failing`].
pub(crate) fn checked(plan: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let is_bigint = |part: &Expr| match part {
        Expr::ScalarFunction(call) if call.func.inner().is::<Arithmetic>() => Ok(true),
        part => part.get_type(schema).map(|ty| ty == DataType::Int64),
    };
    let swapped = plan.transform_up(|part| {
        let (function, operands) = match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if is_arithmetic(op)
                    && !(left.any_column_refs() || right.any_column_refs())
                    && is_bigint(&left)?
                    && is_bigint(&right)? =>
            {
                (of(op), vec![*left, *right])
            }
            Expr::Negative(operand) if is_bigint(&operand)? => (&*NEGATIVE, vec![*operand]),
            other => return Ok(Transformed::no(other)),
        };
        Ok(Transformed::yes(function.call(operands)))
    })?;
    Ok(swapped.data)
}

/// The same program, in which arithmetic that passes the end of its type fails.
pub(crate) fn failing(program: Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let swapped = program.transform_up(|part| {
        let Some(binary) = part.downcast_ref::<BinaryProgram>() else {
            return Ok(Transformed::no(part));
        };
        if !is_arithmetic(*binary.op()) {
            return Ok(Transformed::no(part));
        }
        let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
        let failing = BinaryProgram::new(left, *binary.op(), right).with_fail_on_overflow(true);
        Ok(Transformed::yes(Arc::new(failing) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(swapped.data)
}

static PLUS: LazyLock<ScalarUDF> = LazyLock::new(|| Arithmetic::named("plus", 2));
static MINUS: LazyLock<ScalarUDF> = LazyLock::new(|| Arithmetic::named("minus", 2));
static TIMES: LazyLock<ScalarUDF> = LazyLock::new(|| Arithmetic::named("times", 2));
static NEGATIVE: LazyLock<ScalarUDF> = LazyLock::new(|| Arithmetic::named("negative", 1));

fn of(op: Operator) -> &'static ScalarUDF {
    match op {
        Operator::Plus => &PLUS,
        Operator::Minus => &MINUS,
        _ => &TIMES,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    name: &'static str,
    signature: Signature,
}

impl Arithmetic {
    fn named(name: &'static str, operands: usize) -> ScalarUDF {
        let signature = Signature::exact(vec![DataType::Int64; operands], Volatility::Immutable);
        ScalarUDF::from(Arithmetic { name, signature })
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let operands = ColumnarValue::values_to_arrays(&args.args)?;
        let result = match (self.name, operands.as_slice()) {
            ("plus", [a, b]) => add(a, b),
            ("minus", [a, b]) => sub(a, b),
            ("times", [a, b]) => mul(a, b),
            (_, [a, ..]) => neg(a),
            (name, []) => return datafusion_common::exec_err!("{name} needs an operand"),
        };
        Ok(ColumnarValue::Array(result?))
    }
}
