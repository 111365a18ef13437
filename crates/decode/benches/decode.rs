//! How fast events decode, in rows a second on one core.
//!
//! `cargo bench --workspace --all-features --bench decode`
//!
//! The JSON events are some 150 bytes each; the CSV holds the same values.

use arrow::array::RecordBatch;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::sync::Arc;
use trueup_decode::schema::{Column, ColumnType, Stream};
use trueup_decode::{Decoder, print};

const ROWS: usize = 10_000;

fn main() {
    divan::main();
}

fn decoder() -> Decoder {
    let column = |(name, ty): (&str, ColumnType)| Column {
        name: name.to_owned(),
        ty,
        not_null: name.ends_with("_id") || name.ends_with("_time"),
    };
    let columns: Vec<Column> = [
        ("transaction_id", ColumnType::BigInt),
        ("event_time", ColumnType::Timestamp),
        ("user_id", ColumnType::BigInt),
        ("merchant_id", ColumnType::BigInt),
        ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("status", ColumnType::Varchar),
    ]
    .map(column)
    .into();
    Decoder::new(Arc::new(Stream {
        name: "transactions".to_owned(),
        schema: Stream::schema_of(&columns),
        columns,
        id: 0,
        event_time: 1,
        known_at: None,
        lateness_us: 0,
        future_us: 0,
        reorder_us: 0,
        epoch_unit: None,
    }))
}

/// The values of event `row`: its id, time, user, merchant, amount.
fn event(row: usize) -> (usize, String, usize, usize, String) {
    let time = 1_795_514_400_000_000 + row as i64 * 1_234_567;
    let amount = print::Decimal { value: (row * 7_919 % 1_000_000) as i128, scale: 2 };
    let time = print::Timestamp(time).to_string();
    (9_007_199_254_740_993 + row, time, row % 5_000, row % 977, amount.to_string())
}

fn json() -> Vec<String> {
    let row = |row| {
        let (id, time, user, merchant, amount) = event(row);
        format!(
            "{{\"transaction_id\":{id},\"event_time\":\"{time}\",\"user_id\":{user},\
             \"merchant_id\":{merchant},\"amount\":{amount},\"status\":\"approved\"}}"
        )
    };
    (0..ROWS).map(row).collect()
}

fn csv() -> String {
    let mut file = String::from("transaction_id,event_time,user_id,merchant_id,amount,status\n");
    for row in 0..ROWS {
        let (id, time, user, merchant, amount) = event(row);
        file.push_str(&format!("{id},{time},{user},{merchant},{amount},approved\n"));
    }
    file
}

fn batch(decoder: &Decoder) -> RecordBatch {
    decoder.json_rows(&json()).expect("rows make a batch").batch
}

#[divan::bench]
fn json_rows(bencher: Bencher<'_, '_>) {
    let (decoder, rows) = (decoder(), json());
    let bench = bencher.counter(ItemsCount::new(ROWS));
    bench.bench(|| decoder.json_rows(black_box(&rows)).expect("rows make a batch").kept.len());
}

#[divan::bench]
fn json_lines(bencher: Bencher<'_, '_>) {
    let (decoder, lines) = (decoder(), json().join("\n"));
    let bench = bencher.counter(ItemsCount::new(ROWS));
    bench.bench(|| decoder.json_lines(black_box(lines.as_bytes())).expect("a batch").kept.len());
}

#[divan::bench]
fn csv_rows(bencher: Bencher<'_, '_>) {
    let (decoder, file) = (decoder(), csv());
    let bench = bencher.counter(ItemsCount::new(ROWS));
    bench.bench(|| decoder.csv(black_box(file.as_bytes())).expect("a sound file").kept.len());
}

#[divan::bench]
fn arrow_as_it_is(bencher: Bencher<'_, '_>) {
    let decoder = decoder();
    let batch = batch(&decoder);
    let bench = bencher.counter(ItemsCount::new(ROWS));
    bench.bench(|| decoder.arrow(black_box(&batch)).expect("the stream's types").kept.len());
}

#[divan::bench]
fn arrow_converted(bencher: Bencher<'_, '_>) {
    use arrow::array::ArrayRef;
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, TimeUnit};
    let decoder = decoder();
    let kinds = [
        DataType::UInt64,
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Int32,
        DataType::Int32,
        DataType::Float64,
        DataType::Utf8View,
    ];
    let before = batch(&decoder);
    let fields = before.schema();
    let column = |(index, kind): (usize, &DataType)| -> (&str, ArrayRef) {
        let array = cast(before.column(index), kind).expect("a kind that Arrow casts to");
        (fields.field(index).name().as_str(), array)
    };
    let batch = RecordBatch::try_from_iter(kinds.iter().enumerate().map(column)).expect("a batch");
    let bench = bencher.counter(ItemsCount::new(ROWS));
    bench.bench(|| decoder.arrow(black_box(&batch)).expect("types in the table").kept.len());
}
