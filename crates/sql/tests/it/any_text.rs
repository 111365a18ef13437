//! No text breaks the compiler: it gives definitions, or says what is wrong.

use crate::{STREAMS, file};
use proptest::prelude::*;
use trueup_sql::compile;

/// Definitions to mutate: most of the language on few lines.
const VIEW: &str =
    "CREATE VIEW v AS SELECT t.*, sum(t.amount) FILTER (WHERE status LIKE 'd%') OVER w
  AS s, lag(fee, 2) OVER w AS l, CASE WHEN count(DISTINCT merchant_id) OVER w > 3 THEN 1.5 END AS c,
  (SELECT max(l.at) FROM logins l WHERE l.user_id = t.user_id AND l.at BETWEEN t.event_time -
  INTERVAL '1 hour' AND t.event_time) AS m FROM (SELECT * FROM transactions WHERE online) AS t
  WHERE amount > 10 WINDOW w AS (PARTITION BY user_id ORDER BY event_time RANGE BETWEEN
  INTERVAL '1 day' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING);";

/// Words to make texts of.
const WORDS: [&str; 60] = [
    "CREATE",
    "VIEW",
    "TABLE",
    "v",
    "AS",
    "SELECT",
    "FROM",
    "transactions",
    "logins",
    "t",
    "WHERE",
    "WINDOW",
    "w",
    "OVER",
    "(",
    ")",
    "(",
    ")",
    ",",
    ";",
    "*",
    "+",
    "-",
    "/",
    "=",
    "<",
    "'x'",
    "'1 hour'",
    "1",
    "0",
    "1e400",
    "99999999999999999999",
    "NULL",
    "TRUE",
    "INTERVAL",
    "PARTITION",
    "BY",
    "ORDER",
    "event_time",
    "user_id",
    "amount",
    "RANGE",
    "ROWS",
    "BETWEEN",
    "AND",
    "PRECEDING",
    "UNBOUNDED",
    "CURRENT",
    "ROW",
    "count",
    "sum",
    "lag",
    "date_bin",
    "CASE",
    "WHEN",
    "END",
    "::",
    "\"",
    "\u{e9}",
    "$1",
];

/// Compiles a text, and panics if the compiler did inside.
fn check(text: &str) {
    if let Err(errors) = compile(&[file("v.sql", text), file("streams.sql", STREAMS)]) {
        let message = errors.to_string();
        assert!(!errors.0.is_empty() && !message.contains("a mistake in Trueup"), "{text}");
    }
}

#[test]
fn the_text_that_is_mutated_compiles() {
    assert!(compile(&[file("v.sql", VIEW), file("streams.sql", STREAMS)]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn random_characters(text in "\\PC{0,200}") {
        check(&text);
        check(&format!("CREATE VIEW v AS SELECT {text} AS f FROM transactions"));
    }

    #[test]
    fn random_words(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..40)) {
        let words = words.join(" ");
        check(&words);
        check(&format!("CREATE VIEW v AS SELECT {words} FROM transactions"));
    }

    #[test]
    fn mutated_definitions(
        cuts in prop::collection::vec(
            (0..VIEW.len(), 0..12usize, prop::sample::select(&WORDS[..])), 1..4)
    ) {
        let mut text: Vec<char> = VIEW.chars().collect();
        for (place, length, word) in cuts {
            let start = place.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, word.chars());
        }
        check(&text.into_iter().collect::<String>());
    }
}

/// Every part of a long chain was planned on its own to find the wrong one: some hundreds of bytes
/// cost seconds.
#[test]
fn a_mistake_in_a_long_chain_of_operators_is_found_in_little_more_time_than_it_takes_to_compile() {
    let chain = |mistake: &str| format!("user_id {mistake} 1{} AS x", " + 1".repeat(100));
    let timed = |list: &str| {
        let began = std::time::Instant::now();
        let compiled = crate::compile_select(list);
        (compiled.is_ok(), began.elapsed())
    };
    assert!(timed(&chain("+")).0);
    let best = |list: &str| (0..3).map(|_| timed(list).1).min().unwrap();
    let (right, wrong) = (best(&chain("+")), best(&chain("~+")));
    assert!(!timed(&chain("~+")).0);
    assert!(wrong < right * 40, "{wrong:?} to refuse what takes {right:?} to compile");
}
