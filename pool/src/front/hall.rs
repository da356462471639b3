//! Where everything lies that the connections of one shard share: the ways to ledger, blocks, desk
//! and door, spare extranonces, and memory that each uses in turn.

use std::{net::IpAddr, ops::Range, sync::Arc, time::Duration};

use defences::{Defence, stands};
use stratum::v1::server::{AcceptedShare, Ended, Kept, RequestToken, SubscriptionId};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Shared,
    credits::Credits,
    desk::Request,
    door::DoorMail,
    mail::{Early, Mail, Mailbox, PeerKey},
};
use crate::{
    bans::Offence,
    blocks::{Found, RECORD_FIRST},
    ledger_task::{Command, Credit, WorkerCell},
};

/// Bytes read from a socket at once.
const READ_SIZE: usize = 65_536;
/// With fewer spare extranonces than this, more are asked for.
const LOW: usize = 1024;

/// What a shard's connections share.
#[derive(Debug)]
pub(super) struct Hall {
    pub(super) shared: Shared,
    /// Shares on their way to the ledger.
    pub(super) credits: Credits,
    /// What people at every miner are to be shown, while there is something.
    pub(super) notice: Option<Arc<str>>,
    /// Its number; 0 before the first.
    pub(super) notice_number: u32,
    /// What was read.
    pub(super) buffer: Vec<u8>,
    /// The same without TLS.
    pub(super) plain: Vec<u8>,
    /// What is to be written.
    pub(super) out: Vec<u8>,
    /// The same with TLS.
    pub(super) sealed: Vec<u8>,
    extranonces: Extranonces,
    home: Mailbox,
    desk: mpsc::Sender<Request>,
    door: Mailbox<DoorMail>,
    runtime: Handle,
}

/// Extranonces that no connection of this shard has.
#[derive(Debug)]
struct Extranonces {
    fresh: Range<u32>,
    /// Those of connections that were credited nothing.
    unused: Vec<[u8; 4]>,
    asked: bool,
}

impl Hall {
    pub(super) fn new(
        shared: Shared,
        home: Mailbox,
        desk: mpsc::Sender<Request>,
        door: Mailbox<DoorMail>,
        runtime: Handle,
    ) -> Self {
        Self {
            credits: Credits::new(shared.ledger.clone(), home.clone()),
            shared,
            notice: None,
            notice_number: 0,
            buffer: vec![0; READ_SIZE],
            plain: Vec::new(),
            out: Vec::new(),
            sealed: Vec::new(),
            extranonces: Extranonces { fresh: 0..0, unused: Vec::new(), asked: false },
            home,
            desk,
            door,
            runtime,
        }
    }

    /// An extranonce 1 that no other connection has or was credited under. Where there is none at
    /// the moment, more are on their way.
    pub(super) fn extranonce(&mut self) -> Option<[u8; 4]> {
        if !stands(Defence::OwnExtranonce) {
            return Some([0; 4]);
        }
        let spares = &mut self.extranonces;
        let next = spares.unused.pop().or_else(|| spares.fresh.next().map(u32::to_be_bytes));
        if spares.unused.is_empty() && spares.fresh.len() < LOW && !spares.asked {
            let home = self.home.clone();
            self.extranonces.asked = self.ask(Request::Lease(home)).is_ok();
        }
        next
    }

    /// Takes extranonces that nobody had.
    pub(super) fn lease(&mut self, range: Range<u32>) {
        let left = std::mem::replace(&mut self.extranonces.fresh, range);
        self.extranonces.unused.extend(left.map(u32::to_be_bytes));
        self.extranonces.asked = false;
    }

    /// Takes back an extranonce 1 that is as good as new.
    pub(super) fn free(&mut self, unused: Option<[u8; 4]>) {
        self.extranonces.unused.extend(unused);
    }

    /// Keeps what an ended session leaves.
    pub(super) fn keep(&mut self, ended: Ended) {
        self.free(ended.unused_xn1);
        if let Some(kept) = ended.kept {
            self.keep_subscription(Box::new(kept));
        }
    }

    /// Keeps a subscription for its miner's return.
    pub(super) fn keep_subscription(&self, kept: Box<Kept>) {
        // With no room at the desk nothing is kept: its miner subscribes anew.
        let _ = self.ask(Request::Keep(kept));
    }

    /// Asks for what is kept under `id`; false where that cannot be asked now.
    pub(super) fn take_up(&self, id: SubscriptionId, peer: PeerKey, token: RequestToken) -> bool {
        self.ask(Request::TakeUp(id, peer, token, self.home.clone())).is_ok()
    }

    fn ask(&self, request: Request) -> Result<(), ()> {
        self.desk.try_send(request).map_err(|_| ())
    }

    /// Sends a report of energy after all shares so far.
    pub(super) fn report(&mut self, report: Box<Early>, peer: PeerKey, now: Duration) {
        let home = self.home.clone();
        self.credits.command(Command::Energy { report, peer, home }, now);
    }

    /// Hands a block to the block task. Its share, if it is to be credited, comes back by letter
    /// once the block is on disk: who hears that the share was taken may rely on the block as
    /// well. A slow disk is not waited for longer than the block task waits.
    pub(super) fn hand_in(
        &self,
        worker: Arc<WorkerCell>,
        share: AcceptedShare,
        credit: Option<Box<Credit>>,
    ) {
        let (ledger, found) = (self.shared.ledger.clone(), self.shared.found.clone());
        let home = self.home.clone();
        self.runtime.spawn(async move {
            match worker.register(&ledger).await {
                Ok(finder) => {
                    let (recorded, on_disk) = oneshot::channel();
                    // A closed channel is a pool whose block task has failed: it is stopping.
                    let _ = found.send(Found { finder, share, recorded }).await;
                    let _ = timeout(RECORD_FIRST, on_disk).await;
                }
                Err(error) => tracing::error!("a block's finder has no number: {error}"),
            }
            if let Some(credit) = credit {
                home.post(Mail::Recorded(credit));
            }
        });
    }

    /// Tells the door what an address did wrong.
    pub(super) fn offence(&self, address: IpAddr, offence: Offence) {
        self.door.post(DoorMail::Offence(address, offence));
    }

    /// Tells the door how shares from an address were judged.
    pub(super) fn conduct(&self, address: IpAddr, accepted: u32, refused: u32) {
        self.door.post(DoorMail::Conduct { address, accepted, refused });
    }

    /// Tells the door that a connection has gone.
    pub(super) fn gone(&self, address: IpAddr) {
        self.door.post(DoorMail::Gone(address));
    }
}
