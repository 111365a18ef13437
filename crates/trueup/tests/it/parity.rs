//! Served rows against training rows, bit for bit: the transactions of the Fraud Detection Handbook
//! (Le Borgne, Siblini, Lebichot, Bontempi, "Reproducible Machine Learning for Credit Card Fraud
//! Detection", 2022), pushed one by one through the log, the worker and the embedded store.
//!
//! Each push is an event of its own with a log time of its own, and the history says so (`known_at`).
//! Between pushes rows are asked for: once before their event is pushed and once after. Both answers
//! must be the training row of that transaction, whose `as_of` is its own `known_at`.
//!
//! The data is not in this repository. The test looks for it in `shared/data` beside the checkout,
//! or where `TRUEUP_TEST_DATA` says, and tells loudly where it has to skip.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Int64Type, Schema, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use trueup::catalog::Catalog;
use trueup::clock::Clock;
use trueup::http::App;
use trueup::ingest::{NewBeginning, Pushed};
use trueup::json;
use trueup::node::{Node, NodeOptions, Place};
use trueup::serve::{Request, Status};
use trueup_core::Micros;
use trueup_offline as offline;
use trueup_sql::{SourceFile, compile};
use trueup_store::StoreError;

/// Rows that are asked for, spread evenly; ties come on top.
const REQUESTS: usize = 20_000;

/// Events whose pushes are under way at one time: the log's queue takes far more.
const UNDER_WAY: usize = 2_048;

/// Far longer than a read or an application of some events takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// The stream's columns before `known_at`, as the file has them.
const COLUMNS: [&str; 6] =
    ["transaction_id", "event_time", "customer_id", "terminal_id", "amount", "is_fraud"];

#[test]
fn every_served_row_is_its_training_row_bit_for_bit_before_and_after_its_event_is_pushed() {
    let Some(history) = history() else { return };
    let catalog = Arc::new(Catalog::new(definitions()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let began = Instant::now();
    let asked = asked(&history);
    let parity = runtime.block_on(serve_all(&catalog, &history, &asked));
    println!(
        "{} events pushed one by one, {} rows asked before and after, in {:.0} s",
        history.num_rows(),
        asked.len(),
        began.elapsed().as_secs_f64()
    );
    parity.compare(&catalog, &history, &asked);
}

fn definitions() -> trueup_sql::Definitions {
    let text = include_str!("parity.sql").to_string();
    compile(&[SourceFile { name: "parity.sql".into(), text }]).unwrap_or_else(|e| panic!("{e}"))
}

/// The handbook's events, each known a microsecond after it happened or after the one before.
fn history() -> Option<RecordBatch> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("TRUEUP_TEST_DATA").map_or(beside, PathBuf::from);
    let Ok(file) = File::open(folder.join("handbook-dev.parquet")) else {
        eprintln!("\n*** SKIPPED: no handbook-dev.parquet in {}. ***\n", folder.display());
        return None;
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let read = concat_batches(&batches[0].schema(), &batches).unwrap();
    let schema = &definitions().streams[0].schema;
    let cast = |(name, field): (&&str, &Arc<Field>)| {
        let column = read.column_by_name(name).unwrap();
        arrow::compute::cast(column, field.data_type()).unwrap()
    };
    let mut columns: Vec<ArrayRef> = COLUMNS.iter().zip(schema.fields()).map(cast).collect();
    let mut known = i64::MIN;
    let times = columns[1].as_primitive::<TimestampMicrosecondType>().values().iter();
    let known = times.map(|&time| {
        known = (known + 1).max(time + 1);
        known
    });
    columns.push(Arc::new(TimestampMicrosecondArray::from(known.collect::<Vec<i64>>())));
    Some(RecordBatch::try_new(Arc::clone(schema), columns).unwrap())
}

/// The rows to ask for: spread evenly, and all that share a second with another of their customer or
/// terminal.
fn asked(history: &RecordBatch) -> Vec<usize> {
    let rows = history.num_rows();
    let mut asked: BTreeSet<usize> = (0..REQUESTS).map(|n| n * rows / REQUESTS).collect();
    let times = history.column(1).as_primitive::<TimestampMicrosecondType>().values();
    for key in [2, 3] {
        let keys = history.column(key).as_primitive::<Int64Type>().values();
        let mut last: HashMap<i64, usize> = HashMap::new();
        for row in 0..rows {
            if let Some(before) = last.insert(keys[row], row)
                && times[before] == times[row]
            {
                asked.extend([before, row]);
            }
        }
    }
    asked.into_iter().collect()
}

/// What was served: for each view, its columns by name with the values before and after, as text.
struct Parity {
    served: Vec<Vec<[Vec<Cell>; 2]>>,
}

/// A value's JSON text, which tells doubles to the last bit, and its status.
type Cell = (String, Status);

async fn serve_all(catalog: &Arc<Catalog>, history: &RecordBatch, asked: &[usize]) -> Parity {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&now);
    let node = Node::start(NodeOptions {
        catalog: Arc::clone(catalog),
        place: Place::Embedded(folder.path().to_path_buf()),
        max_staleness: Duration::MAX,
        token: None,
        ingest: true,
        policy: NewBeginning::Refuse,
        clock: Clock::of(move || Micros(told.load(Ordering::SeqCst))),
    });
    let node = node.unwrap();
    let views = catalog.definitions().views.len();
    let mut parity = Parity { served: vec![Vec::with_capacity(asked.len()); views] };
    let mut pushes = Pushes { app: node.app(), now: &now, history, next: 0 };
    for &row in asked {
        pushes.up_to(row).await;
        let before = answers(node.app(), history, row).await;
        pushes.up_to(row + 1).await;
        let after = answers(node.app(), history, row).await;
        for (view, cells) in before.into_iter().zip(after).enumerate() {
            parity.served[view].push([cells.0, cells.1]);
        }
    }
    pushes.up_to(history.num_rows()).await;
    node.stop().unwrap();
    parity
}

/// The pushes of a history's events, one call an event, in order.
struct Pushes<'a> {
    app: &'a App,
    now: &'a AtomicI64,
    history: &'a RecordBatch,
    next: usize,
}

impl Pushes<'_> {
    /// Pushes what comes before `row` and waits until it is applied.
    async fn up_to(&mut self, row: usize) {
        let known = self.history.column(COLUMNS.len()).as_primitive::<TimestampMicrosecondType>();
        while self.next < row {
            let some = self.next..row.min(self.next + UNDER_WAY);
            self.next = some.end;
            let bodies: Vec<Vec<u8>> = some.clone().map(|row| body(self.history, row)).collect();
            let bodies: Vec<[&[u8]; 1]> = bodies.iter().map(|body| [&body[..]]).collect();
            let mut calls = Vec::with_capacity(bodies.len());
            for (row, body) in some.zip(&bodies) {
                // The log takes a call's event when the call is first polled, so the order is ours.
                self.now.store(known.value(row), Ordering::SeqCst);
                let mut call = Box::pin(self.app.pusher.push(0, body));
                let early = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
                calls.push((call, early));
            }
            let mut records = 0;
            for (call, early) in calls {
                let pushed: Pushed = finish(call, early).await.unwrap();
                assert_eq!((pushed.accepted, pushed.rejected.len()), (1, 0));
                records = pushed.records;
            }
            let applied = self.app.pusher.progress[0].wait_for(records);
            tokio::time::timeout(DEADLINE, applied).await.expect("the worker applies its log");
        }
    }
}

/// The end of a call that was polled once.
async fn finish<F: Future<Output = Result<Pushed, StoreError>>>(
    call: Pin<Box<F>>,
    early: Poll<F::Output>,
) -> F::Output {
    match early {
        Poll::Ready(pushed) => pushed,
        Poll::Pending => call.await,
    }
}

fn body(history: &RecordBatch, row: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(200);
    json::object(&mut body, history, row);
    body
}

/// Every view's columns for a row, in request mode.
async fn answers(app: &App, history: &RecordBatch, row: usize) -> Vec<Vec<Cell>> {
    let part = &app.catalog().streams()[0];
    let body = body(history, row);
    let request = Request::rows(part, &[&body], Micros(0)).unwrap();
    let mut all = Vec::new();
    for view in &app.catalog().definitions().views {
        let outputs = (0..view.outputs.len()).collect();
        let answered = app.serving.answer(view, outputs, &request, Instant::now() + DEADLINE).await;
        let cells = answered.columns.iter().zip(&answered.rows[0].statuses);
        all.push(cells.map(|((_, values), (status, _))| (text(values, 0), *status)).collect());
    }
    all
}

fn text(values: &ArrayRef, row: usize) -> String {
    let mut text = Vec::new();
    json::value(&mut text, values.as_ref(), row);
    String::from_utf8(text).unwrap()
}

impl Parity {
    /// Holds every view's served rows against its training rows.
    fn compare(&self, catalog: &Catalog, history: &RecordBatch, asked: &[usize]) {
        let mut wrong = Vec::new();
        for (view, served) in catalog.definitions().views.iter().zip(&self.served) {
            let stream = catalog.streams()[0].stream.name.clone();
            let histories = [offline::History { stream, events: history.clone() }];
            let options = offline::Options::default();
            let trained = offline::train(catalog.definitions(), &view.name, &histories, &options);
            let trained = trained.unwrap();
            assert_eq!((trained.dead_letters, trained.unknown), (0, 0));
            let schema: Arc<Schema> = Arc::clone(&trained.schema);
            let rows = concat_batches(&schema, &trained.batches).unwrap();
            assert_eq!(rows.num_rows(), history.num_rows());
            let mut statuses: HashMap<Status, usize> = HashMap::new();
            let mut equal = [0, 0];
            for (&row, served) in asked.iter().zip(served) {
                for (place, column) in rows.columns().iter().enumerate() {
                    let trained = text(column, row);
                    for (when, cells) in served.iter().enumerate() {
                        let (value, status) = &cells[place];
                        *statuses.entry(*status).or_default() += 1;
                        if *value == trained && *status != Status::Unknown {
                            equal[when] += 1;
                            continue;
                        }
                        let (when, name) = (["before", "after"][when], schema.field(place).name());
                        let view = &view.name;
                        let what = format!("row {row}, {view}.{name} {when} the push");
                        wrong.push(format!("{what}: {value} {status}, trained {trained}"));
                    }
                }
            }
            let all = asked.len() * rows.num_columns();
            let mut statuses: Vec<_> = statuses.into_iter().collect();
            statuses.sort_unstable();
            println!(
                "view {}: {} rows, {all} values; equal {} before and {} after; {statuses:?}",
                view.name,
                asked.len(),
                equal[0],
                equal[1]
            );
        }
        let some: Vec<&String> = wrong.iter().take(20).collect();
        assert!(wrong.is_empty(), "{} values differ, the first: {some:#?}", wrong.len());
    }
}
