//! Coinbases of the simulated pool: enough of a transaction for a block, and different for each
//! job and slice.

/// What each block pays, satoshis.
pub(crate) const REWARD: u64 = 5_000_000_000;

/// A coinbase up to its extranonces: version, one input from nowhere, and a script of the height,
/// the job's number, the pool's own commitment to a slice and the 12 bytes of both extranonces.
pub(super) fn start(height: u32, job: u64, commitment: &[u8; 36]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    bytes.push(1);
    bytes.extend([0; 32]);
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.push(5 + 9 + 37 + 13);
    bytes.push(4);
    bytes.extend(height.to_le_bytes());
    bytes.push(8);
    bytes.extend(job.to_le_bytes());
    bytes.push(36);
    bytes.extend(commitment);
    bytes.push(12);
    bytes
}

/// The rest: sequence, one output of the whole reward to anybody, lock time.
pub(super) fn end() -> Vec<u8> {
    let mut bytes = u32::MAX.to_le_bytes().to_vec();
    bytes.push(1);
    bytes.extend(REWARD.to_le_bytes());
    bytes.extend([1, 0x51]);
    bytes.extend(0_u32.to_le_bytes());
    bytes
}
