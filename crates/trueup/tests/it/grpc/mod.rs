//! The gRPC mirror beside HTTP, asked by a client in Python that knows only reflection.

use crate::score::Shelf;
use crate::support::{SQL, Server, options, packages};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use trueup::node::{Node, NodeOptions};
use trueup::serve::{Policy, Status, ViewPolicy};

/// Columns of every type, as a row has them and as windows give them.
const TYPES: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL, big BIGINT, ratio DOUBLE,
  amount DECIMAL(12,2), name VARCHAR, online BOOLEAN, day DATE, items BIGINT
) WITH (event_time = 'at', lateness = '1 hour');
CREATE VIEW risk AS
SELECT id, at, big, ratio, amount, name, online, day, items,
  count(*) OVER hour AS n, sum(big) OVER hour AS big_sum, sum(amount) OVER hour AS total,
  avg(ratio) OVER hour AS mean, amount / nullif(avg(amount) OVER hour, 0) AS share,
  array_agg(big) OVER four AS bigs, array_agg(ratio) OVER four AS ratios,
  array_agg(amount) OVER four AS amounts, array_agg(name) OVER four AS names
FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       four AS (PARTITION BY card ORDER BY at, id ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);
CREATE VIEW large AS SELECT id, amount FROM payments WHERE amount > 100";

/// Calls of a crowd.
const CALLS: u64 = 200;

/// How long a server may take to end while clients watch it: far less than it lets calls go on.
const END: Duration = Duration::from_secs(5);

fn client(arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/grpc/client.py");
    let mut command = Command::new(packages("TRUEUP_TEST_GRPC", "grpc").join("bin/python"));
    // Proxies are for others than this machine.
    command.arg(script).args(arguments).env("no_proxy", "127.0.0.1");
    command
}

/// What the client prints, away from the threads that serve.
async fn told(arguments: &[&str]) -> Value {
    let mut command = client(arguments);
    let told = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{said}");
    serde_json::from_slice(&told.stdout).unwrap()
}

/// A server of both wires, and the address of gRPC.
async fn server(options: NodeOptions) -> (Server, String) {
    let token = options.token.clone();
    let node = Node::start(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (Server::of(node.with_grpc(listener), token).await, address)
}

/// Row by row and bit by bit, over every method, type, status and refusal that there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_only_reflection_gets_by_grpc_what_http_gives() {
    let shelf = Shelf::new();
    shelf.put("integers", "integers");
    shelf.put("count", "count");
    let policy = ViewPolicy {
        policies: vec![(Status::Unknown, Policy::Default)],
        defaults: [("big_sum".to_owned(), "7".to_owned())].into(),
    };
    let (server, address) = server(NodeOptions {
        models: Some(shelf.settings()),
        views: [("risk".to_owned(), policy)].into(),
        ..options(TYPES)
    })
    .await;
    let url = format!("http://{}", server.address);
    let told = told(&["mirror", &address, &url]).await;
    println!("{told}");
    let services =
        ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "trueup.v1.Features"];
    assert_eq!(told["services"], json!(services));
    assert_eq!(told["health"], "SERVING");
    assert!(told["rows"].as_u64() >= Some(200) && told["values"].as_u64() >= Some(3_000), "{told}");
    // Definitions that are on their way are another test's; each other member was on the wire.
    assert_eq!(told["unseen"], json!(["trueup.v1.ListViewsResponse.coming"]));
    let refused = &told["refused"];
    for (code, names) in [
        ("NOT_FOUND", ["unknown view", "unknown model", "unknown stream"].as_slice()),
        ("UNIMPLEMENTED", &["no method", "no service", "compressed"]),
        ("INTERNAL", &["no message"]),
    ] {
        assert!(names.iter().all(|name| refused[name] == code), "{refused}");
    }
    let bad = refused.as_object().unwrap().values().filter(|code| *code == "INVALID_ARGUMENT");
    assert_eq!(bad.count(), 11, "{refused}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_bears_no_token_hears_so_and_is_told_the_health_alone() {
    let token = Some("0123456789abcdef".to_owned());
    let (server, address) = server(NodeOptions { token, ..options(SQL) }).await;
    let told = told(&["token", &address, "0123456789abcdef"]).await;
    assert_eq!(told["known"], 2);
    assert_eq!(told["health"], "SERVING");
    for (who, part) in [("stranger", "bears no token"), ("wrong", "is not the server's")] {
        assert_eq!(told[who][0], "UNAUTHENTICATED", "{told}");
        assert!(told[who][1].as_str().unwrap().contains(part), "{told}");
    }
    server.stop().await;
}

/// Row 51, by the other wire: all of a crowd waited until all were late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_answered_in_part_and_refused_in_part_as_unavailable() {
    let (server, address) = server(options(SQL)).await;
    let told = told(&["crowd", &address, &CALLS.to_string()]).await;
    println!("{told}");
    let count = |code: &str| told[code].as_u64().unwrap_or(0);
    let (answered, refused) = (count("OK"), count("UNAVAILABLE"));
    assert!(answered > 0 && refused > 0, "{told}");
    assert_eq!(answered + refused, CALLS, "{told}");
    server.stop().await;
}

/// Who watched the health would have held up the end of a server.
#[test]
fn the_command_serves_grpc_where_it_is_told_and_at_the_end_those_who_watch_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.sql"), SQL).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(["run", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    command.args(["--store", "memory:", "--definitions", "test.sql"]).current_dir(folder.path());
    let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = said.find_map(|line| Some(line.strip_prefix("gRPC on ")?.to_owned())).unwrap();
    let mut watching = client(&["watch", &address]).stdout(Stdio::piped()).spawn().unwrap();
    let mut health = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(health.next().as_deref(), Some("SERVING"));
    let began = Instant::now();
    let told = Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(told.success() && server.wait().unwrap().success());
    let took = began.elapsed();
    let rest: Vec<String> = health.collect();
    assert_eq!(rest, ["NOT_SERVING", "ended OK"]);
    assert!(took < END, "it took {took:?}");
    assert!(watching.wait().unwrap().success());
}

#[test]
fn the_descriptors_that_reflection_tells_are_those_of_the_proto() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/trueup/v1/trueup.proto");
    let made = tempfile::NamedTempFile::new().unwrap();
    let [from, to] = [&proto, made.path()].map(|path: &Path| path.to_str().unwrap());
    assert!(client(&["protoc", from, to]).status().unwrap().success());
    let kept = std::fs::read(proto.with_extension("binpb")).unwrap();
    let remedy = "write them anew: target/grpc/bin/python crates/trueup/tests/it/grpc/client.py \
                  protoc crates/trueup/proto/trueup/v1/trueup.proto \
                  crates/trueup/proto/trueup/v1/trueup.binpb";
    assert!(std::fs::read(made.path()).unwrap() == kept, "trueup.binpb is older; {remedy}");
}
