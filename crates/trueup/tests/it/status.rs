//! `trueup status`: what the one who is paged is told, by the command run as he runs it. The harm
//! is a lag that is told too small, a part that was not asked and looks well, and a password on a
//! screen that others see.

use crate::backfill::{Server, project, said, trueup};
use crate::pay::push;
use crate::postgres_server::free_port;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use trueup_store::testing::servers::{RedisServer, Setup};

fn status(folder: &Path, arguments: &[&str]) -> Output {
    trueup(folder, &[&["status"], arguments].concat()).output().unwrap()
}

/// What it tells as JSON, and its exit code.
fn told(folder: &Path, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = status(folder, &[&["--json"], arguments].concat());
    let told = serde_json::from_slice(&output.stdout);
    (told.unwrap_or_else(|error| panic!("{error}: {}", said(&output))), output.status.code())
}

/// What it tells as text.
fn text(folder: &Path, arguments: &[&str]) -> String {
    String::from_utf8(status(folder, arguments).stdout).unwrap()
}

/// A text with `#` for words that differ from run to run, and one space between words.
fn shape(text: &str) -> Vec<String> {
    let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let varies = |word: &str| word.ends_with("iB") || (has_digit(word) && word != "30");
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| if varies(word) { "#" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// The names of an object's fields, in alphabetical order.
fn keys(of: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = of.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_store_is_told_of_whether_a_process_has_it_or_not() {
    let folder = project("embedded:data");
    let folder = folder.path();
    let (none, code) = told(folder, &[]);
    assert_eq!((&none["troubles"][0], code), (&json!("there is no state in data yet"), Some(1)));
    assert!(!folder.join("data").exists(), "looking made something");

    let server = Server::start(folder);
    assert!(push(&server.client, 0..50, true).await);
    let url = server.client.server();
    let (running, code) = told(folder, &["--url", &url]);
    assert_eq!((&running["asked"], &running["troubles"], code), (&json!(url), &json!([]), Some(0)));
    assert_eq!(running["streams"][0]["lag_events"], 0, "{running:#}");
    assert_eq!(running["streams"][0]["partitions"][0]["applied"], 50);
    let held = status(folder, &[]);
    assert_eq!(held.status.code(), Some(1));
    assert_says(&said(&held), &["data/state.redb is in use by process", "with --url"]);
    server.stop();

    let only_taken = Server::of(folder, "serve");
    assert!(push(&only_taken.client, 50..80, false).await);
    only_taken.stop();
    let (behind, code) = told(folder, &[]);
    assert_eq!(code, Some(0), "{behind:#}");
    let stream = &behind["streams"][0];
    assert_eq!((&stream["lag_events"], &stream["dead_letters"]), (&json!(30), &json!(0)));
    let partition = &stream["partitions"][0];
    assert_eq!(partition["applied"], 50);
    assert_eq!((&partition["first"], &partition["end"]), (&json!(0), &json!(80)));
    let expected = [
        "#",
        "",
        "store embedded:data one file, # bucket, sound",
        "server software buckets used limit",
        "data/state.redb Trueup # # # # none",
        "",
        "stream payments local log",
        "lag 30 events, fresh # s ago, # dead letters",
        "partition first applied end lag behind watermark",
        "# # # # 30 # s #",
        "",
        "definitions # in service since #",
        "group complete since vouched behind fresh",
        "payments/card for ever # # # s ago",
        "payments/card/lifetime for ever # # # s ago",
        "# for ever # # # s ago",
    ];
    let text = text(folder, &[]);
    assert_eq!(shape(&text), expected, "{text}");
}

/// A worker's own folder is no trouble: it ended with 1 beside each that was well.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_has_the_local_log_is_asked_for_it() {
    let redis = RedisServer::start(Setup::default());
    let folder = project(&format!("redis://127.0.0.1:{}", redis.port()));
    let folder = folder.path();
    let settings = std::fs::read_to_string(folder.join("trueup.toml")).unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let settings = settings.replace("127.0.0.1:0", &listen);
    std::fs::write(folder.join("trueup.toml"), settings).unwrap();
    let server = Server::start(folder);
    assert!(push(&server.client, 0..50, true).await);
    let (running, code) = told(folder, &[]);
    assert_eq!((&running["troubles"], code), (&json!([]), Some(0)), "{running:#}");
    assert_eq!(running["asked"], format!("http://{listen}"));
    assert_eq!(running["streams"][0]["partitions"][0]["end"], 50, "{running:#}");
    let listen = ["--listen", "127.0.0.1:0"];
    server.stop();
    let server = Server::with(folder, &[&["run"][..], &listen].concat());
    let (unheard, code) = told(folder, &[]);
    assert_eq!(code, Some(1), "nobody listens where the settings say: {unheard:#}");
    assert_says(unheard["troubles"][0].as_str().unwrap(), &["is in use by", "with --url"]);
    assert_eq!(unheard["store"]["buckets"]["sound"], 64, "it looks itself: {unheard:#}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_read_has_these_fields() {
    let folder = project("embedded:data");
    let server = Server::start(folder.path());
    assert!(push(&server.client, 0..10, true).await);
    server.stop();
    let (told, _) = told(folder.path(), &[]);
    assert_eq!(
        keys(&told),
        ["asked", "at", "definitions", "remarks", "retired", "store", "streams", "troubles"]
    );
    assert_eq!(keys(&told["store"]), ["buckets", "servers", "shape", "url"]);
    assert_eq!(keys(&told["store"]["buckets"]), ["empty", "moving", "sound", "total", "unseen"]);
    assert_eq!(
        keys(&told["store"]["servers"][0]),
        ["buckets", "limit_bytes", "place", "software", "used_bytes"]
    );
    assert_eq!(
        keys(&told["definitions"][0]),
        ["digest", "groups", "role", "since", "stuck", "trouble", "waits"]
    );
    assert_eq!(
        keys(&told["definitions"][0]["groups"][0]),
        [
            "backfill",
            "behind",
            "complete",
            "complete_since",
            "digest",
            "fresh_at",
            "fresh_seconds",
            "group",
            "percent",
            "vouched"
        ]
    );
    assert_eq!(
        keys(&told["streams"][0]),
        [
            "applied_per_second",
            "came_per_second",
            "dead_letters",
            "gaps",
            "lag_events",
            "lag_seconds",
            "offsets",
            "partitions",
            "source",
            "stale",
            "stream"
        ]
    );
    assert_eq!(
        keys(&told["streams"][0]["partitions"][0]),
        ["applied", "end", "first", "lag_events", "lag_seconds", "partition", "watermark"]
    );
}

#[cfg(feature = "kafka")]
mod on_redis_and_kafka {
    use super::*;
    use crate::pipeline::{Pipeline, Running};
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    const SECRET: &str = "sesame";

    /// How long checkpoints may follow what is vouched for.
    const SOON: Duration = Duration::from_secs(20);

    fn lag(told: &Value) -> &Value {
        &told["streams"][0]["lag_events"]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lag_is_told_without_a_worker_and_is_gone_when_one_has_caught_up() {
        let password = Some(SECRET.to_owned());
        let asked = Setup::with(&["--requirepass", SECRET]);
        let mut redis = RedisServer::start(Setup { password, ..asked });
        let url = format!("redis://:{SECRET}@127.0.0.1:{}", redis.port());
        let mut pipeline = Pipeline::with(&url, 0, 2, "1d");
        pipeline.push(200).await;
        let folder = pipeline.folder().to_path_buf();

        let (before, code) = told(&folder, &[]);
        assert_eq!(code, Some(0), "{before:#}");
        assert_eq!(lag(&before), 200, "{before:#}");
        assert_eq!(before["definitions"][0]["role"], "files");
        assert_eq!(before["store"]["buckets"]["empty"], 64, "nobody has made any: {before:#}");
        let said_before = text(&folder, &[]);
        let words = ["lag 200 events", "64 EMPTY", "NOT VOUCHED FOR", "entered by no worker yet"];
        assert_says(&said_before, &words);

        pipeline.hire();
        pipeline.assert_vouched_for().await;
        let until = Instant::now() + SOON;
        let whole = |told: &Value| *lag(told) == 0 && told["streams"][0]["stale"] == false;
        let mut after = told(&folder, &[]).0;
        while !whole(&after) {
            assert!(Instant::now() < until, "{after:#}");
            after = told(&folder, &[]).0;
        }
        assert_eq!(after["definitions"][0]["role"], "current");
        assert_eq!(after["store"]["buckets"]["sound"], 64);
        for group in after["definitions"][0]["groups"].as_array().unwrap() {
            assert_eq!((&group["vouched"], &group["behind"]), (&json!(64), &json!(0)));
        }
        let ends = after["streams"][0]["partitions"].as_array().unwrap();
        assert_eq!(ends.iter().map(|it| it["end"].as_u64().unwrap()).sum::<u64>(), 200);
        let said_after = text(&folder, &[]);
        assert_says(&said_after, &["lag 0 events", "in service", "64 buckets, all sound"]);
        rates_are_told(&mut pipeline).await;

        redis.kill();
        let (gone, code) = told(&folder, &[]);
        let troubles = gone["troubles"].as_array().unwrap();
        assert_eq!((code, troubles.len()), (Some(1), 1), "{gone:#}");
        assert_says(troubles[0].as_str().unwrap(), &["the store did not answer", "127.0.0.1:"]);
        let [one, other] = [0, 1].map(|nth| &gone["streams"][0]["partitions"][nth]);
        let end = |partition: &Value| partition["end"].as_u64().unwrap();
        assert_eq!(end(one) + end(other), end(&ends[0]) + end(&ends[1]) + 100, "{gone:#}");
        assert_eq!((lag(&gone), &one["applied"]), (&Value::Null, &Value::Null));
        let output = status(&folder, &[]);
        assert_says(&said(&output), &["NOT ASKED  the store did not answer", "error: the store"]);
        for shown in [&said_before, &said_after, &said(&output), &gone.to_string()] {
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }

    /// Offsets that are made of times are told as entries, and no lag in events is made of them.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_lag_of_a_stream_in_redis_is_told_in_time_alone() {
        let redis = RedisServer::plain();
        let log = format!("redis-stream://127.0.0.1:{}/payments?partitions=2", redis.port());
        let lines = format!("store = '{}'\nsource = '{log}'\nmax_staleness = '1d'\n", redis.url());
        let mut pipeline = Pipeline::on(&lines, 0);
        pipeline.push(200).await;
        let folder = pipeline.folder().to_path_buf();
        let (before, code) = told(&folder, &[]);
        assert_eq!((&before["streams"][0]["offsets"], code), (&json!("times"), Some(0)));
        assert_eq!((lag(&before), &before["streams"][0]["source"]), (&Value::Null, &json!(log)));
        pipeline.hire();
        pipeline.assert_vouched_for().await;
        let until = Instant::now() + SOON;
        while *lag(&told(&folder, &[]).0) != 0 {
            assert!(Instant::now() < until, "{}", text(&folder, &[]));
        }
        let shown = text(&folder, &[]);
        let entry = |word: &str| {
            let (millis, number) = word.split_once('-').unwrap_or_default();
            millis.len() == 13 && number.parse::<u32>().is_ok()
        };
        assert!(shown.split_whitespace().filter(|word| entry(word)).count() >= 4, "{shown}");
    }

    /// Two looks tell what comes and what is applied; a signal ends the watching with 0.
    async fn rates_are_told(pipeline: &mut Pipeline) {
        let mut watching = trueup(pipeline.folder(), &["status", "--watch", "--json"]);
        let mut watching = watching.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        let mut looks = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let mut watching = Running::new(watching);
        let first = looks.next().unwrap();
        assert_eq!(first["streams"][0]["came_per_second"], Value::Null);
        pipeline.push(100).await;
        let rate = |look: &Value, of: &str| look["streams"][0][of].as_f64().unwrap();
        let (mut came, mut applied) = (false, false);
        for look in looks.take(30) {
            came |= rate(&look, "came_per_second") > 0.0;
            applied |= rate(&look, "applied_per_second") > 0.0;
            if came && applied {
                break;
            }
        }
        assert!(came && applied, "came {came}, applied {applied}");
        watching.signal("-INT");
        assert_eq!(watching.wait().code(), Some(0));
    }
}
