//! What the command says when something is amiss, where it once named the wrong place or the wrong
//! remedy.

use crate::commands::{against, folder, said, trueup};
use crate::support::{SQL, Server, options};

/// A bad row of CSV was told in the words of the server, which knows nothing of columns and lines.
#[tokio::test(flavor = "multi_thread")]
async fn push_says_where_in_the_file_a_refused_row_is() {
    let folder = folder();
    let csv = "id,at,card,amount\n\
               1,2026-11-24T09:00:00Z,1,1.00\n\
               \n\
               2,2026-11-24T09:00:00Z,1,much\n\
               3,2026-11-24T09:00:00Z\n\
               4,2036-11-24T09:00:00Z,1,1.00\n";
    let json = r#"{"id":11,"at":"2026-11-24T09:00:00Z","card":1}

{"id":12,"at":"2026-11-24T09:00:00Z","card":1,"amount":"much"}
{"id":13,
{"id":14,"at":"2036-11-24T09:00:00Z","card":1}
"#;
    std::fs::write(folder.path().join("p.csv"), csv).unwrap();
    std::fs::write(folder.path().join("p.jsonl"), json).unwrap();
    let server = Server::start(options(SQL)).await;
    let csv = [
        "refused: p.csv, line 4, column amount: \"much\" is not a number",
        "refused: p.csv, line 5: 2 fields, and the header names 4; quote commas\n  3,2026",
        "refused: p.csv, line 6, column at: ",
    ];
    let json = [
        "refused: p.jsonl, line 3, column amount: \"much\" is not a number",
        "refused: p.jsonl, line 4: not one JSON object: EOF while parsing a value at byte 9 of the \
         row; send one object",
        "refused: p.jsonl, line 5, column at: ",
    ];
    for (file, told) in [("p.csv", csv), ("p.jsonl", json)] {
        let push = ["push", file, "--stream", "payments"];
        let output = against(&server, folder.path(), &push).await;
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        for line in told {
            assert!(said(&output).contains(line), "{line}\n{}", said(&output));
        }
        assert!(said(&output).contains("1 events accepted, 3 refused"), "{}", said(&output));
    }
    server.stop().await;
}

/// The value was left out in silence, and the answer was that of another row.
#[tokio::test(flavor = "multi_thread")]
async fn get_refuses_a_row_with_a_misspelt_column() {
    let folder = folder();
    let server = Server::start(options(SQL)).await;
    for (row, told) in [
        (
            r#"{"id":1,"card":1,"amuont":1}"#,
            "error: --row: stream payments has no column amuont; did you mean amount?",
        ),
        (
            r#"{"id":1,"card":1,"latitude":1}"#,
            "error: --row: stream payments has no column latitude; the columns here are id, at, \
             card, merchant, amount, score, status",
        ),
    ] {
        let output = against(&server, folder.path(), &["get", "risk", "--row", row]).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(told), "{}", said(&output));
    }
    // What is wrong otherwise, the server says.
    for (view, row, told) in [("rsk", "{}", "rsk"), ("risk", "[]", "not one JSON object")] {
        let output = against(&server, folder.path(), &["get", view, "--row", row]).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(told), "{}", said(&output));
    }
    server.stop().await;
}

/// A store that is away.
const AWAY: [&str; 4] = ["--store", "redis://127.0.0.1:1", "--data", "data"];

/// Who starts a process was told to send again what nobody had sent.
#[test]
fn a_store_that_is_away_at_the_start_is_to_be_started() {
    let folder = folder();
    for command in [&["run", "--listen", "127.0.0.1:0"][..], &["ingest"]] {
        let output = trueup(folder.path(), &[command, &AWAY].concat());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let told = "error: setting store, redis://127.0.0.1:1: no answer: ";
        assert!(said(&output).contains(told), "{}", said(&output));
        let remedy = "Start that server, or mend `store` in the settings.";
        assert!(said(&output).contains(remedy), "{}", said(&output));
    }
}

/// Who starts a process was told that it mends itself, and it had ended.
#[cfg(feature = "nats")]
#[test]
fn a_source_that_is_away_at_the_start_is_to_be_started() {
    let folder = folder();
    let url = "payments=nats://127.0.0.1:1/payments?stream=S&partitions=1";
    let run = ["run", "--listen", "127.0.0.1:0", "--store", "memory:", "--source", url];
    let output = trueup(folder.path(), &run);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let told = "error: source nats://127.0.0.1:1/payments";
    assert!(said(&output).contains(told), "{}", said(&output));
    let remedy = "Start the servers that it names, or mend `source` in the settings";
    assert!(said(&output).contains(remedy), "{}", said(&output));
}

/// What `run` refuses passed.
#[test]
fn check_and_run_refuse_views_of_the_settings_in_the_same_words() {
    let folder = folder();
    let settings = "[views.rsk]\nunknown = 'null'\n";
    std::fs::write(folder.path().join("trueup.toml"), settings).unwrap();
    let check = trueup(folder.path(), &["check"]);
    let run = trueup(folder.path(), &["run", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    for output in [&check, &run] {
        assert_eq!(output.status.code(), Some(1), "{}", said(output));
    }
    let told = "error: [views.rsk]: there is no view rsk; there are: risk, approved\n";
    assert_eq!((said(&check).as_str(), said(&run).as_str()), (told, told));
}
