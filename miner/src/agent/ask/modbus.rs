//! Modbus over TCP: a frame there and one back, whose head says how long it is.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{AskError, Place, connect, lost};

/// A frame's head: its number, its protocol, and the length of what follows.
const HEAD: usize = 6;
/// The longest frame that the protocol has.
const LONGEST: usize = 260;

pub(super) async fn ask(place: &Place, question: &[u8]) -> Result<Vec<u8>, AskError> {
    let mut stream = connect(place).await?;
    stream.write_all(question).await.map_err(lost)?;
    let mut frame = vec![0; HEAD];
    stream.read_exact(&mut frame).await.map_err(lost)?;
    let length = usize::from(u16::from_be_bytes([frame[4], frame[5]]));
    if length > LONGEST - HEAD {
        return Err(AskError::Odd(format!("a Modbus frame of {length} bytes")));
    }
    frame.resize(HEAD + length, 0);
    stream.read_exact(&mut frame[HEAD..]).await.map_err(lost)?;
    Ok(frame)
}
