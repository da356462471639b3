//! Blocks out of bytes, as Bitcoin Core reads them (`UnserializeTransaction`): a transaction
//! without inputs can be read, for it has a verdict of its own, and witnesses may be of any size,
//! for the block's weight is what forbids them.

use bitcoin::block::Header;
use bitcoin::consensus::encode::{Decodable, Error, VarInt};
use bitcoin::{Block, Transaction, TxIn, TxOut, Witness, absolute::LockTime, transaction::Version};

/// The flag that says that witnesses follow the outputs (BIP 144).
const WITNESS: u8 = 1;

/// The block at the beginning of `bytes`; what follows it is ignored.
pub(super) fn block(mut bytes: &[u8]) -> Result<Block, Error> {
    let header: Header = read(&mut bytes)?;
    let VarInt(count) = read(&mut bytes)?;
    // One by one: the count is a claim until the transactions are there.
    let txdata = (0..count).map(|_| transaction(&mut bytes)).collect::<Result<_, _>>()?;
    Ok(Block { header, txdata })
}

fn transaction(bytes: &mut &[u8]) -> Result<Transaction, Error> {
    let version: Version = read(bytes)?;
    let mut input: Vec<TxIn> = read(bytes)?;
    let mut output = Vec::<TxOut>::new();
    let mut flags = 0_u8;
    if input.is_empty() {
        flags = read(bytes)?;
        if flags != 0 {
            input = read(bytes)?;
            output = read(bytes)?;
        }
    } else {
        output = read(bytes)?;
    }
    if flags & WITNESS != 0 {
        for input in &mut input {
            input.witness = Witness::from(read::<Vec<Vec<u8>>>(bytes)?);
        }
        if input.iter().all(|input| input.witness.is_empty()) {
            return Err(Error::ParseFailed("Superfluous witness record"));
        }
    }
    if flags & !WITNESS != 0 {
        return Err(Error::ParseFailed("Unknown transaction optional data"));
    }
    let lock_time: LockTime = read(bytes)?;
    Ok(Transaction { version, lock_time, input, output })
}

/// The bytes are all there, so nothing has to be limited but by them.
fn read<T: Decodable>(bytes: &mut &[u8]) -> Result<T, Error> {
    T::consensus_decode_from_finite_reader(bytes)
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::encode::serialize;

    use super::*;

    #[test]
    fn a_block_reads_back_and_a_claim_without_transactions_does_not() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let mut with_witness = genesis.clone();
        with_witness.txdata[0].input[0].witness = Witness::from_slice(&[vec![7; 5], vec![]]);
        for whole in [genesis, with_witness] {
            let mut bytes = serialize(&whole);
            assert_eq!(block(&bytes).unwrap(), whole);
            bytes.push(1);
            assert_eq!(block(&bytes).unwrap(), whole);
            bytes.splice(80..81, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
            block(&bytes).unwrap_err();
        }
    }

    #[test]
    fn a_witness_may_be_larger_than_any_block() {
        let mut large = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        large.txdata[0].input[0].witness = Witness::from_slice(&[vec![7; 4_100_000]]);
        assert_eq!(block(&serialize(&large)).unwrap(), large);
    }

    #[test]
    fn a_transaction_may_have_no_inputs_but_no_empty_witness() {
        let parse = |middle: &[u8]| {
            let bytes = [&[2, 0, 0, 0], middle, &[0; 4]].concat();
            transaction(&mut bytes.as_slice())
        };
        assert!(parse(&[0, 0]).unwrap().input.is_empty());
        for middle in [&[0, 1, 0, 0][..], &[0, 2, 0, 0], &[0, 3, 0, 0]] {
            parse(middle).unwrap_err();
        }
    }
}
