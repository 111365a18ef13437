//! HTTP as bytes on a socket: any header, any body, and the reply as it came.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any of the server's own times, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reply, with its body as it was sent.
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    /// A header's text, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", text()))
    }
}

/// Asks on a connection of its own. `head` is the first line without the version, and lines of
/// headers, each ended by `\n`.
pub(crate) fn ask(address: SocketAddr, head: &str, body: &[u8]) -> Raw {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let length = match body {
        [] => String::new(),
        body => format!("content-length: {}\n", body.len()),
    };
    let head = format!("{line} HTTP/1.1\nhost: x\nconnection: close\n{length}{headers}\n");
    stream.write_all(head.replace('\n', "\r\n").as_bytes()).unwrap();
    // A server that has seen enough hangs up before all of it is sent.
    let _ = stream.write_all(body);
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> Raw {
    let mut said = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "no reply, only {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..count]);
        if let Some(end) = said.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let mut body = said.split_off(end + 4);
    let head = String::from_utf8(said).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::try_from(value).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.map(header) {
        headers.append(name, value);
    }
    let length = headers.get("content-length").map(|length| length.to_str().unwrap());
    let length: usize = length.expect("all replies are made whole").parse().unwrap();
    while body.len() < length {
        let mut piece = [0; 65_536];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "{} of {length} bytes", body.len());
        body.extend_from_slice(&piece[..count]);
    }
    assert_eq!(body.len(), length);
    Raw { status, headers, body }
}
