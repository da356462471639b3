//! The API's JSON, shape by shape. Every amount that may pass 2^53, and every exact figure, is a
//! decimal string; what is null was not reported.

use std::collections::BTreeMap;

use energy::carbon::Factor;
use ledger::{AccountCredit, AccountPayout, BlockView, MeterView};
use serde::Serialize;
use serde_json::Value;

use super::{
    account::{AccountNow, WorkerNow},
    estimates::ShownEstimate,
    luck::{ShownAccount, ShownPool, shown_account},
    meters::EnergyNow,
    standing::{ShownFlag, ShownWindow, shown_flags},
    view::{View, WorkShown},
};
use crate::{blocks::shown, bundles::work_json, rates::Hashrate};

/// `/api/v1/pool`.
#[derive(Debug, Serialize)]
pub(super) struct Pool {
    version: &'static str,
    network: &'static str,
    scheme: &'static str,
    fee_basis_points: u16,
    connections: u64,
    accounts: u64,
    workers: u64,
    shares: Shares,
    work_hashes: String,
    hashrate_hashes_per_second: Hashrate,
    blocks: Blocks,
    luck: ShownPool,
    satoshis: Satoshis,
    energy: Energy,
    /// The last ten minutes, hour and day: of all workers that report.
    windows: Vec<ShownWindow>,
    flags: Vec<ShownFlag>,
    flags_total: usize,
    estimates: Vec<ShownEstimate>,
    carbon: Carbon,
    template: Option<TemplateNow>,
    /// Under pay per share.
    reserve: Option<Reserve>,
}

#[derive(Debug, Serialize)]
struct Shares {
    accepted: u64,
    rejected: u64,
    rejected_by_reason: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Blocks {
    found: u64,
    immature: u64,
    mature: u64,
    orphaned: u64,
    unresolved: u64,
}

#[derive(Debug, Serialize)]
struct Satoshis {
    immature: String,
    credited: String,
    paid: String,
    pool_fee: String,
}

#[derive(Debug, Default, Serialize)]
struct Energy {
    joules: Option<String>,
    covered_work_hashes: Option<String>,
    sources: Vec<String>,
    best_tier: Option<u8>,
    worst_tier: Option<u8>,
    uncertainty: Option<f64>,
    joules_per_terahash: Option<String>,
}

#[derive(Debug, Serialize)]
struct Carbon {
    grams: Option<String>,
    gas: &'static str,
    method: &'static str,
    grams_per_terahash: Option<String>,
    factor: FactorNow,
}

#[derive(Debug, Serialize)]
struct FactorNow {
    publisher: String,
    zone: String,
    name: String,
    vintage: u16,
    grams_per_kilowatthour: String,
    grade: String,
    source: String,
}

#[derive(Debug, Serialize)]
struct TemplateNow {
    height: u32,
    age_seconds: f64,
    network_difficulty: f64,
}

/// `/api/v1/accounts/{account}`.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    account: String,
    work_hashes: String,
    shares: u64,
    satoshis: AccountSatoshis,
    luck: ShownAccount,
    energy: AccountEnergy,
    windows: Vec<ShownWindow>,
    flags: Vec<ShownFlag>,
    flags_total: usize,
    /// Of work that no reading covers; in no sum of joules.
    estimates: Vec<ShownEstimate>,
    carbon: Carbon,
    workers_total: usize,
    /// Those with the most work, most first; also `/api/v1/accounts/{account}/workers`.
    pub(super) workers: Vec<Worker>,
}

#[derive(Debug, Serialize)]
struct AccountSatoshis {
    immature: String,
    balance: String,
    paid: String,
}

#[derive(Debug, Serialize)]
struct AccountEnergy {
    #[serde(flatten)]
    energy: Energy,
    plausibility_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Worker {
    name: String,
    work_hashes: String,
    shares: u64,
    last_share_at: Option<u64>,
    hashrate_hashes_per_second: Hashrate,
    energy: Energy,
    windows: Vec<ShownWindow>,
    flags: Vec<ShownFlag>,
    estimates: Vec<ShownEstimate>,
    carbon: Carbon,
    meters_total: usize,
    meters: Vec<Meter>,
}

#[derive(Debug, Serialize)]
struct Meter {
    id: String,
    kind: String,
    scope: String,
    tier: u8,
    joules: String,
    counted: bool,
    uncertainty: f64,
    coverage: f64,
    gap_seconds: f64,
    hashes_claimed: Option<String>,
    last_at: u64,
}

#[derive(Debug, Serialize)]
struct Reserve {
    satoshis: String,
    ruin_probability: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Block {
    hash: String,
    height: u32,
    state: &'static str,
    satoshis: String,
    finder: String,
    worker: String,
    committed_slice: u64,
    answer: Option<String>,
    found_at: u64,
    state_at: u64,
}

/// One of `/api/v1/accounts/{account}/credits`.
#[derive(Debug, Serialize)]
pub(super) struct Credit {
    hash: String,
    height: u32,
    state: &'static str,
    kind: &'static str,
    satoshis: String,
    found_at: u64,
    state_at: u64,
}

/// `/api/v1/accounts/{account}/work`: what headers show beside what was credited.
#[derive(Debug, Serialize)]
pub(super) struct WorkProof {
    first_slice: u64,
    last_slice: u64,
    /// Null where the slices keep no headers of the account's.
    estimate: Option<Value>,
}

/// One of `/api/v1/payouts`.
#[derive(Debug, Serialize)]
pub(super) struct Payout {
    payout: u64,
    account: String,
    satoshis: String,
    state: String,
    txid: Option<String>,
    at: u64,
}

/// `/api/v1/energy`.
#[derive(Debug, Serialize)]
pub(super) struct EnergyPage {
    energy: Energy,
    windows: Vec<ShownWindow>,
    flags: Vec<ShownFlag>,
    flags_total: usize,
    estimates: Vec<ShownEstimate>,
    work_hashes: String,
    meters_total: usize,
    /// Those with the most joules, most first.
    meters: Vec<Meter>,
}

pub(super) fn work(account: &str, shown: &WorkShown) -> WorkProof {
    let WorkShown { first, last, estimate } = shown;
    WorkProof {
        first_slice: first.get(),
        last_slice: last.get(),
        estimate: estimate.as_ref().map(|estimate| work_json(account, estimate)),
    }
}

pub(super) fn pool(view: &View) -> Pool {
    let totals = &view.totals;
    Pool {
        version: env!("CARGO_PKG_VERSION"),
        network: view.config.network.as_str(),
        scheme: scheme(view),
        fee_basis_points: view.config.payout.fee.get(),
        connections: view.tallies.connections,
        accounts: totals.accounts,
        workers: totals.workers,
        shares: Shares {
            accepted: totals.shares,
            rejected: view.tallies.rejected.iter().map(|(_, count)| count).sum(),
            rejected_by_reason: view.tallies.rejected.iter().copied().collect(),
        },
        work_hashes: totals.work.get().to_string(),
        hashrate_hashes_per_second: view.rate,
        blocks: Blocks {
            found: totals.blocks.found(),
            immature: totals.blocks.immature,
            mature: totals.blocks.mature,
            orphaned: totals.blocks.orphaned.saturating_add(totals.blocks.abandoned),
            unresolved: totals.blocks.candidate.saturating_add(totals.blocks.submitted),
        },
        luck: view.luck.shown(),
        satoshis: Satoshis {
            immature: totals.immature.to_sat().to_string(),
            credited: totals.balance.to_sat().to_string(),
            paid: totals.paid.to_sat().to_string(),
            pool_fee: totals.fees.to_sat().to_string(),
        },
        energy: energy_of(view.energy()),
        windows: view.windows.shown(),
        flags: view.flags.shown(),
        flags_total: view.flags.total(),
        estimates: view.estimates.shown(),
        carbon: carbon_of(view.energy(), &view.config.energy.factor),
        template: view.template.as_ref().map(|seen| TemplateNow {
            height: seen.template.height,
            age_seconds: view.template_age().unwrap_or_default(),
            network_difficulty: seen.template.target.difficulty().get(),
        }),
        reserve: view.ruin().map(|ruin_probability| Reserve {
            satoshis: totals.reserve.to_sat().to_string(),
            ruin_probability,
        }),
    }
}

pub(super) fn account(now: &AccountNow) -> Account {
    let energy = now.energy.as_ref();
    Account {
        account: now.name.clone(),
        work_hashes: now.work.get().to_string(),
        shares: now.shares,
        satoshis: AccountSatoshis {
            immature: now.immature.to_sat().to_string(),
            balance: now.balance.to_sat().to_string(),
            paid: now.paid.to_sat().to_string(),
        },
        luck: shown_account(now.luck, now.suspected.as_deref()),
        energy: AccountEnergy {
            energy: energy_of(energy),
            plausibility_ratio: energy.and_then(EnergyNow::plausibility),
        },
        windows: now.windows.shown(),
        flags: now.flags.shown(),
        flags_total: now.flags.total(),
        estimates: now.estimates.shown(),
        carbon: carbon_of(energy, &now.factor),
        workers_total: now.workers_total,
        workers: now.workers.iter().map(|worker| worker_of(worker, &now.factor)).collect(),
    }
}

pub(super) fn blocks(blocks: &[BlockView]) -> Vec<Block> {
    blocks.iter().map(block_of).collect()
}

pub(super) fn credits(credits: &[AccountCredit]) -> Vec<Credit> {
    let credit = |credit: &AccountCredit| Credit {
        hash: shown(&credit.block),
        height: credit.height,
        state: credit.state.as_str(),
        kind: credit.kind.as_str(),
        satoshis: credit.sats.to_sat().to_string(),
        found_at: credit.found_at.get(),
        state_at: credit.state_at.get(),
    };
    credits.iter().map(credit).collect()
}

pub(super) fn payouts(payouts: &[AccountPayout]) -> Vec<Payout> {
    let payout = |payout: &AccountPayout| Payout {
        payout: payout.payout,
        account: payout.account.clone(),
        satoshis: payout.sats.to_sat().to_string(),
        state: payout.state.clone(),
        txid: payout.txid.as_ref().map(shown),
        at: payout.at.get(),
    };
    payouts.iter().map(payout).collect()
}

pub(super) fn energy(view: &View) -> EnergyPage {
    EnergyPage {
        energy: energy_of(view.energy()),
        windows: view.windows.shown(),
        flags: view.flags.shown(),
        flags_total: view.flags.total(),
        estimates: view.estimates.shown(),
        work_hashes: view.totals.work.get().to_string(),
        meters_total: view.meters.total,
        meters: view.meters.shown.iter().map(meter_of).collect(),
    }
}

pub(super) fn carbon(view: &View) -> impl Serialize + use<> {
    carbon_of(view.energy(), &view.config.energy.factor)
}

pub(super) const fn scheme(view: &View) -> &'static str {
    view.config.payout.scheme.as_str()
}

fn worker_of(now: &WorkerNow, factor: &Factor) -> Worker {
    let (worker, energy) = (&now.worker, now.energy.as_ref());
    Worker {
        name: worker.name.clone(),
        work_hashes: worker.work.get().to_string(),
        shares: worker.shares,
        last_share_at: worker.last_share_at.map(units::UnixMillis::get),
        hashrate_hashes_per_second: now.rate,
        energy: energy_of(energy),
        windows: now.windows.shown(),
        flags: now.standing.as_deref().map_or_else(Vec::new, |now| shown_flags(&now.flags)),
        estimates: now.estimates.shown(),
        carbon: carbon_of(energy, factor),
        meters_total: now.meters_total,
        meters: worker.meters.iter().map(meter_of).collect(),
    }
}

fn meter_of(meter: &MeterView) -> Meter {
    Meter {
        id: meter.meter.clone(),
        kind: meter.kind.clone(),
        scope: meter.scope.clone(),
        tier: meter.tier,
        joules: meter.energy.joules(),
        counted: meter.counted,
        uncertainty: f64::from(meter.uncertainty_ppm) / 1e6,
        coverage: f64::from(meter.coverage_ppm) / 1e6,
        gap_seconds: meter.gap.as_secs_f64(),
        hashes_claimed: meter.hashes_total.map(|hashes| hashes.get().to_string()),
        last_at: meter.last_at.get(),
    }
}

fn energy_of(energy: Option<&EnergyNow>) -> Energy {
    energy.map_or_else(Energy::default, |energy| Energy {
        joules: Some(energy.joules.joules()),
        covered_work_hashes: Some(energy.covered_work.get().to_string()),
        sources: energy.sources.iter().cloned().collect(),
        best_tier: Some(energy.best_tier),
        worst_tier: Some(energy.worst_tier),
        uncertainty: Some(energy.uncertainty),
        joules_per_terahash: energy.per_terahash().map(|ratio| ratio.to_string()),
    })
}

fn carbon_of(energy: Option<&EnergyNow>, factor: &Factor) -> Carbon {
    Carbon {
        grams: energy.map(|energy| energy.mass(factor).grams()),
        gas: factor.gas.as_str(),
        method: "location",
        grams_per_terahash: energy.and_then(|energy| energy.grams_per_terahash(factor)),
        factor: FactorNow {
            publisher: factor.publisher.to_string(),
            zone: factor.zone.clone(),
            name: factor.name.clone(),
            vintage: factor.vintage,
            grams_per_kilowatthour: factor.intensity.grams_per_kwh(),
            grade: factor.grade.clone(),
            source: factor.source.clone(),
        },
    }
}

fn block_of(block: &BlockView) -> Block {
    Block {
        hash: shown(&block.hash),
        height: block.height,
        state: block.state.as_str(),
        satoshis: block.reward.to_sat().to_string(),
        finder: block.finder.clone(),
        worker: block.finder_worker.clone(),
        committed_slice: block.committed_slice.get(),
        answer: block.answer.clone(),
        found_at: block.found_at.get(),
        state_at: block.state_at.get(),
    }
}
