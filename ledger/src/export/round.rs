//! The round of a block under PROP, with the block that shows where it begins.

use super::{ExportError, Exporter, Found, Slices, missing};

impl Exporter {
    /// The slices of a block's round, or the committed one alone where the round is empty; and the
    /// block that took what is in front of them, unless that is nothing.
    ///
    /// # Errors
    /// Where the round is in pieces, as after orphans: no single block shows what was taken.
    pub(super) fn round(&self, found: &Found) -> Result<(Slices<'_>, Option<Found>), ExportError> {
        let (event, last) = (found.event, found.terms.slice);
        if last == 0 {
            return Ok((Vec::new(), None));
        }
        let in_pieces =
            || missing("the round of this block is in pieces: verify the whole ledger".to_owned());
        let (first, ended) = match self.raw.round(event)?.as_slice() {
            [] => (last, last),
            [(first, end)] if *end == last => (*first, first.saturating_sub(1)),
            _ => return Err(in_pieces()),
        };
        let before = match ended {
            0 => None,
            ended => Some(self.raw.other_block_of(ended, event)?.ok_or_else(in_pieces)?),
        };
        let before = before.map(|event| self.found_by(event)).transpose()?;
        let slices = (first..=last).map(|index| Ok((index, self.slice(index)?)));
        Ok((slices.collect::<Result<_, ExportError>>()?, before))
    }
}
