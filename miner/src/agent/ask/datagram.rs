//! SNMP: a datagram there and one back. One that is lost is asked for again within the time there is.

use std::time::Duration;

use energy::device::interface::snmp_get;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::{AskError, Place, lost};

/// The community where none is configured.
const COMMUNITY: &str = "public";
/// The longest datagram that there is.
const LONGEST: usize = 65_536;
/// How long an answer is waited for before it is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn ask(
    place: &Place,
    objects: &[Vec<u32>],
    number: u16,
) -> Result<Vec<u8>, AskError> {
    let mut addresses = lookup_host((place.host.as_str(), place.port)).await.map_err(lost)?;
    let address =
        addresses.next().ok_or_else(|| AskError::Lost("its name has no address".to_owned()))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.map_err(lost)?;
    // Only what comes from there is heard.
    socket.connect(address).await.map_err(lost)?;
    let community = place.password.as_ref().map_or(COMMUNITY, |secret| secret.expose());
    let question = snmp_get(community, number, objects);
    let mut answer = vec![0; LONGEST];
    loop {
        socket.send(&question).await.map_err(lost)?;
        // Whoever asked bounds the whole.
        if let Ok(read) = timeout(AGAIN_AFTER, socket.recv(&mut answer)).await {
            answer.truncate(read.map_err(lost)?);
            return Ok(answer);
        }
    }
}
