//! Spans of requests, as a collector gets them that reads OTLP by OpenTelemetry's own messages.

use crate::raw::ask;
use crate::support::{SQL, Server, packages, payment};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

const SAMPLED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n";

/// Requests whose spans are more than the queue holds.
const MANY: usize = 600;

/// What an answer may take at most while a collector hangs: far less than the exporter waits.
const SOON: Duration = Duration::from_secs(1);

/// It is ended when it is dropped.
struct Collector {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Collector {
    fn start() -> Collector {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/otel/collector.py");
        let mut command = Command::new(packages("TRUEUP_TEST_OTEL", "otel").join("bin/python"));
        command.arg(script).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = said.next().expect("it says its port").unwrap().parse().unwrap();
        Collector { process, said, port }
    }

    /// The next span that it is sent.
    fn span(&mut self) -> Value {
        serde_json::from_str(&self.said.next().expect("it goes on").unwrap()).unwrap()
    }
}

/// A server that sends its spans to this port.
fn server(port: u16) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.sql"), SQL).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(["run", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    command.args(["--definitions", "test.sql"]).current_dir(folder.path());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
    (Server::of_command(&mut command), folder)
}

/// How many spans this became of.
fn count(server: &Server, what: &str) -> u64 {
    let metrics = String::from_utf8(ask(server.address, "GET /metrics\n", b"").body).unwrap();
    let name = format!("trueup_spans_total{{what=\"{what}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&*name));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[test]
fn a_request_of_a_trace_that_is_recorded_is_a_span_of_it_with_its_stages_below() {
    let mut collector = Collector::start();
    let (server, _folder) = server(collector.port);
    let features = "POST /v1/features/risk\n";
    let row = json!({ "rows": [payment(1, 0, "7351942.00")] }).to_string();
    // None of these is recorded: no trace, one that is not sampled, one that is wrong.
    for other in ["", &SAMPLED.replace("-01\n", "-00\n"), &SAMPLED.replace("00-", "zz-")] {
        assert_eq!(ask(server.address, &(features.to_owned() + other), row.as_bytes()).status, 200);
    }
    let state = "tracestate: rojo=00f067aa0ba902b7\ntracestate: congo=t61rcWkgMzE\n";
    let head = format!("{features}{SAMPLED}{state}x-request-id: mine-1\n");
    assert_eq!(ask(server.address, &head, row.as_bytes()).status, 200);
    let missing = format!("POST /v1/features/card-7351942?secret=7351942\n{SAMPLED}");
    assert_eq!(ask(server.address, &missing, row.as_bytes()).status, 404);
    let request = collector.span();
    assert_eq!(request["name"], "POST /v1/features/{view}");
    assert_eq!(request["trace"], TRACE);
    assert_eq!(request["parent"], "b7ad6b7169203331");
    assert_eq!(request["state"], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
    assert_eq!((&request["kind"], &request["status"]), (&json!(2), &json!(0)), "{request}");
    // Sampled, and the parent is known to be elsewhere.
    assert_eq!(request["flags"], 0x301, "{request}");
    let [service, scope] = ["service", "scope"].map(|name| request[name].as_str().unwrap());
    assert_eq!((service, scope), ("trueup", "trueup"));
    let wanted = json!({
        "http.request.method": "POST", "http.route": "/v1/features/{view}",
        "http.response.status_code": 200, "trueup.request_id": "mine-1",
    });
    assert_eq!(request["attributes"], wanted);
    let time = |span: &Value, name: &str| span[name].as_u64().unwrap();
    let mut before = time(&request, "start");
    for stage in ["queue", "parse", "store", "fallback", "compute", "encode"] {
        let span = collector.span();
        assert_eq!((&span["name"], &span["trace"]), (&json!(stage), &json!(TRACE)));
        assert_eq!((&span["parent"], &span["kind"]), (&request["id"], &json!(1)), "{span}");
        assert!(before <= time(&span, "start") && time(&span, "start") <= time(&span, "end"));
        before = time(&span, "end");
    }
    assert!(before <= time(&request, "end"));
    let missing = collector.span();
    assert_eq!(missing["attributes"]["http.response.status_code"], 404);
    assert!(![request, missing].iter().any(|span| span.to_string().contains("7351942")));
    // They count as sent when the collector has said so.
    let began = Instant::now();
    while count(&server, "sent") < 8 {
        assert!(began.elapsed() < SOON, "{} of 8 spans", count(&server, "sent"));
    }
    assert_eq!([count(&server, "failed"), count(&server, "dropped")], [0, 0]);
}

/// A collector that hung made every answer wait for it.
#[test]
fn a_collector_that_is_away_or_hangs_delays_no_answer_and_no_end() {
    // Who is connected to the one hears nothing; nobody is at the other.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [&silent, &nobody].map(|listener| listener.local_addr().unwrap().port());
    drop(nobody);
    for port in ports {
        let (mut server, _folder) = server(port);
        let row = json!({ "rows": [payment(1, 0, "1.00")] }).to_string();
        let head = format!("POST /v1/features/risk\n{SAMPLED}");
        let mut longest = Duration::ZERO;
        for _ in 0..MANY {
            let began = Instant::now();
            assert_eq!(ask(server.address, &head, row.as_bytes()).status, 200);
            longest = longest.max(began.elapsed());
        }
        assert!(longest < SOON, "an answer took {longest:?}");
        assert_eq!(count(&server, "sent"), 0);
        assert!(count(&server, "failed") + count(&server, "dropped") > 0);
        let began = Instant::now();
        assert!(server.end().success());
        println!("answers took {longest:?} at most, the end {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    }
}
