//! Registers for the steps of a program, and the memory of what does not fit.
//!
//! Read [`allocate`]. The order of the steps is kept. When all registers are taken, the value
//! whose next use is the farthest away goes to memory, once: what a step makes never changes
//! (L. A. Belady, 1966). A value in memory is read from there by the instruction that uses it,
//! where that can take an operand from memory, and every instruction here takes one at the most.

use std::collections::HashMap;

use super::graph::Logic;
use super::steps::{Code, Program, Source, Step};

/// An operand as an instruction has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Register(usize),
    Shared(usize),
    Constant(usize),
    Row(usize),
    Slot(usize),
    Digest(usize),
}

/// One instruction, in the order of its operands: destination, sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// From register or memory to register.
    Move { to: usize, from: Place },
    /// From a register to memory.
    Store { to: Place, from: usize },
    /// The nonces of the lanes.
    Nonce { to: usize },
    /// Two operands; the second may be in memory.
    Two { code: Code, to: usize, first: usize, second: Place },
    /// One register and a number of bits.
    Bits { code: Code, to: usize, from: usize },
    /// Logic of three by its table of truth; the first operand is overwritten.
    Three { table: u8, to: usize, second: usize, third: Place },
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Allocated {
    pub(crate) instructions: Vec<Instruction>,
    /// Vectors of memory needed for what does not fit.
    pub(crate) slots: usize,
    /// The registers with the results.
    pub(crate) results: Vec<usize>,
}

/// Gives every step its registers.
pub(crate) fn allocate(program: &Program, registers: usize) -> Allocated {
    let mut allocator = Allocator::new(program, registers);
    for (at, step) in program.steps.iter().enumerate() {
        allocator.at = at;
        allocator.step(step);
    }
    Allocated {
        results: program.results.iter().map(|step| allocator.register_of[step]).collect(),
        slots: allocator.slots,
        instructions: allocator.out,
    }
}

struct Allocator {
    /// Where each step's value is used, the next use last.
    uses: Vec<Vec<usize>>,
    register_of: HashMap<usize, usize>,
    holds: Vec<Option<usize>>,
    /// Where in memory a value is, if it is.
    home_of: HashMap<usize, Place>,
    free_slots: Vec<usize>,
    freed_slots: Vec<usize>,
    slots: usize,
    out: Vec<Instruction>,
    at: usize,
    /// Registers that the present step reads.
    pinned: Vec<usize>,
}

impl Allocator {
    fn new(program: &Program, registers: usize) -> Self {
        let mut uses = vec![Vec::new(); program.steps.len()];
        for result in &program.results {
            uses[*result].push(usize::MAX);
        }
        for (at, step) in program.steps.iter().enumerate().rev() {
            for source in &step.from {
                if let Source::Step(made) = source {
                    uses[*made].push(at);
                }
            }
        }
        Self {
            uses,
            register_of: HashMap::new(),
            holds: vec![None; registers],
            home_of: HashMap::new(),
            free_slots: Vec::new(),
            freed_slots: Vec::new(),
            slots: 0,
            out: Vec::new(),
            at: 0,
            pinned: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        self.pinned.clear();
        self.free_slots.append(&mut self.freed_slots);
        match step.code {
            Code::Nonce => {
                let to = self.destination();
                self.out.push(Instruction::Nonce { to });
            }
            Code::Add | Code::Xor | Code::And | Code::Or => self.two(step),
            Code::RotateRight(_) | Code::ShiftRight(_) | Code::ShiftLeft(_) => {
                let from = self.in_register(step.from[0]);
                self.release(step);
                let to = self.destination();
                self.out.push(Instruction::Bits { code: step.code, to, from });
            }
            Code::Three(logic) => self.three(step, logic),
            Code::Load => {
                let from = self.place(step.from[0]);
                let to = self.destination();
                self.home_of.insert(self.at, from);
                self.out.push(Instruction::Move { to, from });
            }
            Code::Store => {
                let from = self.in_register(step.from[0]);
                let to = self.place(step.from[1]);
                self.out.push(Instruction::Store { to, from });
                self.release(step);
            }
        }
    }

    fn two(&mut self, step: &Step) {
        let [x, y] = [step.from[0], step.from[1]];
        // All of these commute: what is in memory goes last.
        let (first, second) = if self.is_in_register(x) { (x, y) } else { (y, x) };
        let first = self.in_register(first);
        let second = self.place(second);
        self.release(step);
        let to = self.destination();
        self.out.push(Instruction::Two { code: step.code, to, first, second });
    }

    fn three(&mut self, step: &Step, logic: Logic) {
        // Order of operands: one that is not needed any more first, one in memory last.
        let mut order: Vec<usize> = vec![0, 1, 2];
        order.sort_by_key(|i| {
            let source = step.from[*i];
            (!self.is_in_register(source), !self.dies(source))
        });
        let sources = [0, 1, 2].map(|i| step.from[order[i]]);
        let [first, second] = [self.in_register(sources[0]), self.in_register(sources[1])];
        let third = self.place(sources[2]);
        let to = if self.dies(sources[0]) {
            self.release(step);
            self.hold(first);
            first
        } else {
            // The operands must stay where they are until they have been read.
            let to = self.free_register();
            self.out.push(Instruction::Move { to, from: Place::Register(first) });
            self.release(step);
            self.hold(to);
            to
        };
        let table = truth(logic, [order[0], order[1], order[2]]);
        self.out.push(Instruction::Three { table, to, second, third });
    }

    fn is_in_register(&self, source: Source) -> bool {
        matches!(source, Source::Step(step) if self.register_of.contains_key(&step))
    }

    /// Whether the present step is the last that needs this.
    fn dies(&self, source: Source) -> bool {
        matches!(source, Source::Step(step) if self.uses[step].len() == 1)
    }

    fn in_register(&mut self, source: Source) -> usize {
        let place = self.place(source);
        let register = if let Place::Register(register) = place {
            register
        } else {
            let to = self.free_register();
            self.out.push(Instruction::Move { to, from: place });
            if let Source::Step(step) = source {
                self.register_of.insert(step, to);
                self.holds[to] = Some(step);
            }
            to
        };
        self.pinned.push(register);
        register
    }

    fn place(&mut self, source: Source) -> Place {
        match source {
            Source::Shared(place) => Place::Shared(place),
            Source::Constant(place) => Place::Constant(place),
            Source::Row(row) => Place::Row(row),
            Source::Digest(word) => Place::Digest(word),
            Source::Step(step) => match self.register_of.get(&step) {
                Some(register) => {
                    self.pinned.push(*register);
                    Place::Register(*register)
                }
                None => self.home_of[&step],
            },
        }
    }

    /// Forgets the operands that the present step is the last to need.
    fn release(&mut self, step: &Step) {
        for source in &step.from {
            let Source::Step(made) = source else { continue };
            self.uses[*made].pop();
            if !self.uses[*made].is_empty() {
                continue;
            }
            if let Some(register) = self.register_of.remove(made) {
                self.holds[register] = None;
            }
            if let Some(Place::Slot(slot)) = self.home_of.remove(made) {
                // Not before the present step has read it.
                self.freed_slots.push(slot);
            }
        }
    }

    /// A register for what the present step makes, once its operands were released.
    fn destination(&mut self) -> usize {
        // It is written after all operands were read.
        self.pinned.clear();
        let register = self.free_register();
        self.hold(register);
        register
    }

    fn hold(&mut self, register: usize) {
        self.holds[register] = Some(self.at);
        self.register_of.insert(self.at, register);
    }

    fn free_register(&mut self) -> usize {
        let is_free = |at: &usize| self.holds[*at].is_none() && !self.pinned.contains(at);
        if let Some(free) = (0..self.holds.len()).find(is_free) {
            return free;
        }
        let next_use = |register: &usize| {
            let step = self.holds[*register].expect("none is free");
            *self.uses[step].last().expect("what is not needed is not held")
        };
        let farthest = (0..self.holds.len())
            .filter(|register| self.holds[*register].is_some() && !self.pinned.contains(register))
            .max_by_key(next_use)
            .expect("an instruction has three operands");
        let step = self.holds[farthest].take().expect("none is free");
        self.register_of.remove(&step);
        if !self.home_of.contains_key(&step) {
            let slot = self.free_slots.pop().unwrap_or_else(|| {
                self.slots += 1;
                self.slots - 1
            });
            self.home_of.insert(step, Place::Slot(slot));
            self.out.push(Instruction::Store { to: Place::Slot(slot), from: farthest });
        }
        farthest
    }
}

/// The table of truth of three operands in another order: `order[i]` says which operand of the
/// logic is the instruction's number i.
fn truth(logic: Logic, order: [usize; 3]) -> u8 {
    (0..8_u8)
        .filter(|row| {
            let mut operand = [false; 3];
            for (i, which) in order.iter().enumerate() {
                operand[*which] = row >> (2 - i) & 1 == 1;
            }
            let [x, y, z] = operand;
            match logic {
                Logic::Xor => x ^ y ^ z,
                Logic::Choose => {
                    if x {
                        y
                    } else {
                        z
                    }
                }
                Logic::Majority => (x & y) | (x & z) | (y & z),
            }
        })
        .fold(0, |table, row| table | 1 << row)
}
