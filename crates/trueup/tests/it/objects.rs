//! What a broker of Kafka's protocol keeps its log in, so that it outlives the broker's death: as
//! much of S3 as tansu asks for, in the test's own process, unsigned.
//!
//! No server of S3 that can be had as a package does: tansu takes the object that was stored last
//! for the end of a partition, and moto tells times in whole seconds and lets two conditional PUTs
//! of one object pass at once.

use crate::pipeline::now_us;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use trueup_sql::decode::print::Timestamp;

/// The bucket, and so the first part of each path.
const BUCKET: &str = "tansu";

/// Nobody asks a single object when it was stored; clients want the header.
const SOME_TIME: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

/// A running server. It ends, and all is gone, when it is dropped.
pub(crate) struct Objects {
    port: u16,
    _stop: oneshot::Sender<()>,
}

/// An object: its content, its tag, which no other content has had, and when it was stored, in
/// microseconds, later than any before.
struct Object {
    content: Bytes,
    tag: String,
    stored_us: i64,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    last_us: i64,
}

type Shared = State<Arc<Mutex<Bucket>>>;

impl Objects {
    pub(crate) fn start() -> Objects {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let app = Router::new().fallback(answer).with_state(Arc::default());
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tokio::select! {
                served = axum::serve(listener, app).into_future() => served.unwrap(),
                // Also when its sender is dropped.
                _ = stopped => {}
            }
        };
        std::thread::spawn(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(serve);
        });
        Objects { port, _stop: stop }
    }

    /// What a client of S3 must find in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "any".into()),
            ("AWS_SECRET_ACCESS_KEY", "any".into()),
        ]
    }
}

async fn answer(
    State(bucket): Shared,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut bucket = bucket.lock().unwrap();
    let path = uri.path().trim_start_matches('/');
    let key = path.strip_prefix(BUCKET).expect("one bucket").trim_start_matches('/');
    let given = |name| headers.get(name).map(|value| value.to_str().unwrap().replace('"', ""));
    match (method.as_str(), key) {
        ("GET", "") => bucket.list(&query).into_response(),
        ("GET" | "HEAD", _) => bucket.get(key, given(header::IF_NONE_MATCH)),
        ("PUT", _) => {
            bucket.put(key, body, given(header::IF_MATCH), given(header::IF_NONE_MATCH).is_some())
        }
        ("DELETE", _) => {
            bucket.objects.remove(key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => panic!("not what is asked of objects: {method} {uri}"),
    }
}

impl Bucket {
    fn get(&self, key: &str, known: Option<String>) -> Response {
        let Some(object) = self.objects.get(key) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let headers = [(header::ETAG, object.tag.as_str()), (header::LAST_MODIFIED, SOME_TIME)];
        if known.as_ref() == Some(&object.tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, object.content.clone()).into_response()
    }

    /// Stores an object, if it is the one with this tag that it replaces, or if there is none.
    fn put(&mut self, key: &str, content: Bytes, over: Option<String>, anew: bool) -> Response {
        let old = self.objects.get(key);
        if anew && old.is_some() || over.is_some() && over.as_ref() != old.map(|old| &old.tag) {
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        self.last_us = now_us().max(self.last_us + 1);
        let tag = self.last_us.to_string();
        let object = Object { content, tag: tag.clone(), stored_us: self.last_us };
        self.objects.insert(key.into(), object);
        [(header::ETAG, tag)].into_response()
    }

    /// All objects of a prefix at once, those that are behind a delimiter by their folders.
    fn list(&self, query: &HashMap<String, String>) -> String {
        let prefix = query.get("prefix").map_or("", String::as_str);
        let delimiter = query.get("delimiter").filter(|delimiter| !delimiter.is_empty());
        let mut listed = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
        let mut folders = BTreeSet::new();
        let of_prefix = self.objects.range(prefix.to_owned()..);
        for (key, object) in of_prefix.take_while(|(key, _)| key.starts_with(prefix)) {
            let rest = &key[prefix.len()..];
            if let Some((folder, _)) = delimiter.and_then(|by| rest.split_once(by.as_str())) {
                folders.insert(folder);
                continue;
            }
            let (stored, size) = (Timestamp(object.stored_us), object.content.len());
            let tag = &object.tag;
            write!(
                listed,
                "<Contents><Key>{key}</Key><LastModified>{stored}</LastModified>\
                 <ETag>{tag}</ETag><Size>{size}</Size></Contents>"
            )
            .unwrap();
        }
        for folder in folders {
            let by = delimiter.map_or("", String::as_str);
            write!(
                listed,
                "<CommonPrefixes><Prefix>{prefix}{folder}{by}</Prefix></CommonPrefixes>"
            )
            .unwrap();
        }
        listed + "</ListBucketResult>"
    }
}
