//! The modules that the build of the kernels includes: every shape's code for one vector unit, and
//! what the kernels must know of the description to use it.
//!
//! A shape is a choice of what runs side by side. Plain: one hash after the other, as described.
//! Interleaved: the second hash of one lot of nonces beside the first hash of the next, so that
//! each call gives the answer of the call before. Double: the same for two versions at once.

use std::fmt::Write as _;

use super::graph::{Value, is_lane};
use super::registers::allocate;
use super::scalar::{function, number, words};
use super::sha256::{self, Described, INPUTS};
use super::steps::{Program, Source, Unit, chain, interleave, lower, lower_to};
use super::x86::{DIGESTS_MAX, assembly};

/// Rust source of `INITIAL`, the state that SHA-256 starts from.
#[must_use]
pub fn initial_state() -> String {
    words("The state that a hash starts from (section 5.3.3).", "INITIAL", &sha256::INITIAL)
}

/// Rust source of `ROUND`, the constants of SHA-256's rounds.
#[must_use]
pub fn round_constants() -> String {
    words("The constants of the rounds (section 4.2.2).", "ROUND", &sha256::K)
}

/// Rust source of what the units' code has in common: how many inputs a version has (`INPUTS`),
/// and where they begin (`MIDSTATE`, `TAIL`, `BEFORE_NONCE`).
#[must_use]
pub fn layout() -> String {
    [
        number("What the code is given of one version, in words.", "INPUTS", INPUTS),
        number(
            "Where among these the state after the first block is.",
            "MIDSTATE",
            sha256::MIDSTATE,
        ),
        number("Where the second block's words before the nonce are.", "TAIL", sha256::TAIL),
        number(
            "Where the state after round 3 is, with zero for the nonce.",
            "BEFORE_NONCE",
            sha256::BEFORE_NONCE,
        ),
    ]
    .concat()
}

/// Rust source of `ROWS`, the vectors of a message schedule.
#[must_use]
pub fn rows() -> String {
    number("Vectors of a message schedule.", "ROWS", sha256::ROWS)
}

/// Rust source of all shapes that suit this unit, with its `LANES` and the `COPIES` of a shared word.
///
/// It expects `Part` in the scope that includes it: a function with the words that it is given, the
/// vectors of memory that it needs, and the operations that it does in each lane.
#[must_use]
pub fn rust(unit: Unit) -> String {
    let text = number("Lanes of a vector.", "LANES", unit.lanes())
        + &number("How often a shared word stands in memory.", "COPIES", unit.copies());
    let mut module = Module { unit, text };
    let (direct, one, two) = (sha256::direct(), sha256::rounds(1), sha256::rounds(2));
    let seconds = [1, 2].map(|digests| lower(&sha256::second(digests), unit));
    module.schedule();
    module.hash("DIRECT_PLAIN", &direct, chain, &seconds[0], 1);
    module.hash("ROUNDS_PLAIN", &one, chain, &seconds[0], 1);
    // With half the registers, what is gained is lost again on the way to memory and back.
    if unit == Unit::Avx512 {
        module.part("SECOND", &seconds[0], None, 1);
        module.part("SECOND_DOUBLE", &seconds[1], None, 2);
        module.hash("DIRECT_INTERLEAVED", &direct, interleave, &seconds[0], 1);
        module.hash("ROUNDS_INTERLEAVED", &one, interleave, &seconds[0], 1);
        module.hash("ROUNDS_DOUBLE", &two, interleave, &seconds[1], 2);
    }
    module.text
}

struct Module {
    unit: Unit,
    text: String,
}

impl Module {
    fn schedule(&mut self) {
        let described = sha256::schedule();
        let program = lower_to(&described, self.unit, Source::Row);
        self.part("SCHEDULE", &program, Some(&described), 1);
        // Rows that are the same for all nonces are not computed with them; zero elsewhere.
        let rows: Vec<Value> = described
            .results
            .iter()
            .map(|row| if is_lane(*row) { Value::Const(0) } else { *row })
            .collect();
        self.text.push_str(&function("shared_rows", &described.graph, &rows, INPUTS));
    }

    fn hash(
        &mut self,
        name: &str,
        first: &Described,
        join: fn(&Program, &Program) -> Program,
        second: &Program,
        versions: usize,
    ) {
        let program = join(&lower_to(first, self.unit, Source::Digest), second);
        self.part(name, &program, Some(first), versions);
    }

    /// One function with all that belongs to it.
    fn part(&mut self, name: &str, program: &Program, of: Option<&Described>, versions: usize) {
        let lower = name.to_lowercase();
        let allocated = allocate(program, self.unit.registers());
        let memory = DIGESTS_MAX + allocated.slots;
        let (shared, constants) = (program.shared.len(), &program.constants);
        let (operations, bits) = program.operations();
        let code = assembly(&allocated, self.unit);
        let empty = sha256::second(0);
        let graph = &of.unwrap_or(&empty).graph;
        let words = function(&format!("{lower}_words"), graph, &program.shared, versions * INPUTS);
        write!(
            self.text,
            "{words}\
             #[unsafe(naked)]\nunsafe extern \"sysv64\" fn {lower}(\nshared: *const u32, \
             rows: *mut u32, nonce: u32, mask: u32, memory: *mut u32, constants: *const u32,\n\
             ) -> u32 {{\ncore::arch::naked_asm!(r\"{code}\", options(raw))\n}}\n\
             pub(super) static {name}: Part = Part {{ function: {lower}, words: {lower}_words, \
             shared: {shared}, constants: &{constants:?}, versions: {versions}, memory: {memory}, \
             operations: {operations}, bit_operations: {bits} }};\n"
        )
        .expect("a string takes all");
    }
}
