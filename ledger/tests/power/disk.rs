//! A disk in memory that keeps apart what was written and what was synced, so that a machine can
//! lose its power at any instant: see [`Disk::after_power_loss`]. It can also fail: see [`Fault`].
//!
//! What it promises is what `SQLite` asks of a disk, and no more: a synced byte stays; of what was
//! written since, any part may be there, in any order, down to single sectors; a file's name is
//! there for certain once the file was synced, and a removed name is gone for certain once
//! anything was synced after it. It deliberately knows nothing of `SQLite` (`vfs.rs` does).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

/// What is written whole or not at all, in bytes.
const SECTOR: usize = 512;

/// All files, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    files: BTreeMap<String, File>,
    /// Changes and syncs asked for so far.
    pub(crate) acts: u64,
    fault: Option<(u64, Fault)>,
    /// Whether syncs are answered and not done.
    pub(crate) lies: bool,
    /// Acts before which the power is lost for a copy of this disk.
    losses: Vec<(u64, Loss)>,
    /// What the test knows to be answered by now.
    pub(crate) answered: usize,
    lost: Vec<(Self, usize)>,
    dice: Dice,
}

#[derive(Debug, Clone, Default)]
struct File {
    /// As programs read it.
    now: Vec<u8>,
    /// As it is after a loss of power if nothing of `unsynced` is; `None` for a name that may be
    /// lost with it.
    synced: Option<Vec<u8>>,
    unsynced: Vec<Change>,
    removed: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// What goes wrong with one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing is done.
    Refused,
    /// The same, and so does every later one until the power is lost.
    RefusedFromThenOn,
    /// There is no room; of a write, the first half is done.
    Full,
    /// There is no room for anything for the next thirty acts.
    FullForAWhile,
    /// A write fails when some of its sectors are written; a sync when some of the writes are.
    Torn,
    /// A sync fails, and what was to be synced is forgotten: the page cache calls it clean. (What
    /// is no sync fails.)
    Forgotten,
}

/// What a loss of power leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing.
    All,
    /// Any of it, whole or torn.
    Some,
    /// Everything: the power stayed, the process died.
    Nothing,
}

/// Chances, the same from the same seed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dice(u64);

/// An act is a change or a sync.
enum Verdict {
    Do,
    Half(io::Error),
    Some(io::Error),
    Forget(io::Error),
    Not(io::Error),
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::Refused,
        Self::RefusedFromThenOn,
        Self::Full,
        Self::FullForAWhile,
        Self::Torn,
        Self::Forgotten,
    ];
}

impl Disk {
    /// An empty one whose chances come from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), ..Self::default() }
    }

    /// Act `number`, from 0, goes wrong.
    pub(crate) fn fail_at(&mut self, number: u64, fault: Fault) {
        self.fault = Some((number, fault));
    }

    /// From now on nothing goes wrong.
    pub(crate) fn mend(&mut self) {
        self.fault = None;
    }

    /// A copy of this disk loses its power before each of these acts.
    pub(crate) fn lose_power_at(&mut self, acts: Vec<(u64, Loss)>) {
        self.losses = acts;
    }

    /// The copies that lost their power, with what was answered by then.
    pub(crate) fn take_lost(&mut self) -> Vec<(Self, usize)> {
        core::mem::take(&mut self.lost)
    }

    /// What a machine finds when it is started again, on a disk that works.
    pub(crate) fn after_power_loss(&mut self, loss: Loss) -> Self {
        let mut files = BTreeMap::new();
        for (path, file) in &self.files {
            if let Some(bytes) = file.after_power_loss(loss, &mut self.dice) {
                files.insert(path.clone(), File::synced(bytes));
            }
        }
        Self { files, dice: Dice::new(self.dice.next()), ..Self::default() }
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|file| !file.removed)
    }

    /// Its bytes; none where there is no such file.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.files.get(name).filter(|file| !file.removed).map_or(&[], |file| &file.now)
    }

    /// Makes an empty file where there is none.
    pub(crate) fn create(&mut self, name: &str) -> io::Result<()> {
        if self.has(name) {
            return Ok(());
        }
        match self.act() {
            Verdict::Do => {
                let file = self.files.entry(name.to_owned()).or_default();
                if file.removed {
                    file.removed = false;
                    file.change(Change::Length(0));
                }
                Ok(())
            }
            Verdict::Half(error)
            | Verdict::Some(error)
            | Verdict::Forget(error)
            | Verdict::Not(error) => Err(error),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        if !self.has(name) {
            return Err(ErrorKind::NotFound.into());
        }
        match self.act() {
            Verdict::Do => {
                self.file(name).removed = true;
                Ok(())
            }
            Verdict::Half(error)
            | Verdict::Some(error)
            | Verdict::Forget(error)
            | Verdict::Not(error) => Err(error),
        }
    }

    pub(crate) fn write(&mut self, name: &str, at: usize, bytes: &[u8]) -> io::Result<()> {
        let whole = |bytes: &[u8]| Change::Write { at, bytes: bytes.to_vec() };
        match self.act() {
            Verdict::Do => {
                self.file(name).change(whole(bytes));
                Ok(())
            }
            Verdict::Half(error) => {
                self.file(name).change(whole(&bytes[..bytes.len() / 2]));
                Err(error)
            }
            Verdict::Some(error) => {
                for part in whole(bytes).torn(&mut self.dice) {
                    self.file(name).change(part);
                }
                Err(error)
            }
            Verdict::Forget(error) | Verdict::Not(error) => Err(error),
        }
    }

    pub(crate) fn set_length(&mut self, name: &str, length: usize) -> io::Result<()> {
        match self.act() {
            Verdict::Do => {
                self.file(name).change(Change::Length(length));
                Ok(())
            }
            Verdict::Half(error)
            | Verdict::Some(error)
            | Verdict::Forget(error)
            | Verdict::Not(error) => Err(error),
        }
    }

    pub(crate) fn sync(&mut self, name: &str) -> io::Result<()> {
        let error = match self.act() {
            Verdict::Do if self.lies => return Ok(()),
            Verdict::Do => {
                self.file(name).sync();
                self.files.retain(|_, file| !file.removed);
                return Ok(());
            }
            Verdict::Some(error) => {
                let kept = self.files[name].after_power_loss(Loss::Some, &mut self.dice);
                let file = self.file(name);
                (file.synced, file.unsynced) = (kept, Vec::new());
                error
            }
            Verdict::Forget(error) => {
                self.file(name).unsynced.clear();
                error
            }
            Verdict::Half(error) | Verdict::Not(error) => error,
        };
        Err(error)
    }

    /// Counts an act, and says how it goes.
    fn act(&mut self) -> Verdict {
        let number = self.acts;
        self.acts += 1;
        let losses: Vec<Loss> =
            self.losses.iter().filter(|(at, _)| *at == number).map(|(_, loss)| *loss).collect();
        for loss in losses {
            let answered = self.answered;
            let copy = self.after_power_loss(loss);
            self.lost.push((copy, answered));
        }
        let Some((at, fault)) = self.fault else { return Verdict::Do };
        let broken = || io::Error::other("the disk is broken");
        let full = || io::Error::from(ErrorKind::WriteZero);
        match fault {
            Fault::RefusedFromThenOn if number >= at => Verdict::Not(broken()),
            Fault::FullForAWhile if (at..at + 30).contains(&number) => Verdict::Half(full()),
            _ if number != at => Verdict::Do,
            Fault::Refused | Fault::RefusedFromThenOn => Verdict::Not(broken()),
            Fault::Full | Fault::FullForAWhile => Verdict::Half(full()),
            Fault::Torn => Verdict::Some(broken()),
            Fault::Forgotten => Verdict::Forget(broken()),
        }
    }

    fn file(&mut self, name: &str) -> &mut File {
        self.files.entry(name.to_owned()).or_default()
    }
}

impl File {
    fn synced(bytes: Vec<u8>) -> Self {
        Self { now: bytes.clone(), synced: Some(bytes), ..Self::default() }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        let synced = self.synced.get_or_insert_default();
        for change in self.unsynced.drain(..) {
            change.apply(synced);
        }
    }

    /// Its bytes after a loss of power; `None` where there is no such file then.
    fn after_power_loss(&self, loss: Loss, dice: &mut Dice) -> Option<Vec<u8>> {
        match loss {
            Loss::Nothing => return (!self.removed).then(|| self.now.clone()),
            Loss::All => return self.synced.clone(),
            Loss::Some => {}
        }
        if (self.removed || self.synced.is_none()) && dice.one_in(2) {
            return None;
        }
        let mut bytes = self.synced.clone().unwrap_or_default();
        // Mostly kept, mostly lost, or as it comes: each is another way to be torn.
        let lost_of_eight = [1, 4, 7][dice.below(3)];
        for change in &self.unsynced {
            match dice.below(8) {
                chance if chance < lost_of_eight => {}
                7 => change.torn(dice).iter().for_each(|part| part.apply(&mut bytes)),
                _ => change.apply(&mut bytes),
            }
        }
        Some(bytes)
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(length) => file.resize(*length, 0),
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*at..end].copy_from_slice(bytes);
            }
        }
    }

    /// Some of its sectors.
    fn torn(&self, dice: &mut Dice) -> Vec<Self> {
        let Self::Write { at, bytes } = self else { return Vec::new() };
        let mut parts = Vec::new();
        let (mut from, mut rest) = (*at, &bytes[..]);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(SECTOR - from % SECTOR));
            if dice.one_in(2) {
                parts.push(Self::Write { at: from, bytes: part.to_vec() });
            }
            (from, rest) = (from + part.len(), after);
        }
        parts
    }
}

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `SplitMix64`.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}
