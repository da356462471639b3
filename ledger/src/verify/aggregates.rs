//! The ten-minute aggregates, against the shares and readings that this audit has added up.

use super::audit::{Audit, Fault, expect, length};
use super::body::Body;

/// A worker's shares, work and microjoules when the newest aggregate was written.
pub(super) type Sums = (u64, u128, u128);

impl Audit<'_> {
    pub(super) fn aggregated(&mut self, body: &Body, data: &[u8]) -> Result<(), Fault> {
        let _until: u64 = body.number("until")?;
        let mut must = Vec::new();
        self.aggregates.resize(self.workers.len(), (0, 0, 0));
        for (at, (worker, last)) in self.workers.iter().zip(&mut self.aggregates).enumerate() {
            let now = (worker.shares, worker.work, worker.energy);
            let number = u128::from(length(at).saturating_add(1));
            let parts = [
                u128::from(now.0.saturating_sub(last.0)),
                now.1.saturating_sub(last.1),
                now.2.saturating_sub(last.2),
            ];
            if parts != [0; 3] {
                must.push((number, parts));
            }
            *last = now;
        }
        let said = numbers(data).ok_or_else(|| "its bytes are no numbers".to_owned())?;
        let (lines, rest) = said.as_chunks::<4>();
        expect("workers", body.number("workers")?, length(must.len()))?;
        expect("lines", length(lines.len()), length(must.len()))?;
        if !rest.is_empty() {
            return Err("it ends inside a line".to_owned().into());
        }
        let mut worker = 0_u128;
        for (line, (number, parts)) in lines.iter().zip(must) {
            let [step, shares, work, energy] = *line;
            worker = worker.saturating_add(step);
            expect("worker", worker, number)?;
            if [shares, work, energy] != parts {
                return Err(format!("worker {number} did not do {shares}, {work}, {energy}").into());
            }
        }
        Ok(())
    }
}

/// All numbers of an aggregate: base 128, the lowest digit first, the last below 128.
fn numbers(data: &[u8]) -> Option<Vec<u128>> {
    let mut numbers = Vec::new();
    for digits in data.split_inclusive(|byte| *byte < 128) {
        let number = digits.iter().rev().try_fold(0_u128, |sum, digit| {
            sum.checked_mul(128)?.checked_add(u128::from(digit & 127))
        })?;
        // Cut short, or longer than it need be.
        if digits.last().is_none_or(|last| *last > 127 || (*last == 0 && digits.len() > 1)) {
            return None;
        }
        numbers.push(number);
    }
    Some(numbers)
}
