//! The cgminer API, and Whatsminer's third protocol: JSON over a connection for each question.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ANSWER_MAX, AskError, Place, connect, endless, lost, read_to_end};

/// The answer ends when the device hangs up.
pub(super) async fn ask(place: &Place, command: &str) -> Result<Vec<u8>, AskError> {
    let mut stream = connect(place).await?;
    let question = json!({ "command": command }).to_string();
    stream.write_all(question.as_bytes()).await.map_err(lost)?;
    read_to_end(stream).await
}

/// Question and answer go behind their lengths, four bytes each, the lowest first.
pub(super) async fn ask_framed(
    place: &Place,
    command: &str,
    parameter: Option<&str>,
) -> Result<Vec<u8>, AskError> {
    let mut stream = connect(place).await?;
    let question = match parameter {
        Some(parameter) => json!({ "cmd": command, "param": parameter }),
        None => json!({ "cmd": command }),
    };
    let question = question.to_string();
    let length = u32::try_from(question.len()).unwrap_or(u32::MAX).to_le_bytes();
    let framed = [&length, question.as_bytes()].concat();
    stream.write_all(&framed).await.map_err(lost)?;
    let length = stream.read_u32_le().await.map_err(lost)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > ANSWER_MAX {
        return Err(endless());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await.map_err(lost)?;
    Ok(answer)
}
