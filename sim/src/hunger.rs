//! Nobody starves: where nothing stands between a miner and the node's tip, the miner works on that
//! tip before long, and is credited shares.

use core::time::Duration;

/// How long work may take once nothing stands in its way: three times there and back, each way with
/// what it waits for on the way.
const WORK_WITHIN: Duration = Duration::from_secs(3);
/// How long a miner may go without a share being taken that could be: it finds some in a second.
const SHARE_WITHIN: Duration = Duration::from_secs(20);

/// Since when one miner has been due what.
#[derive(Debug, Default)]
pub(crate) struct Hunger {
    /// Since when nothing stands in its way, and on which tip.
    due: Option<(Duration, [u8; 32])>,
    /// Since when its shares could have been taken.
    unpaid: Option<Duration>,
}

impl Hunger {
    /// Looks at a miner: `tip` is the block to build on where nothing stands in the way of it, and
    /// `works_on` what the miner does; `paid` says whether a share was just taken.
    pub(crate) fn look(
        &mut self,
        now: Duration,
        tip: Option<[u8; 32]>,
        works_on: Option<[u8; 32]>,
        paid: bool,
    ) -> Result<(), String> {
        let Some(tip) = tip else {
            (self.due, self.unpaid) = (None, None);
            return Ok(());
        };
        let (since, _) = *self.due.insert(match self.due {
            Some((since, before)) if before == tip => (since, tip),
            // Another tip: work on it has just become due.
            Some(_) | None => (now, tip),
        });
        if works_on != Some(tip) && now - since > WORK_WITHIN {
            return Err(format!("no work on the tip for {} ms", (now - since).as_millis()));
        }
        let unpaid = self.unpaid.get_or_insert(now);
        if paid {
            *unpaid = now;
        }
        if now - *unpaid > SHARE_WITHIN {
            return Err(format!("no share was taken for {} ms", (now - *unpaid).as_millis()));
        }
        Ok(())
    }
}
