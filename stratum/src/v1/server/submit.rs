//! `mining.submit`: from a line to an accepted share or a reason.
//!
//! The order of questions: can it be read, is the connection subscribed, is the worker known
//! here, is the job alive, does it hold ([`crate::judge()`]), is there room for it (a block needs
//! none), was it credited before. Only the last step remembers anything.
//!
//! A share of the epoch before is refused whatever it is, and looked at all the same: if it is a
//! block, the pool hears of it ([`Event::StaleBlock`]). It counts among what is borne only so often,
//! as every refused share does, so that hashing it is no weapon.

use std::sync::Arc;

use defences::{Defence, stands};
use units::Moment;

use super::given::Terms;
use super::roots::LastRoot;
use super::seen::HeaderKey;
use super::{AcceptedShare, Event, Fatal, Session, WorkerKey};
use crate::job::Job;
use crate::judge::{Issued, Reason, Submit, judge_on};
use crate::v1::message::{Id, SubmitParams, user_name, write_error};

impl Session {
    /// Judges one share and hands it out, or refuses it on the spot; also where its parameters
    /// could not be read.
    pub(super) fn submit(
        &mut self,
        id: Id,
        params: Option<&SubmitParams<'_>>,
        now: Moment,
    ) -> Result<(), Fatal> {
        let mut worker = None;
        match self.accept(params, &mut worker, now) {
            Ok(share) => {
                let key = HeaderKey::of(&share.judged.hash);
                let token = self.in_flight.add(id, key);
                self.appetite.draw();
                let difficulty = &self.settings.difficulty;
                self.vardiff.share(difficulty, share.difficulty, now.mono);
                let network = Some(share.job.template.network_target);
                self.vardiff.poll(difficulty, network, now.mono);
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
        params: Option<&SubmitParams<'_>>,
        who: &mut Option<WorkerKey>,
        now: Moment,
    ) -> Result<AcceptedShare, Reason> {
        let params = params.ok_or(Reason::Malformed("submit takes 5 or 6 strings"))?;
        if stands(Defence::SubscribedFirst) && !self.subscribed {
            return Err(Reason::NotSubscribed);
        }
        let user = user_name(&params.worker.0);
        let worker = self.worker(user).ok_or(Reason::Unauthorized)?;
        *who = Some(worker);
        let submit = params.share(self.settings.xn2_size).map_err(Reason::Malformed)?;
        let flooded = self.is_flooded();
        let (job, terms) = match self.board.find(&params.job.0) {
            Ok(given) => given,
            Err(reason) => {
                self.look_for_block(&params.job.0, worker, &submit, now);
                return Err(reason);
            }
        };
        let full = self.in_flight.len() >= self.settings.limits.max_in_flight;
        let busy = (stands(Defence::InFlightBound) && full) || flooded;
        let share = hold(job, terms, &mut self.last_root, worker, &submit, now)?;
        // A block is taken however busy: nobody sends many.
        if busy && !share.judged.is_block {
            return Err(Reason::Busy);
        }
        let space = terms.space(job);
        self.look_for_room();
        self.board.remember(&share.judged, space, self.settings.limits.max_seen)?;
        Ok(share)
    }

    /// Hands out a stale share that is a block, once.
    fn look_for_block(&mut self, job: &str, worker: WorkerKey, submit: &Submit, now: Moment) {
        let Some((job, terms)) = self.board.late(job) else { return };
        let Ok(share) = hold(job, terms, &mut self.last_root, worker, submit, now) else { return };
        let (space, max_seen) = (terms.space(job), self.settings.limits.max_seen);
        if share.judged.is_block && self.board.remember(&share.judged, space, max_seen).is_ok() {
            self.events.push_back(Event::StaleBlock { share });
        }
    }
}

/// Judges a share by what its job was issued with.
fn hold(
    job: &Arc<Job>,
    terms: &Terms,
    last_root: &mut LastRoot,
    worker: WorkerKey,
    submit: &Submit,
    now: Moment,
) -> Result<AcceptedShare, Reason> {
    let Terms { difficulty, target, work, mask: version_mask, xn1 } = *terms;
    let issued = Issued { job, target, work, version_mask, xn1 };
    let (xn2, at) = (submit.xn2, now.unix);
    let judged = judge_on(&issued, submit, at, || last_root.of(job, xn1, xn2))?;
    let job = Arc::clone(job);
    Ok(AcceptedShare { worker, job, xn1, xn2, judged, target, difficulty, at })
}
