//! Certificates for tests, made by `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::scratch;

/// An authority that vouches for one server, on 127.0.0.1.
#[derive(Debug)]
pub struct TestCa {
    folder: PathBuf,
}

impl TestCa {
    /// Makes an authority, and a certificate for `host` that lasts for some days; negative days
    /// make one that has expired.
    ///
    /// # Panics
    /// When `openssl` does not run.
    pub fn new(host: &str, days: i32) -> Self {
        let ca = Self { folder: scratch() };
        let ext = format!("subjectAltName={host}\nextendedKeyUsage=serverAuth\n");
        fs::write(ca.folder.join("ext"), ext).expect("a file is written");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        ca.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=authority"
        ));
        ca.openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
        ca.openssl(&format!(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext \
             -out server.crt -days {days}"
        ));
        ca
    }

    /// The authority's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// What a server needs to be told.
    pub fn server_args(&self) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        vec![
            "--tls-cert-file".to_owned(),
            file("server.crt"),
            "--tls-key-file".to_owned(),
            file("server.key"),
            "--tls-ca-cert-file".to_owned(),
            file("ca.crt"),
            "--tls-auth-clients".to_owned(),
            "no".to_owned(),
        ]
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn openssl(&self, args: &str) {
        let ran = Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        assert!(ran.status.success(), "{args}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

impl Drop for TestCa {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}
