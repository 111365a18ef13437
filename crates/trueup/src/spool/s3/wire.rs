//! GETs to a server of S3, one after the other on a kept connection; bodies as they come.

use super::S3Error;
use super::sign::{Credentials, Unsigned, query, signed};
use crate::authorities::authorities;
use crate::client::escaped;
use crate::clock::Clock;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection may take to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may say nothing: before a reply, and between two parts of its body.
pub(super) const SILENT: Duration = Duration::from_secs(60);

/// Bytes of a body that is no object: a list of 1,000 keys of the greatest length, escaped.
const MAX_SAID: usize = 16 << 20;

/// Where a bucket is, and who asks.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// `http` or `https`, host and port, and the path before all others.
    pub(super) endpoint: Uri,
    /// Whether the bucket's name stands before the host's, as AWS wants it, or in the path.
    pub(super) in_host: bool,
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) credentials: Credentials,
    /// Certificates that vouch for the server, instead of the system's.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) clock: Clock,
}

/// One who asks.
#[derive(Debug)]
pub(super) struct Wire {
    access: Access,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    kept: Option<SendRequest<Empty<Bytes>>>,
}

impl Wire {
    /// Nothing is connected yet.
    pub(super) fn new(access: Access) -> Result<Wire, S3Error> {
        let authority = access.endpoint.authority().map_or("", |it| it.as_str());
        let host = match access.in_host {
            true => format!("{}.{authority}", access.bucket),
            false => authority.to_owned(),
        };
        let tls = match access.endpoint.scheme_str() {
            Some("https") => Some(Arc::new(tls(&access)?)),
            _ => None,
        };
        Ok(Wire { access, host, tls, kept: None })
    }

    /// An object of the bucket, or what the bucket says of itself if the key is empty. The reply is
    /// a good one; what else is said is an error.
    pub(super) async fn get(
        &mut self,
        key: &str,
        parameters: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>, S3Error> {
        let path = self.path(key);
        let request = Unsigned { host: &self.host, path: &path, query: parameters, headers };
        let Access { credentials, region, clock, .. } = &self.access;
        let headers = signed(request, credentials, region, "s3", clock.now().0);
        let target = match parameters {
            [] => path,
            some => format!("{path}?{}", query(some)),
        };
        let mut request = Request::get(target).header(HOST, &self.host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new());
        // What was given in variables may hold what no header takes; it is not repeated.
        let request = request.map_err(|_| {
            S3Error::Refused("the region or a key of AWS_… has characters that none has".into())
        })?;
        let asked = tokio::time::timeout(SILENT, self.ask(request)).await;
        let reply = asked.map_err(|_| self.away(&format!("no reply within {SILENT:?}")))??;
        match reply.status().is_success() {
            true => Ok(reply),
            false => Err(self.refusal(key, reply).await),
        }
    }

    fn path(&self, key: &str) -> String {
        let Access { endpoint, in_host, bucket, .. } = &self.access;
        let before = endpoint.path().trim_end_matches('/');
        match (in_host, key) {
            (true, key) => format!("{before}/{}", escaped(key, true)),
            (false, "") => format!("{before}/{bucket}"),
            (false, key) => format!("{before}/{bucket}/{}", escaped(key, true)),
        }
    }

    async fn ask(&mut self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, S3Error> {
        let broken = |host: &str, error: &dyn std::error::Error| {
            S3Error::Away(format!("{host}: {}", told(error)))
        };
        let mut request = request;
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
        {
            match kept.try_send_request(request).await {
                Ok(reply) => {
                    self.kept = Some(kept);
                    return Ok(reply);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(&self.host, error.error())),
                },
            }
        }
        let mut fresh = self.connect().await?;
        let reply = fresh.send_request(request).await;
        let reply = reply.map_err(|error| broken(&self.host, &error))?;
        self.kept = Some(fresh);
        Ok(reply)
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, S3Error> {
        let uri = &self.access.endpoint;
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let named = bare(uri.host().unwrap_or_default());
        let host = match self.access.in_host {
            true => format!("{}.{named}", self.access.bucket),
            false => named,
        };
        let port = uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let connecting = async {
            let failed = |error: std::io::Error| self.unconnected(&error);
            let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let Some(tls) = &self.tls else { return self.greet(stream).await };
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|error| S3Error::Refused(error.to_string()))?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            self.greet(stream.map_err(failed)?).await
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected.map_err(|_| self.away(&format!("no connection within {CONNECT_TIMEOUT:?}")))?
    }

    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<SendRequest<Empty<Bytes>>, S3Error> {
        let (connection, work) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.away(&told(&error)))?;
        // What ends the connection is told to the request that uses it.
        tokio::spawn(async move { drop(work.await) });
        Ok(connection)
    }

    fn away(&self, why: &str) -> S3Error {
        S3Error::Away(format!("{}: {why}", self.host))
    }

    /// A certificate that is not taken does not mend itself.
    fn unconnected(&self, error: &std::io::Error) -> S3Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(why)) => S3Error::Refused(format!(
                "{}: the server's certificate is not taken: {why}; write the host of \
                 AWS_ENDPOINT_URL by a name that it has, and in AWS_CA_BUNDLE the file of the \
                 authority that vouches for it, if it is not one of the system's",
                self.host
            )),
            _ => self.away(&told(error)),
        }
    }

    /// What a bad reply means, and what to do.
    async fn refusal(&self, key: &str, reply: Response<Incoming>) -> S3Error {
        let status = reply.status();
        let elsewhere = reply.headers().get("x-amz-bucket-region").cloned();
        let body = text(reply).await.unwrap_or_default();
        let part = |name| super::list::element(&body, name).unwrap_or_default();
        let (code, message) = (part("Code"), part("Message"));
        let bucket = &self.access.bucket;
        let said = format!("{status} {code}: {message}");
        let elsewhere = elsewhere.as_ref().and_then(|region| region.to_str().ok());
        let elsewhere = elsewhere.filter(|region| *region != self.access.region);
        match (status, code.as_str(), elsewhere) {
            (StatusCode::PRECONDITION_FAILED, ..) | (_, "NoSuchKey", _) => {
                S3Error::Changed(key.to_owned())
            }
            (_, "NoSuchBucket", _) => S3Error::Refused(format!(
                "there is no bucket {bucket} at {}; name it as s3://BUCKET/PREFIX, and its server \
                 in AWS_ENDPOINT_URL if it is not AWS",
                self.host
            )),
            (_, _, Some(region)) => S3Error::Refused(format!(
                "bucket {bucket} is in region {region}; set AWS_REGION={region} ({said})"
            )),
            (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, ..) => S3Error::Refused(format!(
                "{}: it refuses the key of AWS_ACCESS_KEY_ID ({said}); check it, \
                 AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, and that it may list \
                 bucket {bucket} and read its objects",
                self.host
            )),
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT, ..) => self.away(&said),
            (status, ..) if status.is_server_error() => self.away(&said),
            _ => S3Error::Refused(format!("{}: {said}", self.host)),
        }
    }
}

/// A whole body that is text.
pub(super) async fn text(reply: Response<Incoming>) -> Result<String, S3Error> {
    let body = Limited::new(reply.into_body(), MAX_SAID).collect();
    let late = |_| S3Error::Away(format!("nothing came within {SILENT:?}"));
    let body = tokio::time::timeout(SILENT, body).await.map_err(late)?;
    let body = body.map_err(|error| S3Error::Away(told(&*error)))?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

fn tls(access: &Access) -> Result<ClientConfig, S3Error> {
    let file = access.ca_file.as_deref();
    let certificates = authorities(file, "set AWS_CA_BUNDLE=/PATH").map_err(S3Error::Refused)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| S3Error::Refused(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What failed, with its cause.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
