//! Jobs by the lines that they came in. Every connection gets the same line, so it is read once.

use std::{collections::VecDeque, rc::Rc};

use super::work::Job;

/// How many are remembered: connections are at most this many jobs apart.
const KEPT: usize = 8;

/// The newest jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    newest_first: VecDeque<(Vec<u8>, Rc<Job>)>,
}

impl Jobs {
    /// The job of a line that was read before.
    pub(crate) fn known(&self, line: &[u8]) -> Option<Rc<Job>> {
        let found = self.newest_first.iter().find(|(known, _)| known == line);
        found.map(|(_, job)| Rc::clone(job))
    }

    /// Remembers what a line says.
    pub(crate) fn keep(&mut self, line: &[u8], job: Job) -> Rc<Job> {
        let job = Rc::new(job);
        self.newest_first.truncate(KEPT - 1);
        self.newest_first.push_front((line.to_vec(), Rc::clone(&job)));
        job
    }
}
