//! Our rows of a definition, and the files that the judge reads.

use crate::events::{LOGINS, LOGINS_TABLE, TRANSACTIONS, TRANSACTIONS_TABLE};
use crate::text::{Gen, NO_VALUE};
use crate::view::{Definition, definition};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use serde_json::{Number, Value as Json, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use trueup_core::{Kind, Value};
use trueup_offline::{History, Options, train};
use trueup_sql::decode::{Decoder, print};
use trueup_sql::{Definitions, SourceFile, compile, kind_of, value_at};

/// Name of the column that tells whose events these are.
const DEFINITION: &str = "definition";

/// The files of a run: `transactions.parquet`, `logins.parquet`, `definitions.jsonl`.
pub(crate) struct Files {
    transactions: Events,
    logins: Events,
    definitions: BufWriter<File>,
}

/// The events of all definitions of one stream.
struct Events(Option<ArrowWriter<File>>, File);

impl Files {
    pub(crate) fn create(folder: &Path) -> Files {
        let file = |name: &str| File::create(folder.join(name)).unwrap();
        Files {
            transactions: Events(None, file("transactions.parquet")),
            logins: Events(None, file("logins.parquet")),
            definitions: BufWriter::new(file("definitions.jsonl")),
        }
    }

    /// Makes the definition of a seed, its events and our rows, and writes all three.
    pub(crate) fn add(&mut self, seed: u64) {
        let mut g = Gen::new(seed);
        let definition = definition(&mut g);
        let file = SourceFile { name: format!("seed {seed}"), text: definition.sql.clone() };
        let compiled =
            compile(&[file]).unwrap_or_else(|errors| panic!("{}\n{errors}", definition.sql));
        let stream = |name: &str| compiled.stream(name).unwrap().clone();
        let (one, two) = (stream("transactions"), stream("logins"));
        let step_us = definition.step_us;
        let transactions = TRANSACTIONS_TABLE.events(&mut g, TRANSACTIONS, step_us, &one);
        let logins = LOGINS_TABLE.events(&mut g, LOGINS, step_us, &two);
        self.transactions.write(seed, &transactions);
        self.logins.write(seed, &logins);
        let rows = trained(&compiled, [transactions, logins], &definition);
        let line = line(seed, &definition, rows);
        writeln!(self.definitions, "{line}").unwrap();
    }

    pub(crate) fn finish(mut self) {
        self.definitions.flush().unwrap();
        for Events(writer, _) in [self.transactions, self.logins] {
            writer.unwrap().close().unwrap();
        }
    }
}

impl Events {
    fn write(&mut self, seed: u64, events: &RecordBatch) {
        let mut fields = vec![Arc::new(Field::new(DEFINITION, DataType::Int64, false))];
        fields.extend(events.schema().fields().iter().cloned());
        let seed = i64::try_from(seed).unwrap();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![seed; events.num_rows()]))];
        columns.extend(events.columns().iter().cloned());
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let Events(writer, file) = self;
        let writer = writer.get_or_insert_with(|| {
            ArrowWriter::try_new(file.try_clone().unwrap(), batch.schema(), None).unwrap()
        });
        writer.write(&batch).unwrap();
    }
}

/// The rows that `train` gives, each cell as JSON.
fn trained(
    compiled: &Definitions,
    [transactions, logins]: [RecordBatch; 2],
    definition: &Definition,
) -> Vec<Vec<Json>> {
    let history = |stream: &str, events: &RecordBatch| {
        let stream = compiled.stream(stream).unwrap();
        let mut history = History::new(Arc::clone(stream));
        let decoded = Decoder::new(Arc::clone(stream)).arrow(events).unwrap();
        history.push("events", 0, decoded, None).unwrap();
        history
    };
    let histories = [history("transactions", &transactions), history("logins", &logins)];
    let trained = train(compiled, "v", &histories, &Options::default())
        .unwrap_or_else(|error| panic!("{}\n{error}", definition.sql));
    let mut rows = Vec::new();
    for batch in trained.batches() {
        let batch = batch.unwrap();
        let (batch, unknown) = (batch.columns, batch.unknown);
        // The id stands before the outputs.
        let expected = |column: usize| column > 0 && definition.outputs[column - 1].may_fail;
        let surprise = unknown.iter().find(|cell| !expected(cell.column));
        assert!(surprise.is_none(), "{surprise:?}:\n{}", definition.sql);
        let kinds: Vec<Kind> =
            batch.columns().iter().map(|c| kind_of(c.data_type()).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().zip(&kinds);
            rows.push(cells.map(|(column, kind)| cell(kind, &value_at(column, row))).collect());
        }
        for cell in unknown {
            let row: &mut Vec<Json> = &mut rows[cell.row];
            row[cell.column] = NO_VALUE.into();
        }
    }
    rows
}

fn line(seed: u64, definition: &Definition, rows: Vec<Vec<Json>>) -> Json {
    let outputs = definition.outputs.iter();
    json!({
        "definition": seed,
        "sql": definition.sql,
        "judged": definition.judged,
        "columns": outputs.map(|output| json!({
            "name": output.name,
            "exact": output.exact,
            "made_of": output.made_of,
        })).collect::<Vec<_>>(),
        "rows": rows,
    })
}

/// A value as the judge reads it: doubles as numbers with a point, decimals and times as text.
fn cell(kind: &Kind, value: &Value) -> Json {
    match (value, kind) {
        (Value::Null, _) => Json::Null,
        (Value::Bool(x), _) => Json::Bool(*x),
        (Value::Int(x), _) => Json::from(*x),
        (Value::Float(x), _) => Json::Number(Number::from_f64(*x).unwrap()),
        (Value::Text(x), _) => Json::String(x.to_string()),
        (Value::Time(x), _) => Json::String(print::Timestamp(*x).to_string()),
        (Value::Date(x), _) => Json::String(print::Date(*x).to_string()),
        (Value::Decimal(value), Kind::Decimal { scale }) => {
            Json::String(print::Decimal { value: *value, scale: *scale }.to_string())
        }
        (Value::List(items), Kind::List(item)) => items.iter().map(|x| cell(item, x)).collect(),
        (value, kind) => panic!("{value:?} is no {kind:?}"),
    }
}
