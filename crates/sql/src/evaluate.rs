//! Row expressions: compiled once, evaluated on Arrow batches.

use crate::decode::{is_date, is_time};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, new_empty_array,
};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use datafusion_physical_expr::PhysicalExpr;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Whether a time or a date is one that no event could have: what is answered must be taken back.
fn outside_the_years(values: &dyn Array) -> bool {
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let times = values.as_primitive::<TimestampMicrosecondType>();
            times.iter().flatten().any(|us| !is_time(us))
        }
        DataType::Date32 => {
            values.as_primitive::<Date32Type>().iter().flatten().any(|days| !is_date(days))
        }
        _ => false,
    }
}

/// A scalar expression over the rows of a fixed schema.
#[derive(Clone)]
pub struct RowExpr {
    text: Arc<str>,
    /// As it was written, for messages, where the canonical form has names of our own.
    written: Option<Arc<str>>,
    ty: DataType,
    columns: Arc<[usize]>,
    program: Program,
}

#[derive(Clone)]
enum Program {
    Column(usize),
    Physical(Arc<dyn PhysicalExpr>),
}

/// A row on which an expression has no value: a division by zero, an overflow, a text that is no
/// number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvalError {
    /// The expression, in canonical form or, where it uses windows, as it was written.
    pub expr: String,
    /// What went wrong.
    pub reason: String,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot evaluate {}: {}", self.expr, self.reason)
    }
}

impl std::error::Error for EvalError {}

impl fmt::Debug for RowExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowExpr({}: {})", self.text, self.ty)
    }
}

impl RowExpr {
    /// A plain column reference.
    pub(crate) fn column(text: &str, ty: DataType, column: usize) -> RowExpr {
        RowExpr {
            text: text.into(),
            written: None,
            ty,
            columns: [column].into(),
            program: Program::Column(column),
        }
    }

    /// A compiled expression that reads `columns`.
    pub(crate) fn physical(
        text: &str,
        ty: DataType,
        columns: Vec<usize>,
        program: Arc<dyn PhysicalExpr>,
    ) -> RowExpr {
        let program = Program::Physical(program);
        RowExpr { text: text.into(), written: None, ty, columns: columns.into(), program }
    }

    /// The same, told as `written` in messages.
    pub(crate) fn written(self, written: &str) -> RowExpr {
        RowExpr { written: Some(written.into()), ..self }
    }

    /// The expression in canonical form: names resolved, layout and aliases gone. Equal text over
    /// one schema means equal values.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The type of its values.
    pub fn ty(&self) -> &DataType {
        &self.ty
    }

    /// The columns of the schema that it reads, ascending.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The column that it is, if it is nothing but a column.
    pub fn as_column(&self) -> Option<usize> {
        match self.program {
            Program::Column(column) => Some(column),
            Program::Physical(_) => None,
        }
    }

    /// The value for every row of a batch of the schema that this was compiled for.
    ///
    /// Doubles come out finite and without -0.0. Fails if any row has no value;
    /// [`RowExpr::evaluate_each`] tells which.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, EvalError> {
        match &self.program {
            Program::Column(column) if *column < batch.num_columns() => {
                Ok(Arc::clone(batch.column(*column)))
            }
            Program::Column(_) => Err(self.error("the batch has too few columns")),
            Program::Physical(_) if batch.num_rows() == 0 => Ok(new_empty_array(&self.ty)),
            Program::Physical(program) => {
                let run = || program.evaluate(batch)?.into_array(batch.num_rows());
                match catch_unwind(AssertUnwindSafe(run)) {
                    Ok(Ok(values)) => self.checked(values),
                    Ok(Err(error)) => Err(self.error(&error.strip_backtrace())),
                    Err(_) => Err(self.error("the expression's code gave up on this input")),
                }
            }
        }
    }

    /// As [`RowExpr::evaluate`], but rows without a value become NULL and are reported by their
    /// place.
    pub fn evaluate_each(&self, batch: &RecordBatch) -> (ArrayRef, Vec<(usize, EvalError)>) {
        if let Ok(values) = self.evaluate(batch) {
            return (values, Vec::new());
        }
        let mut failed = Vec::new();
        let null = arrow::array::new_null_array(&self.ty, 1);
        let rows: Vec<ArrayRef> = (0..batch.num_rows())
            .map(|row| {
                self.evaluate(&batch.slice(row, 1)).unwrap_or_else(|error| {
                    failed.push((row, error));
                    Arc::clone(&null)
                })
            })
            .collect();
        let parts: Vec<&dyn Array> = rows.iter().map(|row| row.as_ref()).collect();
        match arrow::compute::concat(&parts) {
            Ok(values) => (values, failed),
            Err(error) => {
                let every = (0..batch.num_rows()).map(|row| (row, self.error(&error.to_string())));
                (arrow::array::new_null_array(&self.ty, batch.num_rows()), every.collect())
            }
        }
    }

    /// For a boolean expression: which rows it is true for; NULL is not true.
    pub fn is_true(&self, batch: &RecordBatch) -> Result<BooleanArray, EvalError> {
        let values = self.evaluate(batch)?;
        let Some(truth) = values.as_any().downcast_ref::<BooleanArray>() else {
            return Err(self.error("the expression is not BOOLEAN"));
        };
        Ok(match truth.nulls() {
            None => truth.clone(),
            Some(valid) => BooleanArray::new(truth.values() & valid.inner(), None),
        })
    }

    fn checked(&self, values: ArrayRef) -> Result<ArrayRef, EvalError> {
        if values.data_type() != &self.ty {
            let found = values.data_type();
            return Err(self.error(&format!("it gave {found} where {} was planned", self.ty)));
        }
        if outside_the_years(&values) {
            return Err(self.error("the result is outside the years 1 to 9999"));
        }
        let Some(floats) = values.as_any().downcast_ref::<Float64Array>() else {
            return Ok(values);
        };
        if floats.iter().flatten().any(|x| !x.is_finite()) {
            return Err(self.error("the result is not a finite number"));
        }
        let negative_zero = |x: &f64| *x == 0.0 && x.is_sign_negative();
        match floats.values().iter().any(negative_zero) {
            true => Ok(Arc::new(floats.unary::<_, arrow::datatypes::Float64Type>(|x| x + 0.0))),
            false => Ok(values),
        }
    }

    fn error(&self, reason: &str) -> EvalError {
        let expr = self.written.as_ref().unwrap_or(&self.text);
        EvalError { expr: expr.to_string(), reason: reason.to_string() }
    }
}
