//! The names. A row of `docs/threats.md` says what each keeps out and which test shows it; the code
//! that asks is found by the name.
//!
//! It deliberately says only what stands: how, and at which limit, is where it is asked.

use std::fmt;
use std::str::FromStr;

macro_rules! defences {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Something that keeps a threat or a mistake out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defence {
            $($(#[$doc])+ $variant,)+
        }

        impl Defence {
            /// Every defence once.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name, in small letters with hyphens.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

defences! {
    // Shares.
    /// A share's hash meets the target of its job.
    ShareTarget = "share-target",
    /// A share's time is one that consensus takes.
    ShareTime = "share-time",
    /// A share's version differs from its job's within the mask alone.
    VersionMask = "version-mask",
    /// A share is judged by the target that its job was issued at, whatever came after.
    IssuedTarget = "issued-target",
    /// A header is credited once.
    DuplicateShare = "duplicate-share",
    /// Credited headers are remembered while other blocks come and go.
    ReorganisedShare = "reorganised-share",
    /// A job on a block that has a successor is stale.
    StaleShare = "stale-share",
    /// A job of an older epoch never replaces a newer one.
    OutOfOrderJob = "out-of-order-job",
    /// Extranonce 2 is as long as was agreed.
    Extranonce2Size = "extranonce2-size",
    /// Shares and reports are for workers authorized on the same connection.
    AuthorizedWorker = "authorized-worker",
    /// Shares come after a subscription.
    SubscribedFirst = "subscribed-first",
    /// Each connection has an extranonce 1 of its own.
    OwnExtranonce = "own-extranonce",
    /// No extranonce 1 is given out a second time, not even after a restart.
    LeasedExtranonce = "leased-extranonce",

    // What one connection may use.
    /// A line has an end.
    LineLength = "line-length",
    /// A stranger's line is short.
    StrangersLine = "strangers-line",
    /// Lines are nested only so deeply.
    JsonDepth = "json-depth",
    /// Lines that are no JSON are borne only so often.
    GarbageLimit = "garbage-limit",
    /// Requests and refused shares are borne only so often.
    NuisanceLimit = "nuisance-limit",
    /// Who does not subscribe, authorize a worker or speak in time is let go.
    SessionDeadline = "session-deadline",
    /// Shares that wait for the ledger are few.
    InFlightBound = "in-flight-bound",
    /// Shares in a flood are not taken up.
    ShareFlood = "share-flood",
    /// Answers that nobody reads are kept only up to a limit.
    OutboxBound = "outbox-bound",
    /// Requests that wait for the pool are few.
    WaitingBound = "waiting-bound",
    /// The workers of a connection are few.
    WorkerBound = "worker-bound",
    /// A user name is short.
    UserLength = "user-length",
    /// An identifier that is echoed is short.
    IdLength = "id-length",
    /// Jobs that shares are taken for are few.
    JobsKept = "jobs-kept",
    /// Replaced jobs that may still bring a block are few.
    LateJobs = "late-jobs",
    /// One job is given out again only so often.
    JobsAgain = "jobs-again",
    /// Headers remembered as credited are bounded.
    HeadersRemembered = "headers-remembered",
    /// A difficulty asked for stays within the operator's bounds.
    DifficultyBounds = "difficulty-bounds",
    /// A difficulty fixed by password is raised all the same in a flood.
    FixedFlood = "fixed-flood",
    /// A kind of miner that takes no easy shares is given none.
    DeviceMinimum = "device-minimum",
    /// A job whose coinbase is too long for a device is not given to it.
    CoinbaseLength = "coinbase-length",

    /// A list of transactions is short.
    ListingLength = "listing-length",
    /// A job's transactions are listed once.
    ListedOnce = "listed-once",
    /// A list of transactions has room among what is not read yet.
    ListingRoom = "listing-room",
    /// Subscriptions that wait for their miners are bounded.
    SubscriptionsKept = "subscriptions-kept",
    /// A subscription waits for its miner only so long.
    SubscriptionTime = "subscription-time",

    // Who may connect.
    /// Connections altogether are bounded.
    ConnectionsTotal = "connections-total",
    /// One address holds so many connections.
    ConnectionsByAddress = "connections-by-address",
    /// One subnet holds so many connections.
    ConnectionsBySubnet = "connections-by-subnet",
    /// One /48 of IPv6 holds so many connections.
    ConnectionsBySite = "connections-by-site",
    /// New connections a second are bounded.
    AcceptRate = "accept-rate",
    /// New connections a second from one subnet are bounded.
    AcceptRateBySubnet = "accept-rate-by-subnet",
    /// Connections are no more than open files allow.
    OpenFiles = "open-files",
    /// Addresses that misbehave without end are refused for a time.
    AddressBan = "address-ban",
    /// A banned address comes back once its time is over.
    BanEnd = "ban-end",
    /// Work that was accepted weighs against what an address does wrong.
    GoodWork = "good-work",
    /// Addresses remembered for what they did wrong are bounded.
    OffendersKept = "offenders-kept",
    /// Who does not take what is said to it is let go.
    SlowReaderTime = "slow-reader-time",
    /// Only a listed proxy says whom a connection brings.
    ProxyPeer = "proxy-peer",
    /// A proxy's header is short.
    ProxyHeaderLength = "proxy-header-length",
    /// A proxy's header comes soon.
    ProxyHeaderTime = "proxy-header-time",
    /// The list of proxies is not everybody.
    ProxyNetwork = "proxy-network",
    /// A TLS handshake is short.
    TlsHandshakeLength = "tls-handshake-length",

    // Names.
    /// A user name begins with an address that can be paid.
    PayoutAddress = "payout-address",
    /// That address is one of the pool's network.
    AddressNetwork = "address-network",
    /// A worker's name is made of plain characters.
    WorkerName = "worker-name",
    /// What strangers send and people read has no control characters.
    ReadableText = "readable-text",
    /// What goes into the page is escaped.
    HtmlEscape = "html-escape",
    /// What goes into a metric's label is escaped.
    LabelEscape = "label-escape",
    /// The ledger takes names that can be written.
    LedgerNames = "ledger-names",

    // Readers over HTTP.
    /// A connection has its time.
    HttpTime = "http-time",
    /// A request's head is short.
    HttpHead = "http-head",
    /// An answer lists so many workers.
    WorkersListed = "workers-listed",
    /// An answer lists so many meters.
    MetersListed = "meters-listed",
    /// An answer has a page of blocks or credits, and a statement so many lines.
    PageLength = "page-length",
    /// No cell of a table for spreadsheets begins a formula.
    CsvFormula = "csv-formula",

    // The node.
    /// The node is on the configured network.
    NodeNetwork = "node-network",
    /// A node's answer has an end.
    NodeAnswer = "node-answer",
    /// A node answers in time.
    NodeTimeout = "node-timeout",
    /// A node that stays behind another's chain is left.
    NodeBehind = "node-behind",
    /// Work on an old template is taken back.
    OldTemplate = "old-template",
    /// A template fits a block.
    TemplateSize = "template-size",
    /// A template agrees with what follows from it.
    TemplateTruth = "template-truth",

    // Reports of energy.
    /// A report is signed by its key.
    ReportSignature = "report-signature",
    /// A worker's reports are signed by the key that was first seen.
    PinnedKey = "pinned-key",
    /// A worker's reports keep their interval.
    ReportPace = "report-pace",
    /// The ledger is asked about each unproven worker whose report waits once a second.
    WaitingReports = "waiting-reports",
    /// Workers whose pace is remembered are bounded.
    ReportersBound = "reporters-bound",
    /// A report's text is short.
    ReportLength = "report-length",
    /// A report names each meter once.
    RepeatedMeter = "repeated-meter",
    /// A worker has so many meters.
    MetersBound = "meters-bound",
    /// A counter does not fall.
    CounterFall = "counter-fall",
    /// A report of an earlier epoch credits nothing.
    OldEpoch = "old-epoch",
    /// The first reading of a meter credits nothing.
    Baseline = "baseline",
    /// A meter shows no more than any meter can.
    PlausiblePower = "plausible-power",
    /// Of one worker one scope counts.
    OneScope = "one-scope",
    /// A meter keeps its scope within an epoch.
    ScopeChange = "scope-change",
    /// A meter claims no better tier than its kind can have.
    MeterTier = "meter-tier",
    /// A meter claims no smaller uncertainty than its kind can have.
    MeterUncertainty = "meter-uncertainty",
    /// No reading credits more than its counter moved.
    CreditedCounter = "credited-counter",

    // The operator and the ledger's file.
    /// A ledger has one writer.
    OneWriter = "one-writer",
    /// A file that is no ledger is left alone.
    NotALedger = "not-a-ledger",
    /// A ledger of a later version is left alone.
    NewerLedger = "newer-ledger",
    /// An account that brings fewer blocks than its shares should is named.
    WithheldBlocks = "withheld-blocks",
    // Payouts.
    /// A payout that somebody outside has seen is never taken back into balances.
    PaidTwice = "paid-twice",
    /// Every version of a payout spends its first version's first coin.
    PayoutAnchor = "payout-anchor",
    /// No coin is spent by two payouts.
    PayoutCoins = "payout-coins",
    /// While payouts are paused none is planned, and none goes out.
    PayoutsPaused = "payouts-paused",
    /// A threshold is set by the signature of its account's own address.
    ThresholdOwner = "threshold-owner",
    /// A threshold's time is later than that of the one before.
    ThresholdReplay = "threshold-replay",
    /// The audit finds payments that differ from what a payout's transaction pays.
    AuditPayouts = "audit-payouts",
    /// What changes payouts over HTTP bears the token.
    PayoutToken = "payout-token",
    /// A block's credits are worked out once.
    SettledOnce = "settled-once",
    /// What is mature stays.
    MatureForGood = "mature-for-good",
    /// The audit hashes every share again.
    AuditProof = "audit-proof",
    /// The audit finds a share that stands in the log twice.
    AuditDuplicate = "audit-duplicate",
    /// The audit finds a hole in the log.
    AuditSequence = "audit-sequence",
    /// A block's coinbase commits to the slice that its window ends with.
    CommittedSlice = "committed-slice",
    /// A bundle's slices have the roots that follow from their shares.
    BundleRoot = "bundle-root",
    /// A bundle's headers prove the work that they are credited with.
    BundleProof = "bundle-proof",
    /// A bundle's share counts once.
    BundleDuplicate = "bundle-duplicate",
    /// A receipt is as the pool signed it.
    ReceiptSignature = "receipt-signature",
    /// A slice has the shares that receipts were given for.
    ReceiptShares = "receipt-shares",
    /// The pool's key is its owner's alone.
    PoolKeyFile = "pool-key-file",
    /// The audit holds a block's header against its transactions.
    AuditMerkle = "audit-merkle",
    /// A key that nobody asked for is a mistake.
    UnknownKey = "unknown-key",
    /// A secret is not printed.
    SecretMask = "secret-mask",
    /// A secret is not read from the environment.
    EnvironmentSecret = "environment-secret",
    /// A configuration file is short.
    ConfigLength = "config-length",
    /// A node's address in a message has no password in it.
    NodeSecret = "node-secret",

    // A crash.
    /// A share is answered once it is on disk.
    DurableAnswer = "durable-answer",
    /// What is written down is on disk before it is called written.
    SyncedCommit = "synced-commit",
    /// Blocks whose fate is open are looked for, and handed in, after a restart.
    OpenBlocks = "open-blocks",
    /// A record of the embedded chain that was cut short is cut off.
    TornRecord = "torn-record",

    // The miner's side.
    /// A redirection leads to the same owner.
    RedirectOwner = "redirect-owner",
    /// A redirection from TLS leads to TLS.
    RedirectTls = "redirect-tls",
    /// Redirections, and lines printed for a pool, are few.
    Allowance = "allowance",
    /// A host is made of what hosts are made of.
    HostCharacters = "host-characters",
    /// A pinned certificate is the only one.
    CertificatePin = "certificate-pin",
    /// A certificate is signed by a known authority for the pool's name.
    CertificateAuthority = "certificate-authority",
    /// Who shows a certificate has its key.
    CertificateKey = "certificate-key",
    /// A pool's extranonces are short.
    PoolExtranonce = "pool-extranonce",
    /// A pool's Merkle branch is no deeper than a block can have.
    PoolBranch = "pool-branch",
    /// A pool's difficulty is a number above 0.
    PoolDifficulty = "pool-difficulty",
    /// Another job under the same name ends the first.
    TakenName = "taken-name",
    /// A job that comes again is searched on and not again.
    RepeatedJob = "repeated-job",
    /// A header's time is no later than the seconds that passed.
    RolledTime = "rolled-time",
    /// Every hit is hashed again before it is sent.
    HitVerified = "hit-verified",
    /// The key that signs reports is its owner's alone.
    KeyFile = "key-file",
    /// A device's answer has an end.
    DeviceAnswer = "device-answer",
    /// What a device says of itself is shown and not run.
    DeviceText = "device-text",
    /// A power that no such device draws is refused.
    DevicePower = "device-power",
    /// Another agent does not write the same state.
    StateLock = "state-lock",
}

/// A text that names no defence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownDefence(String);

impl fmt::Display for UnknownDefence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no defence named {:?}; docs/threats.md lists them", self.0)
    }
}

impl std::error::Error for UnknownDefence {}

impl fmt::Display for Defence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Defence {
    type Err = UnknownDefence;

    fn from_str(text: &str) -> Result<Self, UnknownDefence> {
        let named = Self::ALL.iter().find(|defence| defence.as_str() == text);
        named.copied().ok_or_else(|| UnknownDefence(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_follow_the_variants() {
        for defence in Defence::ALL {
            assert_eq!(defence.as_str().parse(), Ok(*defence));
            let capitals = |text: String, next: char| {
                let hyphen = if next.is_ascii_uppercase() && !text.is_empty() { "-" } else { "" };
                format!("{text}{hyphen}{}", next.to_ascii_lowercase())
            };
            let spelled = format!("{defence:?}").chars().fold(String::new(), capitals);
            assert_eq!(defence.as_str(), spelled);
        }
        let error = "share-targets".parse::<Defence>().unwrap_err().to_string();
        assert!(error.contains("\"share-targets\""), "{error}");
    }
}
