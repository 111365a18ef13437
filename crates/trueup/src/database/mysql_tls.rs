//! TLS for the client of MySQL and MariaDB: MySQL's words for it.

use super::DatabaseError;
use super::connect::is_here;
use super::tls::{Said, Tls, Words, authorities};
use mysql_async::{Opts, SslOpts};
use rustls::RootCertStore;
use rustls::crypto::ring;

/// MySQL's.
pub(super) const WORDS: Words = Words {
    mode: "ssl-mode",
    file: "ssl-ca",
    off: "DISABLED",
    any_name: "ssl-mode=REQUIRED, which checks nothing",
};

/// What a URL means.
///
/// # Errors
/// A word that is not taken, with the one that is.
pub(super) fn mode(said: Said, is_local: bool) -> Result<Tls, String> {
    let word = said.mode.map(|word| word.to_ascii_uppercase());
    match (word.as_deref(), said.file) {
        (None, None) if is_local => Ok(Tls::Off),
        (None | Some("VERIFY_IDENTITY"), file) => Ok(Tls::Name(file)),
        (Some("DISABLED"), _) => Ok(Tls::Off),
        (Some("REQUIRED"), None) => Ok(Tls::Unchecked),
        (Some("REQUIRED"), Some(_)) => Err("ssl-mode=REQUIRED checks no certificate, so ssl-ca \
                                            would mean nothing; write ssl-mode=VERIFY_IDENTITY, \
                                            or leave ssl-ca out"
            .into()),
        (Some("VERIFY_CA"), _) => Err("ssl-mode=VERIFY_CA: the client cannot check an authority \
                                       and not the name; write ssl-mode=VERIFY_IDENTITY"
            .into()),
        (Some("PREFERRED"), _) => Err("ssl-mode=PREFERRED would send events in clear, without a \
                                       word, to whoever says that he has no TLS; write \
                                       ssl-mode=VERIFY_IDENTITY, ssl-mode=REQUIRED, or \
                                       ssl-mode=DISABLED where nobody else is in the network \
                                       between"
            .into()),
        (Some(word), _) => Err(format!(
            "ssl-mode={word} is not known; write DISABLED, REQUIRED or VERIFY_IDENTITY"
        )),
    }
}

/// Whether nobody else is between: the server is on this machine.
pub(super) fn is_local(opts: &Opts) -> bool {
    let host = opts.ip_or_hostname().trim_start_matches('[').trim_end_matches(']');
    is_here(host)
}

/// What the client is told. Reads certificates, which waits for a disk.
pub(super) fn options(tls: &Tls) -> Result<Option<SslOpts>, DatabaseError> {
    // Another crate of the process may have chosen its provider already; then that one serves.
    drop(ring::default_provider().install_default());
    let file = match tls {
        Tls::Off => return Ok(None),
        Tls::Unchecked => {
            return Ok(Some(SslOpts::default().with_danger_accept_invalid_certs(true)));
        }
        Tls::Authority(file) => Some(file),
        Tls::Name(file) => file.as_ref(),
    };
    // The client gives up at the first that it cannot read; a system has hundreds.
    let can_be_read =
        |certificate: &_| RootCertStore::empty().add(Clone::clone(certificate)).is_ok();
    let roots = authorities(file.map(AsRef::as_ref), WORDS)?.into_iter().filter(can_be_read);
    let roots = roots.map(|certificate| certificate.as_ref().to_vec().into()).collect();
    Ok(Some(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(mode: Option<&str>, file: Option<&str>, is_local: bool) -> Result<Tls, String> {
        super::mode(Said { mode: mode.map(Into::into), file: file.map(Into::into) }, is_local)
    }

    #[test]
    fn words_mean_what_they_mean_to_mysql_and_nothing_said_means_the_whole_check() {
        assert_eq!(means(None, None, true), Ok(Tls::Off));
        assert_eq!(means(None, None, false), Ok(Tls::Name(None)));
        assert_eq!(means(None, Some("/ca"), true), Ok(Tls::Name(Some("/ca".into()))));
        assert_eq!(means(Some("disabled"), None, false), Ok(Tls::Off));
        assert_eq!(means(Some("REQUIRED"), None, true), Ok(Tls::Unchecked));
        assert_eq!(means(Some("VERIFY_IDENTITY"), None, true), Ok(Tls::Name(None)));
    }

    #[test]
    fn words_that_would_fall_back_or_check_nothing_are_refused_with_another() {
        for (word, file) in
            [("PREFERRED", None), ("VERIFY_CA", Some("/ca")), ("REQUIRED", Some("/ca"))]
        {
            let refusal = means(Some(word), file, true).expect_err(word);
            assert!(refusal.contains("ssl-mode=VERIFY_IDENTITY"), "{refusal}");
        }
        assert!(means(Some("on"), None, true).is_err());
    }

    #[test]
    fn nobody_is_between_where_the_server_is_on_this_machine() {
        for (url, expected) in [
            ("mysql://u@localhost/n", true),
            ("mysql://u@127.0.0.9:1/n", true),
            ("mysql://u@[::1]/n", true),
            ("mysql://u@db/n", false),
            ("mysql://u@10.0.0.1/n", false),
        ] {
            assert_eq!(is_local(&Opts::from_url(url).expect(url)), expected, "{url}");
        }
    }
}
