//! Whether a pool works again: connects, subscribes, authorizes and waits for a job, which is the
//! only proof that it would give us work. Nothing is hashed for it and nothing is reported.

use std::time::Duration;

use bytes::BytesMut;
use stratum::v1::client::{ClientEvent, ClientSession};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::dial::Dialer;
use super::{Pool, session_settings};
use crate::clock::Clock;

/// Says whether `pool` gives work; a pool that takes longer than `limit` does not.
pub(super) async fn gives_work(
    pool: &Pool,
    dialer: &Dialer,
    clock: Clock,
    limit: Duration,
) -> bool {
    timeout(limit, try_for_work(pool, dialer, clock)).await.is_ok_and(|found| found.is_some())
}

/// `None` as soon as anything fails.
async fn try_for_work(pool: &Pool, dialer: &Dialer, clock: Clock) -> Option<()> {
    let mut wire = dialer.open(pool).await.ok()?;
    let mut session = ClientSession::new(session_settings(pool, 0, None, false), clock.now());
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let (mut authorized, mut has_job) = (false, false);
    while !(authorized && has_job) {
        session.transmit(&mut output);
        wire.write_all(&output).await.ok()?;
        wire.flush().await.ok()?;
        output.clear();
        input.clear();
        if wire.read_buf(&mut input).await.ok()? == 0 {
            return None;
        }
        session.receive(&input, clock.now()).ok()?;
        while let Some(event) = session.poll() {
            match event {
                ClientEvent::Authorized => authorized = true,
                ClientEvent::Job(_) => has_job = true,
                ClientEvent::AuthorizationFailed { .. }
                | ClientEvent::Closed { .. }
                | ClientEvent::Reconnect { .. } => return None,
                ClientEvent::EnergyAccepted { .. }
                | ClientEvent::EnergyVerdict { .. }
                | ClientEvent::Message(_)
                | ClientEvent::Notice(_)
                | ClientEvent::Verdict { .. }
                | ClientEvent::WorkerVerdict { .. } => {}
            }
        }
    }
    Some(())
}
