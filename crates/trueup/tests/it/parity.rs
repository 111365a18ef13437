//! Served rows against training rows, bit for bit: the transactions of the Fraud Detection Handbook
//! (Le Borgne, Siblini, Lebichot, Bontempi, "Reproducible Machine Learning for Credit Card Fraud
//! Detection", 2022), pushed one by one through the log, the worker and the embedded store.
//!
//! Each push is an event of its own with a log time of its own, and the history says so
//! (`known_at`). Between pushes rows are asked for: once before their event is pushed and once
//! after. Both answers must be the training row of that transaction, whose `as_of` is its own
//! `known_at`.
//!
//! The data is not in this repository. The test looks for it in `shared/data` beside the checkout,
//! or where `TRUEUP_TEST_DATA` says, and tells loudly where it has to skip.

use crate::training::train;
use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeSet, HashMap, HashSet};
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
use trueup::http::Live;
use trueup::ingest::{NewBeginning, PushError, Pushed};
use trueup::json;
use trueup::node::{Node, NodeOptions};
use trueup::place::{AvroStreams, BadRecords, Place, Sources};
use trueup::serve::{Request, Status};
use trueup_core::{Micros, Value};
use trueup_sql::{SourceFile, compile, raw_value_at};

/// Rows that are asked for, spread evenly; ties come on top.
const REQUESTS: usize = 20_000;

/// Rows that are asked for in one call.
const MAX_TOGETHER: usize = 100;

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

/// The rows to ask for: spread evenly, and all that share a second with another of their customer
/// or terminal.
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

/// The asked rows in runs that can be asked in one call before the first and after the last is
/// pushed: no event of a run but the row itself has its customer or its terminal, so nothing that
/// is pushed between two rows of a run can be in the frames of either.
fn together(history: &RecordBatch, asked: &[usize]) -> Vec<Vec<usize>> {
    let column = |key: usize| history.column(key).as_primitive::<Int64Type>().values();
    let keys = [column(2), column(3)];
    let keys_of = |row: usize| [(2, keys[0][row]), (3, keys[1][row])];
    let mut runs: Vec<Vec<usize>> = Vec::new();
    // The keys of the run's events, and those of its asked rows.
    let (mut seen, mut held) = (HashSet::new(), HashSet::new());
    for &row in asked {
        let joins = runs.last_mut().filter(|run| {
            let since = run[run.len() - 1] + 1..row;
            seen.extend(since.flat_map(keys_of));
            let apart = keys_of(row).iter().all(|key| !seen.contains(key) && !held.contains(key));
            apart && held.is_disjoint(&seen) && run.len() < MAX_TOGETHER
        });
        match joins {
            Some(run) => run.push(row),
            None => {
                runs.push(vec![row]);
                seen.clear();
                held.clear();
            }
        }
        held.extend(keys_of(row));
    }
    runs
}

/// What was served: for each view and row, its columns before and after the push.
struct Parity {
    served: Vec<Vec<[Vec<Cell>; 2]>>,
}

/// A value's JSON text, which tells doubles to the last bit, and its status.
type Cell = (String, Status);

async fn serve_all(catalog: &Arc<Catalog>, history: &RecordBatch, asked: &[usize]) -> Parity {
    let folder = tempfile::tempdir().unwrap();
    let first = history.column(1).as_primitive::<TimestampMicrosecondType>().value(0);
    let now = Arc::new(AtomicI64::new(first));
    let told = Arc::clone(&now);
    let node = Node::start(NodeOptions {
        catalog: Arc::clone(catalog),
        place: Place::Embedded(folder.path().to_path_buf()),
        sources: Sources::new(),
        avro: AvroStreams::new(),
        bad: BadRecords::default(),
        database: None,
        views: Default::default(),
        record_to_log: true,
        models: None,
        max_staleness: Duration::MAX,
        token: None,
        ingest: true,
        policy: NewBeginning::Refuse,
        clock: Clock::of(move || Micros(told.load(Ordering::SeqCst))),
    });
    let node = node.unwrap();
    // Until the worker has spoken for the first time, nobody vouches for anything.
    let live = node.app().live();
    while live.pusher.progress[0].applied().fresh_us < first {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let views = catalog.definitions().views.len();
    let mut parity = Parity { served: vec![Vec::with_capacity(asked.len()); views] };
    let mut pushes = Pushes { live: &live, now: &now, history, next: 0 };
    for rows in together(history, asked) {
        pushes.up_to(rows[0]).await;
        let before = answers(&live, history, &rows).await;
        pushes.up_to(rows[rows.len() - 1] + 1).await;
        let after = answers(&live, history, &rows).await;
        for (view, rows) in before.into_iter().zip(after).enumerate() {
            let pairs = rows.0.into_iter().zip(rows.1);
            parity.served[view].extend(pairs.map(|(before, after)| [before, after]));
        }
    }
    pushes.up_to(history.num_rows()).await;
    node.stop().unwrap();
    parity
}

/// The pushes of a history's events, one call an event, in order.
struct Pushes<'a> {
    live: &'a Live,
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
                let mut call = Box::pin(self.live.pusher.push(0, body));
                let early = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
                calls.push((call, early));
            }
            let mut places = Vec::new();
            for (call, early) in calls {
                let pushed: Pushed = finish(call, early).await.unwrap();
                assert_eq!((pushed.accepted, pushed.rejected.len()), (1, 0));
                places = pushed.places;
            }
            let applied = self.live.pusher.progress[0].wait_for(&places);
            tokio::time::timeout(DEADLINE, applied).await.expect("the worker applies its log");
        }
    }
}

/// The end of a call that was polled once.
async fn finish<F: Future<Output = Result<Pushed, PushError>>>(
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

/// For every view, its columns for some rows, in request mode.
async fn answers(live: &Live, history: &RecordBatch, rows: &[usize]) -> Vec<Vec<Vec<Cell>>> {
    let part = &live.catalog().streams()[0];
    let bodies: Vec<Vec<u8>> = rows.iter().map(|&row| body(history, row)).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let request = Request::rows(part, &bodies, Micros(0)).unwrap();
    let mut all = Vec::new();
    for view in &live.catalog().definitions().views {
        let outputs = (0..view.outputs.len()).collect();
        let answered =
            live.serving.answer(view, outputs, &request, Instant::now() + DEADLINE).await;
        let cells = |row: usize| {
            let row = &answered.rows[row];
            let columns = row.values.iter().zip(&answered.columns).zip(&row.statuses);
            columns.map(|((value, (_, ty)), (status, _))| (text(value, ty), *status)).collect()
        };
        all.push((0..rows.len()).map(cells).collect());
    }
    all
}

fn text(value: &Value, ty: &DataType) -> String {
    let mut text = Vec::new();
    json::typed(&mut text, value, ty);
    String::from_utf8(text).unwrap()
}

impl Parity {
    /// Holds every view's served rows against its training rows.
    fn compare(&self, catalog: &Catalog, history: &RecordBatch, asked: &[usize]) {
        let mut wrong = Vec::new();
        for (view, served) in catalog.definitions().views.iter().zip(&self.served) {
            let rows = train(catalog.definitions(), &view.name, history.clone(), None);
            assert_eq!(rows.num_rows(), history.num_rows());
            let mut statuses: HashMap<Status, usize> = HashMap::new();
            let mut equal = [0, 0];
            for (&row, served) in asked.iter().zip(served) {
                for (place, column) in rows.columns().iter().enumerate() {
                    let trained = text(&raw_value_at(column, row), column.data_type());
                    for (when, cells) in served.iter().enumerate() {
                        let (value, status) = &cells[place];
                        *statuses.entry(*status).or_default() += 1;
                        if *value == trained && *status != Status::Unknown {
                            equal[when] += 1;
                            continue;
                        }
                        let (when, name) =
                            (["before", "after"][when], rows.schema_ref().field(place).name());
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
