//! Replies, packed for callers who take them so.

use super::{Coding, STEP_BYTES};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use std::io::{Result, Write};
use zstd::stream::write::Encoder;

/// Bytes from which on a reply is packed. What is smaller is under way at once, since a new
/// connection may send ten segments, some 14 KB, before the other end has said anything (RFC 6928):
/// the features of a dozen rows come no sooner for being fewer bytes.
const MIN_BYTES: u64 = 16 << 10;

/// zstd's quickest level but the negative ones.
const ZSTD_LEVEL: i32 = 1;

/// What JSON shrinks to, as a divisor, to size the packed body.
const GUESSED_SHRINKING: usize = 4;

/// The reply as its caller takes it. On a server that is `pressed` it stays plain: time is short
/// then, and the network's is the caller's.
pub(in super::super) async fn shrunk(
    mut response: Response,
    accepted: Option<Coding>,
    is_pressed: bool,
) -> Response {
    if response.body().size_hint().exact().is_none_or(|size| size < MIN_BYTES) {
        return response;
    }
    // What a cache keeps of it is not for all, also where this one is plain.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = accepted.filter(|_| !is_pressed) else { return response };
    let (mut head, body) = response.into_parts();
    let plain = body.collect().await.expect("a body whose size is known is here").to_bytes();
    let body = match packed(&plain, coding).await {
        Ok(packed) if packed.len() < plain.len() => {
            head.headers.remove(header::CONTENT_LENGTH);
            let name = HeaderValue::from_static(coding.name());
            head.headers.insert(header::CONTENT_ENCODING, name);
            Bytes::from(packed)
        }
        // Larger, or there was no memory for an encoder.
        Ok(_) | Err(_) => plain,
    };
    Response::from_parts(head, Body::from(body))
}

async fn packed(plain: &[u8], coding: Coding) -> Result<Vec<u8>> {
    let out = Vec::with_capacity(plain.len() / GUESSED_SHRINKING);
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::fast());
            give(&mut encoder, plain).await?;
            encoder.finish()
        }
        Coding::Zstd => {
            let mut encoder = Encoder::new(out, ZSTD_LEVEL)?;
            encoder.set_pledged_src_size(Some(plain.len() as u64))?;
            give(&mut encoder, plain).await?;
            encoder.finish()
        }
    }
}

async fn give(encoder: &mut (impl Write + Send), plain: &[u8]) -> Result<()> {
    for piece in plain.chunks(STEP_BYTES) {
        encoder.write_all(piece)?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(body: Vec<u8>, accepted: Option<Coding>, is_pressed: bool) -> (Response, Vec<u8>) {
        let response = shrunk(Response::new(Body::from(body)), accepted, is_pressed).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (Response::from_parts(head, Body::empty()), body)
    }

    #[tokio::test]
    async fn a_reply_stays_plain_where_packing_helps_nobody() {
        let words = b"{\"n\": 1}, ".repeat(10_000);
        // What is packed already becomes no smaller.
        let noise = noise_of(50_000);
        for (body, accepted, is_pressed, varies) in [
            (words[..16_000].to_vec(), Some(Coding::Zstd), false, false),
            (words.clone(), None, false, true),
            (words.clone(), Some(Coding::Gzip), true, true),
            (noise.clone(), Some(Coding::Gzip), false, true),
            (noise, Some(Coding::Zstd), false, true),
        ] {
            let (head, sent) = of(body.clone(), accepted, is_pressed).await;
            assert!(!head.headers().contains_key(header::CONTENT_ENCODING));
            assert_eq!(head.headers().contains_key(header::VARY), varies);
            assert!(sent == body);
        }
        let (head, sent) = of(words.clone(), Some(Coding::Zstd), false).await;
        assert_eq!(head.headers()[header::CONTENT_ENCODING], "zstd");
        assert_eq!(zstd::decode_all(&sent[..]).unwrap(), words);
    }

    fn noise_of(count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    }
}
