//! A request's signature, as AWS wants it (Signature Version 4), for requests without a body. In a
//! header, so that neither it nor the key's name stands in a URL.

use crate::client::escaped;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use trueup_sql::decode::print::{Hex, Timestamp};

/// Who asks.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: String,
    /// Of keys that are lent for a time.
    pub(super) token: Option<String>,
}

/// Without secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsigned<'a> {
    /// As the header `Host` has it.
    pub(super) host: &'a str,
    /// The path, escaped.
    pub(super) path: &'a str,
    /// The parameters, not escaped.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Other headers, by names in lower case.
    pub(super) headers: &'a [(&'a str, &'a str)],
}

/// The headers of a signed GET, names in lower case, without `host`.
pub(super) fn signed(
    request: Unsigned<'_>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now_us: i64,
) -> Vec<(String, String)> {
    let time = time(now_us);
    let body = Hex(&Sha256::digest(b"")).to_string();
    let mut headers: Vec<(String, String)> =
        request.headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    if service == "s3" {
        headers.push(("x-amz-content-sha256".into(), body.clone()));
    }
    headers.push(("x-amz-date".into(), time.clone()));
    if let Some(token) = &credentials.token {
        headers.push(("x-amz-security-token".into(), token.clone()));
    }
    let mut all = headers.clone();
    all.push(("host".into(), request.host.into()));
    all.sort();
    let lines = all.iter().map(|(name, value)| format!("{name}:{}\n", value.trim()));
    let lines: String = lines.collect();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let canonical =
        format!("GET\n{}\n{}\n{lines}\n{names}\n{body}", request.path, query(request.query));
    let scope = format!("{}/{region}/{service}/aws4_request", &time[..8]);
    let digest = Sha256::digest(canonical.as_bytes());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", Hex(&digest));
    let mut key = mac(format!("AWS4{}", credentials.secret).as_bytes(), &time[..8]);
    for part in [region, service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = Hex(&mac(&key, &text)).to_string();
    let id = &credentials.id;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope},SignedHeaders={names},Signature={signature}"
    );
    headers.push(("authorization".into(), authorization));
    headers
}

/// Parameters as they stand in a URL and are signed: escaped, in the order of their names.
pub(super) fn query(parameters: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| {
        format!("{}={}", escaped(name, false), escaped(value, false))
    };
    let mut pairs: Vec<String> = parameters.iter().map(pair).collect();
    pairs.sort();
    pairs.join("&")
}

/// `YYYYMMDDTHHMMSSZ`.
fn time(us: i64) -> String {
    let text = Timestamp(us).to_string().replace(['-', ':'], "");
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // Keys may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(id: &str, secret: &str) -> Credentials {
        Credentials { id: id.into(), secret: secret.into(), token: None }
    }

    fn authorization(headers: &[(String, String)]) -> &str {
        &headers.last().expect("there are some").1
    }

    /// The examples that AWS publishes, of the test suite and of S3's manual.
    #[test]
    fn signatures_are_those_of_the_published_examples() {
        let suite = credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let vanilla =
            Unsigned { host: "example.amazonaws.com", path: "/", query: &[], headers: &[] };
        let said = signed(vanilla, &suite, "us-east-1", "service", 1_440_938_160_000_000);
        assert_eq!(
            authorization(&said),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,\
             SignedHeaders=host;x-amz-date,\
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        let manual =
            credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let host = "examplebucket.s3.amazonaws.com";
        let range = [("range", "bytes=0-9")];
        let object = Unsigned { host, path: "/test.txt", query: &[], headers: &range };
        let list = [("prefix", "J"), ("max-keys", "2")];
        let list = Unsigned { host, path: "/", query: &list, headers: &[] };
        for (request, signature) in [
            (object, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            (list, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let said = signed(request, &manual, "us-east-1", "s3", 1_369_353_600_000_000);
            assert!(authorization(&said).ends_with(signature), "{}", authorization(&said));
        }
    }

    #[test]
    fn what_is_not_plain_is_escaped() {
        assert_eq!(escaped("a/b c+d\u{e9}", true), "a/b%20c%2Bd%C3%A9");
        assert_eq!(query(&[("b", "x/y="), ("a", "")]), "a=&b=x%2Fy%3D");
    }
}
