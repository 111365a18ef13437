//! What the URLs of several sources have in common.

use crate::place::unescaped;

/// Partitions that one log may have: one call asks the server about all of them.
const MAX_PARTITIONS: u32 = 256;

/// What stands behind the scheme: `USER:PASSWORD@SERVERS/NAME?QUERY`.
pub(super) struct Parts<'a> {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) servers: &'a str,
    pub(super) name: &'a str,
    pub(super) query: &'a str,
}

impl Parts<'_> {
    /// Takes a URL apart that begins with `scheme`; `none` is said where it does not.
    pub(super) fn of<'a>(said: &'a str, scheme: &str, none: &str) -> Result<Parts<'a>, String> {
        let rest = said.strip_prefix(scheme).ok_or(none)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, password, place) = match place.rsplit_once('@') {
            Some((said, place)) => {
                let (user, password) = login(said)?;
                (user, password, place)
            }
            None => (None, None, place),
        };
        let (servers, name) = place.split_once('/').unwrap_or((place, ""));
        Ok(Parts { user, password, servers, name, query })
    }
}

/// Has each parameter of a query set, which comes once; `set` says whether it knows the name, and
/// `unknown` is said of one that it does not.
pub(super) fn parameters(
    query: &str,
    unknown: &str,
    mut set: impl FnMut(&str, &str) -> Result<bool, String>,
) -> Result<(), String> {
    let mut seen = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, said) = parameter.split_once('=').unwrap_or((parameter, ""));
        if seen.contains(&key) {
            return Err(format!("{key} is given twice; name one"));
        }
        seen.push(key);
        if !set(key, said)? {
            return Err(format!("{key:?} is no parameter of {unknown}"));
        }
    }
    Ok(())
}

/// The names of a log's partitions: the log's own where it has one, else with a number behind it.
pub(super) fn numbered(name: &str, partitions: u32) -> Vec<String> {
    match partitions {
        1 => vec![name.to_owned()],
        several => (0..several).map(|nth| format!("{name}.{nth}")).collect(),
    }
}

/// The group of readers beside those of a group.
pub(super) fn in_lane(group: String, lane: Option<&str>) -> String {
    match lane {
        Some(lane) => format!("{group}.{lane}"),
        None => group,
    }
}

/// `HOST:PORT`; `form` is how the whole URL looks.
pub(super) fn address(server: &str, form: &str) -> Result<(String, u16), String> {
    let parts = server.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok().filter(|&port| port > 0)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let known = |host: &str| !host.is_empty() && host.chars().all(letters);
        match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok().map(|it| it.to_string()),
            None => known(host).then(|| host.to_owned()),
        }
        .map(|host| (host, port))
    });
    parts.ok_or_else(|| format!("{server:?} is no HOST:PORT of a server; {form}"))
}

/// `USER:PASSWORD`, `USER` or `:PASSWORD`, of which each may have `%` and two hex digits.
fn login(said: &str) -> Result<(Option<String>, Option<String>), String> {
    let (user, password) = match said.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (said, None),
    };
    let user = (!user.is_empty()).then(|| plain(user)).transpose()?;
    Ok((user, password.map(plain).transpose()?))
}

fn plain(said: &str) -> Result<String, String> {
    const WRONG: &str = "user and password of a URL: write % as %25, and after other % two hex \
                         digits of a letter in UTF-8";
    unescaped(said).ok_or_else(|| WRONG.to_owned())
}

/// A number of partitions.
pub(super) fn partitions(said: &str) -> Result<u32, String> {
    let known = said.parse().ok().filter(|number| (1..=MAX_PARTITIONS).contains(number));
    known.ok_or_else(|| format!("{said:?} is no number of partitions; write 1 to {MAX_PARTITIONS}"))
}
