//! Answers from a MariaDB: what a PostgreSQL gives, and what is only so there.

use super::scene::{
    LOGINS, PATIENT, PAYMENTS, SQL, asking, login, missing, of_place, payment, printed, wide,
};
use super::values::{check_values, new_payment};
use crate::mariadb_server::MariadbServer;
use crate::support::{TEN, catalog, options};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value as Sql};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup::database::{DatabasePlace, TableSettings};
use trueup::node::{Node, NodeOptions};
use trueup::serve::{Bounds, Fallback, Serving, Tables};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::TestCa;

/// The password of the user who reads.
const SECRET: &str = "hush-hush";

/// The tables, with the types that an application would have chosen.
const TABLES: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  card BIGINT NOT NULL, merchant VARCHAR(40), amount DECIMAL(12,2), score DOUBLE,
  approved BOOLEAN, day DATE, KEY (card, at), KEY (merchant, at));
CREATE TABLE logins (
  id CHAR(36) PRIMARY KEY, at DATETIME(6) NOT NULL, card INT UNSIGNED NOT NULL, KEY (card, at))";

fn place(url: String) -> DatabasePlace {
    DatabasePlace::MySql { url, password: None }
}

/// What asks this server.
fn fallback(server: &MariadbServer, bounds: Bounds) -> Arc<Fallback> {
    asking(place(server.url()), bounds)
}

fn sql(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::NULL,
        Value::Bool(value) => Sql::Int(i64::from(*value)),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Sql::Double(number.as_f64().expect("a number")), Sql::Int),
        Value::String(text) if text.ends_with('Z') => {
            Sql::from(text.trim_end_matches('Z').replace('T', " "))
        }
        Value::String(text) => Sql::from(text),
        other => panic!("{other} is in no event"),
    }
}

async fn fill(server: &MariadbServer, table: &str, events: impl Iterator<Item = Value>) {
    let mut connection = server.connect().await;
    connection.query_drop("SET time_zone = '+00:00'").await.unwrap();
    for event in events {
        let event = event.as_object().unwrap();
        let columns: Vec<String> = event.keys().map(|name| format!("`{name}`")).collect();
        let places = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT INTO {table} ({}) VALUES ({places})", columns.join(", "));
        let values = Params::Positional(event.values().map(sql).collect());
        connection.exec_drop(insert, values).await.unwrap();
    }
}

/// A MariaDB with tables and events in them.
async fn database() -> MariadbServer {
    let server = MariadbServer::start().await;
    server.run(TABLES).await;
    fill(&server, "payments", (0..PAYMENTS).map(payment)).await;
    fill(&server, "logins", (0..LOGINS).map(login)).await;
    server
}

async fn look(fallback: &Arc<Fallback>) -> Result<Vec<String>, String> {
    let catalog = catalog(SQL);
    let looked = Tables::new(Arc::clone(fallback), &catalog).look(&catalog).await;
    let statements = looked.map(|missing| missing.iter().map(|index| index.statement()).collect());
    statements.map_err(|error| error.to_string())
}

/// The answer to one new payment: all values with their statuses.
async fn answer(serving: &Serving, view: &str, row: Value) -> Vec<String> {
    printed(&super::scene::ask(serving, view, &[row], PATIENT).await).remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_from_a_mariadb_are_those_of_the_store_bit_for_bit() {
    let server = database().await;
    check_values(&missing(&fallback(&server, wide()))).await;
    assert!(server.log().contains("SET SESSION TRANSACTION READ ONLY"));
    assert!(server.questions() > 0);
}

/// The harm: `m1` is given the past of `M1` and of `m1` with a space, which are equal there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_only_a_collation_calls_equal_is_another_key() {
    let server = database().await;
    let serving = missing(&fallback(&server, wide()));
    let of = |merchant: &str| {
        let mut row = new_payment(PAYMENTS, 1);
        row["merchant"] = json!(merchant);
        row
    };
    let before = answer(&serving, "risk", of("m1")).await;
    let others = ["M1", "m1 ", "m\u{301}1"].into_iter().zip(PAYMENTS + 1..);
    let others = others.map(|(merchant, id)| {
        let mut other = payment(id);
        (other["merchant"], other["card"]) = (json!(merchant), json!(1_000));
        other["at"] = json!(Timestamp(TEN - 600_000_000).to_string());
        other
    });
    fill(&server, "payments", others).await;
    assert_eq!(answer(&serving, "risk", of("m1")).await, before);
    let outputs = &serving.catalog.view("risk").unwrap().outputs;
    let busy = outputs.iter().position(|output| output.name == "merchant_busy").unwrap();
    assert_eq!(answer(&serving, "risk", of("M1")).await[busy], "2 PRESENT", "itself and one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_mariadb_that_do_not_fit_are_refused_with_place_and_remedy() {
    let server = database().await;
    server
        .run(
            "CREATE TABLE short AS SELECT *, CAST(1.5 AS FLOAT) AS small,
                UNHEX('00') AS raw FROM payments;
              CREATE TABLE secret (id BIGINT);
              CREATE USER reader@'127.0.0.1';
              GRANT SELECT ON bank.logins TO reader@'127.0.0.1'",
        )
        .await;
    let table = |table: &str, columns: &[(&str, &str)]| TableSettings {
        table: Some(table.into()),
        columns: columns.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        time_unit: None,
    };
    let said = |url: String, table: TableSettings, parts: &[&str]| {
        let tables = BTreeMap::from([("payments".to_string(), table)]);
        let database = Some(of_place(place(url), tables, wide()));
        let found = Node::start(NodeOptions { database, ..options(SQL) }).err().unwrap();
        let found = found.to_string();
        assert!(parts.iter().all(|part| found.contains(part)), "{found}");
    };
    let url = || server.url();
    said(url(), table("bank.nowhere", &[]), &["`nowhere`", "[database_tables.payments] table"]);
    let column = "[database_tables.payments] columns";
    said(url(), table("short", &[("amount", "sum")]), &["'sum'", column]);
    said(url(), table("short", &[("score", "small")]), &["small", "FLOAT", "DOUBLE", "view"]);
    said(url(), table("short", &[("merchant", "raw")]), &["raw", "binary", "VARCHAR"]);
    said(url(), table("short", &[("at", "id")]), &["`id`", "time_unit"]);
    let denied = ["GRANT SELECT ON `bank`.`payments`"];
    said(url().replace("trueup@", "reader@"), table("bank.payments", &[]), &denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statement_that_a_missing_index_is_answered_with_makes_it_in_a_mariadb() {
    let server = database().await;
    let fallback = fallback(&server, wide());
    assert_eq!(look(&fallback).await, Ok(vec![]));
    server.run("DROP INDEX card ON payments; DROP INDEX card ON logins").await;
    let missing = look(&fallback).await.unwrap();
    assert_eq!(missing.len(), 2, "{missing:?}");
    for statement in &missing {
        server.run(statement).await;
    }
    assert_eq!(look(&fallback).await, Ok(vec![]));
    server.run("RENAME TABLE payments TO kept; CREATE VIEW payments AS SELECT * FROM kept").await;
    assert_eq!(look(&fallback).await, Ok(vec![]), "of a view indexes are not to be seen");
}

/// The harm: queries that nobody waits for any more pile up on a database that is slow already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_given_up_is_ended_by_the_mariadb_itself_and_others_go_on() {
    let server = database().await;
    let timeout = Duration::from_secs(1);
    let fallback = fallback(&server, Bounds { timeout, max_failures: 100, ..wide() });
    let serving = missing(&fallback);
    let before = answer(&serving, "approved", new_payment(401, 1)).await;
    let mut locker = server.connect().await;
    locker.query_drop("LOCK TABLES payments WRITE").await.unwrap();
    let locked = answer(&serving, "approved", new_payment(401, 1)).await;
    assert!(locked.iter().any(|value| value.contains("UNKNOWN")), "{locked:?}");
    let count = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%DESC LIMIT%'
                 AND info NOT LIKE '%processlist%'";
    let until = Instant::now() + PATIENT;
    while locker.query_first::<i64, _>(count).await.unwrap() != Some(0) {
        assert!(Instant::now() < until, "the query is not ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    locker.query_drop("UNLOCK TABLES").await.unwrap();
    assert_eq!(answer(&serving, "approved", new_payment(401, 1)).await, before);
}

/// The harm: after a restart of the database each idle connection costs a customer an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_was_restarted_is_asked_by_new_connections() {
    let mut server = database().await;
    let serving = missing(&fallback(&server, wide()));
    let rows: Vec<Value> = (0..7).map(|card| new_payment(PAYMENTS + card, card)).collect();
    let before = printed(&super::scene::ask(&serving, "risk", &rows, PATIENT).await);
    server.restart().await;
    assert_eq!(printed(&super::scene::ask(&serving, "risk", &rows, PATIENT).await), before);
}

/// The harm: events and passwords go to somebody who only says that he is the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_cannot_prove_who_it_is_is_refused_with_the_remedy() {
    let (right, other) = (TestCa::new("IP:127.0.0.1", 2), TestCa::new("IP:127.0.0.1", 2));
    let user = format!(
        "CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{SECRET}' REQUIRE SSL;
         GRANT SELECT ON bank.* TO reader@'127.0.0.1'"
    );
    let url = |server: &MariadbServer, parameters: &str| {
        format!("mysql://reader:{SECRET}@127.0.0.1:{}/bank?{parameters}", server.port())
    };
    let trusting = |ca: &TestCa| format!("ssl-ca={}", ca.ca_file().display());
    let full = |ca: &TestCa| format!("ssl-mode=VERIFY_IDENTITY&{}", trusting(ca));
    let refused = async |server: &MariadbServer, parameters: &str, parts: &[&str]| {
        let said = look(&asking(place(url(server, parameters)), wide())).await;
        let said = said.expect_err(parameters);
        assert!(parts.iter().all(|part| said.contains(part)), "{parameters}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    };
    let server = MariadbServer::start_encrypting(&right).await;
    server.run(TABLES).await;
    server.run(&user).await;
    for parameters in [full(&right), trusting(&right), "ssl-mode=REQUIRED".into()] {
        let looked = look(&asking(place(url(&server, &parameters)), wide())).await;
        assert_eq!(looked, Ok(vec![]), "{parameters}");
    }
    let whose = other.ca_file().display().to_string();
    refused(&server, &full(&other), &[&whose, "ssl-ca=/PATH"]).await;
    refused(&server, "ssl-mode=VERIFY_IDENTITY", &["the system's certificates", "ssl-ca"]).await;

    let elsewhere = TestCa::new("DNS:elsewhere.example", 2);
    let server = MariadbServer::start_encrypting(&elsewhere).await;
    server.run(&user).await;
    refused(&server, &full(&elsewhere), &["elsewhere.example", "write the host"]).await;

    let plain = MariadbServer::start().await;
    plain.run(&user).await;
    for mode in ["ssl-mode=REQUIRED", "ssl-mode=VERIFY_IDENTITY"] {
        refused(&plain, mode, &["does not encrypt", "ssl-mode=DISABLED"]).await;
    }
}

#[test]
fn a_url_that_is_none_of_mysql_is_refused_without_its_password() {
    for (url, part) in [
        ("mysql://u:secret@h:port/n", "mysql://USER@HOST:PORT/NAME"),
        ("mysql://u:secret@h/", "no database"),
        ("mysql://u:secret@h/n?pool_min=secret", "ssl-mode"),
        ("mysql://u:secret@h/n?ssl-mode=PREFERRED", "VERIFY_IDENTITY"),
        ("mysql://u:secret@h/n?ssl-ca=ca.crt", "the whole path"),
    ] {
        let error = trueup::database::open(&place(url.into()), 1, PATIENT).expect_err(url);
        let error = error.to_string();
        assert!(error.contains(part) && !error.contains("secret"), "{error}");
    }
}
