//! The OpenAPI document against a running server, by schemathesis (PyPI): requests of every kind
//! that the document describes, and of kinds that it rules out, from a seed. Nothing answers 5xx,
//! but a score that is given no time; nothing in a form or with a status that the document does not
//! have; nothing that fits it is refused for its form, and nothing that does not is taken.

use crate::score::{Shelf, said};
use crate::support::{SQL, Server, options, payment};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use trueup::http::{ROUTES, openapi};
use trueup::node::NodeOptions;

const TOKEN: &str = "a-token-of-sixteen-and-more";

/// Decides all requests, so that a failure comes again.
const SEED: &str = "1";

/// Requests of each operation that are drawn, beside some tens that cover its parameters one by
/// one: with these all is over in less than a minute.
const EXAMPLES: &str = "10";

/// The folder that `./test` makes: what it exports, else what it has left in the target folder.
fn schemathesis() -> PathBuf {
    let given = std::env::var_os("TRUEUP_TEST_SCHEMATHESIS").map(PathBuf::from);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../schemathesis");
    let program = given.unwrap_or(folder).join("bin/schemathesis");
    assert!(
        program.exists(),
        "no schemathesis: run ./test once, or let TRUEUP_TEST_SCHEMATHESIS name a folder that it \
         made"
    );
    program
}

/// The document as this server's definitions fill it in: names that there are, and for rows and
/// keys the columns that they must have. What is left open stays so.
fn document() -> Value {
    let mut document = openapi();
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        for (verb, operation) in item.as_object_mut().unwrap() {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            // What is read from an offset on is the log of logins, which nothing here writes to.
            let is_read =
                |all: &[Value]| verb == "get" && all.iter().any(|it| it["name"] == "from");
            let read = parameters.as_deref().is_some_and(|all| is_read(all));
            let stream = if read { "logins" } else { "payments" };
            for parameter in parameters.into_iter().flatten() {
                match parameter["name"].as_str().unwrap() {
                    "view" => parameter["schema"] = json!({ "enum": ["risk"] }),
                    "model" => parameter["schema"] = json!({ "enum": ["count"] }),
                    "stream" => parameter["schema"] = json!({ "enum": [stream] }),
                    "from" => parameter["schema"]["maximum"] = json!(1),
                    _ => {}
                }
            }
        }
    }
    let whole = json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX });
    let time = json!({ "type": "string", "format": "date-time" });
    let row = json!({ "type": "object", "required": ["id", "card"], "properties": {
        "id": whole, "card": whole, "merchant": { "type": ["string", "null"] },
        "at": { "anyOf": [time, { "type": "null" }] } } });
    let card = json!({ "type": ["integer", "null"], "minimum": i64::MIN, "maximum": i64::MAX });
    let key = json!({ "type": "object", "required": ["card"], "additionalProperties": false,
                      "properties": { "card": card } });
    let column = json!({ "enum": ["id", "amount", "payments_last_hour", "logins_last_hour"] });
    for request in ["FeaturesRequest", "ScoreRequest"] {
        let asked = &mut document["components"]["schemas"][request]["oneOf"];
        for (nth, (name, item)) in [("rows", &row), ("keys", &key)].into_iter().enumerate() {
            asked[nth]["properties"][name]["items"] = item.clone();
            if request == "FeaturesRequest" {
                asked[nth]["properties"]["columns"]["items"] = column.clone();
            }
        }
        // A row that is recorded has a time of its own.
        let mut recorded = asked[0].clone();
        recorded["required"] = json!(["rows", "record"]);
        recorded["properties"]["record"] = json!({ "enum": [true] });
        let row = &mut recorded["properties"]["rows"]["items"];
        row["required"] = json!(["id", "at", "card"]);
        row["properties"]["at"] = time.clone();
        asked[0]["properties"]["record"] = json!({ "enum": [false, null] });
        asked.as_array_mut().unwrap().push(recorded);
    }
    let feast = &mut document["paths"]["/get-online-features"]["post"]["requestBody"];
    let asked = &mut feast["content"]["application/json"]["schema"]["oneOf"];
    let cards = json!({ "type": "array", "maxItems": 1_000, "items": card });
    let entities = json!({ "type": "object", "required": ["card"], "additionalProperties": false,
                           "properties": { "card": cards } });
    for nth in 0..2 {
        asked[nth]["properties"]["entities"] = entities.clone();
    }
    asked[0]["properties"]["features"]["items"] = json!({ "enum": ["risk:payments_last_hour"] });
    asked[1]["properties"]["feature_service"] = json!({ "enum": ["risk", "approved"] });
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_that_the_document_allows_is_answered_as_it_says_and_no_other_is_taken() {
    let token = Some(TOKEN.to_owned());
    let shelf = Shelf::new();
    shelf.put("count", "count");
    let mut models = shelf.settings();
    models.each.insert("count".into(), said(None, &["payments_last_hour"], None));
    let models = Some(models);
    let server = Server::start(NodeOptions { token, models, ..options(SQL) }).await;
    let events = json!([payment(1, 60, "1.00"), payment(2, 30, "2.00"), payment(3, 30, "x")]);
    server.push("payments", events).await;
    let login = json!({ "id": "a", "at": "2026-11-24T09:59:00Z", "card": 1 });
    server.push("logins", json!([login])).await;
    let folder = tempfile::tempdir().unwrap();
    let [file, report] = ["openapi.json", "report.json"].map(|name| folder.path().join(name));
    std::fs::write(&file, document().to_string()).unwrap();
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openapi/schemathesis.toml");
    let mut command = Command::new(schemathesis());
    command.current_dir(folder.path()).arg("--config-file").arg(settings).arg("run").arg(file);
    command.args(["--url", &format!("http://{}", server.address)]);
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}")]);
    command.args(["--seed", SEED, "--max-examples", EXAMPLES, "--phases", "coverage,fuzzing"]);
    command.args(["--continue-on-failure", "--no-shrink", "--no-color", "--report", "json"]);
    command.arg("--report-json-path").arg(&report);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["operations"]["tested"], ROUTES.len(), "{said}");
    for (verb, path) in ROUTES {
        let rates = &report["valid_rates"][format!("{verb} {path}")]["fuzzing"];
        // Definitions in service that were never changed have nothing to change to.
        let answer = if path.contains("{change}") { "conflicts" } else { "accepted" };
        assert!(rates[answer].as_u64().is_some_and(|count| count > 0), "{verb} {path}: {rates}");
    }
    server.stop().await;
}
