//! Whether a pool works again: connects, subscribes, authorizes and waits for a job, which is the
//! only proof that it would give us work. Nothing is hashed for it and nothing is reported.

use bytes::BytesMut;
use stratum::v1::client::{ClientEvent, ClientSession};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{CONNECT_LIMIT, Pool, session_settings};
use crate::clock::Clock;

/// Says whether `pool` gives work; a pool that takes too long does not.
pub(super) async fn gives_work(pool: Pool, clock: Clock) -> bool {
    // The session has its own limits on answers; this one is on the whole of it.
    timeout(CONNECT_LIMIT * 3, try_for_work(&pool, clock)).await.is_ok_and(|found| found.is_some())
}

/// `None` as soon as anything fails.
async fn try_for_work(pool: &Pool, clock: Clock) -> Option<()> {
    let mut stream = TcpStream::connect((pool.url.host(), pool.url.port())).await.ok()?;
    let mut session = ClientSession::new(session_settings(pool, 0, None, false), clock.now());
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let (mut authorized, mut has_job) = (false, false);
    while !(authorized && has_job) {
        session.transmit(&mut output);
        stream.write_all(&output).await.ok()?;
        output.clear();
        input.clear();
        if stream.read_buf(&mut input).await.ok()? == 0 {
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
                | ClientEvent::Verdict { .. } => {}
            }
        }
    }
    Some(())
}
