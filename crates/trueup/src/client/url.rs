//! A server's base URL, taken apart.

use super::ClientError;
use hyper::Uri;
use std::fmt::Write;

/// Escapes what is not plain in any part of a URL (RFC 3986); the slashes of a path may stay.
pub(crate) fn escaped(text: &str, is_path: bool) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if is_plain(byte) || (is_path && byte == b'/') => out.push(char::from(byte)),
            byte => {
                // Writing to memory does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Where a server listens, and the path in front of all its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Host name or address, an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    prefix: String,
}

impl Server {
    pub(super) fn parse(url: &str) -> Result<Server, ClientError> {
        let wrong = |reason| {
            let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
            ClientError::Url { url: shown.into(), reason }
        };
        let write_so = "write http://host:port";
        let uri: Uri = url.parse().map_err(|_| wrong(write_so))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong(
                    "https is not spoken yet; write http:// and the address of a proxy on this \
                     host that speaks it",
                ));
            }
            _ => return Err(wrong(write_so)),
        }
        let authority = uri.authority().ok_or_else(|| wrong(write_so))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it holds a user name; give a token instead"));
        }
        if uri.query().is_some() {
            return Err(wrong("it holds a query; end it before the question mark"));
        }
        let bracketed = authority.host();
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.as_str().len() > bracketed.len() {
            true => authority.port_u16().ok_or_else(|| wrong("its port is no number to 65535"))?,
            false => 80,
        };
        if host.is_empty() {
            return Err(wrong(write_so));
        }
        Ok(Server { host, port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// `host:port`, as the Host header and messages name it.
    pub(super) fn authority(&self) -> String {
        let Server { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// What stands in a request line for `path`, which begins with a slash; `None` if it cannot
    /// stand there.
    pub(super) fn target(&self, path: &str) -> Option<Uri> {
        if self.prefix.is_empty() {
            return path.parse().ok();
        }
        format!("{}{path}", self.prefix).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, authority: &str, target: &str) {
        let server = Server::parse(url).unwrap();
        assert_eq!(server.authority(), authority, "{url}");
        assert_eq!(server.target("/livez?x=1").unwrap(), target, "{url}");
    }

    fn check_refused(url: &str, reason: &str) {
        let error = Server::parse(url).unwrap_err().to_string();
        assert!(error.contains(reason), "{url}: {error}");
    }

    #[test]
    fn host_port_and_prefix_are_taken_apart() {
        check("http://localhost:8080", "localhost:8080", "/livez?x=1");
        check("http://localhost", "localhost:80", "/livez?x=1");
        check("http://127.0.0.1:9/", "127.0.0.1:9", "/livez?x=1");
        check("http://[::1]:8080", "[::1]:8080", "/livez?x=1");
        check("http://proxy:1/trueup/", "proxy:1", "/trueup/livez?x=1");
        assert_eq!(Server::parse("http://[::1]:8080").unwrap().host, "::1");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_to_write() {
        check_refused("https://localhost:8080", "https is not spoken yet");
        check_refused("localhost:8080", "write http://host:port");
        check_refused("/path", "write http://host:port");
        check_refused("", "write http://host:port");
        check_refused("redis://localhost", "write http://host:port");
        check_refused("http://localhost:99999", "port");
        check_refused("http://localhost:", "port");
        check_refused("http://localhost/?a=b", "query");
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let error = Server::parse("http://user:secret@localhost").unwrap_err().to_string();
        assert!(error.contains("give a token") && !error.contains("secret"), "{error}");
    }
}
