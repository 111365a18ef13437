//! The client against servers that behave, stall, hang up and talk nonsense.

use super::*;
use axum::Router;
use axum::routing::{get, post};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn serve(router: Router) -> String {
    let (listener, url) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Answers each connection's first request with `reply`, then hangs up; counts connections.
async fn serve_raw(reply: &'static str) -> (String, Arc<AtomicUsize>) {
    let (listener, url) = listen().await;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    (url, count)
}

fn client(base_url: String) -> Client {
    let timeout = Duration::from_millis(500);
    Client::new(&ClientOptions {
        base_url,
        timeout,
        connections: 2,
        token: Some("t0k".into()),
        traceparent: Some(TRACE.into()),
    })
    .unwrap()
}

async fn fetch(client: &Client, path: &str) -> Result<Reply, ClientError> {
    client.request(Method::GET, path, None, Bytes::new()).await
}

#[tokio::test]
async fn a_request_carries_its_parts_and_brings_the_reply_whole() {
    let echo = |headers: HeaderMap, body: Bytes| async move {
        let header = |name| headers[name].to_str().unwrap_or_default().to_owned();
        let text = String::from_utf8_lossy(&body).into_owned();
        let reply = [header("authorization"), header("traceparent"), header("content-type"), text]
            .join("|");
        (StatusCode::CREATED, [("server-timing", "store;dur=1")], reply)
    };
    let client = client(serve(Router::new().route("/echo", post(echo))).await);
    let body = Bytes::from_static(b"{}");
    let reply = client.request(Method::POST, "/echo", Some("application/json"), body).await;
    let reply = reply.unwrap();
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.headers["server-timing"], "store;dur=1");
    assert_eq!(reply.body, format!("Bearer t0k|{TRACE}|application/json|{{}}"));
}

#[tokio::test]
async fn an_error_status_is_a_reply() {
    let client = client(serve(Router::new()).await);
    assert_eq!(fetch(&client, "/nowhere").await.unwrap().status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn connections_are_kept_and_never_more_than_asked_for() {
    let (listener, url) = listen().await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let slow = get(|| async { tokio::time::sleep(Duration::from_millis(5)).await });
    let router = Router::new().route("/", slow);
    tokio::spawn(async move {
        let listener = axum::serve::ListenerExt::tap_io(listener, move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        axum::serve(listener, router).await
    });
    let client = client(url);
    client.connect().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let client = client.clone();
        tasks.spawn(async move { fetch(&client, "/").await.unwrap().status });
    }
    assert!(tasks.join_all().await.iter().all(|status| *status == StatusCode::OK));
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let (url, count) = serve_raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = client(url);
    for _ in 0..3 {
        assert_eq!(fetch(&client, "/").await.unwrap().body, "ok");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_twice() {
    let (url, count) = serve_raw("").await;
    let error = fetch(&client(url), "/").await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_stalls_costs_no_more_than_the_timeout_and_its_connection_is_not_reused() {
    let stall = || async { tokio::time::sleep(Duration::from_secs(30)).await };
    let router = Router::new().route("/stall", get(stall)).route("/", get(|| async { "well" }));
    let client = client(serve(router).await);
    let start = std::time::Instant::now();
    let error = fetch(&client, "/stall").await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    for _ in 0..4 {
        assert_eq!(fetch(&client, "/").await.unwrap().body, "well");
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_broken_exchange() {
    let (url, _) = serve_raw("SSH-2.0-server\r\n\r\n").await;
    let error = fetch(&client(url), "/").await.unwrap_err();
    assert!(error.to_string().contains("check that an HTTP server listens there"), "{error}");
}

#[tokio::test]
async fn an_absent_server_is_named_with_a_remedy() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    for error in [
        fetch(&client(url.clone()), "/").await.unwrap_err(),
        client(url).connect().await.unwrap_err(),
    ] {
        assert!(matches!(error, ClientError::Connect { .. }));
        let text = error.to_string();
        assert!(text.contains(&address.to_string()) && text.contains("check that"), "{text}");
    }
}

#[tokio::test]
async fn a_reply_beyond_the_bound_is_an_error() {
    let endless = || async { axum::body::Body::from(vec![b'x'; MAX_REPLY_BYTES + 1]) };
    let url = serve(Router::new().route("/", get(endless))).await;
    let options = ClientOptions { base_url: url, ..ClientOptions::default() };
    let error = fetch(&Client::new(&options).unwrap(), "/").await.unwrap_err();
    assert!(
        matches!(error, ClientError::Broken { .. }) && error.to_string().contains("limit"),
        "{error}"
    );
}

#[tokio::test]
async fn arguments_that_cannot_be_sent_are_refused_before_anything_is() {
    let client = client("http://127.0.0.1:1".into());
    for path in ["livez", "/a b", ""] {
        let error = fetch(&client, path).await.unwrap_err();
        assert!(error.to_string().contains("begin with a slash"), "{error}");
    }
    let content_type = Some("text/\nplain");
    let error = client.request(Method::POST, "/", content_type, Bytes::new()).await.unwrap_err();
    assert!(error.to_string().contains("media type"), "{error}");
}

#[test]
fn options_that_cannot_work_are_refused() {
    let check = |options: ClientOptions, text: &str| {
        let error = Client::new(&options).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    check(ClientOptions { connections: 0, ..Default::default() }, "1 to 1024");
    check(ClientOptions { connections: 1025, ..Default::default() }, "1 to 1024");
    check(ClientOptions { token: Some("a\nb".into()), ..Default::default() }, "visible ASCII");
    let shown =
        format!("{:?}", ClientOptions { token: Some("s3cret".into()), ..Default::default() });
    assert!(!shown.contains("s3cret"), "{shown}");
}
