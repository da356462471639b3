//! The GPU's shaders, from the same description as the vector code of CPUs.
//!
//! Three ways. Nonce-major: an invocation has one version and runs through consecutive nonces, its
//! schedule worked out with its rounds. Interleaved: the same, with a nonce's second hash beside the
//! next one's first. Version-major: an invocation has one version and runs
//! through nonces whose schedules a first shader has worked out for all versions. All are straight
//! lines of named words: a loop over rounds and arrays that are indexed would cost ten to a hundred
//! times as much, and a driver makes one instruction of each rotation and each logic of three only
//! in the forms that [`expression`] gives them.
//!
//! WGSL: <https://www.w3.org/TR/WGSL/>.

mod probe;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::graph::{Count, Graph, Logic, Op, Value, operands};
use super::scalar::{function, needed, number};
use super::sha256::{
    self, BEFORE_NONCE, DIGEST, Described, INPUTS, MIDSTATE, NONCE, SCHEDULE, TAIL,
};

/// Hits that one dispatch can report; where there are more it says so.
const FOUND: usize = 1024;
/// Vectors of four words that a row of the schedule's table takes: its words, and the nonce's own.
const ROW_VECTORS: usize = (sha256::ROWS + 1).div_ceil(4);
/// Vectors that a version's state takes: the midstate, and the state before the nonce.
const STATE_VECTORS: usize = 4;
/// Words of a header that its versions and nonces share: 1 to 15 of the first block, 0 to 2 of the
/// second.
const HEADER_WORDS: usize = 15 + 3;

/// What all shaders have: the range, and where hits are put.
const COMMON: &str = "\
struct Task { first: u32, low: u32, high: u32, mask: u32 }
struct Found { count: atomic<u32>, hits: array<vec2<u32>, FOUND> }
override workgroup: u32 = 64u;
override nonces: u32 = 64u;
@group(0) @binding(0) var<uniform> task: Task;
@group(0) @binding(1) var<storage, read_write> found: Found;
fn swapped(x: u32) -> u32 {
  return (x << 24u) | ((x & 0xff00u) << 8u) | ((x >> 8u) & 0xff00u) | (x >> 24u);
}
fn report(version: u32, nonce: u32) {
  if (nonce - task.low <= task.high - task.low) {
    let at = atomicAdd(&found.count, 1u);
    if (at < FOUNDu) { found.hits[at] = vec2<u32>(version, nonce); }
  }
}
";

/// The beginning of the entry point that searches.
const SEARCH: &str = "\
@compute @workgroup_size(workgroup)
fn search(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
";

/// Rust source of the GPU's shaders and of what their user must know: the texts `NONCE_MAJOR`,
/// `INTERLEAVED` and `VERSION_MAJOR`, the words that a version is given in the first two
/// (`direct_words`, `DIRECT_WORDS`),
/// sizes, the operations of a hash, which it puts into an `Operations` of the scope that includes it,
/// and the probe of an adapter: its text `PROBE`, whose entry points do `PROBE_OPERATIONS` a turn.
#[must_use]
pub fn rust() -> String {
    let direct = sha256::direct();
    let shared = frontier(&direct);
    let [rounds, second, schedule] = [sha256::rounds(1), sha256::second(1), sha256::schedule()]
        .map(|described| described.graph.count(&described.results));
    let mut text = [
        number("Words of a version for the nonce-major shader.", "DIRECT_WORDS", shared.len()),
        number("Hits that one dispatch can report.", "FOUND", FOUND),
        number("Words of a row of the schedule's table.", "ROW_WORDS", 4 * ROW_VECTORS),
        number("Words of a version's state.", "STATE_WORDS", 4 * STATE_VECTORS),
        number("Words of the header that versions and nonces share.", "HEADER_WORDS", HEADER_WORDS),
        function("direct_words", &direct.graph, &shared, INPUTS),
    ]
    .concat();
    let direct_count = direct.graph.count(&direct.results);
    for (name, count) in [("DIRECT", direct_count), ("ROUNDS", rounds), ("SECOND", second)]
        .into_iter()
        .chain([("SCHEDULE", schedule)])
    {
        let Count { add, rotate, shift, logic } = count;
        writeln!(
            text,
            "pub(crate) const {name}: Operations = Operations {{ add: {add}, rotate: {rotate}, \
             shift: {shift}, logic: {logic} }};"
        )
        .expect("a string takes all");
    }
    for (name, shader) in [
        ("NONCE_MAJOR", nonce_major()),
        ("INTERLEAVED", interleaved()),
        ("VERSION_MAJOR", version_major()),
    ] {
        writeln!(text, "pub(crate) static {name}: &str = r\"{shader}\";")
            .expect("a string takes all");
    }
    let (shader, operations) = probe::shaders();
    let count = operations.len();
    writeln!(
        text,
        "pub(crate) static PROBE: &str = r\"{shader}\";\n\
         pub(crate) const PROBE_OPERATIONS: [(&str, u32); {count}] = {operations:?};"
    )
    .expect("a string takes all");
    text
}

fn common() -> String {
    COMMON.replace("FOUND", &FOUND.to_string())
}

/// One version's nonces, an invocation taking `nonces` that follow one another.
fn nonce_major() -> String {
    let direct = sha256::direct();
    let mut text = nonces_begin(&direct);
    push(&mut text, "for (var i = 0u; i < nonces; i++) {");
    let (lines, digest) = lanes(&direct, "a", of_nonce, "s");
    push_all(&mut text, &lines);
    let (lines, word) = second(&digest);
    push_all(&mut text, &lines);
    push(&mut text, &format!("if (({word} & task.mask) == 0u) {{ report(group.y, base + i); }}"));
    push(&mut text, "}\n}");
    text
}

/// The same, with the second hash of a nonce beside the first of the next: a processor whose lanes
/// wait for their own results has something else to do meanwhile.
fn interleaved() -> String {
    let direct = sha256::direct();
    let mut text = nonces_begin(&direct);
    let (first, digest) = lanes(&direct, "a", of_nonce, "s");
    let carried: Vec<String> = (0..digest.len()).map(|word| format!("d{word}")).collect();
    let (second, word) = second(&carried);
    for word in &carried {
        push(&mut text, &format!("var {word} = 0u;"));
    }
    push(&mut text, "for (var i = 0u; i <= nonces; i++) {");
    push_all(&mut text, &beside(&first, &second));
    let test = format!("if (i != 0u && ({word} & task.mask) == 0u)");
    push(&mut text, &format!("{test} {{ report(group.y, base + i - 1u); }}"));
    for (word, digest) in carried.iter().zip(&digest) {
        push(&mut text, &format!("{word} = {digest};"));
    }
    push(&mut text, "}\n}");
    text
}

/// What both begin with: a version's words, and the nonces' own.
fn nonces_begin(direct: &Described) -> String {
    let shared = frontier(direct);
    let vectors = shared.len().div_ceil(4);
    let mut text = common();
    push(&mut text, "@group(0) @binding(2) var<storage, read> words: array<vec4<u32>>;");
    text.push_str(SEARCH);
    push(&mut text, &format!("let table = group.y * {vectors}u;"));
    for vector in 0..vectors {
        push(&mut text, &format!("let w{vector} = words[table + {vector}u];"));
    }
    for (place, value) in shared.iter().enumerate() {
        let word = component(&format!("w{}", place / 4), place);
        push(&mut text, &format!("let {} = {word};", name("s", *value)));
    }
    push(&mut text, "let base = task.first + id.x * nonces;");
    push(&mut text, "let word = swapped(base);");
    text
}

/// The word of nonce `i`. The range begins at a multiple of `nonces`, at most 256: only the swapped
/// word's first byte counts.
fn of_nonce(_input: usize) -> String {
    "word + (i << 24u)".to_owned()
}

/// Both lists of lines at once, each at its own pace from its first line to its last.
fn beside(first: &[String], second: &[String]) -> Vec<String> {
    let mut lines = Vec::with_capacity(first.len() + second.len());
    let (mut one, mut two) = (0, 0);
    while one + two < first.len() + second.len() {
        // Whoever has written the smaller part of its lines goes on.
        if one * second.len() <= two * first.len() && one < first.len() {
            lines.push(first[one].clone());
            one += 1;
        } else {
            lines.push(second[two].clone());
            two += 1;
        }
    }
    lines
}

/// The states of versions, the schedules of nonces, and the search on both.
fn version_major() -> String {
    let mut text = common();
    for line in [
        "@group(0) @binding(2) var<storage, read> versions: array<u32>;",
        "@group(0) @binding(3) var<uniform> header: array<vec4<u32>, HEADER>;",
        "@group(0) @binding(4) var<storage, read_write> states_out: array<vec4<u32>>;",
        "@group(0) @binding(5) var<storage, read> states: array<vec4<u32>>;",
        "@group(0) @binding(6) var<storage, read_write> rows_out: array<vec4<u32>>;",
        "@group(0) @binding(7) var<storage, read> rows: array<vec4<u32>>;",
    ] {
        push(&mut text, &line.replace("HEADER", &HEADER_WORDS.div_ceil(4).to_string()));
    }
    prepare(&mut text);
    schedule(&mut text);
    search(&mut text);
    text
}

/// An invocation works out the state of one version.
fn prepare(text: &mut String) {
    let prepare = sha256::prepare();
    entry(text, "prepare");
    let (lines, results) = lanes(&prepare, "p", |_| "swapped(versions[id.x])".to_owned(), "h");
    push_all(text, &lines);
    store(text, "states_out", STATE_VECTORS, &results);
    push(text, "}");
}

/// An invocation works out the schedule of one nonce.
fn schedule(text: &mut String) {
    let schedule = sha256::schedule();
    entry(text, "schedule");
    push(text, "let nonce = swapped(task.first + id.x);");
    let (lines, mut results) = lanes(&schedule, "w", |_| "nonce".to_owned(), "h");
    push_all(text, &lines);
    results.push("nonce".to_owned());
    store(text, "rows_out", ROW_VECTORS, &results);
    push(text, "}");
}

/// An invocation takes a version and runs through `nonces` rows.
fn search(text: &mut String) {
    let rounds = sha256::rounds(1);
    text.push_str(SEARCH);
    push(text, &format!("let state = id.x * {STATE_VECTORS}u;"));
    for vector in 0..STATE_VECTORS {
        push(text, &format!("let v{vector} = states[state + {vector}u];"));
    }
    uniforms(text, &rounds, "v", |input| {
        let place = if input >= BEFORE_NONCE { input - BEFORE_NONCE + 8 } else { input - MIDSTATE };
        component(&format!("v{}", place / 4), place)
    });
    push(text, "for (var i = 0u; i < nonces; i++) {");
    push(text, "let at = group.y * nonces + i;");
    for vector in 0..ROW_VECTORS {
        push(text, &format!("let r{vector} = rows[at * {ROW_VECTORS}u + {vector}u];"));
    }
    let row = |input: usize| {
        let place = if input == NONCE { sha256::ROWS } else { input - SCHEDULE };
        component(&format!("r{}", place / 4), place)
    };
    let (lines, digest) = lanes(&rounds, "a", row, "v");
    push_all(text, &lines);
    let (lines, word) = second(&digest);
    push_all(text, &lines);
    push(text, &format!("if (({word} & task.mask) == 0u) {{ report(id.x, task.first + at); }}"));
    push(text, "}\n}");
}

/// The beginning of an entry point that has the header's words as uniform inputs.
fn entry(text: &mut String, name: &str) {
    text.push_str("@compute @workgroup_size(64)\n");
    push(text, &format!("fn {name}(@builtin(global_invocation_id) id: vec3<u32>) {{"));
    let described = if name == "prepare" { sha256::prepare() } else { sha256::schedule() };
    uniforms(text, &described, "h", |input| {
        let place = match input {
            sha256::FIRST_BLOCK.. => input - sha256::FIRST_BLOCK - 1,
            _ => input - TAIL + 15,
        };
        component(&format!("header[{}]", place / 4), place)
    });
}

/// The second hash of a digest: its lines, and the name of its last word.
fn second(digest: &[String]) -> (Vec<String>, String) {
    let described = sha256::second(1);
    let (lines, results) = lanes(&described, "b", |input| digest[input - DIGEST].clone(), "none");
    (lines, results[0].clone())
}

/// Writes words, four to a vector, the last filled up with zeros.
fn store(text: &mut String, to: &str, vectors: usize, words: &[String]) {
    for (vector, words) in words.chunks(4).enumerate() {
        let mut four = words.to_vec();
        four.resize(4, "0u".to_owned());
        let four = four.join(", ");
        push(text, &format!("{to}[id.x * {vectors}u + {vector}u] = vec4<u32>({four});"));
    }
}

/// The uniform words that lanes or results read, each once.
fn frontier(described: &Described) -> Vec<Value> {
    let graph = &described.graph;
    let live = graph.live(&described.results);
    let read = live.iter().flat_map(|node| operands(graph.lane(*node)));
    let words: BTreeSet<Value> = read
        .chain(described.results.iter().copied())
        .filter(|value| matches!(value, Value::Uniform(_)))
        .collect();
    words.into_iter().collect()
}

/// Lines that work out all that lanes need of the uniform words, named with `prefix`.
fn uniforms(
    text: &mut String,
    described: &Described,
    prefix: &str,
    input: impl Fn(usize) -> String,
) {
    for node in needed(&described.graph, &frontier(described)) {
        let operation = described.graph.uniform(node);
        let line = expression(operation, &input, |value| name(prefix, value));
        push(text, &format!("let {} = {line};", name(prefix, Value::Uniform(node))));
    }
}

/// Lines that work out the results, and the results' names; uniform words were named with `uniform`
/// before.
fn lanes(
    described: &Described,
    prefix: &str,
    input: impl Fn(usize) -> String,
    uniform: &str,
) -> (Vec<String>, Vec<String>) {
    let named = |value: Value| match value {
        Value::Uniform(_) => name(uniform, value),
        Value::Const(_) | Value::Lane(_) => name(prefix, value),
    };
    let graph: &Graph = &described.graph;
    let line = |node: usize| {
        let value = expression(graph.lane(node), &input, named);
        format!("let {} = {value};", named(Value::Lane(node)))
    };
    let lines = graph.live(&described.results).into_iter().map(line).collect();
    (lines, described.results.iter().map(|result| named(*result)).collect())
}

/// One operation, in the form that drivers make a single instruction of: rotations by literal
/// counts, logic by the fewest operators.
fn expression(op: Op, input: impl Fn(usize) -> String, name: impl Fn(Value) -> String) -> String {
    match op {
        Op::Input(number) => input(number),
        Op::Add(x, y) => format!("{} + {}", name(x), name(y)),
        Op::Rotate(x, by) => format!("({0} >> {by}u) | ({0} << {1}u)", name(x), 32 - by),
        Op::Shift(x, by) => format!("{} >> {by}u", name(x)),
        Op::Logic(logic, of) => {
            let [x, y, z] = of.map(name);
            match logic {
                Logic::Xor => format!("{x} ^ {y} ^ {z}"),
                Logic::Choose => format!("{z} ^ ({x} & ({y} ^ {z}))"),
                // The exclusive or of two is the next round's as well.
                Logic::Majority => format!("{y} ^ (({x} ^ {y}) & ({y} ^ {z}))"),
            }
        }
    }
}

fn name(prefix: &str, value: Value) -> String {
    match value {
        Value::Const(word) => format!("{word:#x}u"),
        Value::Uniform(node) => format!("{prefix}u{node}"),
        Value::Lane(node) => format!("{prefix}{node}"),
    }
}

fn component(vector: &str, place: usize) -> String {
    format!("{vector}.{}", ["x", "y", "z", "w"][place % 4])
}

fn push_all(text: &mut String, lines: &[String]) {
    for line in lines {
        push(text, line);
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
