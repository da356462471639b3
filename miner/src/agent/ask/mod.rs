//! Asks a device: one request, the bytes of its answer, within a time and a size.
//!
//! Read [`Asker::ask`]. What the bytes mean is [`energy::device`]'s; here are the ways to get them.
//! Devices answer slowly, half, endlessly or not at all, so each request is bounded in time and bytes,
//! and what failed is said in plain words. Nothing is ever written to a device but the question.

mod cgminer;
mod datagram;
mod http;
mod modbus;

use std::time::Duration;

use config::Secret;
use defences::{Defence, stands};
use energy::counter::GapReason;
use energy::device::Request;
use energy::device::modbus::{Asked, frame as modbus_frame};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::upstream::reason;
use crate::upstream::tls::{Fingerprint, Tls};

/// The most that any device's answer has, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Where a device is, and who we are there.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The port of its pages, where it mainly speaks otherwise.
    pub web_port: u16,
    /// Whether HTTP goes over TLS.
    pub tls: bool,
    /// The one certificate that it may show; without, a known authority must have signed it.
    pub fingerprint: Option<Fingerprint>,
    /// The user, where it asks for one.
    pub user: Option<String>,
    /// The password, the bearer token, or SNMP's community.
    pub password: Option<Secret>,
    /// Which of the devices behind one address, by Modbus.
    pub unit: u8,
}

impl Place {
    /// A device that is asked in plain, where nobody logs in.
    #[must_use]
    pub const fn plain(host: String, port: u16, web_port: u16) -> Self {
        Self {
            host,
            port,
            web_port,
            tls: false,
            fingerprint: None,
            user: None,
            password: None,
            unit: 1,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It said nothing in time.
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Late(Duration),
    /// It could not be reached, or hung up.
    #[error("{0}")]
    Lost(String),
    /// It wants a login, or another one.
    #[error("it does not let us in: {0}")]
    Denied(String),
    /// It answered something else, or without end.
    #[error("{0}")]
    Odd(String),
}

impl AskError {
    /// What that is to a meter.
    #[must_use]
    pub const fn gap(&self) -> GapReason {
        match self {
            Self::Late(_) | Self::Lost(_) => GapReason::ReadError,
            Self::Denied(_) => GapReason::Permission,
            Self::Odd(_) => GapReason::Malformed,
        }
    }
}

/// Asks devices.
#[derive(Debug, Clone)]
pub struct Asker {
    tls: Tls,
    limit: Duration,
}

impl Asker {
    /// One that gives each request so long.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { tls: Tls::of_authorities(), limit }
    }

    /// The answer to `request`, as [`energy::device::Answers`] wants it. `number` tells this request
    /// from the one before, where the protocol numbers them.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(
        &self,
        place: &Place,
        request: &Request,
        number: u16,
    ) -> Result<Vec<u8>, AskError> {
        let asking = async {
            match request {
                Request::Cgminer { command } => cgminer::ask(place, command).await,
                Request::Whatsminer { command, parameter } => {
                    cgminer::ask_framed(place, command, *parameter).await
                }
                Request::Http { path } => http::ask(&self.tls, place, path, None).await,
                Request::Post { path, body } => {
                    http::ask(&self.tls, place, path, Some(&body.0)).await
                }
                Request::Snmp { objects } => datagram::ask(place, objects, number).await,
                Request::Modbus { table, start, count } => {
                    let asked = Asked { unit: place.unit, transaction: number };
                    modbus::ask(place, &modbus_frame(asked, *table, *start, *count)).await
                }
            }
        };
        let late = |_| AskError::Late(self.limit);
        timeout(self.limit, Box::pin(asking)).await.map_err(late)?
    }

    /// Sees whether somebody listens there: connects, says nothing and hangs up.
    ///
    /// # Errors
    /// Where nobody does, or not in time.
    pub async fn knock(&self, place: &Place) -> Result<(), AskError> {
        let late = |_| AskError::Late(self.limit);
        timeout(self.limit, connect(place)).await.map_err(late)?.map(drop)
    }

    /// A page as it comes, whatever its status; nothing is followed.
    ///
    /// # Errors
    /// Why there is none.
    #[cfg(feature = "asic-rs")]
    pub async fn page(&self, place: &Place, path: &str) -> Result<Page, AskError> {
        let late = |_| AskError::Late(self.limit);
        let asking = Box::pin(http::page(&self.tls, place, path));
        timeout(self.limit, asking).await.map_err(late)?
    }
}

/// A page with what stands around it.
#[cfg(feature = "asic-rs")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Its HTTP status.
    pub status: u16,
    /// The login that it asks for, where it does.
    pub challenge: String,
    /// Where it would send us.
    pub location: String,
    /// The header `algorithm`, by which some firmware is known.
    pub algorithm: String,
    /// What it says.
    pub body: Vec<u8>,
}

/// A connection to the device.
async fn connect(place: &Place) -> Result<TcpStream, AskError> {
    connect_to(place, place.port).await
}

async fn connect_to(place: &Place, port: u16) -> Result<TcpStream, AskError> {
    let stream = TcpStream::connect((place.host.as_str(), port)).await.map_err(lost)?;
    stream.set_nodelay(true).map_err(lost)?;
    Ok(stream)
}

/// All that comes until the device hangs up.
async fn read_to_end(stream: impl AsyncRead + Unpin) -> Result<Vec<u8>, AskError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(ANSWER_MAX).unwrap_or(u64::MAX);
    let read = stream.take(most.saturating_add(1)).read_to_end(&mut bytes).await;
    match read {
        _ if bytes.len() > ANSWER_MAX && stands(Defence::DeviceAnswer) => Err(endless()),
        // Some devices cut the line instead of closing it; what came before may be whole.
        Err(error) if bytes.is_empty() => Err(lost(error)),
        Ok(_) if bytes.is_empty() => Err(AskError::Lost("it hung up without an answer".to_owned())),
        Ok(_) | Err(_) => Ok(bytes),
    }
}

fn lost(error: std::io::Error) -> AskError {
    AskError::Lost(reason::of_io(&error))
}

fn endless() -> AskError {
    AskError::Odd(format!("an answer of more than {ANSWER_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut devices = tokio::task::JoinSet::new();
        devices.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Until it is cut off, or has said twice what may be said.
            for _ in 0..ANSWER_MAX / 512 {
                if stream.write_all(&[b'['; 1024]).await.is_err() {
                    return;
                }
            }
        });
        let place = Place::plain("127.0.0.1".to_owned(), port, port);
        let asker = Asker::new(Duration::from_secs(60));
        let said = asker.ask(&place, &Request::Cgminer { command: "summary" }, 1).await;
        assert_eq!(said, Err(endless()));
        assert_eq!(endless().gap(), GapReason::Malformed);
    }
}
