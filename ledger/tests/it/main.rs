//! The ledger as its users see it: real headers, real blocks, real files.

#[cfg(test)]
mod account_bundles;
#[cfg(test)]
mod aggregates;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod energy;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod luck;
#[cfg(test)]
mod payouts;
#[cfg(test)]
mod pruning;
#[cfg(test)]
mod random;
#[cfg(test)]
mod reading;
mod round_bundles;
#[cfg(test)]
mod schemes;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tallies;
#[cfg(test)]
mod time_bundles;
#[cfg(test)]
mod verifying;
