//! What a ledger's log says, worked out by reading its rows one by one, without any code of the
//! ledger: every share with its header, and everybody's satoshis. It must agree with the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// What the log says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The headers of all shares, in their order; of those that have lost theirs, [`bare`].
    pub(crate) shares: Vec<[u8; 80]>,
    /// Found blocks, by the hash as it is shown.
    pub(crate) blocks: BTreeMap<String, Block>,
    /// By account number: name, immature and mature satoshis.
    pub(crate) accounts: BTreeMap<u32, (String, i128, i128)>,
    once: BTreeSet<[u8; 80]>,
    last: u64,
    open: (u64, u128),
    slices: u64,
    leased: u64,
}

/// A found block.
#[derive(Debug, Default)]
pub(crate) struct Block {
    reward: u64,
    credits: Vec<(u32, u64)>,
    /// How often its credits are in force: 0 or 1.
    pub(crate) in_force: u32,
}

/// Reads the log and compares it with the tables.
pub(crate) fn read(path: &Path) -> Said {
    let mut said = Said::default();
    said.go_on(path);
    said
}

impl Said {
    /// Reads what has come since, and compares all of it with the tables.
    pub(crate) fn go_on(&mut self, path: &Path) {
        // Nothing is tidied up: what is left is the next pool's.
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let newest = "SELECT seq, kind, body, data FROM event WHERE seq > ?1 ORDER BY seq";
        let mut statement = conn.prepare(newest).unwrap();
        let mut rows = statement.query([self.last]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let seq: u64 = row.get(0).unwrap();
            assert_eq!(seq, self.last + 1, "events follow one another");
            self.last = seq;
            let kind: String = row.get(1).unwrap();
            let body: Value = serde_json::from_str(&row.get::<_, String>(2).unwrap()).unwrap();
            let data: Option<Vec<u8>> = row.get(3).unwrap();
            self.event(&kind, &body, &data.unwrap_or_default());
        }
        self.compare(&conn);
    }

    fn event(&mut self, kind: &str, body: &Value, data: &[u8]) {
        match kind {
            "account_opened" => {
                let name = body["name"].as_str().unwrap().to_owned();
                assert!(self.accounts.insert(account(body, "id"), (name, 0, 0)).is_none());
            }
            "shares" => self.batch(body, data),
            "entries" => self.entries(body, data),
            "slice_closed" => {
                let sums = (number(&body["shares"]), u128::from(number(&body["work"])));
                assert_eq!(sums, self.open, "slice {body}");
                self.slices += 1;
                assert_eq!(number(&body["index"]), self.slices);
                self.open = (0, 0);
            }
            "extranonces_leased" => {
                assert_eq!(number(&body["first"]), self.leased, "extranonces are leased twice");
                self.leased += number(&body["count"]);
            }
            "candidate_found" => {
                let block = Block { reward: number(&body["reward"]), ..Block::default() };
                let hash = body["hash"].as_str().unwrap().to_owned();
                assert!(self.blocks.insert(hash, block).is_none(), "a block is found twice");
            }
            "block_settled" => {
                let (records, rest) = data.as_chunks::<13>();
                assert!(rest.is_empty());
                let credits = records.iter().map(|record| {
                    (be(&record[..4]).try_into().unwrap(), be(&record[5..]).try_into().unwrap())
                });
                self.block(body).credits = credits.collect();
                let block = self.block(body);
                let paid: u64 = block.credits.iter().map(|(_, sats)| sats).sum();
                assert_eq!(paid, block.reward, "{body}");
                self.credit(body, 1);
            }
            "block_orphaned" if self.block(body).in_force > 0 => self.credit(body, -1),
            "block_restored" if !self.block(body).credits.is_empty() => self.credit(body, 1),
            "block_matured" => {
                assert_eq!(self.block(body).in_force, 1, "{body}");
                for (account, sats) in self.block(body).credits.clone() {
                    let account = self.accounts.get_mut(&account).unwrap();
                    account.1 -= i128::from(sats);
                    account.2 += i128::from(sats);
                }
            }
            "worker_opened" | "aggregated" | "slice_pruned" | "block_submitted"
            | "block_orphaned" | "block_restored" | "block_abandoned" => {}
            other => panic!("an event that these tests do not make: {other}"),
        }
        let negative = |(_, immature, mature): &&(String, i128, i128)| *immature < 0 || *mature < 0;
        assert!(self.accounts.values().find(negative).is_none(), "after {kind} {body}");
    }

    /// A batch without headers, whose form is in `docs/retention.md`.
    fn entries(&mut self, body: &Value, mut data: &[u8]) {
        let mut next = || {
            let length = data.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let (number, rest) = data.split_at(length);
            data = rest;
            number.iter().rev().fold(0_u128, |sum, byte| sum << 7 | u128::from(byte & 0x7f))
        };
        let count = next();
        assert_eq!(number(&body["first"]), u64::try_from(self.shares.len()).unwrap() + 1);
        assert_eq!(u128::from(number(&body["shares"])), count);
        assert_eq!(number(&body["slice"]), self.slices + 1);
        let networks = next();
        for _ in 0..networks {
            next();
        }
        let count_of_works = next();
        let works: Vec<u128> = (0..count_of_works).map(|_| next()).collect();
        let mut at = i128::try_from(next()).unwrap();
        for share in 0..count {
            next();
            let work = works[usize::try_from(next()).unwrap()];
            if networks > 1 {
                next();
            }
            if share > 0 {
                let since = i128::try_from(next()).unwrap();
                at += if since % 2 == 0 { since / 2 } else { -(since + 1) / 2 };
            }
            self.shares.push(bare(u64::try_from(at).unwrap()));
            self.open = (self.open.0 + 1, self.open.1 + work);
        }
    }

    /// A batch, whose form is in `packed.rs`.
    fn batch(&mut self, body: &Value, data: &[u8]) {
        let count = |at: usize| usize::try_from(be(&data[at..at + 4])).unwrap();
        let (blocks, works, instants) = (count(0), count(4), count(8));
        let works_at = 12 + blocks * 52;
        let shares_at = works_at + works * 16 + instants * 8;
        let (records, rest) = data[shares_at..].as_chunks::<54>();
        assert!(rest.is_empty());
        assert_eq!(number(&body["first"]), u64::try_from(self.shares.len()).unwrap() + 1);
        assert_eq!(number(&body["shares"]), u64::try_from(records.len()).unwrap());
        assert_eq!(number(&body["slice"]), self.slices + 1);
        for share in records {
            let pointer = |at: usize| usize::try_from(be(&share[at..at + 2])).unwrap();
            let block = &data[12 + pointer(4) * 52..][..52];
            let work = be(&data[works_at + pointer(6) * 16..][..16]);
            let mut header = [0; 80];
            header[..4].copy_from_slice(&share[10..14]);
            header[4..36].copy_from_slice(&block[..32]);
            header[36..72].copy_from_slice(&share[14..50]);
            header[72..76].copy_from_slice(&block[32..36]);
            header[76..].copy_from_slice(&share[50..]);
            assert!(self.once.insert(header), "a share is credited twice");
            self.shares.push(header);
            self.open = (self.open.0 + 1, self.open.1 + work);
        }
    }

    /// Whether this share is credited.
    pub(crate) fn has(&self, header: &[u8; 80]) -> bool {
        self.once.contains(header)
    }

    fn block(&mut self, body: &Value) -> &mut Block {
        self.blocks.get_mut(body["hash"].as_str().unwrap()).expect("a block that was found")
    }

    fn credit(&mut self, body: &Value, times: i128) {
        let block = self.block(body);
        block.in_force = if times > 0 { block.in_force + 1 } else { block.in_force - 1 };
        assert!(block.in_force <= 1, "a block is credited twice: {body}");
        for (account, sats) in block.credits.clone() {
            self.accounts.get_mut(&account).unwrap().1 += times * i128::from(sats);
        }
    }

    fn compare(&self, conn: &Connection) {
        let mut statement =
            conn.prepare("SELECT id, name, immature, balance FROM account ORDER BY id").unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut accounts = BTreeMap::new();
        while let Some(row) = rows.next().unwrap() {
            let money = |at: usize| i128::from(row.get::<_, i64>(at).unwrap());
            let account = (row.get::<_, String>(1).unwrap(), money(2), money(3));
            accounts.insert(row.get::<_, u32>(0).unwrap(), account);
        }
        assert_eq!(accounts, self.accounts, "balances are not what the log says");
    }
}

/// What stands for the header of a share that has lost it: when it was accepted.
pub(crate) fn bare(at: u64) -> [u8; 80] {
    let mut header = [0; 80];
    header[72..].copy_from_slice(&at.to_be_bytes());
    header
}

fn account(body: &Value, key: &str) -> u32 {
    u32::try_from(number(&body[key])).unwrap()
}

/// A number, whichever way it stands.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn be(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}
