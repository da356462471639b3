//! The lines of a bundle: one JSON object each, read one after another within limits. A key that
//! nobody knows is refused: what a bundle says must be what is checked.

use core::fmt::Display;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Fault;
use crate::verify::root;

/// Most bytes of a line: a coinbase of a megabyte, in hex, and some more.
pub const MAX_LINE: u64 = 4 << 20;
/// Most shares of a bundle.
pub const MAX_SHARES: u64 = 1 << 26;
/// Most accounts of a bundle.
const MAX_ACCOUNTS: usize = 1 << 22;
/// The version of the format.
const FORMAT: u32 = 1;

/// The lines not read yet.
pub(super) struct Lines<'a> {
    reader: &'a mut dyn BufRead,
    /// The number of the line that was read last.
    number: u64,
    /// The line that comes next, where it was looked at already.
    next: Option<Line>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Bundle(BundleLine),
    Block(Box<BlockLine>),
    Before(Box<BeforeLine>),
    Account(AccountLine),
    Slice(SliceLine),
    Row(RowLine),
    Path(PathLine),
    Absent(AbsentLine),
    Share(ShareLine),
    Credit(CreditLine),
    End(EndLine),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleLine {
    format: u32,
    of: String,
    /// How many shares are in it.
    shares: u64,
}

/// What a credit can be for, in the order in which those of one account come.
const PURPOSES: [&str; 5] = ["fee", "finder", "share", "reserve", "direct"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockLine {
    pub(super) header: Hex<80>,
    #[serde(deserialize_with = "bytes")]
    pub(super) coinbase: Vec<u8>,
    pub(super) branch: Vec<Hex<32>>,
    pub(super) height: u32,
    pub(super) reward: Decimal<u64>,
    pub(super) network_work: Decimal<u128>,
    pub(super) finder: u32,
    pub(super) slice: u64,
    pub(super) scheme: String,
    pub(super) window_hundredths: u32,
    #[serde(default)]
    pub(super) window_ms: u64,
    pub(super) fee_basis_points: u16,
    pub(super) fee_account: u32,
    #[serde(default)]
    pub(super) direct: Vec<DirectLine>,
}

/// The block whose slice ends the round before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BeforeLine {
    pub(super) header: Hex<80>,
    #[serde(deserialize_with = "bytes")]
    pub(super) coinbase: Vec<u8>,
    pub(super) branch: Vec<Hex<32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectLine {
    pub(super) account: u32,
    #[serde(deserialize_with = "bytes")]
    pub(super) script: Vec<u8>,
    pub(super) satoshis: Decimal<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountLine {
    id: u32,
    name: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SliceLine {
    pub(super) index: u64,
    pub(super) form: u8,
    pub(super) previous: Hex<32>,
    /// When the slice before was closed, in milliseconds; from form 3 on.
    opened: Option<u64>,
    /// When it was closed, in milliseconds; from form 3 on.
    closed: Option<u64>,
    pub(super) shares: u64,
    pub(super) work: Decimal<u128>,
    pub(super) accounts: u32,
    pub(super) root: Hex<32>,
}

impl SliceLine {
    /// What the root says besides accounts; or nothing, where instants are missing or too many for
    /// the form.
    pub(super) fn head(&self) -> Option<root::Head> {
        let times = match (self.form, self.opened, self.closed) {
            (1 | 2, None, None) => None,
            (3, Some(opened), Some(closed)) => Some((opened, closed)),
            _ => return None,
        };
        let (index, Hex(previous)) = (self.index, self.previous);
        Some(root::Head { index, previous, times, shares: self.shares, work: self.work.0 })
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowLine {
    pub(super) account: u32,
    pub(super) shares: u64,
    pub(super) work: Decimal<u128>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PathLine {
    pub(super) account: u32,
    pub(super) shares: u64,
    pub(super) work: Decimal<u128>,
    /// The top over its shares.
    pub(super) records: Hex<32>,
    /// Where it stands among the accounts, from 0.
    pub(super) position: u32,
    /// Hash and sum of the nodes beside its own, from below.
    pub(super) beside: Vec<(Hex<32>, Decimal<u128>)>,
    /// Whether its shares follow.
    pub(super) with_shares: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AbsentLine {
    /// The top over the accounts.
    pub(super) top: Hex<32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareLine {
    pub(super) number: u64,
    pub(super) account: u32,
    pub(super) work: Decimal<u128>,
    pub(super) network_work: Decimal<u128>,
    pub(super) at: u64,
    pub(super) header: Hex<80>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreditLine {
    account: u32,
    purpose: String,
    satoshis: Decimal<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    lines: u64,
}

/// One account's part of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) account: u32,
    pub(super) purpose: &'static str,
    pub(super) satoshis: u64,
}

/// So many bytes in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hex<const N: usize>(pub(super) [u8; N]);

/// An integer as a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal<T>(pub(super) T);

/// The next line, if it is of this kind.
macro_rules! if_next {
    ($name:ident, $kind:ident, $line:ty) => {
        pub(super) fn $name(&mut self) -> Result<Option<$line>, Fault> {
            self.peek()?;
            if matches!(self.next, Some(Line::$kind(_)))
                && let Some(Line::$kind(line)) = self.next.take()
            {
                return Ok(Some(line));
            }
            Ok(None)
        }
    };
}

impl<'a> Lines<'a> {
    pub(super) fn new(reader: &'a mut dyn BufRead) -> Self {
        Self { reader, number: 0, next: None }
    }

    /// The line that was read last, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The first line of a bundle `of` something: how many shares it says to have.
    pub(super) fn begin(&mut self, of: &str) -> Result<u64, Fault> {
        let first = self.first()?;
        let first = first.ok_or("it is not the first line of a bundle")?;
        let BundleLine { format, of: said, shares } = first;
        if format != FORMAT {
            return Err(format!("a bundle of format {format}; this version knows {FORMAT}").into());
        }
        if said != of {
            return Err(format!("it is the bundle of: {said}, should be of: {of}").into());
        }
        if shares > MAX_SHARES {
            return Err(format!("it has more than {MAX_SHARES} shares").into());
        }
        Ok(shares)
    }

    /// Names by id.
    pub(super) fn accounts(&mut self) -> Result<BTreeMap<u32, String>, Fault> {
        let mut accounts: BTreeMap<u32, String> = BTreeMap::new();
        while let Some(AccountLine { id, name }) = self.account()? {
            if accounts.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(format!("account {id} is out of order").into());
            }
            if accounts.len() >= MAX_ACCOUNTS {
                return Err(format!("there are more than {MAX_ACCOUNTS} accounts").into());
            }
            accounts.insert(id, name);
        }
        Ok(accounts)
    }

    pub(super) fn credit(&mut self) -> Result<Option<Credit>, Fault> {
        let Some(CreditLine { account, purpose, satoshis }) = self.credit_line()? else {
            return Ok(None);
        };
        let known = PURPOSES.into_iter().find(|known| *known == purpose);
        let purpose = known.ok_or_else(|| format!("{purpose:?} is no purpose of a credit"))?;
        Ok(Some(Credit { account, purpose, satoshis: satoshis.0 }))
    }

    if_next!(first, Bundle, BundleLine);
    if_next!(block, Block, Box<BlockLine>);
    if_next!(before, Before, Box<BeforeLine>);
    if_next!(account, Account, AccountLine);
    if_next!(slice, Slice, SliceLine);
    if_next!(row, Row, RowLine);
    if_next!(path, Path, PathLine);
    if_next!(absent, Absent, AbsentLine);
    if_next!(share, Share, ShareLine);
    if_next!(credit_line, Credit, CreditLine);

    /// Says that something else should be here.
    pub(super) fn missing<T>(&mut self, what: &str) -> Result<T, Fault> {
        let name = self.peek()?.name();
        Err(format!("{what} is missing here: {name}").into())
    }

    /// The last line, with nothing behind it.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.peek()?;
        let before = self.number.saturating_sub(1);
        let Some(Line::End(EndLine { lines })) = self.next else {
            return self.missing("the end");
        };
        if lines != before {
            return Err(format!("{before} lines are before the end, should be {lines}").into());
        }
        let mut byte = [0];
        if self.reader.read(&mut byte).map_err(Fault::Io)? > 0 {
            return Err("something follows the end".into());
        }
        Ok(())
    }

    /// The next line, which stays the next.
    fn peek(&mut self) -> Result<&Line, Fault> {
        let line = match self.next.take() {
            Some(line) => line,
            None => self.read()?,
        };
        Ok(self.next.insert(line))
    }

    fn read(&mut self) -> Result<Line, Fault> {
        self.number = self.number.saturating_add(1);
        let mut text = Vec::new();
        let mut limited = (&mut *self.reader).take(MAX_LINE);
        limited.read_until(b'\n', &mut text).map_err(Fault::Io)?;
        match text.pop() {
            Some(b'\n') => {}
            None => return Err("the bundle is cut short: its end is missing".into()),
            Some(_)
                if u64::try_from(text.len()).unwrap_or(u64::MAX) >= MAX_LINE.saturating_sub(1) =>
            {
                return Err(format!("it has more than {MAX_LINE} bytes").into());
            }
            Some(_) => return Err("the bundle is cut short within a line".into()),
        }
        serde_json::from_slice(&text).map_err(|error| Fault::Wrong(format!("no line: {error}")))
    }
}

impl Line {
    const fn name(&self) -> &'static str {
        match self {
            Self::Bundle(_) => "a bundle begins",
            Self::Block(_) => "a block",
            Self::Before(_) => "a block before",
            Self::Account(_) => "an account",
            Self::Slice(_) => "a slice",
            Self::Row(_) => "a row",
            Self::Path(_) => "a path",
            Self::Absent(_) => "an account's absence",
            Self::Share(_) => "a share",
            Self::Credit(_) => "a credit",
            Self::End(_) => "the end",
        }
    }
}

impl Credit {
    pub(super) fn shown(&self) -> String {
        let Self { account, purpose, satoshis } = self;
        format!("the credit of {satoshis} sat ({purpose}) to account {account}")
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = [0; N];
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        hex::decode_to_slice(text.as_ref(), &mut bytes).map_err(D::Error::custom)?;
        Ok(Self(bytes))
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Decimal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
}
