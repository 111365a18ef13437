//! Which request it was: on every reply, in every problem, in the log.

use crate::raw::ask;
use crate::support::{SQL, Server, options, payment};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use trueup::http::ROUTES;
use trueup::node::NodeOptions;

const TOKEN: &str = "a-token-of-sixteen-and-more";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A caller could not say which of its requests had failed, nor find it in the log.
#[tokio::test(flavor = "multi_thread")]
async fn every_reply_has_the_id_of_its_request_whatever_became_of_it() {
    let token = Some(TOKEN.to_owned());
    let server = Server::start(NodeOptions { token, ..options(SQL) }).await;
    let bearer = format!("authorization: Bearer {TOKEN}\n");
    let fill = |path: &str| {
        let path = path.replace("{view}", "risk").replace("{stream}", "payments");
        path.replace("{change}", "rollback").replace("{model}", "count")
    };
    let mut asked: Vec<(String, &[u8])> = Vec::new();
    for (verb, path) in ROUTES {
        asked.push((format!("{verb} {}\n{bearer}", fill(path)), b"{}"));
        asked.push((format!("{verb} {}\n", fill(path)), b""));
        asked.push((format!("PATCH {}\n{bearer}", fill(path)), b""));
    }
    let large = "content-length: 104857600\n";
    asked.push((format!("POST /v1/features/risk\n{bearer}{large}"), b""));
    asked.push((format!("POST /v1/features/risk\n{bearer}content-type: text/csv\n"), b"a"));
    asked.push((format!("POST /v1/features/nothing\n{bearer}"), b"{}"));
    asked.push((format!("GET /nothing\n{bearer}"), b""));
    let (mut statuses, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (nth, (head, body)) in asked.iter().enumerate() {
        for own in [Some(format!("mine-{nth}")), None] {
            let said = own.as_ref().map(|own| format!("x-request-id: {own}\n"));
            let reply = ask(server.address, &(head.clone() + &said.unwrap_or_default()), body);
            let id = reply.header("x-request-id").to_owned();
            match own {
                Some(own) => assert_eq!(id, own, "{head}"),
                None => assert_eq!(id.len(), 32, "{head}: {id}"),
            }
            if reply.header("content-type") == "application/problem+json" {
                assert_eq!(reply.json()["request_id"], *id, "{head}");
            }
            statuses.insert(reply.status);
            assert!(ids.insert(id), "{head}: an id that was there before");
        }
    }
    let wanted = [200, 400, 401, 404, 405, 409, 413, 415];
    assert!(wanted.iter().all(|status| statuses.contains(status)), "{statuses:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_could_forge_a_log_line_is_replaced() {
    let server = Server::start(options(SQL)).await;
    let long = "x".repeat(129);
    for wrong in ["a b", "x status=200", "\u{e9}", &long, "a\nx-request-id: b"] {
        let reply = ask(server.address, &format!("GET /livez\nx-request-id: {wrong}\n"), b"");
        assert_eq!((reply.status, reply.header("x-request-id").len()), (200, 32), "{wrong}");
    }
    server.stop().await;
}

/// A process that ends with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A request that failed in one service could not be followed into this one.
#[test]
fn the_log_says_which_request_and_trace_a_line_is_about_and_never_what_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.sql"), SQL).unwrap();
    let log = folder.path().join("log");
    let trueup = || Command::new(env!("CARGO_BIN_EXE_trueup"));
    let mut command = trueup();
    command.args(["run", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    command.args(["--definitions", "test.sql"]).current_dir(folder.path());
    command.env("TRUEUP_LOG", "trueup=debug").stdin(Stdio::null());
    let process = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut process = Killed(process);
    let said = || std::fs::read_to_string(&log).unwrap();
    let address = loop {
        let line = said();
        let line = line.lines().find_map(|line| line.strip_prefix("listening on http://"));
        match line {
            Some(address) => break address.to_owned(),
            None => assert!(process.0.try_wait().unwrap().is_none(), "{}", said()),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let to = address.parse().unwrap();
    let traced = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\n");
    let body = json!({ "rows": [payment(1, 0, "7351942.00")] }).to_string();
    let head = format!("POST /v1/features/risk\nx-request-id: mine-1\n{traced}");
    assert_eq!(ask(to, &head, body.as_bytes()).status, 200);
    // A wrong one is none: a trace begins here, under the id of the request.
    let untraced = ask(to, "GET /v1/views\ntraceparent: 00-0-0-01\n", b"");
    let got = trueup()
        .args(["get", "risk", "card=7351942", "--url", &format!("http://{address}")])
        .args(["--traceparent", &format!("00-{}-b7ad6b7169203331-01", TRACE.replace('0', "1"))])
        .args(["--definitions", "test.sql"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    drop(process);
    let said = said();
    let answered = |route: &str, ids: &str| {
        let fits = |line: &str| {
            line.contains("answered") && line.contains(route) && line.trim_end().ends_with(ids)
        };
        assert!(said.lines().any(fits), "no line of {route} with {ids} in\n{said}");
    };
    answered("/v1/features/{view}", &format!("request_id=mine-1 trace_id={TRACE}"));
    let own = untraced.header("x-request-id");
    answered("/v1/views", &format!("request_id={own} trace_id={own}"));
    answered("/v1/features/{view}", &format!("trace_id={}", TRACE.replace('0', "1")));
    assert!(!said.contains("7351942"), "{said}");
}
