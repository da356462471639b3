//! What must hold in every conversation.

use std::collections::HashSet;

use stratum::v1::server::{AcceptedShare, Kept, Limits, Session};

/// The longest line that nobody asked for: a job with what comes before it. A connection is owed
/// one at most, whatever its answers take.
const UNASKED: usize = 4096;

/// What was credited, by somebody who forgets nothing.
#[derive(Default)]
pub(super) struct Books {
    credited: HashSet<[u8; 80]>,
    late: HashSet<[u8; 80]>,
    /// Extranonces that work was credited under.
    used: HashSet<[u8; 4]>,
}

impl Books {
    /// A share is handed out.
    pub(super) fn credit(&mut self, share: &AcceptedShare) {
        assert!(self.credited.insert(share.judged.header), "credited twice: {share:?}");
        let network = &share.job.template.network_target;
        let is_block = network.is_met_by(&share.judged.hash);
        let met = share.target.is_met_by(&share.judged.hash);
        assert!(is_block || met, "above its target");
        assert_eq!(is_block, share.judged.is_block);
        // A block above the target is a share at the network's.
        let judged_by = if met { &share.target } else { network };
        assert_eq!(share.judged.work, judged_by.work(), "not the work of its target");
        assert_eq!(share.judged.hash, stratum::job::sha256d(&share.judged.header));
        self.used.insert(share.xn1);
    }

    /// A stale block is handed out: no share, and not one that was.
    pub(super) fn stale_block(&mut self, share: &AcceptedShare) {
        assert!(share.judged.is_block, "no block");
        assert!(self.late.insert(share.judged.header), "handed out twice: {share:?}");
        assert!(!self.credited.contains(&share.judged.header), "credited before: {share:?}");
    }

    /// A share could not be written down: it may come again.
    pub(super) fn forget(&mut self, share: &AcceptedShare) {
        self.credited.remove(&share.judged.header);
    }

    /// An extranonce 1 is given back.
    pub(super) fn may_be_free(&self, xn1: Option<[u8; 4]>) {
        let used = xn1.is_some_and(|xn1| self.used.contains(&xn1));
        assert!(!used, "{xn1:?} is given back with work credited under it");
    }

    /// Something was written.
    pub(super) fn wrote(&self, out: &[u8], limits: &Limits) {
        assert!(out.len() <= limits.max_outbox + UNASKED, "{} bytes at once", out.len());
        assert!(out.is_empty() || out.ends_with(b"\n"), "half a line");
    }
}

/// Nothing waits past its limit.
pub(super) fn bounds(session: &Session, limits: &Limits) {
    assert!(session.in_flight() <= limits.max_in_flight, "{} in flight", session.in_flight());
    assert!(
        session.workers().count() <= limits.max_workers,
        "{} workers",
        session.workers().count()
    );
}

/// Subscriptions that wait remember no more than they may, and no two are one.
pub(super) fn kept(kept: &[Kept], limits: &Limits) {
    let names: HashSet<[u8; 4]> = kept.iter().map(Kept::xn1).collect();
    assert_eq!(names.len(), kept.len(), "one extranonce 1 is kept twice");
    let spaces = usize::try_from(limits.late_epochs).unwrap_or(usize::MAX).saturating_add(2);
    for one in kept {
        assert!(one.headers() <= limits.max_seen * spaces * 2, "{} headers", one.headers());
    }
}
