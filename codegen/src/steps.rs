//! From a described computation to the steps of a vector unit, in the order of their emission.
//!
//! AVX-512 has an instruction for every operation of the graph. AVX2 has neither rotations nor
//! three-input logic: [`lower`] takes those apart, and what several of them share is done once.

use std::collections::HashMap;

use super::graph::{Logic, Op, Value};
use super::sha256::{DIGEST, Described, NONCE, SCHEDULE};

/// What a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// What an earlier step made.
    Step(usize),
    /// A word that all lanes share, by its place in the table of the version's shared words.
    Shared(usize),
    /// A constant, by its place in the table of constants.
    Constant(usize),
    /// A row of the schedule's table.
    Row(usize),
    /// A word of the digest between the two hashes.
    Digest(usize),
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    /// The nonces of the lanes.
    Nonce,
    /// A vector from memory, needed more than once.
    Load,
    Add,
    Xor,
    And,
    Or,
    RotateRight(u32),
    ShiftRight(u32),
    ShiftLeft(u32),
    Three(Logic),
    /// Writes the first source where the second is.
    Store,
}

/// One step; its number is its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub(crate) code: Code,
    pub(crate) from: Vec<Source>,
}

/// A program for one vector unit.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    /// What the places of the table of shared words hold: uniform nodes.
    pub(crate) shared: Vec<Value>,
    /// What the places of the table of constants hold.
    pub(crate) constants: Vec<u32>,
    /// The steps whose words are tested.
    pub(crate) results: Vec<usize>,
}

impl Program {
    /// Operations in each lane, and how many of them move bits: rotations and shifts.
    pub(crate) fn operations(&self) -> (usize, usize) {
        let counts = |step: &&Step| !matches!(step.code, Code::Nonce | Code::Load | Code::Store);
        let moves = |step: &&Step| {
            matches!(step.code, Code::RotateRight(_) | Code::ShiftRight(_) | Code::ShiftLeft(_))
        };
        (self.steps.iter().filter(counts).count(), self.steps.iter().filter(moves).count())
    }
}

/// A vector unit, by what it can do in one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 16 lanes; rotations and three-input logic; 32 registers.
    Avx512,
    /// 8 lanes; shifts and two-input logic; 16 registers.
    Avx2,
}

/// Breaks a computation down for a vector unit, its results to be tested.
pub(crate) fn lower(described: &Described, unit: Unit) -> Program {
    lower_all(described, unit, None)
}

/// The same, with result number i written to `to(i)`.
pub(crate) fn lower_to(described: &Described, unit: Unit, to: fn(usize) -> Source) -> Program {
    lower_all(described, unit, Some(to))
}

fn lower_all(described: &Described, unit: Unit, to: Option<fn(usize) -> Source>) -> Program {
    let place_of: HashMap<Value, usize> =
        described.results.iter().enumerate().map(|(i, value)| (*value, i)).collect();
    let mut lowering = Lowering::new(unit);
    let mut results = vec![0; described.results.len()];
    for node in described.graph.live(&described.results) {
        let source = lowering.lower(described.graph.lane(node));
        lowering.of_node.insert(node, source);
        let Some(result) = place_of.get(&Value::Lane(node)) else { continue };
        match (to, source) {
            (Some(to), _) => {
                let from = vec![source, to(*result)];
                lowering.steps.push(Step { code: Code::Store, from });
            }
            (None, Source::Step(step)) => results[*result] = step,
            (None, other) => unreachable!("{other:?} is no result"),
        }
    }
    let results = if to.is_some() { Vec::new() } else { results };
    let Lowering { steps, shared, constants, .. } = lowering;
    Program { steps, shared, constants, results }
}

/// One program after the other.
pub(crate) fn chain(first: &Program, second: &Program) -> Program {
    join(first, second, |done, lengths| usize::from(done[0] == lengths[0]))
}

/// Both programs at once, each at its own pace from the first step to the last. One hash alone
/// waits for its own results most of the time; two that do not depend on one another fill the
/// waits. What the first stores is stored after the second has read what was there before.
pub(crate) fn interleave(first: &Program, second: &Program) -> Program {
    // Whoever has done the smaller part of its steps goes on.
    join(first, second, |done, lengths| usize::from(done[0] * lengths[1] > done[1] * lengths[0]))
}

/// Two programs as one; `turn` says whose step is next, by how many each has done of how many.
fn join(
    first: &Program,
    second: &Program,
    turn: impl Fn([usize; 2], [usize; 2]) -> usize,
) -> Program {
    assert!(second.shared.is_empty(), "the second hash has no words of its own");
    let mut constants = first.constants.clone();
    let place_of: Vec<usize> =
        second.constants.iter().map(|word| place(&mut constants, *word)).collect();
    let lengths = [first.steps.len(), second.steps.len()];
    let mut steps: Vec<Step> = Vec::new();
    let mut moved = [Vec::new(), Vec::new()];
    while steps.len() < lengths[0] + lengths[1] {
        let which = turn([moved[0].len(), moved[1].len()], lengths);
        let step = &[first, second][which].steps[moved[which].len()];
        let from = step.from.iter().map(|source| match source {
            Source::Step(step) => Source::Step(moved[which][*step]),
            Source::Constant(place) if which == 1 => Source::Constant(place_of[*place]),
            Source::Shared(_) | Source::Constant(_) | Source::Row(_) | Source::Digest(_) => *source,
        });
        let step = Step { code: step.code, from: from.collect() };
        moved[which].push(steps.len());
        steps.push(step);
    }
    let results = second.results.iter().map(|step| moved[1][*step]).collect();
    Program { steps, shared: first.shared.clone(), constants, results }
}

/// The place of a word in a table that holds each once.
fn place<T: PartialEq>(table: &mut Vec<T>, word: T) -> usize {
    table.iter().position(|known| *known == word).unwrap_or_else(|| {
        table.push(word);
        table.len() - 1
    })
}

#[derive(Debug)]
struct Lowering {
    unit: Unit,
    steps: Vec<Step>,
    known: HashMap<Step, usize>,
    of_node: HashMap<usize, Source>,
    shared: Vec<Value>,
    constants: Vec<u32>,
}

impl Lowering {
    fn new(unit: Unit) -> Self {
        Self {
            unit,
            steps: Vec::new(),
            known: HashMap::new(),
            of_node: HashMap::new(),
            shared: Vec::new(),
            constants: Vec::new(),
        }
    }

    fn lower(&mut self, op: Op) -> Source {
        match op {
            Op::Input(NONCE) => self.put(Code::Nonce, &[]),
            Op::Input(word @ DIGEST..) => self.put(Code::Load, &[Source::Digest(word - DIGEST)]),
            Op::Input(row) => Source::Row(row - SCHEDULE),
            Op::Add(x, y) => self.both(Code::Add, x, y),
            Op::Shift(x, by) => self.one(Code::ShiftRight(by), x),
            Op::Rotate(x, by) if self.unit == Unit::Avx512 => self.one(Code::RotateRight(by), x),
            Op::Rotate(x, by) => {
                let right = self.one(Code::ShiftRight(by), x);
                let left = self.one(Code::ShiftLeft(32 - by), x);
                self.put(Code::Or, &[right, left])
            }
            Op::Logic(logic, of) if self.unit == Unit::Avx512 => {
                let of = of.map(|value| self.source(value));
                self.put(Code::Three(logic), &of)
            }
            Op::Logic(logic, [x, y, z]) => self.logic_of_two(logic, x, y, z),
        }
    }

    /// Three-input logic by two-input logic. The exclusive or of two that majority begins with is
    /// the one that the round before ended with.
    fn logic_of_two(&mut self, logic: Logic, x: Value, y: Value, z: Value) -> Source {
        let [x, y, z] = [x, y, z].map(|value| self.source(value));
        match logic {
            Logic::Xor => {
                let xy = self.put(Code::Xor, &[x, y]);
                self.put(Code::Xor, &[xy, z])
            }
            Logic::Choose => {
                let differ = self.put(Code::Xor, &[y, z]);
                let chosen = self.put(Code::And, &[differ, x]);
                self.put(Code::Xor, &[chosen, z])
            }
            Logic::Majority => {
                let xy = self.put(Code::Xor, &[x, y]);
                let yz = self.put(Code::Xor, &[y, z]);
                let both = self.put(Code::And, &[xy, yz]);
                self.put(Code::Xor, &[both, y])
            }
        }
    }

    fn one(&mut self, code: Code, x: Value) -> Source {
        let x = self.source(x);
        self.put(code, &[x])
    }

    fn both(&mut self, code: Code, x: Value, y: Value) -> Source {
        let (x, y) = (self.source(x), self.source(y));
        self.put(code, &[x, y])
    }

    fn source(&mut self, value: Value) -> Source {
        match value {
            Value::Lane(node) => self.of_node[&node],
            Value::Uniform(_) => Source::Shared(place(&mut self.shared, value)),
            Value::Const(word) => Source::Constant(place(&mut self.constants, word)),
        }
    }

    fn put(&mut self, code: Code, from: &[Source]) -> Source {
        let step = Step { code, from: from.to_vec() };
        let next = self.steps.len();
        let place = *self.known.entry(step.clone()).or_insert(next);
        if place == next {
            self.steps.push(step);
        }
        Source::Step(place)
    }
}
