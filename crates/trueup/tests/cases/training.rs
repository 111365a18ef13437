//! The training set: the requests as rows of their own, answered by `slide` over the history.

use crate::KEPT_NO_MORE;
use crate::ask::decode;
use crate::case::{Ask, Asked, Case, Expected};
use crate::naive;
use crate::report::{Column, Findings, Refused, each_case};
use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use std::sync::Arc;
use trueup::json;
use trueup_offline::{DeadLetters, History, Options, Place, RequestRows, train};

#[test]
fn training_rows() {
    each_case(|case, found| {
        let mut training = Training::of(case);
        for view in &case.catalog.definitions().views {
            let is_row =
                |asked: &Asked| asked.view == view.name && matches!(asked.ask, Ask::Row(_));
            let of_view = case.requests.iter().enumerate().filter(|(_, asked)| is_row(asked));
            let asked: Vec<(usize, &Asked)> = of_view.collect();
            for (number, asked) in &asked {
                let alone = training.rows(&[asked]);
                training.compare(found, *number, "", asked, alone.first());
            }
            let rows: Vec<&Asked> = asked.iter().map(|(_, asked)| *asked).collect();
            let mut together = training.rows(&rows).into_iter();
            for (number, asked) in asked {
                let answer = in_view(asked).then(|| together.next()).flatten();
                training.compare(found, number, ", all rows in one set", asked, answer.as_ref());
            }
        }
        found.dead("", &case.dead, &training.dead);
    });
}

/// Whether a request's row is in its view; a training set has no others.
fn in_view(asked: &Asked) -> bool {
    !asked.expected.statuses.values().any(|status| status == "NOT_IN_VIEW")
}

/// A case's events as histories, by stream, each known from its log time on.
struct Training<'a> {
    case: &'a Case,
    histories: Vec<History>,
    naive: naive::History<'a>,
    /// What the histories and the training sets left out.
    dead: Vec<Refused>,
}

impl<'a> Training<'a> {
    fn of(case: &'a Case) -> Training<'a> {
        let history = |(stream, part): (usize, &trueup::catalog::StreamPart)| {
            let mut history = History::new(Arc::clone(&part.stream));
            for (index, event) in case.events.iter().enumerate().filter(|(_, e)| e.stream == stream)
            {
                let decoded = part.decoder.json_rows(&[&event.bytes]).unwrap();
                let known = [event.log_us];
                history.push("events", index as u64, decoded, Some(&known)).unwrap();
            }
            history
        };
        let streams = case.catalog.streams().iter().enumerate();
        let histories: Vec<History> = streams.map(history).collect();
        let dead = histories.iter().flat_map(|history| refused(history.dead_letters())).collect();
        Training { case, histories, naive: naive::History::of(case), dead }
    }

    /// The training rows of some requests of one view, with the status of what is unknown.
    fn rows(&mut self, asked: &[&Asked]) -> Vec<Vec<Column>> {
        let Some(first) = asked.first() else { return Vec::new() };
        let view = self.case.catalog.view(&first.view).unwrap();
        let stream = &self.case.catalog.streams()[view.stream].stream;
        let mut rows = RequestRows::new();
        for asked in asked {
            rows.push(stream, decode(self.case, asked).rows, None).unwrap();
        }
        let options = Options { rows: Some(&rows), ..Options::default() };
        let definitions = self.case.catalog.definitions();
        let set = train(definitions, &view.name, &self.histories, &options);
        let set = set.unwrap_or_else(|error| panic!("{}: {error}", self.case.name));
        self.dead.extend(refused(&set.counts().dead_letters));
        let table = set.table().unwrap();
        let cell = |row: usize, (column, (field, values)): (usize, (&Arc<Field>, &ArrayRef))| {
            let mut value = Vec::new();
            json::value(&mut value, values.as_ref(), row);
            let is_unknown =
                table.unknown.iter().any(|cell| (cell.row, cell.column) == (row, column));
            Column {
                name: field.name().clone(),
                value: String::from_utf8(value).unwrap(),
                status: Some(if is_unknown { "UNKNOWN" } else { "PRESENT" }.to_string()),
            }
        };
        let rows = 0..table.columns.num_rows();
        rows.map(|row| {
            let fields = table.columns.schema_ref().fields().iter();
            let cells = fields.zip(table.columns.columns()).enumerate();
            cells.map(|at| cell(row, at)).collect()
        })
        .collect()
    }

    fn compare(
        &self,
        found: &mut Findings,
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
        let mut expected = Expected {
            features: asked.expected.features.clone(),
            statuses: asked.expected.statuses.clone(),
        };
        // Unknown or not is all that a training set says of a value.
        expected.statuses.retain(|_, status| status == "UNKNOWN");
        if KEPT_NO_MORE.contains(&self.case.name.as_str()) {
            for ((_, value), naive) in expected.features.iter_mut().zip(self.naive.answer(asked)) {
                if expected.statuses.remove(&naive.name).is_some() {
                    *value = naive.value;
                }
            }
        }
        found.row(number, how, &expected, columns);
    }
}

/// Dead letters by the lines of their events.
fn refused(letters: &DeadLetters) -> impl Iterator<Item = Refused> {
    assert_eq!(letters.total(), letters.first().len() as u64, "all are kept");
    letters.first().iter().map(|letter| {
        let Place::Row(row) = letter.place else { panic!("events are rows: {letter}") };
        let column = Some(letter.column.clone());
        Refused { index: row as usize, column, reason: letter.reason.clone() }
    })
}
