//! Looks at the nodes that are not followed: is one of them the better choice now?
//!
//! Two things make it so. A node that the operator put earlier in the list is well again; or the
//! followed one stays behind the chain that another has, as a node does that lost its peers or
//! checks blocks too slowly. Either must hold at several looks in a row, so that two nodes that
//! get each block in turn do not make the pool change with every block.

use std::time::Duration;

use defences::{Defence, stands};

use super::client::{ChainInfo, NodeClient};
use super::nodes::Nodes;

/// Looks in a row at which a node must be the better choice.
const LOOKS: u32 = 3;
/// Blocks that a followed node may be behind: one is in the order of things.
const BEHIND: u32 = 2;

/// A node to be followed instead.
#[derive(Debug)]
pub(super) struct Better {
    /// Its place in the operator's order.
    pub(super) index: usize,
    /// Why, in plain words.
    pub(super) why: String,
}

/// Returns once another node is the better choice; never where there is but one.
pub(super) async fn better(nodes: &Nodes, look: Duration) -> Better {
    let active = nodes.active_index();
    if nodes.all().len() == 1 {
        return std::future::pending().await;
    }
    let mut in_a_row = vec![0_u32; nodes.all().len()];
    loop {
        tokio::time::sleep(look).await;
        // A followed node that does not answer is the watcher's business.
        let Ok(own) = nodes.active().blockchain_info().await else { continue };
        for (index, other) in nodes.all().iter().enumerate().filter(|(at, _)| *at != active) {
            let why = reason(index < active, own.blocks, well(other).await.as_ref());
            in_a_row[index] = if why.is_some() { in_a_row[index] + 1 } else { 0 };
            if let Some(why) = why.filter(|_| in_a_row[index] >= LOOKS) {
                return Better { index, why };
            }
        }
    }
}

/// The node's chain, where it is the right one and blocks can be mined on it.
async fn well(node: &NodeClient) -> Option<ChainInfo> {
    let info = node.check_network().await.ok()?;
    let template = node.get_block_template(None).await.ok()?;
    (template.prev_hash == info.best_block).then_some(info)
}

/// Why a node should be followed instead of one that is at height `own`.
fn reason(preferred: bool, own: u32, other: Option<&ChainInfo>) -> Option<String> {
    let height = other?.blocks;
    if preferred && height >= own {
        return Some("it is well again".to_owned());
    }
    let behind = height.saturating_sub(own);
    (behind >= BEHIND && stands(Defence::NodeBehind))
        .then(|| format!("the other one is {behind} blocks behind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(blocks: u32) -> ChainInfo {
        ChainInfo {
            chain: "regtest".to_owned(),
            blocks,
            best_block: [0; 32],
            difficulty: 1.0,
            initial_block_download: false,
        }
    }

    #[test]
    fn a_preferred_node_comes_back_only_with_the_whole_chain() {
        assert!(reason(true, 100, Some(&at(100))).is_some());
        assert!(reason(true, 100, Some(&at(99))).is_none());
        assert!(reason(true, 100, None).is_none(), "it does not answer");
    }

    #[test]
    fn a_later_node_must_be_blocks_ahead() {
        assert!(reason(false, 100, Some(&at(101))).is_none());
        let why = reason(false, 100, Some(&at(102)));
        assert_eq!(why.as_deref(), Some("the other one is 2 blocks behind"));
    }
}
