//! From the queue to the collector: batches, each by one POST on a connection of its own.

use super::Counts;
use super::messages::{
    ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use prost::Message;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

/// How long spans are collected for: not a request's own, and not a second's, which one who looks
/// at a trace would wait for.
const COLLECT: Duration = Duration::from_millis(200);

/// Spans of one batch: some 100 KB.
const MAX_BATCH: usize = 512;

/// How long a batch may take to be sent. The queue fills up meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The port of OTLP over HTTP.
const PORT: u16 = 4_318;

/// How this process is called in spans, and the part of it that makes them.
pub(super) const NAME: &str = "trueup";

/// Where spans go.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) url: Uri,
    /// The process, as the collector is to call it.
    pub(super) service: String,
}

/// Sends what is queued, until it is told to stop and all is sent.
pub(super) async fn all(
    collector: Collector,
    mut queue: mpsc::Receiver<Span>,
    counts: Arc<Counts>,
    stopping: Arc<Notify>,
) {
    loop {
        let ends = tokio::time::timeout(COLLECT, stopping.notified()).await.is_ok();
        loop {
            let batch: Vec<Span> =
                std::iter::from_fn(|| queue.try_recv().ok()).take(MAX_BATCH).collect();
            if batch.is_empty() {
                break;
            }
            let count = batch.len();
            let sending = tokio::time::timeout(TIMEOUT, collector.send(batch)).await;
            counts.took(count, sending.map_err(Into::into).flatten());
        }
        if ends {
            return;
        }
    }
}

impl Collector {
    async fn send(&self, spans: Vec<Span>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let authority = self.url.authority().ok_or("the URL names no host")?;
        let host = authority.host().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(PORT))).await?;
        let mut request = Request::new(Full::new(self.body(spans)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.path().parse()?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(authority.as_str())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let reply = tokio::select! {
            reply = sender.send_request(request) => reply?,
            ended = connection => {
                ended?;
                return Err("the connection was closed".into());
            }
        };
        match reply.status() {
            StatusCode::OK => Ok(()),
            other => Err(format!("the collector answers {other}").into()),
        }
    }

    fn body(&self, spans: Vec<Span>) -> Bytes {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let scope = Some(Scope { name: NAME.to_owned(), version });
        let resource = Resource { attributes: vec![KeyValue::text("service.name", &self.service)] };
        let scope_spans = vec![ScopeSpans { scope, spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }
}
