//! Kernels whose lanes are nonces, on code that `codegen` writes.
//!
//! Read [`Lanes::scan`]. One version is searched by the direct code, two or more by the code that
//! shares a message schedule among them: the schedule is made once for a lot of nonces, and every
//! version's rounds run on it. A call gives the lanes whose last word may meet the target; each is
//! confirmed by the reference.
//!
//! Interleaved code gives the answer of the call before, so that one call more is made at the end.
//! Nonces are taken in whole vectors, aligned, so that the lanes differ in the first byte of their
//! words alone; lanes outside the range are left out of the answer.
#![expect(unsafe_code, reason = "code for an instruction set is called after detecting it")]

use core::fmt;

use units::Hashes;

use crate::{Backend, Hit, Slice, inputs::version_inputs, limit::Operations, search::Search};

// `ROWS`, as `codegen` wrote it.
include!(concat!(env!("OUT_DIR"), "/rows.rs"));

/// Shared words, rows, nonce's word of lane 0, mask, memory, constants; the lanes that passed.
type Function =
    unsafe extern "sysv64" fn(*const u32, *mut u32, u32, u32, *mut u32, *const u32) -> u32;

/// One function of generated code, with what it needs.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) function: Function,
    /// From the inputs of its versions to the words that all lanes share.
    pub(super) words: fn(&[u32]) -> Vec<u32>,
    /// How many words those are.
    pub(super) shared: usize,
    pub(super) constants: &'static [u32],
    /// Versions in one call.
    pub(super) versions: usize,
    /// Vectors of memory.
    pub(super) memory: usize,
    /// Operations in each lane, of a call.
    pub(super) operations: usize,
    /// Rotations and shifts among them.
    pub(super) bit_operations: usize,
}

/// A way through the generated code: what hashes, and what gives the last answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) hash: &'static Part,
    /// For code that answers one call late.
    pub(super) last: Option<&'static Part>,
}

/// The generated code of one vector unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code {
    pub(super) backend: Backend,
    /// Lanes of a vector.
    pub(super) lanes: usize,
    /// How often a shared word stands in memory.
    pub(super) copies: usize,
    /// Versions whose words fit the first-level cache together with a schedule.
    pub(super) versions_per_schedule: usize,
    pub(super) schedule: &'static Part,
    /// Rows of a schedule that no nonce changes, by the inputs of any version.
    pub(super) shared_rows: fn(&[u32]) -> Vec<u32>,
    pub(super) direct: Way,
    pub(super) rounds: Way,
}

/// Vectors are aligned to the largest of them.
const LINE: usize = 16;

/// Memory aligned to a vector of 64 bytes.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u32; LINE]);

/// A kernel that owns its memory.
pub(super) struct Lanes {
    code: Code,
    memory: Vec<Line>,
    /// Tables of the work at hand: slices of one work follow one another.
    prepared: Option<Prepared>,
    faults: u64,
}

/// What was worked out for a header and its versions.
struct Prepared {
    header: [u8; 80],
    versions: Vec<u32>,
    lots: Vec<Lot>,
}

/// Versions that share a schedule, as many as fit the first-level cache; or one without.
struct Lot {
    /// Where they begin in the list of versions.
    first: usize,
    groups: usize,
    hash: Loaded,
    /// For code that answers one call late.
    last: Option<Loaded>,
    schedule: Option<Loaded>,
    /// The schedule's table; empty without one.
    rows: Vec<Line>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("backend", &self.code.backend).finish_non_exhaustive()
    }
}

/// What one call is about, to know whose lanes its answer names.
#[derive(Debug, Clone, Copy)]
struct Asked {
    nonce: u32,
    /// Where its versions begin in the list at hand.
    version: usize,
}

/// A part with its words in memory, one table for each group of versions.
struct Loaded {
    part: &'static Part,
    constants: Vec<Line>,
    tables: Vec<Line>,
    /// Words of a table.
    table: usize,
}

impl Code {
    /// Whether the calls for a full lot of versions end with the lot. What a call beyond its end
    /// answers would be taken for versions of the next.
    pub(super) const fn fills_lots(&self) -> bool {
        self.versions_per_schedule.is_multiple_of(self.rounds.hash.versions)
    }

    /// What one hash costs in each lane, with so many versions at hand.
    pub(crate) fn operations(&self, versions: usize) -> Operations {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand operations")]
        let per_hash = |part: &Part, hashes: usize| {
            let hashes = hashes as f64;
            (part.operations as f64 / hashes, part.bit_operations as f64 / hashes)
        };
        let (mut all, mut bits) = if versions > 1 {
            per_hash(self.rounds.hash, self.rounds.hash.versions)
        } else {
            per_hash(self.direct.hash, 1)
        };
        if versions > 1 {
            let shared = per_hash(self.schedule, versions.min(self.versions_per_schedule));
            (all, bits) = (all + shared.0, bits + shared.1);
        }
        let lanes = u32::try_from(self.lanes).expect("8 or 16");
        Operations { all, bits, lanes: lanes.into() }
    }
}

impl Lanes {
    /// A kernel on this code.
    ///
    /// # Safety
    /// This processor must have the instruction sets that the code was written for.
    pub(super) unsafe fn new(code: Code) -> Self {
        let parts = [Some(code.schedule), Some(code.direct.hash), Some(code.rounds.hash)];
        let parts = parts.into_iter().chain([code.direct.last, code.rounds.last]).flatten();
        let vectors = parts.map(|part| part.memory).max().unwrap_or(0);
        let memory = vec![Line([0; LINE]); (vectors * code.lanes).div_ceil(LINE)];
        Self { code, memory, prepared: None, faults: 0 }
    }

    pub(super) const fn backend(&self) -> Backend {
        self.code.backend
    }

    pub(super) const fn faults(&self) -> u64 {
        self.faults
    }

    pub(super) fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes {
        let Some(range) = slice.nonce_range() else { return Hashes::ZERO };
        let mut search = Search::new(slice, hits);
        let mut prepared = match self.prepared.take() {
            Some(prepared) if prepared.is_for(slice) => prepared,
            _ => self.prepare(slice),
        };
        for lot in &mut prepared.lots {
            self.search(lot, slice.versions, range, &mut search);
        }
        self.prepared = Some(prepared);
        self.faults += search.faults();
        slice.hashes()
    }

    fn prepare(&self, slice: &Slice<'_>) -> Prepared {
        let per_lot = self.code.versions_per_schedule;
        let lots = slice.versions.chunks(per_lot).enumerate();
        Prepared {
            header: *slice.header,
            versions: slice.versions.to_vec(),
            lots: lots.map(|(i, some)| self.lot(slice.header, some, i * per_lot)).collect(),
        }
    }

    /// One version has its schedule worked out with its rounds; several share one.
    fn lot(&self, header: &[u8; 80], versions: &[u32], first: usize) -> Lot {
        let shares = versions.len() > 1;
        let way = if shares { self.code.rounds } else { self.code.direct };
        let (mut schedule, mut rows) = (None, Vec::new());
        if shares {
            let words = (self.code.shared_rows)(&version_inputs(header, versions[0]));
            assert_eq!(words.len(), ROWS, "the code writes and reads as many");
            rows = lines(words.iter().flat_map(|row| vec![*row; self.code.lanes]));
            schedule = Some(self.load(self.code.schedule, header, &versions[..1]));
        }
        Lot {
            first,
            groups: versions.len().div_ceil(way.hash.versions),
            hash: self.load(way.hash, header, versions),
            last: way.last.map(|last| self.load(last, header, &[])),
            schedule,
            rows,
        }
    }

    /// Every nonce of the range with every version of the lot.
    fn search(
        &mut self,
        lot: &mut Lot,
        versions: &[u32],
        range: (u32, u32),
        search: &mut Search<'_, '_>,
    ) {
        let Lot { first, groups, hash, last, schedule, rows } = lot;
        let mask = search.mask();
        let mut before = None;
        for nonce in self.vectors(range) {
            if let Some(schedule) = schedule {
                self.call(schedule, 0, nonce, 0, rows);
            }
            for group in 0..*groups {
                let lanes = self.call(hash, group, nonce, mask, rows);
                let asked = Asked { nonce, version: *first + group * hash.part.versions };
                let answered = if last.is_some() { before.replace(asked) } else { Some(asked) };
                if lanes != 0
                    && let Some(answered) = answered
                {
                    self.confirm(lanes, answered, versions, range, search);
                }
            }
        }
        if let (Some(last), Some(asked)) = (last, before) {
            let lanes = self.call(last, 0, 0, mask, rows);
            self.confirm(lanes, asked, versions, range, search);
        }
    }

    /// The first nonces of the vectors that cover a range.
    fn vectors(&self, (first, last): (u32, u32)) -> impl Iterator<Item = u32> + use<> {
        let lanes = u32::try_from(self.code.lanes).expect("8 or 16");
        (first / lanes..=last / lanes).map(move |vector| vector * lanes)
    }

    /// Hashes every lane named again.
    #[cold]
    fn confirm(
        &self,
        mut lanes: u32,
        asked: Asked,
        versions: &[u32],
        (first, last): (u32, u32),
        search: &mut Search<'_, '_>,
    ) {
        while lanes != 0 {
            let bit = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let lane = u32::try_from(bit % self.code.lanes).expect("fewer than 32");
            let nonce = asked.nonce + lane;
            // The last group is filled up with its last version.
            let version = versions.get(asked.version + bit / self.code.lanes);
            if let Some(&version) = version.filter(|_| (first..=last).contains(&nonce)) {
                search.confirm_lane(Hit { version, nonce });
            }
        }
    }

    /// The words of a part for these versions, group by group.
    fn load(&self, part: &'static Part, header: &[u8; 80], versions: &[u32]) -> Loaded {
        let lanes = u32::try_from(self.code.lanes).expect("8 or 16");
        let repeated = part.constants.iter().flat_map(|word| vec![*word; self.code.copies]);
        let constants = (0..lanes).map(|lane| lane << 24).chain(repeated);
        let table = (part.shared * self.code.copies).next_multiple_of(LINE);
        let mut tables = Vec::new();
        for group in versions.chunks(part.versions) {
            let last = group[group.len() - 1];
            let filled = group.iter().copied().chain(core::iter::repeat(last)).take(part.versions);
            let inputs: Vec<u32> =
                filled.flat_map(|version| version_inputs(header, version)).collect();
            let words = (part.words)(&inputs);
            let start = tables.len();
            tables.extend(words.iter().flat_map(|word| vec![*word; self.code.copies]));
            tables.resize(start + table, 0);
        }
        Loaded { part, constants: lines(constants), tables: lines(tables), table }
    }

    /// One call of generated code.
    #[inline]
    fn call(
        &mut self,
        loaded: &Loaded,
        group: usize,
        nonce: u32,
        mask: u32,
        rows: &mut [Line],
    ) -> u32 {
        let end = group * loaded.table + loaded.part.shared * self.code.copies;
        debug_assert!(end <= loaded.tables.len() * LINE, "the group's table is there");
        let table = loaded.tables.as_ptr().cast::<u32>().wrapping_add(group * loaded.table);
        // SAFETY: whoever made `self` vouched for the instruction sets. The code reads one table of
        // `part.shared` words at `group`, of which `load` made as many as there are groups, and the
        // constants that it came with. A schedule's code writes its `ROWS` vectors and that of
        // rounds reads them: `lot` checks that lots with such code have as many. All writes
        // `part.memory` vectors, and `new` made room for the largest of these. All tables are
        // aligned to a `Line`, which is as large as a vector or larger, and nobody else refers to
        // `rows` and `memory` during the call. The code follows the calling convention and touches
        // nothing else.
        unsafe {
            (loaded.part.function)(
                table,
                rows.as_mut_ptr().cast(),
                nonce.swap_bytes(),
                mask,
                self.memory.as_mut_ptr().cast(),
                loaded.constants.as_ptr().cast(),
            )
        }
    }
}

impl Prepared {
    /// Whether the tables are those of this work: version and nonce of the header are not read.
    fn is_for(&self, slice: &Slice<'_>) -> bool {
        self.header[4..76] == slice.header[4..76] && self.versions == slice.versions
    }
}

fn lines(words: impl IntoIterator<Item = u32>) -> Vec<Line> {
    let words: Vec<u32> = words.into_iter().collect();
    let mut lines = vec![Line([0; LINE]); words.len().div_ceil(LINE)];
    for (line, words) in lines.iter_mut().zip(words.chunks(LINE)) {
        line.0[..words.len()].copy_from_slice(words);
    }
    lines
}
