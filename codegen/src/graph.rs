//! A computation on 32-bit words as a graph: what is the same for all lanes is told apart from
//! what is not, constants are folded, and what is computed twice is computed once.
//!
//! Read [`Graph`]. Two kinds of node: uniform ones depend only on what all lanes share, and are
//! worked out once per job by scalar code; lane ones are worked out in every lane of a vector.
//! What no result needs is never emitted: see [`Graph::live`].

use std::collections::HashMap;

/// One 32-bit word of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    /// Known when the code is made.
    Const(u32),
    /// A node whose word is the same in all lanes.
    Uniform(usize),
    /// A node whose word differs from lane to lane.
    Lane(usize),
}

/// Three-input logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Logic {
    /// `x ^ y ^ z`
    Xor,
    /// `x ? y : z`, bit by bit
    Choose,
    /// The value that two of three have, bit by bit
    Majority,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// Comes from outside; the number is the caller's.
    Input(usize),
    /// Sum modulo 2^32.
    Add(Value, Value),
    /// Rotated right.
    Rotate(Value, u32),
    /// Shifted right.
    Shift(Value, u32),
    /// Logic of three.
    Logic(Logic, [Value; 3]),
}

/// Nodes in the order in which they were made, which is an order in which they can be computed.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    uniforms: Nodes,
    lanes: Nodes,
}

#[derive(Debug, Default)]
struct Nodes {
    ops: Vec<Op>,
    known: HashMap<Op, usize>,
}

/// How many operations a lane takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Additions.
    pub(crate) add: usize,
    /// Rotations.
    pub(crate) rotate: usize,
    /// Shifts.
    pub(crate) shift: usize,
    /// Three-input logic.
    pub(crate) logic: usize,
}

#[cfg(test)]
impl Count {
    /// All of them.
    pub(crate) const fn total(self) -> usize {
        self.add + self.rotate + self.shift + self.logic
    }
}

impl Nodes {
    fn put(&mut self, op: Op) -> usize {
        let next = self.ops.len();
        let place = *self.known.entry(op).or_insert(next);
        if place == next {
            self.ops.push(op);
        }
        place
    }
}

impl Graph {
    /// A word that all lanes share.
    pub(crate) fn uniform_input(&mut self, number: usize) -> Value {
        Value::Uniform(self.uniforms.put(Op::Input(number)))
    }

    /// A word of every lane's own.
    pub(crate) fn lane_input(&mut self, number: usize) -> Value {
        Value::Lane(self.lanes.put(Op::Input(number)))
    }

    pub(crate) fn rotate(&mut self, x: Value, by: u32) -> Value {
        match x {
            Value::Const(word) => Value::Const(word.rotate_right(by)),
            Value::Uniform(_) | Value::Lane(_) => self.put(Op::Rotate(x, by), &[x]),
        }
    }

    pub(crate) fn shift(&mut self, x: Value, by: u32) -> Value {
        match x {
            Value::Const(word) => Value::Const(word >> by),
            Value::Uniform(_) | Value::Lane(_) => self.put(Op::Shift(x, by), &[x]),
        }
    }

    pub(crate) fn logic(&mut self, logic: Logic, of: [Value; 3]) -> Value {
        if let [Value::Const(x), Value::Const(y), Value::Const(z)] = of {
            return Value::Const(match logic {
                Logic::Xor => x ^ y ^ z,
                Logic::Choose => (x & y) ^ (!x & z),
                Logic::Majority => (x & y) ^ (x & z) ^ (y & z),
            });
        }
        self.put(Op::Logic(logic, of), &of)
    }

    /// The sum of words: constants become one, uniform words one, and lanes' words are added in
    /// the order given, so that whoever comes late in a round can be named last.
    pub(crate) fn sum(&mut self, terms: &[Value]) -> Value {
        let adds_shared = terms.iter().any(|term| !is_lane(*term));
        let mut shared = Vec::new();
        let mut lanes = Vec::new();
        for &term in terms {
            // What all lanes share is taken out of a sum that had it already: the addition there
            // may then be needed by nobody.
            if let Value::Lane(node) = term
                && let Op::Add(lane, common) = self.lanes.ops[node]
                && adds_shared
                && !is_lane(common)
            {
                lanes.push(lane);
                shared.push(common);
            } else if is_lane(term) {
                lanes.push(term);
            } else {
                shared.push(term);
            }
        }
        let shared = self.shared_sum(&shared);
        let Some((first, rest)) = lanes.split_first() else { return shared };
        // The shared part goes to the earliest term, where it is waited for least.
        let mut sum = self.add(*first, shared);
        for &lane in rest {
            sum = self.add(sum, lane);
        }
        sum
    }

    fn shared_sum(&mut self, terms: &[Value]) -> Value {
        let mut constant = 0_u32;
        let mut sum: Option<Value> = None;
        for &term in terms {
            if let Value::Const(word) = term {
                constant = constant.wrapping_add(word);
            } else {
                sum = Some(sum.map_or(term, |sum| self.add(sum, term)));
            }
        }
        match sum {
            None => Value::Const(constant),
            Some(sum) => self.add(sum, Value::Const(constant)),
        }
    }

    fn add(&mut self, x: Value, y: Value) -> Value {
        if y == Value::Const(0) { x } else { self.put(Op::Add(x, y), &[x, y]) }
    }

    fn put(&mut self, op: Op, operands: &[Value]) -> Value {
        if operands.iter().any(|value| is_lane(*value)) {
            Value::Lane(self.lanes.put(op))
        } else {
            Value::Uniform(self.uniforms.put(op))
        }
    }

    /// The operation of a lane node.
    pub(crate) fn lane(&self, node: usize) -> Op {
        self.lanes.ops[node]
    }

    /// The operation of a uniform node.
    pub(crate) fn uniform(&self, node: usize) -> Op {
        self.uniforms.ops[node]
    }

    /// The lane nodes that these results need, in an order of computation.
    pub(crate) fn live(&self, results: &[Value]) -> Vec<usize> {
        let mut needed = vec![false; self.lanes.ops.len()];
        for result in results {
            if let Value::Lane(node) = result {
                needed[*node] = true;
            }
        }
        // Operands come before what they make: one pass from the end finds all.
        for node in (0..needed.len()).rev().collect::<Vec<_>>() {
            if needed[node] {
                for operand in operands(self.lanes.ops[node]) {
                    if let Value::Lane(operand) = operand {
                        needed[operand] = true;
                    }
                }
            }
        }
        (0..needed.len()).filter(|node| needed[*node]).collect()
    }

    /// What these results cost in each lane.
    pub(crate) fn count(&self, results: &[Value]) -> Count {
        let mut count = Count::default();
        for node in self.live(results) {
            match self.lanes.ops[node] {
                Op::Input(_) => {}
                Op::Add(..) => count.add += 1,
                Op::Rotate(..) => count.rotate += 1,
                Op::Shift(..) => count.shift += 1,
                Op::Logic(..) => count.logic += 1,
            }
        }
        count
    }
}

/// What an operation reads.
pub(crate) fn operands(op: Op) -> Vec<Value> {
    match op {
        Op::Input(_) => Vec::new(),
        Op::Add(x, y) => vec![x, y],
        Op::Rotate(x, _) | Op::Shift(x, _) => vec![x],
        Op::Logic(_, of) => of.to_vec(),
    }
}

pub(crate) const fn is_lane(value: Value) -> bool {
    matches!(value, Value::Lane(_))
}
