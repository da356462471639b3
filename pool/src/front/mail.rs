//! What reaches a thread of the front from other threads, and how it is woken.
//!
//! Read [`Mail`]. A [`Mailbox`] is the way in: bounded, and rung once however many letters come
//! before the thread looks. A shard never waits for anybody, so whoever finds its box full may wait
//! for the shard.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
};

use mio::{Poll, Token, Waker, net::TcpStream};
use rustls::ServerConfig;
use stratum::{
    Jobs,
    judge::Reason,
    v1::server::{Kept, RequestToken, ShareToken},
};

use tokio::sync::oneshot;

use super::ports::Port;
use crate::{
    config::HostPort,
    handover::FrozenPeer,
    ledger_task::{Credit, WorkerCell},
};

/// Letters that may lie in one box; more than all answers that a shard can wait for.
const BOX_SIZE: usize = 65_536;

/// One connection of one shard. A slot is used again, a life is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    /// Where the shard keeps it.
    pub slot: u32,
    /// Which of the slot's users it is.
    pub life: u32,
}

/// A share's place to be answered at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareFrom {
    /// The connection.
    pub peer: PeerKey,
    /// What its session calls the share.
    pub token: ShareToken,
}

/// A letter to a shard.
#[derive(Debug)]
pub enum Mail {
    /// A miner has connected.
    Join(Box<Newcomer>),
    /// Shares were committed, or could not be; the list as it was sent.
    Shares(Vec<Credit>, Result<(), Reason>),
    /// A block that somebody here found is on disk, or its time is up: credit its share.
    Recorded(Box<Credit>),
    /// A report of energy was taken, or why not.
    Energy(PeerKey, RequestToken, Result<(), String>),
    /// A report of energy waits for its worker's first share: no answer is under way any more.
    EnergyKept(PeerKey),
    /// What is kept under the id that a miner gave.
    Resumed(PeerKey, RequestToken, Option<Box<Kept>>),
    /// Extranonces that nobody had.
    Extranonces(Range<u32>),
    /// Ports have other settings from now on, and miners are sent elsewhere at the end.
    Ports(Arc<[Port]>, Arc<[HostPort]>),
    /// Go on with connections of another image of the pool, which had these jobs out.
    TakeOver(Vec<FrozenPeer>, Arc<Jobs>),
    /// Put all connections down as they are, for another image of the pool, and stop.
    Freeze(oneshot::Sender<Vec<FrozenPeer>>),
    /// Come to an end: send every miner on.
    Stop,
}

/// A report of energy, with the worker that it is for, on its way to the ledger.
#[derive(Debug)]
pub struct Early {
    /// The request.
    pub token: RequestToken,
    /// Whom it is for.
    pub worker: Arc<WorkerCell>,
    /// Its JSON as it arrived: its signature is over these very figures.
    pub report: String,
}

/// A miner that has just connected.
#[derive(Debug)]
pub struct Newcomer {
    /// The connection, non-blocking.
    pub socket: TcpStream,
    /// Where the miner is, behind whatever proxy.
    pub address: SocketAddr,
    /// The port's place in the configuration.
    pub port: usize,
    /// With TLS, and this certificate.
    pub tls: Option<Arc<ServerConfig>>,
    /// What came after a PROXY header.
    pub early: Vec<u8>,
}

/// The way into a box. Cheap to clone.
#[derive(Debug)]
pub struct Mailbox<L = Mail>(Arc<Way<L>>);

#[derive(Debug)]
struct Way<L> {
    letters: SyncSender<L>,
    /// Whether the thread was woken and has not looked yet.
    rung: AtomicBool,
    waker: Waker,
}

/// The other end.
#[derive(Debug)]
pub struct Letters<L = Mail> {
    letters: Receiver<L>,
    mailbox: Mailbox<L>,
}

impl<L> Clone for Mailbox<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L> Mailbox<L> {
    /// A box that wakes `poll` by an event under `token`.
    ///
    /// # Errors
    /// When the system has no more file descriptors.
    pub fn new(poll: &Poll, token: Token) -> std::io::Result<(Self, Letters<L>)> {
        let (sender, letters) = mpsc::sync_channel(BOX_SIZE);
        let waker = Waker::new(poll.registry(), token)?;
        let way = Way { letters: sender, rung: AtomicBool::new(false), waker };
        let mailbox = Self(Arc::new(way));
        Ok((mailbox.clone(), Letters { letters, mailbox }))
    }

    /// Puts a letter in and wakes the thread. One that has ended gets nothing more.
    pub fn post(&self, letter: L) {
        if let Err(mpsc::TrySendError::Full(letter)) = self.0.letters.try_send(letter) {
            self.ring();
            let _ = self.0.letters.send(letter);
        }
        self.ring();
    }

    /// Wakes the thread, if nobody has since it last looked.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.0.waker.wake()
        {
            tracing::error!("a Stratum thread cannot be woken: {error}");
        }
    }
}

impl<L> Letters<L> {
    /// Whether somebody has rung since the last call.
    pub fn rung(&self) -> bool {
        self.mailbox.0.rung.swap(false, Ordering::AcqRel)
    }

    /// The next letter.
    pub fn next(&self) -> Option<L> {
        self.letters.try_recv().ok()
    }

    /// The way in.
    pub fn mailbox(&self) -> Mailbox<L> {
        self.mailbox.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::Events;

    use super::*;

    #[test]
    fn letters_wake_the_thread_and_none_is_lost() {
        let mut poll = Poll::new().unwrap();
        let (mailbox, letters) = Mailbox::new(&poll, Token(7)).unwrap();
        let writer = std::thread::spawn(move || {
            for number in 0..1000 {
                mailbox.post(number);
            }
        });
        let mut events = Events::with_capacity(8);
        let mut seen = Vec::new();
        while seen.len() < 1000 {
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert!(!events.is_empty(), "rung for every letter");
            if letters.rung() {
                seen.extend(std::iter::from_fn(|| letters.next()));
            }
        }
        writer.join().unwrap();
        assert_eq!(seen, (0..1000).collect::<Vec<u32>>());
    }
}
