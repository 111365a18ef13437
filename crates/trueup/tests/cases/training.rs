//! The training set: the requests as rows of their own, answered by `slide` over the history.

use crate::KEPT_NO_MORE;
use crate::ask::decode;
use crate::case::{Ask, Asked, Case};
use crate::naive::History;
use crate::report::{Column, each_case};
use std::sync::Arc;
use trueup::json;
use trueup_offline as offline;

#[test]
fn training_rows() {
    each_case(|case, found| {
        let history = History::of(case);
        for view in &case.catalog.definitions().views {
            let is_row =
                |asked: &Asked| asked.view == view.name && matches!(asked.ask, Ask::Row(_));
            let of_view = case.requests.iter().enumerate().filter(|(_, asked)| is_row(asked));
            let asked: Vec<(usize, &Asked)> = of_view.collect();
            for (number, asked) in &asked {
                let alone = train(case, &history, &[asked]);
                compare(case, &history, found, *number, "", asked, alone.first());
            }
            let rows: Vec<&Asked> = asked.iter().map(|(_, asked)| *asked).collect();
            let mut together = train(case, &history, &rows).into_iter();
            for (number, asked) in asked {
                let answer = in_view(asked).then(|| together.next()).flatten();
                let how = ", all rows in one set";
                compare(case, &history, found, number, how, asked, answer.as_ref());
            }
        }
    });
}

/// Whether a request's row is in its view; a training set has no others.
fn in_view(asked: &Asked) -> bool {
    !asked.expected.statuses.values().any(|status| status == "NOT_IN_VIEW")
}

fn compare(
    case: &Case,
    history: &History<'_>,
    found: &mut crate::report::Findings,
    number: usize,
    how: &str,
    asked: &Asked,
    answer: Option<&Vec<Column>>,
) {
    let Some(columns) = answer.filter(|_| in_view(asked)) else {
        found.compared += 1;
        if answer.is_some() || in_view(asked) {
            found.wrong.push(format!("request {number}{how}: in the view, or not in the set"));
        }
        return;
    };
    if !KEPT_NO_MORE.contains(&case.name.as_str()) {
        return found.row(number, how, &asked.expected, columns);
    }
    let mut expected = crate::case::Expected {
        features: asked.expected.features.clone(),
        statuses: asked.expected.statuses.clone(),
    };
    let naive = history.answer(asked);
    for ((_, value), column) in expected.features.iter_mut().zip(naive) {
        if asked.expected.statuses.get(&column.name).is_some_and(|status| status == "UNKNOWN") {
            *value = column.value;
        }
    }
    found.row(number, how, &expected, columns);
}

/// The training rows of some requests of one view.
fn train(case: &Case, history: &History<'_>, asked: &[&Asked]) -> Vec<Vec<Column>> {
    let Some(first) = asked.first() else { return Vec::new() };
    let view = case.catalog.view(&first.view).unwrap();
    let stream = &case.catalog.streams()[view.stream].stream;
    let mut rows = offline::RequestRows::new();
    for asked in asked {
        rows.push(stream, decode(case, asked).rows, None).unwrap();
    }
    let histories: Vec<offline::History> = case
        .catalog
        .streams()
        .iter()
        .zip(&history.streams)
        .map(|(part, events)| {
            let mut history = offline::History::new(Arc::clone(&part.stream));
            let decoded = part.decoder.arrow(events).unwrap();
            history.push("events", 0, decoded, None).unwrap();
            history
        })
        .collect();
    let options = offline::Options { rows: Some(&rows), ..offline::Options::default() };
    let definitions = case.catalog.definitions();
    let trained = offline::train(definitions, &view.name, &histories, &options);
    let trained = trained.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let mut all = Vec::new();
    for batch in trained.batches() {
        let batch = batch.unwrap().columns;
        for row in 0..batch.num_rows() {
            let fields = batch.schema_ref().fields().iter().zip(batch.columns());
            let column =
                |(field, values): (&Arc<arrow::datatypes::Field>, &arrow::array::ArrayRef)| {
                    let mut value = Vec::new();
                    json::value(&mut value, values.as_ref(), row);
                    Column {
                        name: field.name().clone(),
                        value: String::from_utf8(value).unwrap(),
                        status: None,
                    }
                };
            all.push(fields.map(column).collect());
        }
    }
    all
}
