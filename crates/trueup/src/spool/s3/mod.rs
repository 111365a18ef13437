//! Objects of a bucket of S3, copied as they were when they were listed.
//!
//! ```text
//! list ─▶ _objects.json ─▶ each object: GET if its ETag is the same ─▶ .part ─▶ synced, named
//! ```
//!
//! A copy that was broken off goes on with the objects that are missing, if the bucket's list is
//! still the same; else it is begun anew. A connection that is cut goes on within the object. One
//! that has changed since it was listed ends the copy: what was copied and what would come are not
//! of one moment.

mod list;
mod sign;
mod wire;

use self::list::{Object, objects};
use self::sign::Credentials;
use self::wire::{Access, SILENT, Wire, told};
use super::{Complete, CopiedFile, Manifest, SCHEME, Spool, SpoolError, at};
use crate::clock::Clock;
use http_body_util::BodyExt;
use hyper::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::block_in_place;

/// What is being copied.
const OBJECTS: &str = "_objects.json";

/// How often a request is made that fails in what may mend itself, without a byte between.
const TRIES: u32 = 6;

/// Pause before the second try, doubled before each further one: seven seconds in all.
const PAUSE: Duration = Duration::from_millis(200);

/// A bucket, what is wanted of it, and who asks.
#[derive(Clone, Debug)]
pub struct Bucket {
    access: Access,
    prefix: String,
}

/// Why objects were not copied.
#[derive(Debug)]
#[non_exhaustive]
pub enum S3Error {
    /// What does not mend itself, with the remedy.
    Refused(String),
    /// An object is another one than was listed; its key.
    Changed(String),
    /// The server does not answer, or broke off.
    Away(String),
    /// The disk.
    Spool(SpoolError),
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            S3Error::Refused(why) => f.write_str(why),
            S3Error::Changed(key) => write!(
                f,
                "object {key:?} has changed or gone since it was listed; let whoever writes there \
                 come to an end, then give the same command again: it begins with the objects that \
                 there are then"
            ),
            S3Error::Away(why) => write!(
                f,
                "{why}; the objects that were copied stay, and the same command goes on with the \
                 others"
            ),
            S3Error::Spool(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for S3Error {}

impl From<SpoolError> for S3Error {
    fn from(error: SpoolError) -> S3Error {
        S3Error::Spool(error)
    }
}

/// What is being copied, and under which names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Listing {
    of: String,
    /// This copy's own.
    number: u64,
    objects: Vec<Object>,
}

impl Bucket {
    /// What `s3://BUCKET/PREFIX` and the variables mean that all tools for S3 read.
    ///
    /// # Errors
    /// What is missing or cannot be meant, with the remedy and no secret.
    pub fn new(
        said: &str,
        variable: impl Fn(&str) -> Option<String>,
        clock: Clock,
    ) -> Result<Bucket, S3Error> {
        let refused = |why: String| Err(S3Error::Refused(why));
        let rest = said.strip_prefix(SCHEME).unwrap_or(said);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if bucket.is_empty() || !bucket.chars().all(is_plain) {
            return refused(format!(
                "{bucket:?} is no name of a bucket; write s3://BUCKET/PREFIX, with letters in \
                 lower case, digits, - and . in the bucket's name"
            ));
        }
        let variable = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let wanted = |names: &[&str], what: &str| {
            variable(names).ok_or_else(|| {
                let names = names.join(" or ");
                S3Error::Refused(format!("{SCHEME}{bucket}: set {names}: {what}"))
            })
        };
        let credentials = Credentials {
            id: wanted(&["AWS_ACCESS_KEY_ID"], "the name of a key that may list and read it")?,
            secret: wanted(&["AWS_SECRET_ACCESS_KEY"], "the secret of that key")?,
            token: variable(&["AWS_SESSION_TOKEN"]),
        };
        let what =
            "the bucket's region, such as eu-central-1 (of a server that has none, us-east-1)";
        let region = wanted(&["AWS_REGION", "AWS_DEFAULT_REGION"], what)?;
        let said = variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        // A certificate for all buckets has no name with more dots.
        let in_host = said.is_none() && !bucket.contains('.');
        let said = said.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = said.parse::<Uri>().ok().filter(|uri| {
            let is_plain = uri.query().is_none()
                && !uri.authority().is_some_and(|it| it.as_str().contains('@'));
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && is_plain
        });
        let Some(endpoint) = endpoint else {
            return refused(
                "AWS_ENDPOINT_URL is no URL of a server; write https://HOST:PORT".into(),
            );
        };
        let ca_file = variable(&["AWS_CA_BUNDLE"]).map(PathBuf::from);
        let bucket = bucket.to_owned();
        let access = Access { endpoint, in_host, bucket, region, credentials, ca_file, clock };
        Ok(Bucket { access, prefix: prefix.to_owned() })
    }

    /// What it is called.
    pub fn name(&self) -> String {
        format!("{SCHEME}{}/{}", self.access.bucket, self.prefix)
    }

    /// Copies its objects; `told` hears how many bytes are here, and of how many.
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn copy(
        &self,
        spool: &Spool,
        told: &(impl Fn(u64, u64) + Sync),
    ) -> Result<Complete, S3Error> {
        let mut wire = Wire::new(self.access.clone())?;
        let objects = tried(async || objects(&mut wire, &self.prefix).await).await;
        let copied = self.copy_listed(&mut wire, objects?, spool, told).await;
        if let Err(S3Error::Spool(_)) = copied {
            // No room, mostly: what is here already would take the next one's.
            let _ = spool.remove();
        }
        copied
    }

    async fn copy_listed(
        &self,
        wire: &mut Wire,
        objects: Vec<Object>,
        spool: &Spool,
        told: &(impl Fn(u64, u64) + Sync),
    ) -> Result<Complete, S3Error> {
        let taken_us = self.access.clock.now().0;
        let (folder, listing) = begun(spool, &self.name(), objects)?;
        let all = listing.objects.iter().map(|object| object.bytes).sum();
        let mut done = 0;
        let mut files = Vec::with_capacity(listing.objects.len());
        for (nth, object) in listing.objects.iter().enumerate() {
            let ending = Path::new(&object.key).extension().unwrap_or_default().to_string_lossy();
            let name = format!("{:016x}-{nth:07}.{ending}", listing.number);
            let path = folder.join(&name);
            if !std::fs::metadata(&path).is_ok_and(|about| about.len() == object.bytes) {
                fetch(wire, object, &path, &|bytes| told(done + bytes, all)).await?;
                crate::fault::point("history-object");
            }
            done += object.bytes;
            told(done, all);
            let of = format!("{SCHEME}{}/{}", self.access.bucket, object.key);
            files.push(CopiedFile { name, bytes: object.bytes, of });
        }
        let manifest = Manifest { of: self.name(), taken_us, files, ..Manifest::default() };
        Ok(block_in_place(|| spool.publish(&folder, manifest))?)
    }
}

/// The copy of these objects that was broken off, or a new one.
fn begun(spool: &Spool, of: &str, objects: Vec<Object>) -> Result<(PathBuf, Listing), SpoolError> {
    let folder = spool.copying();
    let path = folder.join(OBJECTS);
    let there = std::fs::read(&path).ok();
    let there = there.and_then(|text| serde_json::from_slice::<Listing>(&text).ok());
    if let Some(listing) = there
        && listing.of == of
        && listing.objects == objects
    {
        return Ok((folder, listing));
    }
    spool.remove()?;
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    let number = super::number(&folder)?;
    let listing = Listing { of: of.to_owned(), number, objects };
    let text = serde_json::to_vec(&listing).map_err(|error| at(&path)(error.into()))?;
    std::fs::write(&path, text).map_err(at(&path))?;
    Ok((folder, listing))
}

/// Does it again while it fails in what may mend itself.
async fn tried<T>(mut job: impl AsyncFnMut() -> Result<T, S3Error>) -> Result<T, S3Error> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match job().await {
            Err(S3Error::Away(why)) => tracing::warn!(why, "S3 is asked again"),
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    job().await
}

/// Copies one object to a path.
async fn fetch(
    wire: &mut Wire,
    object: &Object,
    path: &Path,
    told: &(impl Fn(u64) + Sync),
) -> Result<(), S3Error> {
    let part = path.with_extension("part");
    let file = File::create(&part).map_err(at(&part))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut here = 0;
    while here < object.bytes {
        let before = here;
        let mut file = (&mut file, part.as_path());
        let read = tried(async || {
            let done = read(wire, object, &mut here, &mut file, told).await;
            // What came is progress: it is not the next try.
            if here > before { Ok(done.err()) } else { done.map(|()| None) }
        });
        match read.await? {
            None => break,
            Some(S3Error::Away(why)) => {
                tracing::warn!(why, key = object.key, here, "an object goes on where it was cut");
            }
            Some(error) => return Err(error),
        }
    }
    block_in_place(|| {
        let file = file.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    })
    .map_err(at(path))?;
    Ok(())
}

/// Reads what is missing of an object.
async fn read(
    wire: &mut Wire,
    object: &Object,
    here: &mut u64,
    (file, path): &mut (&mut BufWriter<File>, &Path),
    told: &(impl Fn(u64) + Sync),
) -> Result<(), S3Error> {
    let range = format!("bytes={here}-");
    let mut headers = vec![("if-match", object.etag.as_str())];
    if *here > 0 {
        headers.push(("range", &range));
    }
    let reply = wire.get(&object.key, &[], &headers).await?;
    if reply.status() != StatusCode::PARTIAL_CONTENT && *here > 0 {
        // One that knows no ranges sends all of it.
        file.flush().and_then(|()| file.rewind()).map_err(at(path))?;
        file.get_mut().set_len(0).map_err(at(path))?;
        *here = 0;
    }
    let is_same = reply.headers().get("etag").is_none_or(|etag| etag == object.etag.as_str());
    if !is_same {
        return Err(S3Error::Changed(object.key.clone()));
    }
    let mut body = reply.into_body();
    loop {
        let next = tokio::time::timeout(SILENT, body.frame()).await;
        let frame = match next {
            Err(_) => return Err(S3Error::Away(format!("nothing came within {SILENT:?}"))),
            Ok(Some(Err(error))) => return Err(S3Error::Away(self::told(&error))),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
        };
        let Ok(bytes) = frame.into_data() else { continue };
        *here += bytes.len() as u64;
        if *here > object.bytes {
            return Err(S3Error::Changed(object.key.clone()));
        }
        file.write_all(&bytes).map_err(at(path))?;
        told(*here);
    }
    match *here == object.bytes {
        true => Ok(()),
        false => Err(S3Error::Away(format!("object {:?} broke off", object.key))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(said: &str, variables: &[(&str, &str)]) -> Result<Bucket, String> {
        let variable = |name: &str| {
            variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
        };
        Bucket::new(said, variable, Clock::system()).map_err(|error| error.to_string())
    }

    const KEY: [(&str, &str); 3] = [
        ("AWS_ACCESS_KEY_ID", "key-id"),
        ("AWS_SECRET_ACCESS_KEY", "hush-hush"),
        ("AWS_REGION", "eu-central-1"),
    ];

    #[test]
    fn buckets_are_asked_at_aws_by_host_and_elsewhere_by_path() {
        let aws = bucket("s3://events/2026/", &KEY).unwrap();
        let uri = "https://s3.eu-central-1.amazonaws.com/";
        assert_eq!((aws.access.endpoint.to_string().as_str(), aws.access.in_host), (uri, true));
        assert_eq!((aws.name().as_str(), aws.prefix.as_str()), ("s3://events/2026/", "2026/"));
        assert!(!bucket("s3://a.b/", &KEY).unwrap().access.in_host);
        let elsewhere = [&KEY[..], &[("AWS_ENDPOINT_URL", "http://h:9/x")]].concat();
        let elsewhere = bucket("s3://events", &elsewhere).unwrap();
        assert!(!elsewhere.access.in_host);
        assert_eq!(elsewhere.access.endpoint, "http://h:9/x");
        assert!(!format!("{elsewhere:?}").contains("hush-hush"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_set_and_no_secret() {
        for (nth, name) in
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].into_iter().enumerate()
        {
            let mut variables = KEY.to_vec();
            variables.remove(nth);
            let error = bucket("s3://events/", &variables).unwrap_err();
            assert!(error.contains(&format!("set {name}")) && !error.contains("hush"), "{error}");
        }
        for (said, with) in [("s3://", "is no name"), ("s3://A_b/c", "is no name")] {
            assert!(bucket(said, &KEY).unwrap_err().contains(with), "{said}");
        }
        for url in ["", "ftp://h", "http://user:hush-hush@h", "http://h?x", "h"] {
            let with = [&KEY[..], &[("AWS_ENDPOINT_URL", url)]].concat();
            match bucket("s3://events", &with) {
                Ok(_) => assert_eq!(url, ""),
                Err(error) => {
                    assert!(error.contains("https://HOST:PORT") && !error.contains("hush"));
                }
            }
        }
    }
}
