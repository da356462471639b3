//! The round of a block under PROP, with the block that shows where it begins.

use super::{ExportError, Exporter, Found, Slices, missing};

impl Exporter {
    /// The slices of a block's round, or the committed one alone where the round is empty; and the
    /// block that took what is in front of them, unless that is nothing.
    ///
    /// # Errors
    /// Where the block is not settled; or where no single block on the chain shows what was taken, as
    /// after orphans.
    pub(super) fn round(&self, found: &Found) -> Result<(Slices<'_>, Option<Found>), ExportError> {
        let (event, last) = (found.event, found.terms.slice);
        if last == 0 {
            return Ok((Vec::new(), None));
        }
        if self.raw.credits(event)?.is_empty() && found.terms.reward > 0 {
            return Err(missing("this block is not settled".to_owned()));
        }
        let in_pieces = || {
            let why = "the blocks that are on the chain now do not show the round of this one";
            missing(format!("{why}: verify the whole ledger"))
        };
        let (first, ended) = match self.raw.round(event)?.as_slice() {
            [] => (last, last),
            [(first, end)] if *end == last => (*first, first.saturating_sub(1)),
            _ => return Err(in_pieces()),
        };
        // One that took slices of this round and is back on the chain would stand between.
        let before = self.raw.block_before(event, ended.max(1), last)?;
        if before.map_or(0, |(_, slice)| slice) != ended {
            return Err(in_pieces());
        }
        let before = before.map(|(event, _)| self.found_by(event)).transpose()?;
        let slices = (first..=last).map(|index| Ok((index, self.slice(index)?)));
        Ok((slices.collect::<Result<_, ExportError>>()?, before))
    }
}
