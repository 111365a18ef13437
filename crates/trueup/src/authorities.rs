//! The certificates of authorities that vouch for servers: those in a file, or the system's.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;

/// The certificates in a file, or the system's; `named` says how a file is named. Read anew for
/// each connection, so that they can be exchanged while running.
///
/// # Errors
/// There are none, with the remedy.
pub(crate) fn authorities(
    file: Option<&Path>,
    named: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = file else {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let why = found.errors.first().map_or("there are none".into(), ToString::to_string);
            return Err(format!(
                "the system's certificates: {why}; install ca-certificates, or {named}"
            ));
        }
        return Ok(found.certs);
    };
    let remedy = "name a file of certificates in PEM that may be read";
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{}: it has no certificate; {remedy}", path.display())),
        Err(error) => Err(format!("{}: {error}; {remedy}", path.display())),
    }
}
