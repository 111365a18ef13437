//! Compressed bodies on both ways: gzip (RFC 1952) and zstd (RFC 8878), one coding at a time.
//!
//! ```text
//! body, whole, within its bound ─▶ decoded piece by piece, within the same bound ─▶ handler
//!     ─▶ reply, whole ─▶ large, wanted so, and nobody waits? ─▶ encoded piece by piece
//! ```
//!
//! A body is decoded when all of it is here, so that one who sends slowly costs the bytes that came
//! and no decoder. What is plain on both ways is touched by none of this.

mod reply;
mod request;

pub(super) use reply::shrunk;
pub(super) use request::decoded;

use super::problem::{CODING, Problem};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Bytes of plain text that are coded or decoded before others have their turn: less than a
/// millisecond's.
const STEP_BYTES: usize = 64 << 10;

/// How the bytes of a body are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// All names, as `Accept-Encoding` has them.
    pub(super) const NAMES: HeaderValue = HeaderValue::from_static("gzip, zstd");

    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
        }
    }

    fn of_name(name: &str) -> Option<Coding> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name {
            // RFC 9110 has the second name for the first.
            _ if is("gzip") || is("x-gzip") => Some(Coding::Gzip),
            _ if is("zstd") => Some(Coding::Zstd),
            _ => None,
        }
    }

    /// The coding of a body that comes; `None` if it is plain.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
        let named: Vec<&str> = listed(headers, &header::CONTENT_ENCODING).collect();
        match named[..] {
            [] => Ok(None),
            [one] if one.eq_ignore_ascii_case("identity") => Ok(None),
            [one] if Coding::of_name(one).is_some() => Ok(Coding::of_name(one)),
            _ => {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Err(Problem::new(status, CODING, "The body is packed in another way")
                    .detail(format!("content encoding {:?} is not taken", named.join(", ")))
                    .at("headers")
                    .remedy("send the body as it is, or packed once, by gzip or zstd"))
            }
        }
    }

    /// The coding that a caller likes best for a reply, if it takes any.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Coding> {
        let (mut gzip, mut zstd, mut any) = (None, None, None);
        for said in listed(headers, &header::ACCEPT_ENCODING) {
            let (name, weight) = match said.split_once(';') {
                Some((name, parameter)) => (name.trim_end(), weight(parameter)),
                None => (said, 1.0),
            };
            match Coding::of_name(name) {
                Some(Coding::Gzip) => gzip = Some(weight),
                Some(Coding::Zstd) => zstd = Some(weight),
                None if name == "*" => any = Some(weight),
                None => {}
            }
        }
        // Who takes anything surely has gzip.
        let (gzip, zstd) = (gzip.or(any).unwrap_or(0.0), zstd.unwrap_or(0.0));
        match gzip.max(zstd) > 0.0 {
            true if zstd >= gzip => Some(Coding::Zstd),
            true => Some(Coding::Gzip),
            false => None,
        }
    }
}

/// The items of a header that is a list, over all its lines.
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    // What is no text is no name that we know.
    let items = lines.flat_map(|line| line.to_str().unwrap_or("?").split(','));
    items.map(str::trim).filter(|item| !item.is_empty())
}

/// The weight of an item, by its parameter `q`; one that cannot be read is none.
fn weight(parameter: &str) -> f32 {
    let value = parameter.trim().strip_prefix(['q', 'Q']).map(str::trim_start);
    let value = value.and_then(|rest| rest.strip_prefix('=')?.trim().parse::<f32>().ok());
    value.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn a_body_is_packed_once_or_not_at_all() {
        let of = |lines: &[&'static str]| Coding::of(&headers(header::CONTENT_ENCODING, lines));
        for plain in [&[][..], &[""], &["identity"], &["Identity"]] {
            assert_eq!(of(plain).unwrap(), None, "{plain:?}");
        }
        for (name, coding) in
            [("gzip", Coding::Gzip), ("X-GZIP", Coding::Gzip), (" zstd ", Coding::Zstd)]
        {
            assert_eq!(of(&[name]).unwrap(), Some(coding), "{name}");
        }
        for other in [&["br"][..], &["gzip, gzip"], &["gzip", "zstd"], &["identity, gzip"]] {
            let problem = of(other).unwrap_err();
            assert_eq!(problem.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{other:?}");
        }
    }

    #[test]
    fn a_reply_is_packed_as_its_caller_likes_best_and_only_as_it_can_read() {
        let of = |lines: &[&'static str]| {
            Coding::accepted(&headers(header::ACCEPT_ENCODING, lines)).map(Coding::name)
        };
        for (lines, wanted) in [
            (&["gzip, deflate, br, zstd"][..], Some("zstd")),
            (&["gzip", "zstd"], Some("zstd")),
            (&["gzip;q=1.0, zstd;q=0.5"], Some("gzip")),
            (&["zstd ; Q = 0.5, gzip;q=0.4"], Some("zstd")),
            (&["x-gzip"], Some("gzip")),
            (&["*"], Some("gzip")),
            (&["*;q=0.1, gzip;q=0"], None),
            (&["zstd;q=0, *"], Some("gzip")),
            (&["gzip;q=0"], None),
            (&["gzip;q=nan"], None),
            (&["gzip;q=7"], None),
            (&["gzip;level=9"], None),
            (&["br, identity"], None),
            (&[], None),
        ] {
            assert_eq!(of(lines), wanted, "{lines:?}");
        }
    }
}
