//! TLS for the client of PostgreSQL: libpq's words for it, and the hook that the client has for
//! streams of its user's.
//!
//! With a password by SCRAM the proof is bound to the server's certificate
//! (`tls-server-end-point`), so whoever stands between with a certificate of its own cannot pass
//! it on; `channel_binding=require` takes no other proof.

use super::DatabaseError;
use super::connect::is_here;
use super::tls::{Said, Tls, Words, authorities};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::Host;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, Socket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

/// libpq's.
pub(super) const WORDS: Words = Words {
    mode: "sslmode",
    file: "sslrootcert",
    off: "disable",
    any_name: "sslmode=verify-ca with sslrootcert=/PATH",
};

/// What servers of PostgreSQL 17 and later are told that will be spoken.
const PROTOCOL: &[u8] = b"postgresql";

/// What a URL means.
///
/// # Errors
/// A word that is not taken, with the one that is.
pub(super) fn mode(said: Said, is_local: bool) -> Result<Tls, String> {
    match (said.mode.as_deref(), said.file) {
        (None, None) if is_local => Ok(Tls::Off),
        (None | Some("verify-full"), file) => Ok(Tls::Name(file)),
        (Some("disable"), _) => Ok(Tls::Off),
        (Some("require"), None) => Ok(Tls::Unchecked),
        (Some("require" | "verify-ca"), Some(file)) => Ok(Tls::Authority(file)),
        (Some("verify-ca"), None) => Err("sslmode=verify-ca: under any name the authorities of \
                                          the system vouch for everybody; write \
                                          sslrootcert=/PATH too, or sslmode=verify-full"
            .into()),
        (Some(word @ ("allow" | "prefer")), _) => Err(format!(
            "sslmode={word} would send events in clear, without a word, to whoever says that he \
             has no TLS; write sslmode=verify-full, sslmode=require, or sslmode=disable where \
             nobody else is in the network between"
        )),
        (Some(word), _) => Err(format!(
            "sslmode={word} is not known; write disable, require, verify-ca or verify-full"
        )),
    }
}

/// Whether nobody else is between: all its servers are on this machine.
pub(super) fn is_local(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    let is_local = |host: &Host| match host {
        Host::Tcp(name) => is_here(name),
        Host::Unix(_) => true,
    };
    match addresses.is_empty() {
        true => config.get_hosts().iter().all(is_local),
        false => addresses.iter().all(IpAddr::is_loopback),
    }
}

/// Makes the streams of one connection.
#[derive(Clone)]
pub(super) struct Hook(Arc<ClientConfig>);

impl Hook {
    /// Reads certificates, which waits for a disk.
    pub(super) fn of(tls: &Tls) -> Result<Hook, DatabaseError> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| DatabaseError::Setup(error.to_string()))?;
        let lenient = |roots| Arc::new(Lenient { roots, algorithms });
        let mut config = match tls {
            Tls::Off | Tls::Unchecked => {
                builder.dangerous().with_custom_certificate_verifier(lenient(None))
            }
            Tls::Authority(file) => {
                let roots = roots(authorities(Some(file), WORDS)?);
                builder.dangerous().with_custom_certificate_verifier(lenient(Some(roots)))
            }
            Tls::Name(file) => {
                builder.with_root_certificates(roots(authorities(file.as_deref(), WORDS)?))
            }
        }
        .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Hook(Arc::new(config)))
    }
}

fn roots(certificates: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    roots
}

impl MakeTlsConnect<Socket> for Hook {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, InvalidDnsNameError> {
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Handshake { connector: TlsConnector::from(Arc::clone(&self.0)), name })
    }
}

/// One that is to be made, with a server of this name.
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, socket).await.map(Stream) })
    }
}

/// An encrypted connection.
pub(super) struct Stream(Encrypted<Socket>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        match certificates.and_then(<[_]>::first).and_then(|first| end_point(first)) {
            Some(digest) => ChannelBinding::tls_server_end_point(digest),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Takes a server under any name: one that the roots vouch for, or without them whoever answers.
/// That it holds the key of the certificate that it shows is checked in any case.
#[derive(Debug)]
struct Lenient {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                between,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The digest of a certificate to which a proof is bound (RFC 5929, section 4.1): by the hash of
/// its own signature, but SHA-256 for those that are broken. `None` where the signature's
/// algorithm names no hash, and for RSA-PSS, whose parameters do.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const SHA1_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5];
    const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    const SHA384_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
    const SHA512_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
    const SHA1_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
    const SHA256_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    const SHA384_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
    const SHA512_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
    // Certificate ::= SEQUENCE { tbsCertificate, SEQUENCE { OBJECT IDENTIFIER, ... }, ... }
    let (whole, _) = der(certificate)?;
    let (_signed, rest) = der(whole)?;
    let (algorithm, _) = der(rest)?;
    match der(algorithm)?.0 {
        SHA1_RSA | SHA1_ECDSA | SHA256_RSA | SHA256_ECDSA => {
            Some(Sha256::digest(certificate).to_vec())
        }
        SHA384_RSA | SHA384_ECDSA => Some(Sha384::digest(certificate).to_vec()),
        SHA512_RSA | SHA512_ECDSA => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The content of the first value in DER, and what stands behind it.
fn der(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.get(1..)?.split_first()?;
    if length < 0x80 {
        return rest.split_at_checked(length.into());
    }
    let (digits, rest) = rest.split_at_checked((length & 0x7f).into())?;
    let length = digits
        .iter()
        .try_fold(0_usize, |sum, &digit| sum.checked_mul(256)?.checked_add(digit.into()))?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(mode: Option<&str>, file: Option<&str>, is_local: bool) -> Result<Tls, String> {
        super::mode(Said { mode: mode.map(Into::into), file: file.map(Into::into) }, is_local)
    }

    #[test]
    fn words_mean_what_they_mean_to_libpq_and_nothing_said_means_the_whole_check() {
        let file = || "/ca.crt".into();
        assert_eq!(means(None, None, true), Ok(Tls::Off));
        assert_eq!(means(None, None, false), Ok(Tls::Name(None)));
        assert_eq!(means(None, Some("/ca.crt"), true), Ok(Tls::Name(Some(file()))));
        assert_eq!(means(Some("disable"), None, false), Ok(Tls::Off));
        assert_eq!(means(Some("require"), None, true), Ok(Tls::Unchecked));
        assert_eq!(means(Some("require"), Some("/ca.crt"), false), Ok(Tls::Authority(file())));
        assert_eq!(means(Some("verify-ca"), Some("/ca.crt"), false), Ok(Tls::Authority(file())));
        assert_eq!(means(Some("verify-full"), None, false), Ok(Tls::Name(None)));
    }

    #[test]
    fn nobody_is_between_where_all_servers_are_on_this_machine() {
        for (url, expected) in [
            ("postgres://u@localhost/n", true),
            ("postgres://u@127.0.0.9:1,[::1]/n", true),
            ("postgres://u@%2Frun%2Fpostgresql/n", true),
            ("postgres://u@127.0.0.1,db/n", false),
            ("postgres://u@10.0.0.1/n", false),
            ("postgres://u@localhost/n?hostaddr=10.0.0.1", false),
        ] {
            let config: Config = url.parse().expect(url);
            assert_eq!(is_local(&config), expected, "{url}");
        }
    }

    #[test]
    fn words_that_would_fall_back_or_check_nothing_are_refused_with_another() {
        for (word, remedy) in [
            ("prefer", "sslmode=verify-full"),
            ("allow", "sslmode=disable"),
            ("verify-ca", "sslrootcert=/PATH"),
            ("full", "verify-full"),
        ] {
            let refusal = means(Some(word), None, true).expect_err(word);
            assert!(refusal.contains(word) && refusal.contains(remedy), "{refusal}");
        }
    }

    #[test]
    fn what_is_no_certificate_binds_nothing() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x30\x01\x00"] {
            assert_eq!(end_point(bytes), None, "{bytes:?}");
        }
    }
}
