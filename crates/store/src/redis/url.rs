//! Where the servers are, from the store's URL.
//!
//! ```text
//! redis://[user[:password]@]host[:port][/db]             one server
//! rediss://...                                           the same over TLS
//! unix:/path[?db=N], redis+unix:/path[?db=N]             one server, by its socket
//! redis-sentinel://[user:password@]h[:p],h[:p]/NAME[/db] the primary that the sentinels name
//! redis-cluster://[user:password@]h[:p],h[:p]            a cluster, from any of its nodes
//! rediss-sentinel://..., rediss-cluster://...            over TLS
//! ```

use std::fmt;
use std::path::PathBuf;

use crate::StoreError;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const REMEDY: &str = "Write redis://HOST:PORT/DB, rediss://..., unix:/PATH, \
                      redis-sentinel://HOST:PORT,.../NAME or redis-cluster://HOST:PORT,....";

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Single,
    Sentinel { master: String },
    Cluster,
}

/// A URL, taken apart. `Debug` and `Display` hold no password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) shape: Shape,
    /// At least one.
    pub(super) seeds: Vec<Place>,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: i64,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<String> = self.seeds.iter().map(Place::to_string).collect();
        let seeds = seeds.join(",");
        match (&self.shape, &self.seeds[0]) {
            (Shape::Single, Place::Unix(path)) => write!(f, "unix:{}", path.display()),
            (Shape::Single, _) => write!(f, "{}://{seeds}/{}", self.scheme(), self.db),
            (Shape::Sentinel { master }, _) => {
                write!(f, "{}-sentinel://{seeds}/{master}/{}", self.scheme(), self.db)
            }
            (Shape::Cluster, _) => write!(f, "{}-cluster://{seeds}", self.scheme()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Target {
    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }

    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`StoreError::Unfit`], without the URL's user and password.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("unix:").or_else(|| url.strip_prefix("redis+unix:")) {
            return socket(path.strip_prefix("//").unwrap_or(path));
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| unfit("it has no scheme"))?;
        let (tls, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => (false, scheme.strip_prefix("redis").unwrap_or("?")),
        };
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = credentials(login)?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = if kind == "-sentinel" { SENTINEL_PORT } else { REDIS_PORT };
        let seeds =
            hosts.split(',').map(|host| place(host, port)).collect::<Result<Vec<_>, _>>()?;
        let (shape, db) = match kind {
            "" if seeds.len() == 1 => (Shape::Single, path),
            "" => return Err(unfit("it names several servers")),
            "-cluster" => (Shape::Cluster, path),
            "-sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(unfit("the primary's name is missing"));
                }
                (Shape::Sentinel { master: unescape(master)? }, db)
            }
            _ => return Err(unfit("its scheme is not known")),
        };
        let db = database(db)?;
        if shape == Shape::Cluster && db != 0 {
            return Err(unfit("a cluster has database 0 only"));
        }
        Ok(Self { shape, seeds, tls, user, password, db })
    }
}

fn unfit(what: &str) -> StoreError {
    let (place, detail) = ("The store's URL".to_owned(), what.to_owned());
    StoreError::Unfit { place, detail, remedy: REMEDY }
}

fn socket(path: &str) -> Result<Target, StoreError> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if path.is_empty() {
        return Err(unfit("the socket's path is missing"));
    }
    let db = match query.strip_prefix("db=") {
        Some(db) => database(db)?,
        None if query.is_empty() => 0,
        None => return Err(unfit("behind a socket's path only ?db=N may stand")),
    };
    let seeds = vec![Place::Unix(PathBuf::from(unescape(path)?))];
    Ok(Target { shape: Shape::Single, seeds, tls: false, user: None, password: None, db })
}

fn database(text: &str) -> Result<i64, StoreError> {
    match text {
        "" => Ok(0),
        _ => match text.parse() {
            Ok(db) if db >= 0 => Ok(db),
            _ => Err(unfit("the database is not a number")),
        },
    }
}

fn credentials(login: &str) -> Result<(Option<String>, Option<String>), StoreError> {
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(unescape(password)?)),
        None => (login, None),
    };
    let user = if user.is_empty() { None } else { Some(unescape(user)?) };
    Ok((user, password))
}

fn place(text: &str, port: u16) -> Result<Place, StoreError> {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address stands in brackets.
        Some((host, number)) if !number.ends_with(']') => {
            let port = number.parse().map_err(|_| unfit("a port is not a number"))?;
            (host, port)
        }
        _ => (text, port),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(unfit("a host is missing"));
    }
    Ok(Place::Tcp { host: host.to_owned(), port })
}

/// Percent-encoding undone.
fn unescape(text: &str) -> Result<String, StoreError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.ok_or_else(|| unfit("a % is not followed by two hex digits"))?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| unfit("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, display: &str, login: Option<(&str, &str)>) {
        let target = Target::parse(url).expect(url);
        assert_eq!(target.to_string(), display);
        let found = target.user.as_deref().zip(target.password.as_deref());
        assert_eq!(found, login, "{url}");
    }

    #[test]
    fn urls_say_where_the_servers_are() {
        check("redis://h", "redis://h:6379/0", None);
        check("redis://h:1/3", "redis://h:1/3", None);
        check("rediss://u:p%40%3a@h:1", "rediss://h:1/0", Some(("u", "p@:")));
        check("redis://u:a@b@h", "redis://h:6379/0", Some(("u", "a@b")));
        check("redis://[::1]:7", "redis://::1:7/0", None);
        check("redis://[::1]", "redis://::1:6379/0", None);
        check("unix:/run/r.sock?db=2", "unix:/run/r.sock", None);
        check("redis+unix:///run/r.sock", "unix:/run/r.sock", None);
        check("redis-sentinel://a,b:2/main/1", "redis-sentinel://a:26379,b:2/main/1", None);
        check("rediss-cluster://u:p@a,b:2", "rediss-cluster://a:6379,b:2", Some(("u", "p")));
    }

    #[test]
    fn a_url_that_cannot_be_is_refused_without_its_password() {
        for bad in [
            "h:1",
            "http://u:secret@h",
            "redis-other://u:secret@h",
            "redis://u:secret@",
            "redis://u:secret@a,b",
            "redis://u:secret@h:port",
            "redis://u:secret@h/x",
            "redis://u:secret@h/-1",
            "redis://u:secret%zz@h",
            "redis-sentinel://u:secret@h",
            "redis-cluster://u:secret@h/1",
            "unix:",
            "unix:/s?secret",
        ] {
            let error = Target::parse(bad).expect_err(bad).to_string();
            assert!(error.starts_with("The store's URL"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
