//! What the URLs of several sources have in common.

/// Partitions that one log may have: one call asks the server about all of them.
const MAX_PARTITIONS: u32 = 256;

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
pub(super) fn login(said: &str) -> Result<(Option<String>, Option<String>), String> {
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
    let mut bytes = Vec::with_capacity(said.len());
    let mut rest = said.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(WRONG)?;
        let digits = std::str::from_utf8(digits).map_err(|_| WRONG)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| WRONG.to_owned())
}

/// A number of partitions.
pub(super) fn partitions(said: &str) -> Result<u32, String> {
    let known = said.parse().ok().filter(|number| (1..=MAX_PARTITIONS).contains(number));
    known.ok_or_else(|| format!("{said:?} is no number of partitions; write 1 to {MAX_PARTITIONS}"))
}
