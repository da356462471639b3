//! The shaders' texts without a GPU: they are valid in every size, and what their loops hold is the
//! description's operations and nothing else, as straight lines.

use std::collections::BTreeMap;

use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{
    BinaryOperator, Block, EntryPoint, Expression, Function, Handle, Literal, Module, ShaderStage,
    Statement, TypeInner,
};

use super::*;
use crate::generated::{DIRECT, PROBE, PROBE_OPERATIONS, ROUNDS, ROW_WORDS, SECOND};

const SEARCHES: [(Method, &str, Operations); 3] = [
    (Method::NonceMajor, NONCE_MAJOR, DIRECT),
    (Method::Interleaved, INTERLEAVED, DIRECT),
    (Method::VersionMajor, VERSION_MAJOR, ROUNDS),
];

fn parsed(text: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(text)));
    // No capabilities: what every adapter has.
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
    (module, info.unwrap_or_else(|error| panic!("{}", error.emit_to_string(text))))
}

fn entry<'a>(module: &'a Module, name: &str) -> &'a EntryPoint {
    module.entry_points.iter().find(|entry| entry.name == name).unwrap()
}

/// Statements with those of branches and loops among them, each block on its own.
fn blocks<'a>(block: &'a Block, all: &mut Vec<&'a Block>) {
    all.push(block);
    for statement in block {
        if let Statement::Block(inner) = statement {
            blocks(inner, all);
        } else if let Statement::If { accept, reject, .. } = statement {
            blocks(accept, all);
            blocks(reject, all);
        } else if let Statement::Loop { body, continuing, .. } = statement {
            blocks(body, all);
            blocks(continuing, all);
        } else if let Statement::Switch { cases, .. } = statement {
            cases.iter().for_each(|case| blocks(&case.body, all));
        }
    }
}

/// The bodies of all loops, wherever they are.
fn loops(function: &Function) -> Vec<&Block> {
    let mut all = Vec::new();
    blocks(&function.body, &mut all);
    let mut bodies = Vec::new();
    for statement in all.into_iter().flat_map(|block| block.iter()) {
        if let Statement::Loop { body, .. } = statement {
            bodies.push(body);
        }
    }
    bodies
}

/// What a loop's body works out, in its order.
fn worked_out(body: &Block) -> Vec<Handle<Expression>> {
    let mut all = Vec::new();
    blocks(body, &mut all);
    let mut expressions = Vec::new();
    for statement in all.into_iter().flat_map(|block| block.iter()) {
        if let Statement::Emit(range) = statement {
            expressions.extend(range.clone());
        }
    }
    expressions
}

/// The operators of a line, down to the names and numbers that it reads.
#[derive(Debug, Default)]
struct Line {
    operators: BTreeMap<String, u32>,
    /// Words that operators take.
    reads: Vec<Handle<Expression>>,
    numbers: Vec<u32>,
}

impl Line {
    fn of(function: &Function, root: Handle<Expression>) -> Self {
        let mut line = Self::default();
        line.add(function, root, true);
        line
    }

    fn add(&mut self, function: &Function, expression: Handle<Expression>, is_root: bool) {
        let named = function.named_expressions.contains_key(&expression);
        let what = &function.expressions[expression];
        if let &Expression::Binary { op, left, right } = what
            && (is_root || !named)
        {
            *self.operators.entry(format!("{op:?}")).or_default() += 1;
            self.add(function, left, false);
            self.add(function, right, false);
        } else if let Expression::Literal(Literal::U32(number)) = what {
            self.numbers.push(*number);
        } else {
            self.reads.push(expression);
        }
    }

    fn has(&self, operators: &[(&str, u32)]) -> bool {
        let wanted = operators.iter().map(|&(name, count)| (name.to_owned(), count));
        self.operators == wanted.collect()
    }

    /// One word in two shifts by literal counts that make a rotation.
    fn is_rotation(&self) -> bool {
        let one_word = self.reads.len() == 2 && self.reads[0] == self.reads[1];
        let whole = matches!(self.numbers[..], [right, left] if (1..32).contains(&right) && left == 32 - right);
        let operators = [("ShiftRight", 1), ("ShiftLeft", 1), ("InclusiveOr", 1)];
        self.has(&operators) && one_word && whole
    }

    fn is_shift(&self) -> bool {
        self.has(&[("ShiftRight", 1)]) && self.reads.len() == 1 && self.numbers.len() == 1
    }

    fn is_logic(&self) -> bool {
        let forms: [&[(&str, u32)]; 4] = [
            // A choice between two constants, whose difference is one as well.
            &[("ExclusiveOr", 1), ("And", 1)],
            &[("ExclusiveOr", 2)],
            &[("ExclusiveOr", 2), ("And", 1)],
            &[("ExclusiveOr", 3), ("And", 1)],
        ];
        forms.into_iter().any(|form| self.has(form))
    }
}

/// The operations that the named lines of a body do, and the lines that are none of them.
fn operations(function: &Function, body: &Block) -> (Operations, Vec<String>) {
    let mut count = Operations { add: 0, rotate: 0, shift: 0, logic: 0 };
    let mut others = Vec::new();
    for expression in worked_out(body) {
        let Some(name) = function.named_expressions.get(&expression) else { continue };
        let line = Line::of(function, expression);
        if line.operators.is_empty() {
            // A name for what is there.
        } else if line.has(&[("Add", 1)]) {
            count.add += 1;
        } else if line.is_rotation() {
            count.rotate += 1;
        } else if line.is_shift() {
            count.shift += 1;
        } else if line.is_logic() {
            count.logic += 1;
        } else {
            others.push(format!("{name}: {:?}", line.operators));
        }
    }
    (count, others)
}

fn binary(function: &Function, body: &Block) -> BTreeMap<String, u32> {
    let mut count = BTreeMap::new();
    for expression in worked_out(body) {
        if let Expression::Binary { op, .. } = function.expressions[expression] {
            *count.entry(format!("{op:?}")).or_default() += 1;
        }
    }
    count
}

#[test]
fn every_text_is_valid_in_every_size() {
    for tile in Tile::ALL {
        let (_, text, _) = SEARCHES.into_iter().find(|(of, ..)| *of == tile.method).unwrap();
        let (module, info) = parsed(text);
        let constants = [("workgroup", tile.workgroup), ("nonces", tile.nonces)]
            .map(|(name, value)| (name.to_owned(), f64::from(value)))
            .into_iter()
            .collect();
        for entry_point in &module.entry_points {
            let name = entry_point.name.as_str();
            let of = Some((ShaderStage::Compute, name));
            let (sized, _) = process_overrides(&module, &info, of, &constants)
                .unwrap_or_else(|error| panic!("{tile}, {name}: {error}"));
            let size = entry(&sized, name).workgroup_size;
            assert_eq!(size, [if name == "search" { tile.workgroup } else { 64 }, 1, 1], "{name}");
        }
    }
}

#[test]
fn the_searches_are_their_descriptions_in_straight_lines() {
    for (method, text, first) in SEARCHES {
        let (module, _) = parsed(text);
        let search = &entry(&module, "search").function;
        let bodies = loops(search);
        let [body] = bodies[..] else { panic!("{}: {} loops", method.name(), bodies.len()) };
        // Named words, none of them in an array.
        for (_, variable) in search.local_variables.iter() {
            let word = matches!(module.types[variable.ty].inner, TypeInner::Scalar(_));
            assert!(word, "{}: {:?}", method.name(), variable.name);
        }
        let looked_up = worked_out(body)
            .into_iter()
            .filter(|at| matches!(search.expressions[*at], Expression::Access { .. }))
            .count();
        let rows = if method == Method::VersionMajor { ROW_WORDS / 4 } else { 0 };
        assert_eq!(looked_up, rows, "{}", method.name());

        let (count, others) = operations(search, body);
        let described = first.and(SECOND);
        assert_eq!(count, described, "{}: {others:?}", method.name());
        assert!(count.total() <= if rows > 0 { 2390 } else { 2848 }, "{count:?}");
        // The nonce's own word, or its place among the rows.
        assert_eq!(others.len(), 1, "{}: {others:?}", method.name());
        // What has no name: the loop's end, the test, a hit's nonce, places in the table of rows.
        let binary = binary(search, body);
        let adds = binary["Add"] - described.add;
        assert!(adds <= 3 + u32::try_from(rows).unwrap(), "{}: {binary:?}", method.name());
        assert_eq!(binary["InclusiveOr"], described.rotate, "{}", method.name());
        assert_eq!(binary["ShiftRight"], described.rotate + described.shift, "{}", method.name());
        assert!(binary["ShiftLeft"] <= described.rotate + 1, "{}: {binary:?}", method.name());
    }
}

#[test]
fn what_is_prepared_has_no_loop() {
    let (module, _) = parsed(VERSION_MAJOR);
    for name in ["prepare", "schedule"] {
        let function = &entry(&module, name).function;
        assert!(loops(function).is_empty(), "{name}");
        assert!(function.local_variables.is_empty(), "{name}");
    }
    let functions = module.functions.iter();
    assert!(functions.map(|(_, function)| loops(function).len()).all(|loops| loops == 0));
}

#[test]
fn a_turn_of_a_probe_is_so_many_operations() {
    let (module, _) = parsed(PROBE);
    assert_eq!(module.entry_points.len(), PROBE_OPERATIONS.len());
    for (name, operations) in PROBE_OPERATIONS {
        let function = &entry(&module, name).function;
        let bodies = loops(function);
        let [body] = bodies[..] else { panic!("{name}: {} loops", bodies.len()) };
        let binary = binary(function, body);
        let count =
            |operator: BinaryOperator| binary.get(&format!("{operator:?}")).copied().unwrap_or(0);
        // Each logic of three here has two exclusive ors.
        let [add, or, xor] =
            [BinaryOperator::Add, BinaryOperator::InclusiveOr, BinaryOperator::ExclusiveOr]
                .map(count);
        assert_eq!(add + or + xor / 2, operations, "{name}: {binary:?}");
        let shifts = [BinaryOperator::ShiftLeft, BinaryOperator::ShiftRight].map(count);
        assert_eq!(shifts, [or, or], "{name}: {binary:?}");
    }
}
