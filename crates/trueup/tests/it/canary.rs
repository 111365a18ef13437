//! Canaries: keys, amounts, names of merchants, ids of events, a token and passwords that appear
//! nowhere else are sent through a real process by every way in, good and bad, while its parts are
//! there and while they are away. Then all that it shows is searched for them: its log at the most
//! talkative level, metrics, health, status, and what other callers are answered.
//!
//! A caller's own error may quote what that caller has just sent, never a secret. The dead letters
//! hold the bytes of events and are meant to; they are not searched, and no log shows them. Nor is
//! the comparison with the database under way here, whose mismatches are told by the event's id.

mod scene;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper::StatusCode;
use scene::{AMOUNT, CARD, MERCHANT, SECRET, Scene, TOKEN, payment};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::Command;

/// In every name, id and secret.
const WORD: &str = "kanari";

/// An account number, digits of an amount and of twice that amount, and of a score.
const NUMBERS: [&str; 4] = ["4929871102345678", "7351942", "14703885", "8153926407"];

/// What nobody may see, in every spelling that a log could have.
fn canaries() -> Vec<String> {
    let mut hex = String::new();
    WORD.bytes().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    let decimal: Vec<String> = WORD.bytes().map(|byte| byte.to_string()).collect();
    let mut all = vec![WORD.to_owned(), hex, decimal.join(", ")];
    // Base64 spells it in three ways, by where it begins.
    for before in 0..3 {
        let text = STANDARD_NO_PAD.encode([&vec![b'x'; before][..], WORD.as_bytes()].concat());
        let (begin, end) = ((before * 8).div_ceil(6), (before + WORD.len()) * 8 / 6);
        all.push(text[begin..end].to_owned());
    }
    all.extend(NUMBERS.map(String::from));
    all
}

/// Panics with the lines that hold one of the words.
#[track_caller]
fn assert_silent(what: &str, text: &str, words: &[String]) {
    let lines = text.lines().filter(|line| {
        let lower = line.to_lowercase();
        words.iter().any(|word| lower.contains(word) || line.contains(word))
    });
    let found: Vec<String> = lines.take(10).map(|line| line.chars().take(600).collect()).collect();
    assert!(found.is_empty(), "{what} shows what nobody may see:\n{}", found.join("\n"));
}

/// What is asked for by those who are allowed to.
async fn good_requests(scene: &Scene) {
    let events = json!({ "events": [payment("1", 60), payment("2", 30)] });
    let taken = scene.post("/v1/events/payments?wait=applied&wait_ms=60000", &events).await;
    assert!(taken.contains("\"accepted\":2"), "{taken}");
    let login = json!({ "id": "kanari-login", "at": scene::ago(60), "card": CARD });
    let taken = scene.post("/v1/events/logins?wait=applied", &json!({ "events": [login] })).await;
    assert!(taken.contains("\"accepted\":1"), "{taken}");
    let row = payment("3", 1);
    for body in [
        json!({ "rows": [row], "deadline_ms": 5000 }),
        json!({ "rows": [row], "explain": true, "deadline_ms": 5000 }),
        json!({ "rows": [row], "record": true, "deadline_ms": 5000 }),
        json!({ "keys": [{ "card": CARD }, { "merchant": MERCHANT }], "deadline_ms": 5000 }),
    ] {
        let answer = scene.post("/v1/features/risk", &body).await;
        assert!(answer.contains("\"rows\""), "{answer}");
    }
    let entities = json!({ "card": [CARD], "merchant": [MERCHANT] });
    let feast = json!({ "entities": entities, "features": ["risk:n", "risk:total"] });
    let answer = scene.post("/get-online-features", &feast).await;
    assert!(answer.contains("\"results\""), "{answer}");
    let answer = scene.get("/v1/dead-letters/payments").await;
    assert!(answer.contains("\"letters\""), "{answer}");
}

/// What is asked for wrongly. Replies go to who asked: they hold no secret, whatever else.
async fn bad_requests(scene: &Scene) {
    let event = |column: &str, value: Value| {
        let mut event = payment("bad", 20);
        event[column] = value;
        event
    };
    let bad = [
        event("at", json!("kanari-noon")),
        event("at", json!("9999-01-01T00:00:00Z")),
        event("card", json!(null)),
        event("card", json!({ "kanari": 1 })),
        event("account", json!("kanari-account")),
        event("amount", json!(format!("{AMOUNT}99"))),
        event("score", json!("kanari-score")),
        event("day", json!("kanari-day")),
        json!("kanari-event"),
    ];
    let mut replies = vec![scene.post("/v1/events/payments", &json!({ "events": bad })).await];
    for row in bad {
        replies.push(scene.post("/v1/features/risk", &json!({ "rows": [row] })).await);
        let body = json!({ "rows": [row], "record": true });
        replies.push(scene.post("/v1/features/risk", &body).await);
    }
    for (path, body) in [
        ("/v1/features/kanari-view", "{}"),
        ("/v1/events/kanari-stream", "{}"),
        ("/v1/kanari?kanari=4929871102345678", "{}"),
        ("/v1/features/risk?kanari=1", "{}"),
        ("/v1/events/payments?wait=kanari", "{}"),
        ("/v1/events/payments?wait_ms=kanari", "{}"),
        ("/v1/features/risk", r#"{"rows": [{"card": "kanari"#),
        ("/v1/features/risk", r#"{"kanari": 4929871102345678}"#),
        ("/v1/features/risk", r#"{"keys": [{"kanari": 1}]}"#),
        ("/v1/features/risk", r#"{"keys": [{"card": ["kanari"]}]}"#),
        ("/v1/features/risk", r#"{"keys": [{"card": "kanari"}], "at": "kanari"}"#),
        ("/v1/features/risk", r#"{"keys": [{"card": "kanari"}], "columns": ["kanari"]}"#),
        ("/v1/features/risk", r#"{"keys": [{"card": "kanari"}], "deadline_ms": "kanari"}"#),
        ("/get-online-features", r#"{"entities": {"kanari": [1]}, "features": ["risk:n"]}"#),
        ("/get-online-features", r#"{"entities": {"card": [["kanari"]]}, "features": ["risk:n"]}"#),
        ("/get-online-features", r#"{"entities": {"card": ["x"]}, "features": ["kanari:n"]}"#),
        ("/v1/dead-letters/payments/replay", r#"{"ids": ["kanari"]}"#),
        ("/v1/definitions/kanari", "{}"),
    ] {
        replies.push(scene.send("POST", path, body.to_owned()).await.1);
    }
    let wrong = "GET /v1/views HTTP/1.1\r\nhost: kanari\r\nauthorization: Bearer kanari-wrong\r\n\
                 connection: close\r\n\r\n";
    replies.push(scene.raw(wrong).await);
    let long = format!(
        "POST /v1/features/risk HTTP/1.1\r\nhost: kanari\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: 6000000\r\nconnection: close\r\n\r\n{{\"keys\": [\"kanari"
    );
    replies.push(scene.raw(&long).await);
    replies.push(scene.raw("KANARI /kanari HTTP/9\r\nkanari\r\n\r\n").await);
    for reply in replies {
        assert_silent("an error's body", &reply, &[SECRET.to_owned()]);
    }
}

/// Parts go away, one after the other, and what is asked meanwhile is asked of the others.
async fn without_parts(scene: &mut Scene) {
    let row = json!({ "rows": [payment("4", 1)], "deadline_ms": 5 });
    let record = json!({ "rows": [payment("5", 1)], "record": true, "deadline_ms": 200 });
    scene.redis.freeze();
    scene.post("/v1/features/risk", &row).await;
    scene.redis.thaw();
    scene.broker.pause();
    scene.post("/v1/features/risk", &record).await;
    scene.broker.resume();
    // Without the store the database is asked for these keys, and takes two of them for no value.
    scene.redis.kill();
    let keys = json!({
        "keys": [{ "card": CARD }, { "account": 4_929_871_102_345_678_i64 },
                 { "merchant": MERCHANT }],
        "at": scene::ago(86_400), "deadline_ms": 5_000,
    });
    let answer = scene.post("/v1/features/risk", &keys).await;
    assert_silent("the reason of an UNKNOWN", &answer, &[NUMBERS[1].to_owned()]);
    let counts = scene.get("/metrics").await;
    for what in ["failed", "bad_rows"] {
        let none = format!("trueup_fallback_total{{what=\"{what}\"}} 0\n");
        assert!(!counts.contains(&none), "the database {what} nothing:\n{counts}");
    }
    scene.database.stop();
    for body in [&row, &record, &keys] {
        scene.post("/v1/features/risk", body).await;
    }
    for path in ["/readyz?verbose", "/v1/status?verbose"] {
        assert_silent(path, &scene.get(path).await, &canaries());
    }
    scene.redis.restart();
}

/// Records that no event can be made of come by the log itself, a few and then too many.
async fn bad_records(scene: &Scene) {
    let bad = |number: usize| match number % 3 {
        0 => format!(r#"{{"id": "kanari-{number}", "at": "kanari", "card": "kanari"}}"#),
        1 => format!(r#"{{"id": "kanari-{number}", "amount": "kanari""#),
        _ => format!(r#"["kanari", {AMOUNT}, {number}]"#),
    };
    let filed = |counts: &str| {
        let name = "trueup_ingest_total{stream=\"payments\",what=\"dead_letters\"}";
        let line = counts.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |count| count.trim().parse::<f64>().unwrap())
    };
    let before = filed(&scene.get("/metrics").await);
    scene.produce((0..9).map(bad));
    scene.wait_for("the letters", "/metrics", |counts| filed(counts) >= before + 9.0).await;
    scene.produce((9..400).map(bad));
    scene.wait_for("the stop", "/readyz?verbose", |said| said.contains("cannot be used")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_number_or_a_password_is_in_nothing_that_a_process_shows() {
    let mut scene = Scene::start().await;
    good_requests(&scene).await;
    bad_requests(&scene).await;
    without_parts(&mut scene).await;
    bad_records(&scene).await;
    let words = canaries();
    // What others are answered, whatever was asked before.
    let other = payment("other", 1).to_string().replace("kanari", "other");
    let other = other.replace(AMOUNT, "1.00").replace(NUMBERS[0], "1").replace(NUMBERS[3], "5");
    let (status, answer) = scene
        .send("POST", "/v1/features/risk", format!(r#"{{"rows": [{other}], "deadline_ms": 5000}}"#))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_silent("another caller's answer", &answer, &words);
    for path in [
        "/metrics",
        "/readyz",
        "/readyz?verbose",
        "/livez",
        "/health",
        "/v1/status",
        "/v1/status?verbose",
        "/v1/views",
        "/openapi.json",
    ] {
        assert_silent(path, &scene.get(path).await, &words);
    }
    for command in [&["status"][..], &["status", "--json"], &["doctor"], &["check"]] {
        assert_silent(&format!("trueup {command:?}"), &scene.trueup(command).await, &words);
    }
    scene.stop();
    let log = scene.log();
    for part in ["INFO", "a question to the database failed", "cannot be used", "stopping"] {
        assert!(log.contains(part), "the log was to say {part}:\n{log:.2000}");
    }
    let asked = log.lines().find(|line| line.contains("a question to the database failed"));
    assert!(asked.unwrap().contains(" request_id="), "for which request? {asked:?}");
    assert_silent("the log", &log, &words);
    #[cfg(feature = "otel")]
    {
        let spans = scene.spans();
        for part in ["/v1/features/{view}", "/v1/events/{stream}", "compute"] {
            assert!(spans.contains(part), "the spans were to say {part}: {} bytes", spans.len());
        }
        assert_silent("a span", &spans, &words);
    }
}

/// A process that does not start says why to a log as well.
#[test]
fn settings_that_are_refused_are_refused_without_their_passwords() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.sql"), scene::SQL).unwrap();
    for (line, variable) in [
        (format!("store = 'redsi://u:{SECRET}@h:1'"), None),
        (format!("store = 'redis:u:{SECRET}@h:1'"), None),
        (format!("store = 'redis://u:{SECRET}@h:port'"), None),
        (format!("store = 'redis://u:{SECRET}@h:1"), None),
        (format!("store = 'memory:'\nsource = 'amqp://u:{SECRET}@h:1/t'"), None),
        (format!("store = 'memory:'\nsource = 'kafka://u:{SECRET}@h:1/t?group=g'"), None),
        (format!("store = 'memory:'\nsource = 'nats://u:{SECRET}@h:1/pay'"), None),
        (format!("store = 'memory:'\nsource = 'redis-stream://u:{SECRET}@h:port/pay'"), None),
        (format!("store = 'memory:'\ndead_letters = 's3://u:{SECRET}@h:1/t'"), None),
        (format!("store = 'memory:'\ndatabase = 'postgres://u:{SECRET}@h:port/n'"), None),
        (format!("store = 'memory:'\ndatabase = '{SECRET}@h'"), None),
        ("store = 'memory:'".into(), Some(("TRUEUP_KAFKA", format!("a=b,{SECRET}")))),
        ("store = 'memory:'".into(), Some(("TRUEUP_TOKEN", SECRET.to_owned()))),
    ] {
        std::fs::write(
            folder.path().join("trueup.toml"),
            format!("definitions = 'a.sql'\nlisten = '127.0.0.1:0'\n{line}\n"),
        )
        .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        let output = command.arg("run").current_dir(folder.path()).envs(variable).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.starts_with("error: "), "{line}: {said}");
        assert_silent(&line, &said, &[SECRET.to_owned()]);
    }
}
