//! What views return in place of values that are worth less: as settings say, and never in silence.

use crate::support::{SQL, Server, options, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trueup::node::{Node, NodeOptions};
use trueup::serve::{Policies, Policy, Status, ViewPolicy};

/// Policies of the view `risk`.
fn risk(policies: &[(Status, Policy)], defaults: &[(&str, &str)]) -> Policies {
    let text = |&(column, value): &(&str, &str)| (column.to_string(), value.to_string());
    let defaults: BTreeMap<_, _> = defaults.iter().map(text).collect();
    Policies::from([("risk".to_string(), ViewPolicy { policies: policies.to_vec(), defaults })])
}

/// A server without a pipeline: all that it would look up is UNKNOWN.
fn blind(views: Policies) -> NodeOptions {
    NodeOptions { ingest: false, views, ..options(SQL) }
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_stand_in_for_what_is_unknown_and_the_answer_names_them() {
    let defaults = [("payments_last_hour", "7"), ("amount_last_hour", "1.5")];
    let server = Server::start(blind(risk(&[(Status::Unknown, Policy::Default)], &defaults))).await;
    let row = server.ask("risk", json!({ "rows": [payment(1, 0, "1.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 7);
    assert_eq!(row["features"]["amount_last_hour"], "1.50");
    assert_eq!(row["features"]["score_last_hour"], Value::Null, "it has no default");
    assert_eq!(row["defaulted"], json!(["payments_last_hour", "amount_last_hour"]));
    assert_eq!(row["statuses"]["payments_last_hour"], "UNKNOWN");
    assert_eq!(row["features"]["amount"], "1.00", "what is known stays");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_refuses_what_is_unknown_gives_no_number_for_it() {
    let server = Server::start(blind(risk(&[(Status::Unknown, Policy::Refuse)], &[]))).await;
    let ask = json!({ "rows": [payment(1, 0, "1.00")] });
    let (status, problem) = server.post("/v1/features/risk", &ask).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("payments_last_hour of row 0 is UNKNOWN: no pipeline"), "{detail}");
    let known = json!({ "rows": [payment(1, 0, "1.00")], "columns": ["amount"] });
    let (status, reply) = server.post("/v1/features/risk", &known).await;
    assert_eq!((status, &reply["rows"][0]["status"]), (StatusCode::OK, &json!("PRESENT")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_events_is_what_the_view_says_and_stays_not_found() {
    let policies = [(Status::NotFound, Policy::Null)];
    let server = Server::start(NodeOptions { views: risk(&policies, &[]), ..options(SQL) }).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    let row = server.ask("risk", json!({ "rows": [payment(2, 0, "1.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 2);
    assert_eq!(row["features"]["logins_last_hour"], Value::Null);
    assert_eq!(row["statuses"], json!({ "logins_last_hour": "NOT_FOUND" }));
    assert_eq!(row["defaulted"], Value::Null);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_does_not_fit_the_definitions_is_refused_at_start() {
    let unknown = [(Status::Unknown, Policy::Default)];
    let of_nothing = Policies::from([("nothing".to_string(), ViewPolicy::default())]);
    for (views, part) in [
        (risk(&unknown, &[("payments_last_hour", "many")]), "\"many\" is no BIGINT"),
        (risk(&unknown, &[("payments", "1")]), "no column payments; it has: id, amount"),
        (of_nothing, "there is no view nothing; there are: risk, approved"),
    ] {
        let said = Node::start(blind(views)).expect_err("it must not start").to_string();
        assert!(said.contains(part), "{said}");
    }
}
