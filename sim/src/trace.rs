//! All that crossed a link or reached the ledger, in one hash: two runs that differ anywhere differ
//! here.

use stratum::job::sha256d;

/// A hash of everything so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    chained: [u8; 32],
    /// Of the present step.
    gathered: Vec<u8>,
}

impl Trace {
    /// Something happened: what, to whom, with which bytes.
    pub(crate) fn note(&mut self, what: u8, whom: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.gathered.push(what);
        self.gathered.extend(whom.to_le_bytes());
        self.gathered.extend(bytes.len().to_le_bytes());
        self.gathered.extend(bytes);
    }

    /// A step has ended.
    pub(crate) fn fold(&mut self) -> [u8; 32] {
        self.chained = sha256d(&[&self.chained, &self.gathered[..]].concat());
        self.gathered.clear();
        self.chained
    }
}
