//! Which objects a history in a bucket is of.

use super::S3Error;
use super::wire::{Wire, text};
use crate::ingest::FileKind;
use serde::{Deserialize, Serialize};
use std::path::Path;
use trueup_offline::{ENDINGS, MANIFEST_ENDING};

/// Objects that are listed in one request, as the service bounds it.
const PAGE: &str = "1000";

/// An object as it was listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) key: String,
    /// Another one for another content.
    pub(super) etag: String,
    pub(super) bytes: u64,
}

/// The objects of a history: the one with this key, or those below it in the order of their keys.
pub(super) async fn objects(wire: &mut Wire, prefix: &str) -> Result<Vec<Object>, S3Error> {
    if !prefix.is_empty() && !prefix.ends_with('/') {
        // Of all keys that begin with it, it sorts first.
        let (first, _) = page(wire, prefix, "1", None).await?;
        if let Some(object) = first.into_iter().find(|object| object.key == prefix) {
            kind(&object)?;
            return Ok(vec![object]);
        }
    }
    let below = match prefix.is_empty() || prefix.ends_with('/') {
        true => prefix.to_owned(),
        false => format!("{prefix}/"),
    };
    let (mut all, mut next) = (Vec::new(), None);
    loop {
        let (objects, more) = page(wire, &below, PAGE, next.as_deref()).await?;
        for object in objects.into_iter().filter(|object| !is_hidden(&object.key, &below)) {
            kind(&object)?;
            all.push(object);
        }
        match more {
            Some(token) => next = Some(token),
            None if all.is_empty() => return Err(S3Error::Refused(nothing(&below))),
            None => return Ok(all),
        }
    }
}

fn nothing(below: &str) -> String {
    format!(
        "the bucket has no object below {below:?}; write s3://BUCKET/PREFIX with the prefix of \
         objects that end in {ENDINGS}"
    )
}

/// What a folder's history passes over: tools' own files, markers of folders, manifests.
fn is_hidden(key: &str, below: &str) -> bool {
    let rest = key.strip_prefix(below).unwrap_or(key);
    rest.is_empty()
        || rest.ends_with('/')
        || rest.ends_with(MANIFEST_ENDING)
        || rest.split('/').any(|part| part.starts_with(['.', '_']))
}

fn kind(object: &Object) -> Result<(), S3Error> {
    match FileKind::of(Path::new(&object.key)) {
        Some(_) => Ok(()),
        None => Err(S3Error::Refused(format!(
            "object {:?}: its ending does not say what it is; rename it to end in {ENDINGS}, or \
             move it away",
            object.key
        ))),
    }
}

/// Some objects, and by what to ask for more.
async fn page(
    wire: &mut Wire,
    prefix: &str,
    most: &str,
    token: Option<&str>,
) -> Result<(Vec<Object>, Option<String>), S3Error> {
    let mut parameters = vec![("list-type", "2"), ("max-keys", most), ("prefix", prefix)];
    parameters.extend(token.map(|token| ("continuation-token", token)));
    let reply = wire.get("", &parameters, &[]).await?;
    parse(&text(reply).await?).ok_or_else(|| {
        let why = "the list of the bucket's objects cannot be read; see that AWS_ENDPOINT_URL \
                   names a server of S3";
        S3Error::Refused(why.into())
    })
}

/// `None` if it is no list.
fn parse(xml: &str) -> Option<(Vec<Object>, Option<String>)> {
    raw(xml, "ListBucketResult").next()?;
    let object = |of: &str| {
        Some(Object {
            key: element(of, "Key")?,
            etag: element(of, "ETag")?,
            bytes: element(of, "Size")?.parse().ok()?,
        })
    };
    let objects = raw(xml, "Contents").map(object).collect::<Option<Vec<_>>>()?;
    match element(xml, "IsTruncated")?.as_str() {
        "false" => Some((objects, None)),
        "true" => Some((objects, Some(element(xml, "NextContinuationToken")?))),
        _ => None,
    }
}

/// What stands in the first element of this name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    unescaped(raw(xml, name).next()?)
}

/// What stands in each element of this name, as it is written. No text has a bare `<`, and no
/// element that is looked for stands in another of its name.
fn raw<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find(&open)? + open.len()..];
            // Another name may begin alike.
            if rest.starts_with(['>', ' ', '\n', '\r', '\t']) {
                break;
            }
        }
        let from = rest.find('>')? + 1;
        let to = from + rest[from..].find(&close)?;
        let found = &rest[from..to];
        rest = &rest[to..];
        Some(found)
    })
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (name, after) = part.split_once(';')?;
        out.push(match (name, name.strip_prefix("#x"), name.strip_prefix('#')) {
            ("amp", ..) => '&',
            ("lt", ..) => '<',
            ("gt", ..) => '>',
            ("quot", ..) => '"',
            ("apos", ..) => '\'',
            (_, Some(digits), _) => char::from_u32(u32::from_str_radix(digits, 16).ok()?)?,
            (_, _, Some(digits)) => char::from_u32(digits.parse().ok()?)?,
            _ => return None,
        });
        out.push_str(after);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_its_escapes_and_where_it_goes_on() {
        let xml = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3/\"><Name>b</Name>
            <KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>
            <NextContinuationToken>a&amp;b=</NextContinuationToken>
            <Contents><Key>x/a &lt;&#233;&#x21;.csv</Key><ETag>&quot;e1&quot;</ETag><Size>12</Size>
            <Owner><ID>i</ID></Owner></Contents>
            <Contents><Key>x/b.csv</Key><ETag>\"e2\"</ETag><Size>0</Size></Contents>
            </ListBucketResult>";
        let (objects, next) = parse(xml).expect("a list");
        let told: Vec<_> =
            objects.iter().map(|it| (it.key.as_str(), it.etag.as_str(), it.bytes)).collect();
        assert_eq!(told, [("x/a <\u{e9}!.csv", "\"e1\"", 12), ("x/b.csv", "\"e2\"", 0)]);
        assert_eq!(next.as_deref(), Some("a&b="));
    }

    /// The harm: half a list is taken for all of it.
    #[test]
    fn what_is_no_whole_list_is_none() {
        let whole = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(parse(whole), Some((Vec::new(), None)));
        for xml in [
            "",
            "<html></html>",
            "<ListBucketResult><IsTruncated>false</IsTruncated>",
            "<ListBucketResult></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>\
             </ListBucketResult>",
        ] {
            assert_eq!(parse(xml), None, "{xml}");
        }
    }

    #[test]
    fn tools_own_objects_are_passed_over() {
        for (key, hidden) in [
            ("p/a.csv", false),
            ("p/day=1/a.csv", false),
            ("p/", true),
            ("p/day=1/", true),
            ("p/_temporary/a.csv", true),
            ("p/.a.csv.crc", true),
            ("p/set.csv.manifest.json", true),
        ] {
            assert_eq!(is_hidden(key, "p/"), hidden, "{key}");
        }
    }
}
