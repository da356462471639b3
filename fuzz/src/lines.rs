//! What a socket brings, cut into lines and understood one by one.

use stratum::v1::server::Session;

use crate::bytes::cut;
use crate::session::world::{NOW, ready};

/// A miner's bytes mean the same however the network cuts them; and a line that the quick scanner
/// reads means what it means to the parser of all JSON, which gets the same line with one member
/// more, for which it is left to it.
///
/// # Panics
/// Where that does not hold.
pub fn lines(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let (lengths, bytes) = bytes.split_at(usize::from(*length % 8).min(bytes.len()));
    let whole = understand(&[bytes]);
    assert_eq!(whole, understand(&cut(bytes, lengths)), "cut as {lengths:?}");
    let slowly: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(unusual).collect();
    let slowly = understand(&slowly.iter().map(Vec::as_slice).collect::<Vec<_>>());
    if !whole.ended {
        assert_eq!(whole, slowly, "read quickly and slowly");
    }
}

/// What is to be seen of a session from outside.
#[derive(Debug, PartialEq, Eq)]
struct Understood {
    events: String,
    answers: String,
    ended: bool,
}

fn understand(pieces: &[&[u8]]) -> Understood {
    let mut session = ready(1);
    let mut events = String::new();
    let mut ended = false;
    for piece in pieces {
        let received = session.receive(piece, NOW);
        poll(&mut session, &mut events);
        if let Err(fatal) = received {
            events += &fatal.to_string();
            ended = true;
            break;
        }
    }
    let mut answers = Vec::new();
    session.transmit(&mut answers);
    Understood { events, answers: String::from_utf8_lossy(&answers).into_owned(), ended }
}

fn poll(session: &mut Session, events: &mut String) {
    while let Some(event) = session.poll() {
        *events += &format!("{event:?}\n");
    }
}

/// The same line with a member that nobody knows, if it may be an object with members.
fn unusual(line: &[u8]) -> Vec<u8> {
    let text = line.trim_ascii_end();
    let end = &line[text.len()..];
    let members = text.strip_suffix(b"}").filter(|rest| !rest.trim_ascii_end().ends_with(b"{"));
    members.map_or_else(|| line.to_vec(), |members| [members, b",\"_\":0}", end].concat())
}
