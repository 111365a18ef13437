//! Requests answered by the server's own code, over a store that was filled in some way.

use crate::case::{Ask, Asked, Case, Members, instant};
use crate::report::{Column, Findings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup::clock::Clock;
use trueup::json;
use trueup::serve::{Request, Serving, Tables};
use trueup_core::Micros;
use trueup_store::Store;

/// Far longer than any read of these cases takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks every request of a case of a store, by the server's own code.
pub(crate) fn ask_all(case: &Case, store: Arc<dyn Store>, how: &str, found: &mut Findings) {
    ask_with(case, store, None, how, found);
}

/// The same of a store and, for what it does not vouch for, of a database.
pub(crate) fn ask_with(
    case: &Case,
    store: Arc<dyn Store>,
    tables: Option<Tables>,
    how: &str,
    found: &mut Findings,
) {
    let serving = Serving {
        catalog: Arc::clone(&case.catalog),
        store,
        // Every request of a case has its own time.
        clock: Clock::of(|| Micros(0)),
        max_staleness_us: i64::MAX,
        tables,
        rules: BTreeMap::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (number, asked) in case.requests.iter().enumerate() {
        let columns = runtime.block_on(answer(&serving, case, asked));
        found.row(number, how, &asked.expected, &columns);
    }
}

async fn answer(serving: &Serving, case: &Case, asked: &Asked) -> Vec<Column> {
    let view = case.catalog.view(&asked.view).unwrap();
    let request = decode(case, asked);
    let outputs = (0..view.outputs.len()).collect();
    let answered = serving.answer(view, outputs, &request, Instant::now() + DEADLINE).await;
    let row = &answered.rows[0];
    let columns = answered.columns.iter().zip(row.values.iter().zip(&row.statuses));
    let column = columns.map(|((output, ty), (value, (status, _)))| {
        let mut text = Vec::new();
        json::typed(&mut text, value, ty);
        Column {
            name: view.outputs[*output].name.clone(),
            value: String::from_utf8(text).unwrap(),
            status: Some(status.name().to_string()),
        }
    });
    column.collect()
}

/// A request as the server decodes it.
pub(crate) fn decode(case: &Case, asked: &Asked) -> Request {
    let view = case.catalog.view(&asked.view).unwrap();
    let part = &case.catalog.streams()[view.stream];
    let request = match &asked.ask {
        Ask::Row(row) => Request::rows(part, &[row], Micros(0)),
        Ask::Keys { keys, at } => {
            let Members(names) = serde_json::from_slice(keys).unwrap();
            let column = |(name, _): &(String, String)| part.stream.column(name).unwrap();
            let given = names.iter().map(column).collect();
            let at = Micros(instant(&case.catalog, view.stream, at));
            Request::keys(part, &[keys], vec![given], at)
        }
    };
    request.unwrap_or_else(|bad| panic!("{}: {bad:?}", case.name))
}
