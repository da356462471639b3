//! A hot restart: the pool puts another image of itself in its place (a new version, or the same
//! one), and miners notice nothing. Their sockets stay open, their sessions go on.
//!
//! Read [`State`]: all that goes over. [`templates`] has what blocks on jobs given out before need.
//! [`relay`] holds the sockets while the process becomes another: the process keeps its number, so
//! whoever watches over it sees one service. The order is in [`crate::cli`]: the new image is asked
//! whether it takes the configuration, the front is frozen, everything else ends as at any stop,
//! and only then does the new image begin.
//!
//! Connections with TLS do not go over: their keys belong to the old image. They are told to come
//! back and end, as at a stop. Bans, hash rates and subscriptions that wait for their miner begin
//! anew.

pub mod relay;
mod templates;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use stratum::{SavedJobs, v1::server::SavedSession};

use self::templates::SavedTemplates;
use crate::jobs::JobState;

/// What one image leaves to the next.
#[derive(Debug, Default)]
pub struct State {
    /// Where the monotonic clock was.
    pub mono: Duration,
    /// Miners with their sessions.
    pub peers: Vec<FrozenPeer>,
    /// Listening sockets, each with its address.
    pub listeners: Vec<TcpListener>,
    /// Jobs that shares may still come for.
    pub jobs: JobState,
}

/// A connection whose session was put down.
#[derive(Debug)]
pub struct FrozenPeer {
    /// The connection.
    pub socket: TcpStream,
    /// The rest.
    pub saved: SavedPeer,
}

/// What belongs to a connection beside its socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedPeer {
    /// Where the miner is.
    pub address: SocketAddr,
    /// The address that it connected to.
    pub port: SocketAddr,
    /// Its session.
    pub session: SavedSession,
    /// What its socket had no room for.
    pub unsent: Vec<u8>,
}

/// [`State`] without its sockets: they go beside it, listeners first.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    mono: Duration,
    listeners: usize,
    peers: Vec<SavedPeer>,
    id: u64,
    epoch: u64,
    prev_hash: Option<[u8; 32]>,
    jobs: SavedJobs,
    templates: SavedTemplates,
}

/// Why a state cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// It does not read.
    #[error("the state of the pool before cannot be read: {0}")]
    Document(#[from] serde_json::Error),
    /// Sockets are missing.
    #[error("{sockets} sockets came for {wanted} connections and listeners")]
    Sockets {
        /// Those that came.
        sockets: usize,
        /// Those that should have come.
        wanted: usize,
    },
    /// The system refuses something.
    #[error("handing over: {0}")]
    Io(#[from] std::io::Error),
}

impl State {
    /// As bytes and sockets.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is a mistake of the program's.
    pub fn pack(self) -> Result<(Vec<u8>, Vec<OwnedFd>), HandoverError> {
        let mut sockets: Vec<OwnedFd> = Vec::new();
        let listeners = self.listeners.len();
        sockets.extend(self.listeners.into_iter().map(OwnedFd::from));
        let mut peers = Vec::with_capacity(self.peers.len());
        for FrozenPeer { socket, saved } in self.peers {
            sockets.push(socket.into());
            peers.push(saved);
        }
        let document = Document {
            mono: self.mono,
            listeners,
            peers,
            id: self.jobs.id,
            epoch: self.jobs.epoch,
            prev_hash: self.jobs.prev_hash,
            jobs: self.jobs.jobs.save(),
            templates: SavedTemplates::of(&self.jobs.origins),
        };
        Ok((serde_json::to_vec(&document)?, sockets))
    }

    /// From bytes and sockets.
    ///
    /// # Errors
    /// When the bytes do not read, or sockets are missing.
    pub fn unpack(bytes: &[u8], sockets: Vec<OwnedFd>) -> Result<Self, HandoverError> {
        let document: Document = serde_json::from_slice(bytes)?;
        let wanted = document.listeners + document.peers.len();
        if sockets.len() != wanted {
            return Err(HandoverError::Sockets { sockets: sockets.len(), wanted });
        }
        let mut sockets = sockets.into_iter();
        let listeners = sockets.by_ref().take(document.listeners).map(TcpListener::from).collect();
        let peers = sockets.zip(document.peers);
        let peers = peers.map(|(socket, saved)| FrozenPeer { socket: socket.into(), saved });
        Ok(Self {
            mono: document.mono,
            listeners,
            peers: peers.collect(),
            jobs: JobState {
                id: document.id,
                epoch: document.epoch,
                prev_hash: document.prev_hash,
                jobs: Arc::new(document.jobs.restore()),
                origins: document.templates.restore(),
            },
        })
    }
}
