//! Rust for what all lanes share: the words of a program's table, from the inputs of the job, and
//! constants.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::graph::{Graph, Logic, Op, Value, operands};

/// A function `name` from the uniform inputs, by number, to these words.
pub(crate) fn function(name: &str, graph: &Graph, words: &[Value], inputs: usize) -> String {
    let count = words.len();
    let mut text = format!(
        "pub(super) fn {name}(inputs: &[u32]) -> Vec<u32> {{\n\
         let inputs: &[u32; {inputs}] = inputs.try_into().expect(\"{inputs} inputs\");\n"
    );
    for node in needed(graph, words) {
        let line = expression(graph.uniform(node));
        writeln!(text, "let u{node}: u32 = {line};").expect("a string takes all");
    }
    let words: Vec<String> = words.iter().map(|word| scalar(*word)).collect();
    writeln!(
        text,
        "let _ = inputs;\nlet words: [u32; {count}] = [{}];\nwords.to_vec()\n}}",
        words.join(", ")
    )
    .expect("a string takes all");
    text
}

/// A constant `name` with these words, for the crate that includes it.
pub(crate) fn words(about: &str, name: &str, words: &[u32]) -> String {
    let count = words.len();
    let each: Vec<String> =
        words.iter().map(|word| format!("0x{:04x}_{:04x}", word >> 16, word & 0xffff)).collect();
    format!("/// {about}\npub(crate) const {name}: [u32; {count}] = [{}];\n", each.join(", "))
}

/// A number `name`, for the module around the one that includes it.
pub(crate) fn number(about: &str, name: &str, number: usize) -> String {
    format!("/// {about}\npub(super) const {name}: usize = {number};\n")
}

/// The uniform nodes that these words need, in an order of computation.
pub(crate) fn needed(graph: &Graph, words: &[Value]) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<Value> = words.to_vec();
    while let Some(value) = open.pop() {
        if let Value::Uniform(node) = value
            && needed.insert(node)
        {
            open.extend(operands(graph.uniform(node)));
        }
    }
    needed
}

fn expression(op: Op) -> String {
    match op {
        Op::Input(number) => format!("inputs[{number}]"),
        Op::Add(x, y) => format!("{}.wrapping_add({})", scalar(x), scalar(y)),
        Op::Rotate(x, by) => format!("{}.rotate_right({by})", scalar(x)),
        Op::Shift(x, by) => format!("{} >> {by}", scalar(x)),
        Op::Logic(logic, of) => {
            let [x, y, z] = of.map(scalar);
            match logic {
                Logic::Xor => format!("{x} ^ {y} ^ {z}"),
                Logic::Choose => format!("({x} & {y}) ^ (!{x} & {z})"),
                Logic::Majority => format!("({x} & {y}) ^ ({x} & {z}) ^ ({y} & {z})"),
            }
        }
    }
}

fn scalar(value: Value) -> String {
    match value {
        Value::Const(word) => format!("{word:#x}_u32"),
        Value::Uniform(node) => format!("u{node}"),
        Value::Lane(node) => unreachable!("lane node {node} among what all lanes share"),
    }
}
