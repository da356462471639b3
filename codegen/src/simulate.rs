//! One lane of a vector unit in plain Rust, for tests: runs what the register allocation made and
//! compares it with SHA-256 as the standard writes it.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not one of these is a failure")]

use std::collections::HashMap;

use super::graph::{Graph, Logic, Op, Value};
use super::registers::{Allocated, Instruction, Place, allocate};
use super::sha256::{self, BEFORE_NONCE, Described, INPUTS, MIDSTATE, ROWS};
use super::steps::{Code, Program, Source, Unit, chain, interleave, lower, lower_to};

/// Memory by place, and the words of the tables.
#[derive(Default)]
struct Lane {
    registers: HashMap<usize, u32>,
    rows: HashMap<usize, u32>,
    memory: HashMap<usize, u32>,
    digests: HashMap<usize, u32>,
}

impl Lane {
    fn run(&mut self, allocated: &Allocated, shared: &[u32], constants: &[u32], nonce: u32) {
        for instruction in &allocated.instructions {
            let read = |place: &Place| match place {
                Place::Register(at) => self.registers[at],
                Place::Shared(at) => shared[*at],
                Place::Constant(at) => constants[*at],
                Place::Row(at) => self.rows[at],
                Place::Slot(at) => self.memory[at],
                Place::Digest(at) => self.digests.get(at).copied().unwrap_or(0),
            };
            let r = |at: &usize| read(&Place::Register(*at));
            let (to, word) = match instruction {
                Instruction::Move { to, from } => (Place::Register(*to), read(from)),
                Instruction::Store { to, from } => (*to, r(from)),
                Instruction::Nonce { to } => (Place::Register(*to), nonce),
                Instruction::Bits { code, to, from } => {
                    let word = match code {
                        Code::RotateRight(by) => r(from).rotate_right(*by),
                        Code::ShiftRight(by) => r(from) >> by,
                        Code::ShiftLeft(by) => r(from) << by,
                        other => panic!("{other:?}"),
                    };
                    (Place::Register(*to), word)
                }
                Instruction::Two { code, to, first, second } => {
                    let (x, y) = (r(first), read(second));
                    let word = match code {
                        Code::Add => x.wrapping_add(y),
                        Code::Xor => x ^ y,
                        Code::And => x & y,
                        Code::Or => x | y,
                        other => panic!("{other:?}"),
                    };
                    (Place::Register(*to), word)
                }
                Instruction::Three { table, to, second, third } => {
                    let (x, y, z) = (r(to), r(second), read(third));
                    let bit = |i: u32| {
                        let row = (x >> i & 1) << 2 | (y >> i & 1) << 1 | z >> i & 1;
                        (u32::from(*table) >> row & 1) << i
                    };
                    (Place::Register(*to), (0..32).map(bit).fold(0, |word, bit| word | bit))
                }
            };
            match to {
                Place::Register(at) => self.registers.insert(at, word),
                Place::Row(at) => self.rows.insert(at, word),
                Place::Slot(at) => self.memory.insert(at, word),
                Place::Digest(at) => self.digests.insert(at, word),
                other => panic!("{other:?} is written"),
            };
        }
    }

    /// The results, in their registers.
    fn answer(&self, allocated: &Allocated) -> Vec<u32> {
        allocated.results.iter().map(|register| self.registers[register]).collect()
    }
}

/// The words that all lanes share, worked out node by node.
fn evaluate(graph: &Graph, value: Value, inputs: &[u32]) -> u32 {
    let of = |value: Value| evaluate(graph, value, inputs);
    match value {
        Value::Const(word) => word,
        Value::Lane(node) => panic!("lane node {node}"),
        Value::Uniform(node) => match graph.uniform(node) {
            Op::Input(number) => inputs[number],
            Op::Add(x, y) => of(x).wrapping_add(of(y)),
            Op::Rotate(x, by) => of(x).rotate_right(by),
            Op::Shift(x, by) => of(x) >> by,
            Op::Logic(logic, [x, y, z]) => {
                let (x, y, z) = (of(x), of(y), of(z));
                match logic {
                    Logic::Xor => x ^ y ^ z,
                    Logic::Choose => (x & y) ^ (!x & z),
                    Logic::Majority => (x & y) ^ (x & z) ^ (y & z),
                }
            }
        },
    }
}

/// SHA-256's compression as the standard writes it, without the final addition where `rounds` is
/// less than 64.
fn compress(state: [u32; 8], block: [u32; 16], rounds: usize) -> [u32; 8] {
    let mut words = block.to_vec();
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    for t in 0..rounds {
        if t >= 16 {
            let (x, y) = (words[t - 15], words[t - 2]);
            let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            let sum = words[t - 16].wrapping_add(s0).wrapping_add(words[t - 7]).wrapping_add(s1);
            words.push(sum);
        }
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let t1 = h.wrapping_add(s1).wrapping_add((e & f) ^ (!e & g));
        let t1 = t1.wrapping_add(sha256::K[t]).wrapping_add(words[t]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
    }
    let after = [a, b, c, d, e, f, g, h];
    if rounds < 64 { after } else { std::array::from_fn(|i| after[i].wrapping_add(state[i])) }
}

fn block(words: &[u32], bits: u32) -> [u32; 16] {
    let mut block = [0; 16];
    block[..words.len()].copy_from_slice(words);
    block[words.len()] = 0x8000_0000;
    block[15] = bits;
    block
}

const TAIL: [u32; 3] = [0x1234_5678, 0x9abc_def0, 0x0fed_cba9];

fn inputs(version: u32) -> [u32; INPUTS] {
    let midstate: [u32; 8] = std::array::from_fn(|i| {
        version.wrapping_mul(0x9e37_79b9).wrapping_add(u32::try_from(i).unwrap() << 20)
    });
    let [x, y, z] = TAIL;
    let before_nonce = compress(midstate, block(&[x, y, z, 0], 640), 4);
    let mut inputs = [0; INPUTS];
    inputs[MIDSTATE..][..8].copy_from_slice(&midstate);
    inputs[sha256::TAIL..][..3].copy_from_slice(&TAIL);
    inputs[BEFORE_NONCE..][..8].copy_from_slice(&before_nonce);
    inputs
}

/// The last word of the double hash.
fn expected(inputs: &[u32; INPUTS], nonce: u32) -> u32 {
    let midstate: [u32; 8] = inputs[MIDSTATE..][..8].try_into().unwrap();
    let [x, y, z] = TAIL;
    let digest = compress(midstate, block(&[x, y, z, nonce], 640), 64);
    compress(sha256::INITIAL, block(&digest, 256), 64)[7]
}

fn allocated(program: &Program, unit: Unit) -> Allocated {
    allocate(program, unit.registers())
}

struct Hashes {
    lane: Lane,
    first: Described,
    program: Program,
    allocated: Allocated,
    shared: Vec<u32>,
    /// The second hashes alone, for the answer that is still owed at the end.
    last: Program,
    unit: Unit,
}

impl Hashes {
    fn new(
        first: Described,
        unit: Unit,
        join: fn(&Program, &Program) -> Program,
        versions: &[u32],
    ) -> Self {
        let last = lower(&sha256::second(versions.len()), unit);
        let program = join(&lower_to(&first, unit, Source::Digest), &last);
        let inputs: Vec<u32> = versions.iter().flat_map(|version| inputs(*version)).collect();
        let shared =
            program.shared.iter().map(|word| evaluate(&first.graph, *word, &inputs)).collect();
        let allocated = allocated(&program, unit);
        Self { lane: Lane::default(), first, program, allocated, shared, last, unit }
    }

    fn hash(&mut self, nonce: u32) -> Vec<u32> {
        assert!(!self.first.results.is_empty(), "it hashes");
        self.lane.run(&self.allocated, &self.shared, &self.program.constants, nonce);
        self.lane.answer(&self.allocated)
    }

    /// The answer to the last call of interleaved code, from nothing but the digests it left.
    fn drain(mut self) -> Vec<u32> {
        assert!(self.last.shared.is_empty(), "it is given no words of a version");
        self.lane = Lane { digests: self.lane.digests, ..Lane::default() };
        let allocated = allocated(&self.last, self.unit);
        self.lane.run(&allocated, &[], &self.last.constants, 0);
        self.lane.answer(&allocated)
    }

    /// The rows for this nonce.
    fn schedule(&mut self, nonce: u32) {
        let described = sha256::schedule();
        let program = lower_to(&described, self.unit, Source::Row);
        let inputs = inputs(0);
        let word = |value: &Value| evaluate(&described.graph, *value, &inputs);
        for (row, value) in described.results.iter().enumerate() {
            if !super::graph::is_lane(*value) {
                self.lane.rows.insert(row, word(value));
            }
        }
        let shared: Vec<u32> = program.shared.iter().map(word).collect();
        self.lane.run(&allocated(&program, self.unit), &shared, &program.constants, nonce);
        assert!((0..ROWS).all(|row| self.lane.rows.contains_key(&row)), "every round has its row");
        assert_eq!(self.lane.rows.len(), ROWS, "the table has no more");
    }
}

const NONCES: [u32; 3] = [0, 0xdead_beef, u32::MAX];

#[test]
fn plain_code_hashes_as_the_standard_says() {
    for unit in [Unit::Avx512, Unit::Avx2] {
        let mut direct = Hashes::new(sha256::direct(), unit, chain, &[7]);
        let mut rounds = Hashes::new(sha256::rounds(1), unit, chain, &[7]);
        for nonce in NONCES {
            rounds.schedule(nonce);
            let expected = vec![expected(&inputs(7), nonce)];
            assert_eq!(direct.hash(nonce), expected, "{unit:?}");
            assert_eq!(rounds.hash(nonce), expected, "{unit:?}");
        }
    }
}

#[test]
fn interleaved_code_answers_one_call_late_and_the_last_call_when_drained() {
    for unit in [Unit::Avx512, Unit::Avx2] {
        let cases: [(Described, &[u32]); 3] =
            [(sha256::direct(), &[7]), (sha256::rounds(1), &[7]), (sha256::rounds(2), &[7, 8])];
        for (case, (first, versions)) in cases.into_iter().enumerate() {
            let answers = |nonce| -> Vec<u32> {
                versions.iter().map(|version| expected(&inputs(*version), nonce)).collect()
            };
            let mut hashes = Hashes::new(first, unit, interleave, versions);
            let mut before = None;
            for nonce in NONCES {
                // The direct code has no table.
                if case > 0 {
                    hashes.schedule(nonce);
                }
                let answer = hashes.hash(nonce);
                if let Some(nonce) = before.replace(nonce) {
                    assert_eq!(answer, answers(nonce), "{unit:?}, case {case}");
                }
            }
            let last = before.unwrap();
            assert_eq!(hashes.drain(), answers(last), "{unit:?}, case {case}, drained");
        }
    }
}
