//! Whom we talk to over TLS: a pool whose certificate a known authority signed for its name, or
//! the one certificate that is pinned.
//!
//! Read [`Tls::shake_hands`]. With a pin the authorities, the name and the dates count for nothing
//! and the certificate itself for everything: that is how a pool without an authority is used.
//! There is deliberately no way to switch checking off. The provider of cryptography is ring,
//! handed to rustls by name; no process-wide default is set or used.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use defences::{Defence, stands};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

/// The SHA-256 digest of a certificate, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Why a text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: not a fingerprint; write the certificate's SHA-256 as 64 hexadecimal digits")]
pub struct FingerprintError(String);

/// What connections over TLS have in common.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    authorities: Arc<RootCertStore>,
}

/// Decides about a pool's certificate.
#[derive(Debug)]
struct Judge {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

/// What is believed.
#[derive(Debug)]
enum Trust {
    /// What a known authority signed for the pool's name.
    Authorities(Arc<WebPkiServerVerifier>),
    /// This certificate, and nothing else.
    Pin(Fingerprint),
}

/// Why a certificate was refused, in plain words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// The authorities that browsers know, as they are built into this program.
pub(crate) fn authorities() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Digits of either case, with or without colons between the bytes.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let wrong = || FingerprintError(text.to_owned());
        let digits = text.replace(':', "");
        let bytes = hex::decode(digits).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Tls {
    /// With the authorities that browsers know.
    pub(crate) fn of_authorities() -> Self {
        Self::new(authorities())
    }

    pub(super) fn new(authorities: RootCertStore) -> Self {
        let provider = Arc::new(ring::default_provider());
        Self { provider, authorities: Arc::new(authorities) }
    }

    /// Speaks TLS over an open connection to `host`; the error is in plain words.
    pub(crate) async fn shake_hands(
        &self,
        host: &str,
        pin: Option<Fingerprint>,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host} is no name that a certificate could be for"))?;
        let config = self.config(pin).map_err(|error| format!("TLS: {error}"))?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, tcp).await.map_err(|error| reason(&error))
    }

    fn config(&self, pin: Option<Fingerprint>) -> Result<ClientConfig, Box<dyn std::error::Error>> {
        let provider = Arc::clone(&self.provider);
        let trust = match pin {
            Some(pin) => Trust::Pin(pin),
            None => {
                let authorities = Arc::clone(&self.authorities);
                let builder = WebPkiServerVerifier::builder_with_provider(authorities, provider);
                Trust::Authorities(builder.build()?)
            }
        };
        let judge = Judge { provider: Arc::clone(&self.provider), trust };
        Ok(ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous() // what rustls calls any verifier but its own; ours asks its own, or a pin
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_no_client_auth())
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Fingerprint::of(end_entity);
        match &self.trust {
            Trust::Pin(pin) if *pin == shown || !stands(Defence::CertificatePin) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Pin(pin) => Err(refused(format!(
                "the pool's certificate is not the one that is pinned: its fingerprint is {shown}, \
                 pinned is {pin}"
            ))),
            Trust::Authorities(_) if !stands(Defence::CertificateAuthority) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Authorities(known) => known
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| {
                    let why = distrust(&error, &server_name.to_str());
                    refused(format!(
                        "the pool's certificate is not to be trusted: {why}; where its operator \
                         says that it is {shown}, that can be pinned as tls_fingerprint"
                    ))
                }),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        has_key(verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        has_key(verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether who shows a certificate has its key, by what they signed with it.
fn has_key(
    signed: Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    if stands(Defence::CertificateKey) { signed } else { Ok(HandshakeSignatureValid::assertion()) }
}

fn refused(why: String) -> Error {
    let why: Arc<dyn std::error::Error + Send + Sync> = Arc::new(Refused(why));
    Error::InvalidCertificate(CertificateError::Other(OtherError(why)))
}

fn distrust(error: &Error, name: &str) -> String {
    use CertificateError as E;
    let Error::InvalidCertificate(why) = error else { return error.to_string() };
    if matches!(why, E::UnknownIssuer) {
        "no known authority signed it".to_owned()
    } else if matches!(why, E::BadSignature) {
        "its signature is not that of the authority that it names".to_owned()
    } else if matches!(why, E::NotValidForName | E::NotValidForNameContext { .. }) {
        format!("it is not for {name}")
    } else if matches!(why, E::Expired | E::ExpiredContext { .. }) {
        "it has expired".to_owned()
    } else if matches!(why, E::NotValidYet | E::NotValidYetContext { .. }) {
        "it is not valid yet (is this machine's clock right?)".to_owned()
    } else {
        why.to_string()
    }
}

/// Of a handshake that failed.
fn reason(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => {
            why.to_string()
        }
        Some(Error::InvalidMessage(_)) => {
            "this port does not speak TLS: is it meant to be stratum+tcp?".to_owned()
        }
        Some(tls) => format!("TLS: {tls}"),
        None if super::reason::is_cut(error) => {
            "the pool closed the connection while TLS began: does this port speak TLS?".to_owned()
        }
        None => format!("TLS: {}", super::reason::of_io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_people_write_them() {
        let plain = "00ff".repeat(16);
        let colons = plain
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|c| str::from_utf8(c).unwrap())
            .collect::<Vec<_>>()
            .join(":");
        let one: Fingerprint = plain.parse().unwrap();
        assert_eq!(colons.parse(), Ok(one));
        assert_eq!(one.to_string(), plain);
        for text in ["", "00", &plain[1..], &format!("{plain}00"), &plain.replace('f', "g")] {
            let error = text.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(error.starts_with(text) && error.contains("64 hexadecimal"), "{error}");
        }
    }

    #[test]
    fn the_authorities_are_there() {
        assert!(authorities().len() > 50);
        assert!(Tls::new(authorities()).config(None).is_ok());
    }
}
