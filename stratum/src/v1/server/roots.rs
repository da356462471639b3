//! The Merkle root of the last share: a miner that rolls nonces and versions under one extranonce 2
//! sends many shares on one root, which is most of the hashing that a share costs here.
//!
//! It deliberately decides nothing: it gives what [`Job::root`] gives.

use crate::job::Job;
use crate::judge::Extranonce2;

/// A root and what it is of, while shares come.
#[derive(Debug, Default)]
pub(super) struct LastRoot(Option<Box<Root>>);

#[derive(Debug)]
struct Root {
    job: u64,
    xn1: [u8; 4],
    xn2: Extranonce2,
    root: [u8; 32],
}

impl LastRoot {
    /// The root of a job with these extranonces.
    pub(super) fn of(&mut self, job: &Job, xn1: [u8; 4], xn2: Extranonce2) -> [u8; 32] {
        let id = job.id.get();
        let same = |last: &Root| last.job == id && last.xn1 == xn1 && last.xn2 == xn2;
        if let Some(last) = self.0.as_deref().filter(|last| same(last)) {
            return last.root;
        }
        let new = Root { job: id, xn1, xn2, root: job.root(&xn1, &xn2) };
        let root = new.root;
        match &mut self.0 {
            Some(last) => **last = new,
            none => *none = Some(Box::new(new)),
        }
        root
    }

    /// Forgets it: there is new work, or another job by the same number.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_blocks::BLOCK_125552;

    #[test]
    fn each_root_is_its_jobs_and_extranonces_own() {
        let job = |id: u64| {
            let mut template = BLOCK_125552.template();
            template.coinbase2.push(u8::try_from(id).unwrap());
            Job::new(id, template, true, 1, 0)
        };
        let (jobs, mut last) = ([job(1), job(2)], LastRoot::default());
        let xn2 = |byte: u8, length: usize| Extranonce2::new(&[byte; 8][..length]).unwrap();
        let xn2s = [xn2(0, 8), xn2(1, 8), xn2(0, 4), xn2(0, 5)];
        for turn in 0..64_usize {
            // Each in turn, so that neighbours differ in one thing or in nothing.
            let (job, xn1) = (&jobs[turn >> 1 & 1], [u8::try_from(turn >> 2 & 1).unwrap(); 4]);
            for xn2 in [xn2s[turn >> 3 & 3], xn2s[0]] {
                assert_eq!(last.of(job, xn1, xn2), job.root(&xn1, &xn2), "turn {turn}");
            }
        }
        for xn1 in [[0; 4], [1; 4]] {
            let root = jobs[0].root(&xn1, &xn2s[0]);
            assert_eq!(last.of(&jobs[0], xn1, xn2s[0]), root, "nothing else has changed");
        }
    }
}
