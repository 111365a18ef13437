//! What a row knows: `known_at`, `as_of`, repeats of an id, the row's own event.

use crate::support::*;
use trueup_offline::{History, Options, RequestRows, train};
use trueup_sql::decode::Decoder;

fn payments(rows: &[String]) -> Vec<&str> {
    rows.iter().map(String::as_str).collect()
}

/// Rows of the view `hour` over payments of one card: (id, at, known).
fn known(events: &[(i64, &str, &str)]) -> Vec<String> {
    let definitions = definitions(&[KNOWN, HOUR]);
    let all: Vec<String> =
        events.iter().map(|(id, at, known)| payment(*id, at, known, "1", "1.00")).collect();
    let history = history(&stream(&definitions, "payments"), &payments(&all), None);
    rows(&definitions, "hour", &[history])
}

#[test]
fn an_event_that_became_known_late_counts_only_for_rows_that_came_after() {
    let found = known(&[
        (1, "00:00", "00:00"),
        (2, "01:00", "20:00"), // known twenty minutes late
        (3, "02:00", "02:00"),
        (4, "19:59", "19:59"),
        (5, "20:00", "20:00"),
    ]);
    assert_eq!(found, ["1 1 1.00", "2 2 2.00", "3 2 2.00", "4 3 3.00", "5 5 5.00"]);
}

#[test]
fn a_rows_own_event_counts_once_and_always() {
    let definitions = definitions(&[KNOWN, HOUR]);
    let stream = stream(&definitions, "payments");
    let all =
        [payment(1, "00:00", "00:00", "1", "1.00"), payment(2, "05:00", "09:00", "1", "2.00")];
    let history = history(&stream, &payments(&all), None);
    // The second payment asks before it was known, with the first at hand, and before that too.
    let batch = Decoder::new(stream.clone()).json_rows(&all[1..]).unwrap().batch;
    for (as_of, expected) in
        [("10:08:59", "2 2 3.00"), ("10:09:00", "2 2 3.00"), ("09:00:00", "2 1 2.00")]
    {
        let mut rows = RequestRows::new();
        rows.push(&stream, batch.clone(), Some(&[us(&format!("2026-03-02T{as_of}Z"))])).unwrap();
        assert_eq!(
            asked(&definitions, "hour", std::slice::from_ref(&history), &rows),
            [expected],
            "{as_of}"
        );
    }
}

#[test]
fn times_beside_the_batches_say_what_was_known_where_no_column_does() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let stream = stream(&definitions, "payments");
    let all: Vec<String> =
        (0..3).map(|i| payment(i, &format!("0{i}:00"), "00:00", "1", "1.00")).collect();
    let log = [us("2026-03-02T10:00:00Z"), us("2026-03-02T10:30:00Z"), us("2026-03-02T10:02:00Z")];
    let history = history(&stream, &payments(&all), Some(&log));
    // The second was logged last, so the third does not know it.
    let expected = ["0 1 1.00", "1 2 2.00", "2 2 2.00"];
    assert_eq!(rows(&definitions, "hour", &[history]), expected);
}

#[test]
fn an_event_too_far_ahead_of_when_it_became_known_is_a_dead_letter() {
    let definitions = definitions(&[KNOWN, HOUR]);
    let all = [
        payment(1, "05:00", "00:00", "1", "1.00"), // five minutes ahead: allowed
        payment(2, "05:01", "00:00", "1", "1.00"),
        payment(3, "06:00", "06:00", "1", "1.00"),
    ];
    let history = history(&stream(&definitions, "payments"), &payments(&all), None);
    assert_eq!(history.dead_letters().counts().get("future"), Some(&1));
    let first = &history.dead_letters().first()[0];
    assert_eq!(
        first.to_string(),
        "rows, row 1, column at: the event time 2026-03-02T10:05:01.000000Z is more than 300 s \
         ahead of 2026-03-02T10:00:00.000000Z, when the event became known"
    );
    assert_eq!(rows(&definitions, "hour", &[history]), ["1 1 1.00", "3 2 2.00"]);
}

#[test]
fn the_log_judges_what_is_too_far_ahead_where_there_is_one() {
    let definitions = definitions(&[KNOWN, HOUR]);
    let stream = stream(&definitions, "payments");
    let all =
        [payment(1, "30:00", "00:00", "1", "1.00"), payment(2, "31:00", "31:00", "1", "1.00")];
    let log = [us("2026-03-02T10:30:00Z"), us("2026-03-02T10:00:00Z")];
    let history = history(&stream, &payments(&all), Some(&log));
    assert_eq!(history.dead_letters().total(), 1);
    assert_eq!(rows(&definitions, "hour", &[history]), ["1 1 1.00"]);
}

#[test]
fn an_event_that_nobody_says_when_it_became_known_is_a_dead_letter_unless_a_log_does() {
    let definitions = definitions(&[KNOWN, HOUR]);
    let stream = stream(&definitions, "payments");
    let silent = [r#"{"id":1,"at":"2026-03-02T10:00:00Z","card":1,"amount":1}"#];
    let without = history(&stream, &silent, None);
    assert_eq!(without.dead_letters().counts().get("null"), Some(&1));
    let with = history(&stream, &silent, Some(&[us("2026-03-02T10:00:00Z")]));
    assert_eq!(rows(&definitions, "hour", &[with]), ["1 1 1.00"]);
}

#[test]
fn a_batch_without_times_among_batches_with_them_is_refused() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let stream = stream(&definitions, "payments");
    let row = payment(1, "00:00", "00:00", "1", "1.00");
    let mut history = history(&stream, &[&row], Some(&[us("2026-03-02T10:00:00Z")]));
    let decoded = Decoder::new(stream).json_rows(&[&row]).unwrap();
    let refused = history.push("rows", 1, decoded, None).unwrap_err().to_string();
    assert!(refused.contains("give all or none"), "{refused}");
}

#[test]
fn of_two_events_with_one_id_the_one_that_sorts_last_counts_and_gives_one_row() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let all = [
        payment(1, "00:00", "00:00", "1", "1.00"),
        payment(1, "00:00", "00:00", "1", "7.00"),
        payment(2, "01:00", "00:00", "1", "1.00"),
        payment(1, "00:00", "00:00", "1", "3.00"),
    ];
    let stream = stream(&definitions, "payments");
    let mut backwards = payments(&all);
    let expected = ["1 1 7.00", "2 2 8.00"];
    let history = |rows: &[&str]| history(&stream, rows, None);
    let set_of = history(&backwards);
    assert_eq!(rows(&definitions, "hour", std::slice::from_ref(&set_of)), expected);
    let set = train(&definitions, "hour", &[set_of], &Options::default()).unwrap();
    assert_eq!(set.counts().repeats, 2);
    backwards.reverse();
    let mut found = rows(&definitions, "hour", &[history(&backwards)]);
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_version_of_an_event_counts_until_the_one_that_takes_its_place_is_known() {
    let definitions = definitions(&[KNOWN, HOUR]);
    let all = [
        payment(1, "00:00", "00:00", "1", "1.00"),
        payment(2, "01:00", "01:00", "1", "0.10"),
        payment(1, "00:00", "02:00", "1", "5.00"), // replaces the first from 10:02 on
        payment(3, "03:00", "03:00", "1", "0.10"),
        payment(1, "00:00", "04:00", "1", "2.00"), // sorts before what is known: never counts
        payment(4, "05:00", "05:00", "1", "0.10"),
    ];
    let history = history(&stream(&definitions, "payments"), &payments(&all), None);
    let found = rows(&definitions, "hour", &[history]);
    assert_eq!(found, ["2 2 1.10", "1 1 5.00", "3 3 5.20", "4 4 5.30"]);
}

#[test]
fn a_redelivery_is_known_from_its_first_delivery_on() {
    let definitions = definitions(&[KNOWN, HOUR]);
    let all = [
        payment(1, "00:00", "30:00", "1", "1.00"),
        payment(1, "00:00", "00:00", "1", "1.00"),
        payment(2, "01:00", "01:00", "1", "1.00"),
    ];
    let history = history(&stream(&definitions, "payments"), &payments(&all), None);
    assert_eq!(rows(&definitions, "hour", &[history]), ["1 1 1.00", "2 2 2.00"]);
}

#[test]
fn request_rows_need_no_event_do_not_see_each_other_and_stand_in_for_a_stored_one() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let stream = stream(&definitions, "payments");
    let stored = payment(1, "00:00", "00:00", "1", "1.00");
    let history = history(&stream, &[&stored], None);
    let ask = [
        payment(7, "01:00", "00:00", "1", "0.50"),
        payment(8, "01:00", "00:00", "1", "0.25"),
        payment(1, "02:00", "00:00", "1", "9.00"), // other content and another time
        payment(1, "00:00", "00:00", "1", "1.00"), // the stored one itself
        payment(9, "00:30", "00:00", "2", "4.00"), // a card never seen
    ];
    let mut rows = RequestRows::new();
    let batch = Decoder::new(stream.clone()).json_rows(&ask).unwrap().batch;
    rows.push(&stream, batch, None).unwrap();
    // `known` is a column like any other here, so every row knows everything.
    let found = asked(&definitions, "hour", &[history], &rows);
    assert_eq!(found, ["7 2 1.50", "8 2 1.25", "1 1 9.00", "1 1 1.00", "9 1 4.00"]);
}

#[test]
fn null_is_a_key_of_its_own_in_windows_and_equals_nothing_in_subqueries() {
    let view = "CREATE VIEW v AS SELECT id, count(*) OVER w AS n,
        (SELECT count(*) FROM payments p WHERE p.card = payments.card AND p.at BETWEEN
           payments.at - INTERVAL '1 hour' AND payments.at) AS again
      FROM payments
      WINDOW w AS (PARTITION BY card ORDER BY at
                   RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);";
    let definitions = definitions(&[PLAIN, view]);
    let stream = stream(&definitions, "payments");
    let all = [
        payment(1, "00:00", "00:00", "null", "1.00"),
        payment(2, "01:00", "00:00", "null", "1.00"),
        payment(3, "02:00", "00:00", "5", "1.00"),
    ];
    let history = history(&stream, &payments(&all), None);
    assert_eq!(
        rows(&definitions, "v", std::slice::from_ref(&history)),
        ["1 1 0", "2 2 0", "3 1 1"]
    );
    let mut rows = RequestRows::new();
    let ask =
        [payment(4, "03:00", "00:00", "null", "1.00"), payment(5, "03:00", "00:00", "5", "1")];
    let batch = Decoder::new(stream.clone()).json_rows(&ask).unwrap().batch;
    rows.push(&stream, batch, None).unwrap();
    assert_eq!(asked(&definitions, "v", &[history], &rows), ["4 3 0", "5 2 2"]);
}

#[test]
fn a_sum_that_overflows_is_unknown_in_every_column_that_uses_it() {
    let view =
        "CREATE VIEW v AS SELECT id, sum(card) OVER w AS s, coalesce(sum(card) OVER w, 0) AS c,
        count(*) OVER w AS n FROM payments
      WINDOW w AS (PARTITION BY amount ORDER BY at
                   RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);";
    let definitions = definitions(&[PLAIN, view]);
    let big = i64::MAX.to_string();
    let all = [payment(1, "00:00", "00:00", &big, "1"), payment(2, "01:00", "00:00", "1", "1")];
    let history = history(&stream(&definitions, "payments"), &payments(&all), None);
    let table = table(&definitions, "v", &[history], None);
    assert_eq!(text(&table.columns)[1], "2 - - 2");
    let cells: Vec<_> =
        table.unknown.iter().map(|c| (c.row, c.column, c.reason.to_string())).collect();
    let why = "the exact result does not fit its type".to_string();
    assert_eq!(cells, [(1, 1, why.clone()), (1, 2, why)]);
}

#[test]
fn an_expression_without_a_value_is_unknown_for_its_row_alone() {
    let view = "CREATE VIEW v AS SELECT id, 10 / (count(*) OVER w - 2) AS q FROM payments
      WINDOW w AS (PARTITION BY card ORDER BY at
                   RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);";
    let definitions = definitions(&[PLAIN, view]);
    let all: Vec<String> =
        (0..3).map(|i| payment(i, &format!("0{i}:00"), "00:00", "1", "1")).collect();
    let history = history(&stream(&definitions, "payments"), &payments(&all), None);
    let table = table(&definitions, "v", &[history], None);
    assert_eq!(text(&table.columns), ["0 -10", "1 -", "2 10"]);
    assert_eq!((table.unknown.len(), table.unknown[0].row), (1, 1));
}

#[test]
fn an_event_for_which_an_argument_has_no_value_is_in_no_window_of_that_group_alone() {
    let view = "CREATE VIEW v AS SELECT id, sum(10 / card) OVER w AS s, count(*) OVER c AS n
      FROM payments WINDOW
        w AS (PARTITION BY amount ORDER BY at
              RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
        c AS (PARTITION BY id ORDER BY at
              RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);";
    let definitions = definitions(&[PLAIN, HOUR, view]);
    let stream = stream(&definitions, "payments");
    let all = [payment(1, "00:00", "00:00", "0", "1"), payment(2, "01:00", "00:00", "5", "1")];
    let history = history(&stream, &payments(&all), None);
    let set =
        train(&definitions, "v", std::slice::from_ref(&history), &Options::default()).unwrap();
    let table = set.table().unwrap();
    // Served for its own row, such a sum is UNKNOWN; the next row's is without it.
    assert_eq!(text(&table.columns), ["1 - 1", "2 2 1"]);
    assert_eq!((table.unknown.len(), table.unknown[0].row, table.unknown[0].column), (1, 0, 1));
    let why = table.unknown[0].reason.to_string();
    assert!(why.contains("cannot evaluate"), "{why}");
    let dead = &set.counts().dead_letters;
    assert_eq!(dead.counts().get("no_value"), Some(&1));
    let told = dead.first()[0].to_string();
    assert!(told.starts_with("rows, row 0: group payments/amount: cannot evaluate"), "{told}");
    // A view that reads other groups has it, and a request row is told the same.
    let hour = train(&definitions, "hour", std::slice::from_ref(&history), &Options::default());
    assert_eq!(hour.unwrap().counts().dead_letters.total(), 0);
    let mut rows = RequestRows::new();
    let batch = Decoder::new(stream.clone()).json_rows(&all[..1]).unwrap().batch;
    rows.push(&stream, batch, None).unwrap();
    assert_eq!(asked(&definitions, "v", &[history], &rows), ["1 - 1"]);
}

#[test]
fn a_hot_key_with_very_late_events_is_what_a_scan_of_all_its_events_says() {
    let view = "CREATE VIEW v AS SELECT id, count(*) OVER w AS n, sum(card) OVER w AS s,
        max(card) OVER w AS m, count(DISTINCT card) OVER w AS d, last_value(id) OVER w AS l
      FROM payments WINDOW w AS (PARTITION BY amount ORDER BY at
        RANGE BETWEEN INTERVAL '40 minutes' PRECEDING AND CURRENT ROW);";
    let definitions = definitions(&[KNOWN, view]);
    let clock =
        |s: i64| format!("2026-03-02T{:02}:{:02}:{:02}Z", 10 + s / 3600, s / 60 % 60, s % 60);
    // (at, known, card): one of twenty is up to 50 minutes late, a thousand events.
    let event = |i: i64| {
        let late = if i % 20 == 7 { i * 7919 % 3000 } else { 0 };
        (i * 3, i * 3 + late, i * 31 % 97 - 40)
    };
    let events: Vec<(i64, i64, i64)> = (0..3000).map(event).collect();
    let rows: Vec<String> = events
        .iter()
        .enumerate()
        .map(|(id, (at, known, card))| {
            let (at, known) = (clock(*at), clock(*known));
            format!(r#"{{"id":{id},"at":"{at}","known":"{known}","card":{card},"amount":1}}"#)
        })
        .collect();
    let history = history(&stream(&definitions, "payments"), &payments(&rows), None);
    assert_eq!(history.dead_letters().total(), 0);
    let found = text(&table(&definitions, "v", &[history], None).columns);
    for (id, (at, as_of, _)) in events.iter().enumerate() {
        let seen: Vec<usize> = (0..events.len())
            .filter(|&e| at - 2400 <= events[e].0 && events[e].0 <= *at)
            .filter(|&e| e == id || events[e].1 <= *as_of)
            .collect();
        let cards: Vec<i64> = seen.iter().map(|&e| events[e].2).collect();
        let distinct: std::collections::HashSet<&i64> = cards.iter().collect();
        let (sum, max) = (cards.iter().sum::<i64>(), cards.iter().max().unwrap());
        let (n, d, l) = (cards.len(), distinct.len(), seen.last().unwrap());
        assert_eq!(found[id], format!("{id} {n} {sum} {max} {d} {l}"));
    }
}

#[test]
fn the_history_that_a_view_needs_and_lacks_is_named() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let none: [History; 0] = [];
    let said = train(&definitions, "hour", &none, &Options::default()).err().unwrap().to_string();
    assert_eq!(
        said,
        "stream payments: it has no history here, and the view reads it; give one with --history"
    );
    let said = train(&definitions, "day", &none, &Options::default()).err().unwrap().to_string();
    assert!(said.contains("there is no view day"), "{said}");
}
