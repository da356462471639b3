//! Certificates and keys for tests, as the files that an operator has. It deliberately makes none
//! that anybody trusts.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;

use super::TlsFiles;

/// A certificate signed by its own key.
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
}

impl Identity {
    /// For `pool.example`, good until the end of a year.
    pub(super) fn until(year: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["pool.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let certificate_pem = pem("CERTIFICATE", &certificate);
        Self { certificate, certificate_pem, key_pem: pem("PRIVATE KEY", &key.serialize_der()) }
    }

    /// Writes both into the folder.
    pub(super) fn write(&self, folder: &Path) -> TlsFiles {
        let files = TlsFiles { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
        fs::write(&files.certificate, &self.certificate_pem).unwrap();
        fs::write(&files.key, &self.key_pem).unwrap();
        files
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
