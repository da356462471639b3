//! Mistakes that a pool could make, to see that they are found. No run outside the tests has one.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Shares are answered before they are on disk.
    EarlyAnswer,
    /// Shares are credited by the difficulty of now, not by that of their job.
    PresentDifficulty,
    /// An extranonce 1 is free as soon as it is given out.
    LiveExtranonce,
    /// A batch is credited again.
    TwiceCredited,
    /// Work that the node has again is not given out.
    NoWorkAgain,
    /// Shares that could not be written down are answered as if they had been.
    SilentDisk,
    /// A killed pool's successor forgets the last extranonces that were leased.
    LeaseForgotten,
}
