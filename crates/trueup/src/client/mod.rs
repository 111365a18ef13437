//! A small HTTP/1.1 client: one server, a fixed number of kept connections, a deadline for every
//! request.
//!
//! It serves the commands that talk to a server (`push`, `get`) and the load generator. It does not
//! follow redirects, keep cookies, decompress, or speak TLS: put a proxy on this host in front of a
//! server that only speaks https.

mod error;
mod pool;
mod url;

#[cfg(test)]
mod tests;

pub use error::ClientError;
pub(crate) use url::escaped;

use crate::cause::Parent;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use pool::{Connection, Pool};
use std::sync::Arc;
use std::time::Duration;
use url::Server;

/// Bytes of a reply's body that are accepted: more than the largest answer of a server that bounds
/// its requests.
pub const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

/// The header of the trace that a request is a part of (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Connections that one client may keep.
pub const MAX_CONNECTIONS: usize = 1_024;

/// How to reach a server.
#[derive(Clone)]
pub struct ClientOptions {
    /// `http://host:port`, with a path in front of all paths if the server stands behind one.
    pub base_url: String,
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<String>,
    /// Connections kept open, and so requests under way at one time; 1 to [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// How long a request may take, from the call to the last byte of its reply.
    pub timeout: Duration,
    /// The trace that all requests are a part of, as a `traceparent` of W3C Trace Context; they
    /// are one span of it, the caller's.
    pub traceparent: Option<String>,
}

impl Default for ClientOptions {
    /// Four connections to a server on this host, ten seconds for a request.
    fn default() -> ClientOptions {
        ClientOptions {
            base_url: "http://127.0.0.1:8080".into(),
            token: None,
            connections: 4,
            timeout: Duration::from_secs(10),
            traceparent: None,
        }
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("base_url", &self.base_url)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .field("traceparent", &self.traceparent)
            .finish()
    }
}

/// A whole reply, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status; the client takes none for an error.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most [`MAX_REPLY_BYTES`].
    pub body: Bytes,
}

/// A client of one server; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Server,
    authorization: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    host: HeaderValue,
    timeout: Duration,
    pool: Pool,
}

impl Client {
    /// A client, not yet connected.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`] or [`ClientError::Option`] says which part of the options cannot be
    /// used, and why.
    pub fn new(options: &ClientOptions) -> Result<Client, ClientError> {
        let server = Server::parse(&options.base_url)?;
        let wrong = |option, remedy| ClientError::Option { option, remedy };
        if !(1..=MAX_CONNECTIONS).contains(&options.connections) {
            return Err(wrong("connections", "give 1 to 1024"));
        }
        let bearer = |token: &String| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| wrong("token", "give visible ASCII characters only"))?;
            value.set_sensitive(true);
            Ok(value)
        };
        let traceparent = |said: &String| {
            let read = Parent::read(said.as_bytes()).and_then(|_| said.try_into().ok());
            read.ok_or_else(|| wrong("traceparent", "give 00-TRACE-SPAN-01, as W3C writes it"))
        };
        let inner = Inner {
            authorization: options.token.as_ref().map(bearer).transpose()?,
            traceparent: options.traceparent.as_ref().map(traceparent).transpose()?,
            host: HeaderValue::try_from(server.authority())
                .map_err(|_| wrong("base_url", "give a host name of ASCII characters"))?,
            timeout: options.timeout,
            pool: Pool::new(options.connections),
            server,
        };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// How many connections the client keeps at most.
    pub fn connections(&self) -> usize {
        self.inner.pool.size()
    }

    /// The server's URL.
    pub fn server(&self) -> String {
        format!("http://{}", self.inner.server.authority())
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// Sends one request and waits for its whole reply. `path` begins with a slash and may have a
    /// query.
    ///
    /// A kept connection that the server had closed is replaced, as long as nothing of the request
    /// was sent. A request that may have arrived is never sent twice: that is for the caller to
    /// decide.
    ///
    /// # Errors
    ///
    /// [`ClientError`], which says what failed, at which server, and what to do; no status is an
    /// error.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let request = self.build(method, path, content_type, body)?;
        match tokio::time::timeout(self.inner.timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(ClientError::Timeout {
                server: self.inner.server.authority(),
                timeout: self.inner.timeout,
            }),
        }
    }

    /// Opens the connections that are not open yet, so that no measured request pays for it.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`] or [`ClientError::Timeout`]; connections opened before stay.
    pub async fn connect(&self) -> Result<(), ClientError> {
        let Inner { server, pool, timeout, .. } = &*self.inner;
        let late = |_| ClientError::Timeout { server: server.authority(), timeout: *timeout };
        tokio::time::timeout(*timeout, pool.fill(server)).await.map_err(late)?
    }

    fn build(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let path_wrong = || ClientError::Option {
            option: "path",
            remedy: "begin with a slash and percent-encode spaces and other special characters",
        };
        if !path.starts_with('/') {
            return Err(path_wrong());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.inner.server.target(path).ok_or_else(path_wrong)?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.inner.host.clone());
        if let Some(bearer) = &self.inner.authorization {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        if let Some(traceparent) = &self.inner.traceparent {
            headers.insert(TRACEPARENT, traceparent.clone());
        }
        if let Some(content_type) = content_type {
            let value = HeaderValue::try_from(content_type).map_err(|_| ClientError::Option {
                option: "content type",
                remedy: "give a media type such as application/json",
            })?;
            headers.insert(CONTENT_TYPE, value);
        }
        Ok(request)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
        let Inner { server, pool, .. } = &*self.inner;
        let mut turn = pool.turn().await;
        let mut unsent = request;
        if let Some(mut kept) = turn.take_open().await {
            match kept.try_send_request(unsent).await {
                Ok(response) => return self.read(response, kept, turn).await,
                Err(mut error) => match error.take_message() {
                    Some(request) => unsent = request,
                    None => return Err(ClientError::broken(server, error.error())),
                },
            }
        }
        let mut fresh = pool::connect(server).await?;
        let response = fresh.send_request(unsent).await;
        let response = response.map_err(|error| ClientError::broken(server, &error))?;
        self.read(response, fresh, turn).await
    }

    async fn read(
        &self,
        response: hyper::Response<hyper::body::Incoming>,
        connection: Connection,
        turn: pool::Turn<'_>,
    ) -> Result<Reply, ClientError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_REPLY_BYTES).collect().await;
        let body = body.map_err(|error| ClientError::broken(&self.inner.server, &*error))?;
        turn.give_back(connection);
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}
