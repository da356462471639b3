//! Pay per share: what a block is taken to be worth, and how safe the reserve is.
//!
//! Read [`Wages::block_value`]; the ledger pays slices by it. Under FPPS it counts the fees that
//! blocks have lately had: [`follow_fees`] keeps their mean. It deliberately moves no money, and
//! nothing of it is exact but the value itself: [`ruin`] is for people.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use units::{BasisPoints, Sats};

use crate::node::{Network, NodeClient, NodeError, Nodes, Seen, subsidy};

/// Blocks whose fees make the mean.
const BLOCKS: u32 = 144;
/// A block counts once so many are on top of it, itself counted: a reorganisation does not change
/// what was paid by then.
const DEPTH: u32 = 6;

/// Newest templates.
type Templates = watch::Receiver<Option<Arc<Seen>>>;

/// How shares are paid for.
#[derive(Debug, Clone)]
pub struct Wages {
    /// Whose subsidy.
    network: Network,
    /// The mean of fees, under FPPS; `None` in it while it is not known.
    fees: Option<watch::Receiver<Option<Sats>>>,
    /// The height of the work that was given out last; `None` before the first.
    height: Option<u32>,
}

impl Wages {
    /// Of this network, with the mean of fees under FPPS.
    #[must_use]
    pub const fn new(network: Network, fees: Option<watch::Receiver<Option<Sats>>>) -> Self {
        Self { network, fees, height: None }
    }

    /// The height of the work that was given out last: what is hashed is paid by it.
    #[must_use]
    pub const fn height(&self) -> Option<u32> {
        self.height
    }

    /// Whether work of `height` has another subsidy than what was given out last.
    #[must_use]
    pub fn ends_at(&self, height: u32) -> bool {
        let subsidy = |height| subsidy(height, self.network);
        self.height.is_some_and(|last| subsidy(last) != subsidy(height))
    }

    /// Work of this height is given out.
    pub const fn work_at(&mut self, height: u32) {
        self.height = Some(height);
    }

    /// What a block of this height is taken to be worth; `None` while that is not known.
    #[must_use]
    pub fn block_value(&self, height: u32) -> Option<Sats> {
        let subsidy = subsidy(height, self.network);
        match &self.fees {
            None => Some(subsidy),
            Some(mean) => (*mean.borrow()).and_then(|mean| subsidy.checked_add(mean)),
        }
    }
}

/// Completes when the mean of fees is another; never where it does not count.
pub async fn fees_change(wages: &mut Option<Wages>) {
    let fees = wages.as_mut().and_then(|wages| wages.fees.as_mut());
    match fees {
        Some(fees) => {
            if fees.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// The probability that a reserve is ever used up: exp(-2 f R / B) for the fee's part f, the reserve
/// R and a block's value B (M. Rosenfeld, arXiv:1112.4980, section 2.2). 1 where there is no fee.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a probability to look at")]
pub fn ruin(reserve: Sats, fee: BasisPoints, block_value: Sats) -> f64 {
    let blocks = reserve.to_sat() as f64 / (block_value.to_sat() as f64).max(1.0);
    (-2.0 * f64::from(fee.get()) / 10_000.0 * blocks).exp()
}

/// Keeps the mean of fees of the newest blocks that are deep enough, until cancelled. A node that
/// does not answer is asked again with the next template; the last mean stays until then.
pub async fn follow_fees(
    nodes: Arc<Nodes>,
    mut templates: Templates,
    mean: watch::Sender<Option<Sats>>,
    cancel: CancellationToken,
) {
    let mut fees = Fees::default();
    loop {
        let height = templates.borrow_and_update().as_ref().map(|seen| seen.template.height);
        if let Some(height) = height {
            match fees.follow(nodes.active(), height).await {
                Ok(()) => {
                    mean.send_replace(Some(fees.mean()));
                }
                Err(error) => tracing::warn!("the mean of fees is as it was: {error}"),
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = templates.changed() => if changed.is_err() { return },
        }
    }
}

/// Fees by height, rising without a hole.
#[derive(Debug, Default)]
struct Fees(VecDeque<(u32, Sats)>);

impl Fees {
    /// Looks up what is missing while a block of `height` is searched for.
    async fn follow(&mut self, node: &NodeClient, height: u32) -> Result<(), NodeError> {
        let Some(newest) = height.checked_sub(DEPTH) else { return Ok(()) };
        let oldest = newest.saturating_sub(BLOCKS - 1).max(1);
        self.0.retain(|(height, _)| (oldest..=newest).contains(height));
        let next = self.0.back().map_or(oldest, |(height, _)| height.saturating_add(1));
        for height in next..=newest {
            self.0.push_back((height, node.block_fees(height).await?));
        }
        Ok(())
    }

    /// Rounded down; 0 where no block is deep enough.
    fn mean(&self) -> Sats {
        let count = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        let sum = self.0.iter().map(|(_, fees)| u128::from(fees.to_sat())).sum::<u128>();
        let mean = sum.checked_div(count.into()).unwrap_or(0);
        u64::try_from(mean).ok().and_then(|mean| Sats::from_sat(mean).ok()).unwrap_or(Sats::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sats(amount: u64) -> Sats {
        Sats::from_sat(amount).unwrap()
    }

    #[test]
    fn the_mean_is_rounded_down() {
        let fees = [100, 250, 0, 301].into_iter().zip(1..).map(|(fee, height)| (height, sats(fee)));
        assert_eq!(Fees(fees.collect()).mean(), sats(162), "651 / 4");
        assert_eq!(Fees::default().mean(), sats(0));
    }

    #[test]
    fn a_block_is_worth_its_subsidy_and_fees_once_they_are_known() {
        let network = Network::Bitcoin;
        let pps = Wages::new(network, None);
        assert_eq!(pps.block_value(840_000), Some(sats(312_500_000)));
        let (mean, fees) = watch::channel(None);
        let mut fpps = Wages::new(network, Some(fees));
        assert_eq!(fpps.block_value(840_000), None);
        mean.send_replace(Some(sats(162)));
        assert_eq!(fpps.block_value(839_999), Some(sats(625_000_162)));
        assert!(!fpps.ends_at(839_999), "nothing was hashed yet");
        fpps.work_at(839_999);
        assert!(fpps.ends_at(840_000) && !fpps.ends_at(839_998));
    }

    #[test]
    fn ruin_is_as_rosenfeld_has_it() {
        let percent = |percent: u16| BasisPoints::new(percent * 100).unwrap();
        let delta = ruin(sats(53_974_000_000), percent(2), sats(312_500_000));
        assert!((delta - 0.001).abs() < 1e-5, "172.7 blocks at 2 %: {delta}");
        assert!((ruin(sats(20_000), percent(1), sats(10_000)) - 0.9608).abs() < 1e-4);
        assert_eq!(ruin(sats(u64::from(u32::MAX)), percent(0), sats(1)), 1.0);
    }
}
