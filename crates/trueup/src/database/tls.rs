//! Whether connections to a database are encrypted, and who has to vouch for its server: what a URL
//! says, what holds where it says nothing, and the certificates.
//!
//! Nothing falls back. A URL that says nothing means the check that holds off a man in the middle,
//! unless the server is on this machine, where there is nobody between. What would send events in
//! clear because the other side wants it so (`prefer`) is refused
//! (docs/decisions/0021-databases.md).

use super::DatabaseError;
use crate::place::unescaped;
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use std::error::Error;
use std::path::{Path, PathBuf};

/// How connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// In clear.
    Off,
    /// Encrypted, with whoever answers.
    Unchecked,
    /// Encrypted, with a server that these authorities vouch for, under whatever name.
    Authority(PathBuf),
    /// Encrypted, with a server that these authorities, or the system's, vouch for by the name
    /// that the URL has.
    Name(Option<PathBuf>),
}

/// What a URL says: the word for how, and the file of authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) mode: Option<String>,
    pub(super) file: Option<PathBuf>,
}

/// What the parameters of a kind of database are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// The parameter of how.
    pub(super) mode: &'static str,
    /// The parameter of the file.
    pub(super) file: &'static str,
    /// In clear.
    pub(super) off: &'static str,
    /// What is the remedy where the server's certificate is for another name.
    pub(super) any_name: &'static str,
}

impl Said {
    /// Takes the two parameters out of a URL; what is left of it.
    ///
    /// # Errors
    /// A parameter is there twice, or the file is not named by a whole path.
    pub(super) fn take(url: &str, words: Words) -> Result<(String, Said), String> {
        // A password may hold a question mark.
        let login = url.find('@').unwrap_or(0);
        let Some(at) = url[login..].find('?').map(|at| login + at) else {
            return Ok((url.to_owned(), Said::default()));
        };
        let (mut said, mut others) = (Said::default(), Vec::new());
        for parameter in url[at + 1..].split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let twice = if name == words.mode {
                said.mode.replace(value.to_owned()).is_some()
            } else if name == words.file {
                said.file.replace(file(value, words)?).is_some()
            } else {
                others.push(parameter);
                false
            };
            if twice {
                return Err(format!("{name} is said twice; say it once"));
            }
        }
        let rest = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Ok((format!("{}{rest}", &url[..at]), said))
    }
}

fn file(value: &str, words: Words) -> Result<PathBuf, String> {
    let path = unescaped(value).map(PathBuf::from).filter(|path| path.is_absolute());
    path.ok_or_else(|| {
        let file = words.file;
        format!("{file}={value}: write the whole path of a file of certificates, from / on")
    })
}

/// The certificates of the authorities in a file, or of the system's.
///
/// # Errors
/// There are none, with the remedy.
pub(super) fn authorities(
    file: Option<&Path>,
    words: Words,
) -> Result<Vec<CertificateDer<'static>>, DatabaseError> {
    let named = format!("write {}=/PATH", words.file);
    crate::authorities::authorities(file, &named).map_err(DatabaseError::Setup)
}

/// Why a server's certificate is not taken, if that is what an error is about: what will not mend
/// itself is a matter of settings, what may, such as one that has expired, of a database away.
pub(super) fn refused(
    error: &(dyn Error + 'static),
    tls: &Tls,
    words: Words,
) -> Option<DatabaseError> {
    let rustls::Error::InvalidCertificate(why) = of_rustls(error)? else { return None };
    let Words { mode, file, any_name, .. } = words;
    let remedy = match why {
        // An authority of the same name with another key signs badly.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let whose = match tls {
                Tls::Authority(path) | Tls::Name(Some(path)) => path.display().to_string(),
                _ => "the system's certificates".into(),
            };
            format!("no authority of {whose} vouches for it; write {file}=/PATH of the right one's")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("write the host by a name that it has, or {any_name}")
        }
        _ => {
            let asks = format!("{mode} asks for a certificate that holds, the server's does not");
            return Some(DatabaseError::Away(format!("{asks}: {why}")));
        }
    };
    Some(DatabaseError::Setup(format!("the server's certificate is not taken: {why}; {remedy}")))
}

/// What is said where a server has no TLS.
pub(super) fn plain(words: Words) -> DatabaseError {
    let Words { mode, off, .. } = words;
    DatabaseError::Setup(format!(
        "the server does not encrypt; set it up with a certificate, or write {mode}={off} where \
         nobody else is in the network between: then events, and what proves the password, go in \
         clear"
    ))
}

/// Somewhere behind it may be the error of TLS itself; one of I/O hides what it wraps.
fn of_rustls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words =
        Words { mode: "mode", file: "file", off: "off", any_name: "mode=any-name" };

    fn check(url: &str, rest: &str, mode: Option<&str>, file: Option<&str>) {
        let said = Said { mode: mode.map(Into::into), file: file.map(Into::into) };
        assert_eq!(Said::take(url, WORDS), Ok((rest.to_owned(), said)), "{url}");
    }

    #[test]
    fn the_parameters_of_encryption_are_taken_and_the_others_stay() {
        check("x://h/n", "x://h/n", None, None);
        check("x://h/n?mode=a", "x://h/n", Some("a"), None);
        check("x://h/n?b=c&file=/a%20b&d", "x://h/n?b=c&d", None, Some("/a b"));
        check("x://u:a?mode=b@h/n?mode=c", "x://u:a?mode=b@h/n", Some("c"), None);
    }

    #[test]
    fn what_is_said_twice_or_of_a_file_somewhere_is_refused() {
        for url in ["x://h?mode=a&mode=b", "x://h?file=a", "x://h?file=/%zz", "x://h?file="] {
            assert!(Said::take(url, WORDS).is_err(), "{url}");
        }
    }
}
