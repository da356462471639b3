//! The readings of the log: sums, and the work that they cover.

use super::audit::{Audit, Fault, nth_mut};
use super::body::Body;

/// What a meter's readings so far left.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) credited: u128,
    pub(super) energy: u128,
    epoch: u64,
    total: u128,
    /// The worker's work at its newest reading.
    work: u128,
}

impl Audit<'_> {
    pub(super) fn metered(&mut self, body: &Body) -> Result<(), Fault> {
        let id = body.number::<u32>("worker")?;
        let worker =
            nth_mut(&mut self.workers, id).ok_or_else(|| format!("no worker {id} is open"))?;
        let (epoch, total) = (body.decimal("epoch")?, body.decimal("microjoules_total")?);
        let credited: u128 = body.decimal("credited")?;
        let energy = if body.flag("counted")? { credited } else { 0 };
        let key = (id, body.text("meter")?.to_owned());
        let before = self.meters.get(&key);
        let same_epoch = before.filter(|meter| meter.epoch == epoch);
        let floor = same_epoch.map_or(0, |meter| meter.total);
        if let Some(before) = before
            && body.flag("counted")?
            && (before.epoch == epoch || credited > 0)
        {
            let covered_from = before.work.max(worker.mark);
            worker.covered =
                worker.covered.saturating_add(worker.work.saturating_sub(covered_from));
            worker.mark = worker.mark.max(worker.work);
        }
        worker.energy = worker.energy.saturating_add(energy);
        let after = Meter {
            credited: before.map_or(0, |meter| meter.credited).saturating_add(credited),
            energy: before.map_or(0, |meter| meter.energy).saturating_add(energy),
            epoch,
            total: floor.max(total),
            work: worker.work,
        };
        self.meters.insert(key, after);
        if credited > total.saturating_sub(floor) {
            return Err(format!("it credits {credited} uJ, more than its counter moved").into());
        }
        Ok(())
    }
}
