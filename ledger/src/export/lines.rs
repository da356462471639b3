//! The lines of a bundle, written.

use std::io::{self, Write};

use serde::Serialize;

/// The version of the format.
const FORMAT: u32 = 1;

/// A bundle that is being written.
pub(super) struct Out<'a> {
    out: &'a mut dyn Write,
    lines: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Bundle { format: u32, of: &'a str, shares: u64 },
    Block(&'a BlockLine),
    Before(&'a BeforeLine),
    Account { id: u32, name: &'a str },
    Slice(&'a SliceLine),
    Row(&'a RowLine),
    Path(&'a PathLine),
    Absent { top: String },
    Share(&'a ShareLine),
    Credit { account: u32, purpose: &'a str, satoshis: String },
    End { lines: u64 },
}

#[derive(Debug, Serialize)]
pub(super) struct BlockLine {
    pub(super) header: String,
    pub(super) coinbase: String,
    pub(super) branch: Vec<String>,
    pub(super) height: u32,
    pub(super) reward: String,
    pub(super) network_work: String,
    pub(super) finder: u32,
    pub(super) slice: u64,
    pub(super) scheme: String,
    pub(super) window_hundredths: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) window_ms: u64,
    pub(super) fee_basis_points: u16,
    pub(super) fee_account: u32,
    /// What its coinbase pays to accounts itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) direct: Vec<DirectLine>,
}

#[derive(Debug, Serialize)]
pub(super) struct BeforeLine {
    pub(super) header: String,
    pub(super) coinbase: String,
    pub(super) branch: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct DirectLine {
    pub(super) account: u32,
    pub(super) script: String,
    pub(super) satoshis: String,
}

#[derive(Debug, Serialize)]
pub(super) struct SliceLine {
    pub(super) index: u64,
    pub(super) form: u8,
    pub(super) previous: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opened: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) closed: Option<u64>,
    pub(super) shares: u64,
    pub(super) work: String,
    pub(super) accounts: u64,
    pub(super) root: String,
}

#[derive(Debug, Serialize)]
pub(super) struct RowLine {
    pub(super) account: u32,
    pub(super) shares: u64,
    pub(super) work: String,
}

#[derive(Debug, Serialize)]
pub(super) struct PathLine {
    pub(super) account: u32,
    pub(super) shares: u64,
    pub(super) work: String,
    pub(super) records: String,
    pub(super) position: u64,
    pub(super) beside: Vec<(String, String)>,
    pub(super) with_shares: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ShareLine {
    pub(super) number: u64,
    pub(super) account: u32,
    pub(super) work: String,
    pub(super) network_work: String,
    pub(super) at: u64,
    pub(super) header: String,
}

impl<'a> Out<'a> {
    /// Writes the first line.
    pub(super) fn begin(out: &'a mut dyn Write, of: &str, shares: u64) -> io::Result<Self> {
        let mut out = Self { out, lines: 0 };
        out.line(&Line::Bundle { format: FORMAT, of, shares })?;
        Ok(out)
    }

    pub(super) fn block(&mut self, block: &BlockLine) -> io::Result<()> {
        self.line(&Line::Block(block))
    }

    pub(super) fn before(&mut self, block: &BeforeLine) -> io::Result<()> {
        self.line(&Line::Before(block))
    }

    pub(super) fn account(&mut self, id: u32, name: &str) -> io::Result<()> {
        self.line(&Line::Account { id, name })
    }

    pub(super) fn slice(&mut self, slice: &SliceLine) -> io::Result<()> {
        self.line(&Line::Slice(slice))
    }

    pub(super) fn row(&mut self, row: &RowLine) -> io::Result<()> {
        self.line(&Line::Row(row))
    }

    pub(super) fn path(&mut self, path: &PathLine) -> io::Result<()> {
        self.line(&Line::Path(path))
    }

    pub(super) fn absent(&mut self, top: &[u8; 32]) -> io::Result<()> {
        self.line(&Line::Absent { top: hexed(top) })
    }

    pub(super) fn share(&mut self, share: &ShareLine) -> io::Result<()> {
        self.line(&Line::Share(share))
    }

    pub(super) fn credit(&mut self, account: u32, purpose: &str, sats: u64) -> io::Result<()> {
        self.line(&Line::Credit { account, purpose, satoshis: sats.to_string() })
    }

    /// Writes the last line, without which the bundle is cut short.
    pub(super) fn end(mut self) -> io::Result<()> {
        let lines = self.lines;
        self.line(&Line::End { lines })?;
        self.out.flush()
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line).map_err(io::Error::from)?;
        self.lines = self.lines.saturating_add(1);
        self.out.write_all(b"\n")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

pub(super) fn hexed(bytes: &[u8; 32]) -> String {
    hex::encode(bytes)
}
