//! The block of a bundle: its header, its coinbase, and the terms that it is settled by.

use std::collections::BTreeMap;

use units::U256;

use super::Fault;
use super::lines::{DirectLine, Hex, Lines};
use super::walk::Head;
use crate::block::display_hex;
use crate::types::BlockId;
use crate::verify::direct::{self, Payment};
use crate::verify::{chain, commitment, pow};

/// What a block is settled by.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) hash: BlockId,
    pub(super) height: u32,
    pub(super) reward: u64,
    pub(super) network_work: u128,
    pub(super) finder: u32,
    pub(super) slice: u64,
    pub(super) scheme: String,
    pub(super) window_hundredths: u32,
    pub(super) window_ms: u64,
    pub(super) fee_basis_points: u16,
    pub(super) fee_account: u32,
    /// What the coinbase pays to accounts itself: each has an output of its own.
    pub(super) direct: Vec<Payment>,
    commitment: Option<[u8; 32]>,
    /// As the coinbase says it.
    pub(super) mined_height: Option<u64>,
}

impl Terms {
    /// Reads the block that must be next, which is `asked` for where it is given.
    pub(super) fn read(lines: &mut Lines<'_>, asked: Option<&BlockId>) -> Result<Self, Fault> {
        match lines.block()? {
            Some(block) => Self::of(*block, asked),
            None => lines.missing("the block"),
        }
    }

    pub(super) fn of(
        block: super::lines::BlockLine,
        asked: Option<&BlockId>,
    ) -> Result<Self, Fault> {
        let opened = Opened::of(&block.header, &block.coinbase, &block.branch)?;
        let Opened { hash, work, coinbase } = opened;
        if let Some(asked) = asked.filter(|asked| **asked != hash) {
            let (is, must) = (display_hex(&hash), display_hex(asked));
            return Err(format!("it is the block {is}, should be {must}").into());
        }
        if block.network_work.0 != work {
            let said = block.network_work.0;
            return Err(format!("the block's network work is {said}, should be {work}").into());
        }
        if coinbase.value != block.reward.0 {
            let (said, pays) = (block.reward.0, coinbase.value);
            return Err(format!("the reward is {said}, but the coinbase pays {pays}").into());
        }
        let payment = |pay: DirectLine| {
            let (account, sats) = (pay.account, pay.satoshis.0);
            Payment { account, script: pay.script, sats }
        };
        let direct: Vec<_> = block.direct.into_iter().map(payment).collect();
        direct::check_outputs(&coinbase.outputs, &direct).map_err(the)?;
        Ok(Self {
            hash,
            height: block.height,
            reward: block.reward.0,
            network_work: work,
            finder: block.finder,
            slice: block.slice,
            scheme: block.scheme,
            window_hundredths: block.window_hundredths,
            window_ms: block.window_ms,
            fee_basis_points: block.fee_basis_points,
            fee_account: block.fee_account,
            direct,
            commitment: coinbase.commitment,
            mined_height: coinbase.height,
        })
    }

    /// That what the coinbase pays to accounts itself goes to the addresses that name them.
    pub(super) fn check_names(&self, accounts: &BTreeMap<u32, String>) -> Result<(), Fault> {
        for payment in &self.direct {
            let id = payment.account;
            let name = accounts.get(&id).ok_or_else(|| format!("account {id} has no name"))?;
            payment.check_name(name).map_err(the)?;
        }
        Ok(())
    }

    /// The same for this account alone.
    pub(super) fn check_name(&self, id: u32, name: &str) -> Result<(), Fault> {
        for payment in self.direct.iter().filter(|payment| payment.account == id) {
            payment.check_name(name).map_err(the)?;
        }
        Ok(())
    }

    /// That the coinbase commits to the newest slice of the bundle, and the terms name it.
    pub(super) fn check_commitment(&self, newest: Option<Head>) -> Result<(), Fault> {
        let index = newest.map_or(0, |newest| newest.index);
        if index != self.slice {
            let slice = self.slice;
            return Err(format!("the newest slice is {index}, should be {slice}").into());
        }
        let root = newest.map_or([0; 32], |newest| newest.root);
        let required = newest.is_none_or(|newest| newest.form > 1);
        Ok(commitment::check(self.commitment, index, &root, required)?)
    }
}

/// A block's header and its coinbase, which belong together.
pub(super) struct Opened {
    pub(super) hash: BlockId,
    /// What its bits ask for.
    work: u128,
    pub(super) coinbase: chain::Coinbase,
}

impl Opened {
    /// Holds a header to its own bits, and the coinbase to the header by the branch from it up.
    pub(super) fn of(
        Hex(header): &Hex<80>,
        coinbase: &[u8],
        branch: &[Hex<32>],
    ) -> Result<Self, Fault> {
        let hash = pow::double_sha256(header);
        let target = pow::target_of_bits(pow::bits_of(header));
        let target = target.ok_or("the block's bits ask nothing")?;
        if U256::from_le_bytes(hash) > target {
            return Err("the block's hash does not meet its target".into());
        }
        let coinbase = chain::coinbase(coinbase)?;
        let branch: Vec<_> = branch.iter().map(|Hex(node)| *node).collect();
        if header[36..68] != chain::root_of_first(coinbase.id, &branch) {
            return Err("the block's header does not commit to this coinbase".into());
        }
        Ok(Self { hash, work: pow::work_of_target(target), coinbase })
    }
}

fn the(problem: String) -> String {
    format!("the {problem}")
}
