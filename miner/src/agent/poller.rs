//! Asks one device after its interval, and at once when somebody wants to know.
//!
//! Read [`poll`], then [`Poller::run`]. Each device has a task of its own, so that one that is slow or
//! dead keeps nobody waiting; how many are asked at a time is bounded. Whatever comes of it, a result
//! is handed on: [`super::farm`] can wait for one.

use std::sync::Arc;

use energy::counter::GapReason;
use energy::device::modbus::Asked;
use energy::device::{Request, Telemetry, Unreadable};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use units::Moment;

use super::ask::{AskError, Asker, Place};
use super::settings::Device;
use crate::clock::Clock;

/// Devices asked at a time: each takes a socket.
pub const AT_A_TIME: usize = 64;
/// Numbers of a turn's requests: each turn has its own, so that a late answer is known for one.
const NUMBERS: u16 = 16;

/// One device's task.
#[derive(Debug)]
pub struct Poller {
    /// Which of the farm's devices.
    pub index: usize,
    /// The device.
    pub device: Device,
    /// How it is asked.
    pub asker: Asker,
    /// When somebody wants to know at once.
    pub wake: Arc<Notify>,
    /// Bounds how many are asked at a time.
    pub room: Arc<Semaphore>,
    /// Where results go.
    pub results: mpsc::Sender<Polled>,
    /// The clock.
    pub clock: Clock,
}

/// What came of asking.
#[derive(Debug)]
pub struct Polled {
    /// Which of the farm's devices.
    pub index: usize,
    /// When the answer was there.
    pub at: Moment,
    /// What it says, or why there is none.
    pub result: Result<Telemetry, PollError>,
}

/// Why a device said nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// It was not to be had.
    #[error("{0}")]
    Ask(#[from] AskError),
    /// It said something else.
    #[error("{0}")]
    Read(#[from] Unreadable),
}

impl PollError {
    /// What that is to a meter.
    #[must_use]
    pub const fn gap(&self) -> GapReason {
        match self {
            Self::Ask(error) => error.gap(),
            Self::Read(Unreadable::Silent) => GapReason::ReadError,
            Self::Read(Unreadable::Refused { .. }) => GapReason::Permission,
            Self::Read(Unreadable::Malformed { .. }) => GapReason::Malformed,
        }
    }
}

impl Poller {
    /// Asks until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut number = 0_u16;
        loop {
            number = number.wrapping_add(1);
            let asking = async {
                let _room = self.room.acquire().await;
                poll(&self.asker, &self.device, number).await
            };
            let result = tokio::select! {
                result = asking => result,
                () = cancel.cancelled() => return,
            };
            let polled = Polled { index: self.index, at: self.clock.now(), result };
            if self.results.send(polled).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(self.device.wiring.interval) => {}
                () = self.wake.notified() => {}
                () = cancel.cancelled() => return,
            }
        }
    }
}

/// Asks a device everything that its interface wants to know, one question after the other.
///
/// # Errors
/// Why it says nothing: of the first question where none was answered.
pub async fn poll(asker: &Asker, device: &Device, number: u16) -> Result<Telemetry, PollError> {
    let mut place = device.place.clone();
    log_in(asker, device, &mut place).await?;
    let mut answers = Vec::new();
    let mut first_error = None;
    let asked = Asked { unit: place.unit, transaction: number.wrapping_mul(NUMBERS) };
    for (request, at) in device.interface.requests().into_iter().zip(0_u16..) {
        let number = asked.transaction.wrapping_add(at);
        let asked = match wanted(&request, device) {
            true => asker.ask(&place, &request, number).await.map(Some),
            false => Ok(None),
        };
        let unreachable = matches!(asked, Err(AskError::Late(_) | AskError::Lost(_)));
        match asked {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                first_error.get_or_insert(error);
                answers.push(None);
            }
        }
        // Who does not answer the first question is not asked the others.
        if unreachable && answers.iter().all(Option::is_none) {
            break;
        }
    }
    let answers: Vec<Option<&[u8]>> = answers.iter().map(Option::as_deref).collect();
    match (device.interface.read(asked, &answers), first_error) {
        (Err(Unreadable::Silent), Some(error)) => Err(error.into()),
        (read, _) => Ok(read?),
    }
}

/// A page of a device that mainly speaks otherwise wants a login; without one it is not asked.
fn wanted(request: &Request, device: &Device) -> bool {
    !matches!(request, Request::Http { .. })
        || device.interface.is_web()
        || device.place.password.is_some()
}

/// Where a device hands out a token for a name and a password, gets it.
async fn log_in(asker: &Asker, device: &Device, place: &mut Place) -> Result<(), PollError> {
    let (Some(user), Some(password)) = (&device.place.user, &device.place.password) else {
        return Ok(());
    };
    let Some(request) = device.interface.login(user, password.expose()) else { return Ok(()) };
    place.user = None;
    place.password = None;
    let answer = asker.ask(place, &request, 0).await?;
    place.password = Some(config::Secret::new(device.interface.token(&answer)?));
    Ok(())
}
