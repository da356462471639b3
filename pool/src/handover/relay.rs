//! Keeps sockets open while the process that has them becomes another image of itself.
//!
//! Read [`become_another`] and [`take`]. Everything that a process has open is closed when another
//! image takes its place. So a helper (this program again, as `wattproof-pool hold`) is given all
//! sockets over a pair of connected ones, and gives them back to the new image, whose standard
//! input is the other end of that pair. The helper knows nothing of what it holds, and ends with
//! either of them.
//!
//! On the pair: each packet of sockets is one byte `S` with at most [`AT_ONCE`] sockets beside it,
//! answered with `.`; `E` ends them; `G` asks for them back. The document goes as a file without a
//! name, which is the first socket.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::{Pid, WaitOptions, waitpid},
};

use super::{HandoverError, State};

/// Sockets in one packet; the system takes no more than 253.
const AT_ONCE: usize = 200;
/// Names the helper's process to the new image.
const HELPER: &str = "WATTPROOF_HANDOVER_HELPER";

/// Puts another image of the program in this process's place; returns only where that failed,
/// with everything still open.
///
/// # Errors
/// Always: why the other image is not there, and the state to go on with.
pub fn become_another(program: &Path, state: State) -> (HandoverError, Option<State>) {
    let (bytes, sockets) = match state.pack() {
        Ok(packed) => packed,
        Err(error) => return (error, None),
    };
    let error = match try_to_become(program, &bytes, &sockets) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let state = State::unpack(&bytes, sockets);
    (error.into(), state.ok())
}

fn try_to_become(
    program: &Path,
    bytes: &[u8],
    sockets: &[OwnedFd],
) -> io::Result<std::convert::Infallible> {
    let mut document = tempfile::tempfile()?;
    document.write_all(bytes)?;
    let (ours, theirs) = UnixStream::pair()?;
    let helper = Command::new(program)
        .arg("hold")
        // What is typed at a terminal is not for it.
        .process_group(0)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    let all = std::iter::once(document.as_fd()).chain(sockets.iter().map(AsFd::as_fd));
    send(&ours, &all.collect::<Vec<_>>())?;
    let arguments = std::env::args_os().skip(1);
    Err(Command::new(program)
        .args(arguments)
        .env(HELPER, helper.id().to_string())
        .stdin(OwnedFd::from(ours))
        .exec())
}

/// What the image before left, if this process was another one.
///
/// # Errors
/// When it was and its sockets do not come.
pub fn take() -> Result<Option<State>, HandoverError> {
    let Some(helper) = std::env::var(HELPER).ok().and_then(|id| id.parse().ok()) else {
        return Ok(None);
    };
    let pair = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    (&pair).write_all(b"G")?;
    let mut all = receive(&pair)?.into_iter();
    if let Some(helper) = Pid::from_raw(helper) {
        // It has given everything back and ends; nobody else could ask how.
        let _ = waitpid(Some(helper), WaitOptions::empty());
    }
    let missing = || HandoverError::Sockets { sockets: 0, wanted: 1 };
    let mut document = File::from(all.next().ok_or_else(missing)?);
    document.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    document.read_to_end(&mut bytes)?;
    State::unpack(&bytes, all.collect()).map(Some)
}

/// The helper: takes what it is given, and gives it back when it is asked.
///
/// # Errors
/// When the other end is gone, which ends what it holds.
pub fn hold() -> io::Result<()> {
    let pair = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let held = receive(&pair)?;
    expect(&pair, b'G')?;
    send(&pair, &held.iter().map(AsFd::as_fd).collect::<Vec<_>>())
}

fn send(pair: &UnixStream, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in all.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !beside.push(SendAncillaryMessage::ScmRights(some)) {
            return Err(io::Error::other("too many sockets for one packet"));
        }
        sendmsg(pair, &[IoSlice::new(b"S")], &mut beside, SendFlags::empty())?;
        expect(pair, b'.')?;
    }
    let mut pair = pair;
    pair.write_all(b"E")
}

fn receive(pair: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = recvmsg(pair, &mut parts, &mut beside, flags)?.bytes;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                all.extend(some);
            }
        }
        match (length, byte) {
            (1, [b'S']) => (&*pair).write_all(b".")?,
            (1, [b'E']) => return Ok(all),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn expect(mut pair: &UnixStream, wanted: u8) -> io::Result<()> {
    let mut byte = [0];
    pair.read_exact(&mut byte)?;
    if byte == [wanted] { Ok(()) } else { Err(io::Error::other("the other end speaks nonsense")) }
}
