//! Bearer tokens.

use super::problem::Problem;
use axum::http::{HeaderMap, StatusCode, header};

/// Lets a request through if it bears the token.
pub(super) fn check(headers: &HeaderMap, token: &str) -> Result<(), Problem> {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let bearer = given.and_then(|value| {
        let (scheme, rest) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
    });
    match bearer {
        Some(bearer) if same(bearer, token.as_bytes()) => Ok(()),
        found => {
            let detail = match found {
                Some(_) => "the bearer token is not the server's",
                None => "the request bears no token",
            };
            Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed")
                .detail(detail)
                .at("headers, Authorization")
                .remedy("send Authorization: Bearer TOKEN, with the token the server was given"))
        }
    }
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = |(a, b): (&u8, &u8)| a ^ b;
    a.len() == b.len() && a.iter().zip(b).map(differ).fold(0, |all, one| all | one) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_whole_token_passes() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            check(&headers, "secret").is_ok()
        };
        assert!(with("Bearer secret"));
        assert!(with("bearer secret"));
        for wrong in ["Bearer secre", "Bearer secret2", "Bearer ", "Basic secret", "secret", ""] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(check(&HeaderMap::new(), "secret").is_err());
    }
}
