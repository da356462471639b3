//! `mining.submit`: from a line to an accepted share or a reason.
//!
//! The order of questions: can it be read, is the connection subscribed, is the worker known
//! here, is the job alive, is there room for it, does it hold ([`crate::judge()`]), was it credited
//! before. Only the last step remembers anything.

use std::sync::Arc;

use units::Moment;

use super::work::HeaderKey;
use super::{AcceptedShare, Event, Fatal, Session, WorkerKey};
use crate::judge::{Issued, Reason, judge};
use crate::v1::message::{Id, Message, SubmitParams, write_error};

impl Session {
    /// Judges one share and hands it out, or refuses it on the spot.
    pub(super) fn submit(
        &mut self,
        id: Id,
        message: &Message<'_>,
        now: Moment,
    ) -> Result<(), Fatal> {
        let mut worker = None;
        match self.accept(message, &mut worker, now) {
            Ok(share) => {
                let key = HeaderKey::of(&share.judged.hash);
                let token = self.in_flight.add(id, key);
                self.appetite.draw();
                self.vardiff.share(share.difficulty);
                self.vardiff.poll(now.mono);
                self.events.push_back(Event::Share { token, share });
                Ok(())
            }
            Err(reason) => {
                write_error(&mut self.outbox, &id, reason.code(), reason.message());
                self.events.push_back(Event::Rejected { worker, reason });
                self.bear()
            }
        }
    }

    fn accept(
        &mut self,
        message: &Message<'_>,
        who: &mut Option<WorkerKey>,
        now: Moment,
    ) -> Result<AcceptedShare, Reason> {
        let params: SubmitParams<'_> = message
            .params
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .ok_or(Reason::Malformed("submit takes 5 or 6 strings"))?;
        if !self.subscribed {
            return Err(Reason::NotSubscribed);
        }
        let worker = *self.workers.get(&*params.worker.0).ok_or(Reason::Unauthorized)?;
        *who = Some(worker);
        let submit = params.share(self.settings.xn2_size).map_err(Reason::Malformed)?;
        let given = self.board.find(&params.job.0)?;
        if self.in_flight.len() >= self.settings.limits.max_in_flight || self.is_flooded() {
            return Err(Reason::Busy);
        }
        let (job, target, difficulty) = (Arc::clone(&given.job), given.target, given.difficulty);
        let issued = Issued { job: &job, target, version_mask: given.mask, xn1: self.xn1 };
        let judged = judge(&issued, &submit, now.unix)?;
        self.board.remember(HeaderKey::of(&judged.hash), self.settings.limits.max_seen)?;
        let (xn1, xn2, at) = (self.xn1, submit.xn2, now.unix);
        Ok(AcceptedShare { worker, job, xn1, xn2, judged, target, difficulty, at })
    }
}
