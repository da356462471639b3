//! The certificate and its key: read from files, checked, and read again when they change.
//!
//! Read [`TlsKeeper`]. Files that make no sense together change nothing: whoever renews a
//! certificate writes two files, one after the other, and the keeper may look in between. It
//! deliberately watches no file system; it is told when to look.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    Error, InconsistentKeys, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::NoServerSessionStorage,
};
use sha2::{Digest as _, Sha256};
use units::UnixMillis;

use super::validity::validity;

/// How often the files are looked at.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// No chain and no key is longer.
const FILE_MAX: u64 = 1 << 20;
/// An end that is nearer is warned of: renewal by ACME happens a month before.
const SOON: i64 = 14 * DAY;
const DAY: i64 = 24 * 60 * 60;

/// The section `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The pool's certificate and those that lead to its authority, as PEM, the pool's first.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// What the files hold.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// For new connections.
    pub config: Arc<ServerConfig>,
    /// What the operator should know; a line each.
    pub warnings: Vec<String>,
}

/// What a look at the files brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Unchanged,
    /// Other files, and they are in force for new connections.
    Replaced,
    /// Other files that are of no use: the old ones stay in force. Told once for each mistake.
    Kept(TlsFilesError),
}

/// What is wrong with the files, by key and name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFilesError {
    /// One cannot be used.
    #[error("{key}: {path}: {what}")]
    File {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// Both are fine, and do not belong together.
    #[error(
        "tls.key: {key} is not the key of the first certificate in {certificate} (tls.certificate)"
    )]
    Mismatch {
        /// The key's file.
        key: String,
        /// The certificate's file.
        certificate: String,
    },
}

/// Holds what is in force, and replaces it when the files change.
#[derive(Debug)]
pub struct TlsKeeper {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    /// Of both files as they are in force.
    digest: [u8; 32],
    /// The end of the certificate in force, and what else was noted when it was read.
    notes: Notes,
    told: Option<TlsFilesError>,
}

#[derive(Debug, Clone)]
struct Notes {
    path: String,
    /// In seconds since 1970; `None` where they cannot be read.
    validity: Option<(i64, i64)>,
    open_key: Option<String>,
}

/// Both files' bytes, read and not yet understood.
struct Raw {
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// The key's file, where everybody may read it.
    open_key: Option<String>,
}

impl TlsFiles {
    /// Reads and checks both files. `now` is for the warnings about the certificate's times.
    ///
    /// # Errors
    /// The first file that is of no use, by name, and why.
    pub fn load(&self, now: UnixMillis) -> Result<Loaded, TlsFilesError> {
        let (config, notes) = self.understand(&self.read()?)?;
        Ok(Loaded { config, warnings: notes.warnings(now) })
    }

    fn read(&self) -> Result<Raw, TlsFilesError> {
        let (certificate, _) = read(&self.certificate)
            .map_err(|error| self.wrong_certificate(&format!("cannot be read: {error}")))?;
        let (key, is_open) =
            read(&self.key).map_err(|error| self.wrong_key(&format!("cannot be read: {error}")))?;
        let open_key = is_open.then(|| self.key.display().to_string());
        Ok(Raw { certificate, key, open_key })
    }

    fn understand(&self, raw: &Raw) -> Result<(Arc<ServerConfig>, Notes), TlsFilesError> {
        let chain = self.chain(&raw.certificate)?;
        let key = self.private_key(&raw.key)?;
        let validity = chain.first().and_then(|certificate| validity(certificate));
        let notes = Notes {
            path: self.certificate.display().to_string(),
            validity: validity.map(|times| (times.not_before, times.not_after)),
            open_key: raw.open_key.clone(),
        };
        let config = server_config(chain, key).map_err(|error| self.refused(&error))?;
        Ok((Arc::new(config), notes))
    }

    fn chain(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|error| self.wrong_certificate(&said(&error)))?;
        if chain.is_empty() {
            let wanted = "holds no certificate (PEM, \"-----BEGIN CERTIFICATE-----\")";
            return Err(self.wrong_certificate(wanted));
        }
        Ok(chain)
    }

    fn private_key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFilesError> {
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
            if !matches!(error, pem::Error::NoItemsFound) {
                return self.wrong_key(&said(&error));
            }
            self.wrong_key(if contains(pem, b"ENCRYPTED") {
                "holds an encrypted key, and the pool knows no password"
            } else {
                "holds no private key (PEM, \"-----BEGIN PRIVATE KEY-----\")"
            })
        })
    }

    /// What rustls finds when both are put together.
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds errors; each is about the key")]
    fn refused(&self, error: &Error) -> TlsFilesError {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsFilesError::Mismatch {
                key: self.key.display().to_string(),
                certificate: self.certificate.display().to_string(),
            },
            Error::InvalidCertificate(why) => {
                self.wrong_certificate(&format!("its first certificate cannot be used ({why})"))
            }
            other => self.wrong_key(&format!("the key cannot be used ({other})")),
        }
    }

    fn wrong_certificate(&self, what: &str) -> TlsFilesError {
        wrong("tls.certificate", &self.certificate, what)
    }

    fn wrong_key(&self, what: &str) -> TlsFilesError {
        wrong("tls.key", &self.key, what)
    }
}

impl TlsKeeper {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`TlsFiles::load`].
    pub fn open(files: TlsFiles) -> Result<Self, TlsFilesError> {
        let raw = files.read()?;
        let (config, notes) = files.understand(&raw)?;
        Ok(Self { files, config, digest: raw.digest(), notes, told: None })
    }

    /// For new connections.
    #[must_use]
    pub const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What the operator should know about what is in force: an end that is near, a key that
    /// everybody may read. A line each.
    #[must_use]
    pub fn warnings(&self, now: UnixMillis) -> Vec<String> {
        self.notes.warnings(now)
    }

    /// Other files from the next look on.
    pub fn follow(&mut self, files: TlsFiles) {
        self.files = files;
    }

    /// Looks whether the files have changed, and puts them in force if they are of use.
    pub fn look(&mut self) -> Look {
        match self.try_to_replace() {
            Ok(replaced) => {
                self.told = None;
                if replaced { Look::Replaced } else { Look::Unchanged }
            }
            Err(error) if self.told.as_ref() == Some(&error) => Look::Unchanged,
            Err(error) => {
                self.told = Some(error.clone());
                Look::Kept(error)
            }
        }
    }

    fn try_to_replace(&mut self) -> Result<bool, TlsFilesError> {
        let raw = self.files.read()?;
        let digest = raw.digest();
        if digest == self.digest {
            return Ok(false);
        }
        (self.config, self.notes) = self.files.understand(&raw)?;
        self.digest = digest;
        Ok(true)
    }
}

impl Notes {
    fn warnings(&self, now: UnixMillis) -> Vec<String> {
        let now = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
        let path = &self.path;
        let about_time = match self.validity {
            None => Some(format!("{path}: the certificate's times cannot be read")),
            Some((from, _)) if now < from => {
                let days = (from - now) / DAY;
                Some(format!(
                    "{path}: the certificate is not good yet; its time begins in {days} days"
                ))
            }
            Some((_, until)) if until < now => {
                let days = (now - until) / DAY;
                Some(format!("{path}: the certificate expired {days} days ago: miners refuse it"))
            }
            Some((_, until)) if until - now < SOON => {
                let days = (until - now) / DAY;
                Some(format!("{path}: the certificate expires in {days} days"))
            }
            Some(_) => None,
        };
        let about_key = self.open_key.as_ref().map(|path| {
            format!("{path}: everybody on this machine may read the key; chmod 600 would be right")
        });
        about_time.into_iter().chain(about_key).collect()
    }
}

impl Raw {
    fn digest(&self) -> [u8; 32] {
        let mut both = Sha256::new();
        both.update(Sha256::digest(&self.certificate));
        both.update(Sha256::digest(&self.key));
        both.finalize().into()
    }
}

/// The settings of every connection: session tickets without a store, so that a miner that comes
/// back saves a signature and the pool keeps nothing for it.
fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// A file's bytes, and whether everybody may read it.
fn read(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    use std::os::unix::fs::PermissionsExt as _;

    let file = File::open(path)?;
    let is_open = file.metadata()?.permissions().mode() & 0o004 != 0;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_MAX) {
        return Err(io::Error::other("longer than a megabyte"));
    }
    Ok((bytes, is_open))
}

fn wrong(key: &'static str, path: &Path, what: &str) -> TlsFilesError {
    TlsFilesError::File { key, path: path.display().to_string(), what: what.to_owned() }
}

fn said(error: &pem::Error) -> String {
    format!("is no PEM file ({error})")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests;
