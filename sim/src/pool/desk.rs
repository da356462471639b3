//! Extranonces, and subscriptions that wait for their miner, as the pool's desk keeps them.

use std::ops::Range;

use ledger::Ledger;
use pool::resume::Table;
use stratum::v1::server::{Ended, Kept, SubscriptionId};
use units::Moment;

use crate::{disk::is_passing, sabotage::Sabotage};

use super::Around;

/// Extranonces leased at once.
const LEASE: u32 = 8;

/// What all connections ask.
#[derive(Debug)]
pub(super) struct Desk {
    leased: Range<u32>,
    /// Nobody was credited under these.
    free: Vec<[u8; 4]>,
    waiting: Table,
    subscriptions: u64,
    /// Extranonces given out a second time.
    pub(super) recycled: u64,
}

impl Desk {
    pub(super) fn new() -> Self {
        let (leased, free, waiting) = (0..0, Vec::new(), Table::new());
        Self { leased, free, waiting, subscriptions: 0, recycled: 0 }
    }

    /// An extranonce 1 for a connection; nothing while the disk is full.
    pub(super) fn extranonce(
        &mut self,
        ledger: &mut Ledger,
        around: &Around<'_>,
    ) -> Result<Option<[u8; 4]>, String> {
        if let Some(xn1) = self.free.pop() {
            self.recycled += 1;
            return Ok(Some(xn1));
        }
        if self.leased.is_empty() {
            let room = around.disk.room(around.now.mono);
            match room.and_then(|()| ledger.lease_extranonces(LEASE, around.now.unix)) {
                Ok(leased) => self.leased = leased,
                Err(error) if is_passing(&error) => return Ok(None),
                Err(error) => return Err(error.to_string()),
            }
            if around.sabotage == Some(Sabotage::LeaseForgotten) {
                self.leased = 1..1 + LEASE;
            }
        }
        let xn1 = self.leased.next().map(u32::to_be_bytes);
        if around.sabotage == Some(Sabotage::LiveExtranonce) {
            self.free.extend(xn1);
        }
        Ok(xn1)
    }

    /// An extranonce 1 that was given back.
    pub(super) fn free(&mut self, xn1: Option<[u8; 4]>) {
        self.free.extend(xn1);
    }

    /// What is left of a connection.
    pub(super) fn ended(&mut self, ended: Ended, now: Moment) {
        self.free(ended.unused_xn1);
        if let Some(kept) = ended.kept {
            self.waiting.put(kept, now.mono);
        }
    }

    /// The subscription of this name, if it waits.
    pub(super) fn take(&mut self, id: SubscriptionId, now: Moment) -> Option<Kept> {
        self.waiting.take(id, now.mono)
    }

    /// A name for a subscription that nobody had.
    pub(super) fn name(&mut self, around: &mut Around<'_>) -> SubscriptionId {
        self.subscriptions += 1;
        let mut name = [0; 16];
        name[..8].copy_from_slice(&self.subscriptions.to_be_bytes());
        name[8..].copy_from_slice(&around.rng.next().to_be_bytes());
        SubscriptionId::new(name)
    }
}
