//! `mining.submit`: from a line to an accepted share or a reason.
//!
//! The order of questions: can it be read, is the connection subscribed, is the worker known
//! here, is the job alive, is there room for it, does it hold ([`crate::judge()`]), was it credited
//! before. Only the last step remembers anything.
//!
//! A share of the epoch before is refused whatever it is, and looked at all the same: if it is a
//! block, the pool hears of it ([`Event::StaleBlock`]). It counts among what is borne only so often,
//! as every refused share does, so that hashing it is no weapon.

use std::sync::Arc;

use defences::{Defence, stands};
use units::Moment;

use super::work::{Given, HeaderKey};
use super::{AcceptedShare, Event, Fatal, Session, WorkerKey};
use crate::judge::{Issued, Reason, Submit, judge};
use crate::v1::message::{Id, Message, SubmitParams, user_name, write_error};

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
        if stands(Defence::SubscribedFirst) && !self.subscribed {
            return Err(Reason::NotSubscribed);
        }
        let user = user_name(&params.worker.0);
        let worker = self.worker(user).ok_or(Reason::Unauthorized)?;
        *who = Some(worker);
        let submit = params.share(self.settings.xn2_size).map_err(Reason::Malformed)?;
        let given = match self.board.find(&params.job.0) {
            Ok(given) => given.clone(),
            Err(reason) => {
                if let Some(given) = self.board.late(&params.job.0).cloned() {
                    self.look_for_block(&given, worker, submit, now);
                }
                return Err(reason);
            }
        };
        let full = self.in_flight.len() >= self.settings.limits.max_in_flight;
        if (stands(Defence::InFlightBound) && full) || self.is_flooded() {
            return Err(Reason::Busy);
        }
        let share = hold(&given, worker, submit, now)?;
        self.look_for_room();
        self.board.remember(&share.judged, given.space(), self.settings.limits.max_seen)?;
        Ok(share)
    }

    /// Hands out a stale share that is a block, once.
    fn look_for_block(&mut self, given: &Given, worker: WorkerKey, submit: Submit, now: Moment) {
        let max_seen = self.settings.limits.max_seen;
        if let Ok(share) = hold(given, worker, submit, now)
            && share.judged.is_block
            && self.board.remember(&share.judged, given.space(), max_seen).is_ok()
        {
            self.events.push_back(Event::StaleBlock { share });
        }
    }
}

/// Judges a share by what its job was issued with.
fn hold(
    given: &Given,
    worker: WorkerKey,
    submit: Submit,
    now: Moment,
) -> Result<AcceptedShare, Reason> {
    let (job, target, difficulty) = (Arc::clone(&given.job), given.target, given.difficulty);
    let (xn1, at) = (given.xn1, now.unix);
    let issued = Issued { job: &job, target, version_mask: given.mask, xn1 };
    let judged = judge(&issued, &submit, at)?;
    Ok(AcceptedShare { worker, job, xn1, xn2: submit.xn2, judged, target, difficulty, at })
}
