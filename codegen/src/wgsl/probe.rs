//! What a GPU can do of each kind of operation: shaders that do nothing else.
//!
//! Eight words in a ring, each step reading its neighbours, so that many steps are independent and
//! none can be folded into another.

use super::push;

/// Words of the ring.
const RING: usize = 8;
/// Times around the ring in one turn of the shader's loop.
const AROUND: usize = 8;

/// A shader of the probe: its entry point, and what one step of it does.
struct Kind {
    name: &'static str,
    /// Operations of a step.
    operations: usize,
    step: fn(x: &str, y: &str, z: &str) -> String,
}

/// The kinds. The last has additions, rotations and logic in about the proportions of the search:
/// 5, 6 and 3 where a nonce takes 1,044, 1,176 (with shifts) and 628.
const KINDS: [Kind; 4] = [
    Kind { name: "add", operations: 1, step: |x, y, _| format!("{x} + {y}") },
    Kind { name: "logic", operations: 1, step: |x, y, z| format!("{z} ^ ({x} & ({y} ^ {z}))") },
    Kind {
        name: "rotate",
        operations: 4,
        step: |x, y, _| {
            let [one, two, three] = [(x, 2), (x, 13), (y, 22)].map(|(of, by)| rotation(of, by));
            format!("{one} ^ {two} ^ {three}")
        },
    },
    Kind {
        name: "mixed",
        operations: 14,
        step: |x, y, z| {
            let sigma = |of: &str, by: [u32; 3]| by.map(|by| rotation(of, by)).join(" ^ ");
            let (first, second) = (sigma(y, [6, 11, 25]), sigma(z, [2, 13, 22]));
            let choice = format!("{z} ^ ({x} & ({y} ^ {z}))");
            format!("{x} + ({first}) + ({choice}) + {y} + ({second}) + {z}")
        },
    },
];

fn rotation(of: &str, by: u32) -> String {
    format!("(({of} >> {by}u) | ({of} << {}u))", 32 - by)
}

/// The text of the shaders, and for each its name and the operations in one turn of its loop.
pub(super) fn shaders() -> (String, Vec<(&'static str, usize)>) {
    let mut text = String::new();
    push(&mut text, "override turns: u32 = 16u;");
    push(&mut text, "@group(0) @binding(0) var<storage, read_write> words: array<u32>;");
    for kind in &KINDS {
        push(&mut text, "@compute @workgroup_size(64)");
        push(
            &mut text,
            &format!("fn {}(@builtin(global_invocation_id) id: vec3<u32>) {{", kind.name),
        );
        for word in 0..RING {
            push(&mut text, &format!("var a{word} = words[{word}] ^ id.x;"));
        }
        push(&mut text, "for (var i = 0u; i < turns; i++) {");
        for at in 0..RING * AROUND {
            let [x, y, z] = [at, at + 1, at + 2].map(|word| format!("a{}", word % RING));
            push(&mut text, &format!("{x} = {};", (kind.step)(&x, &y, &z)));
        }
        push(&mut text, "}");
        let all: Vec<String> = (0..RING).map(|word| format!("a{word}")).collect();
        // What nobody could read would not be worked out.
        push(&mut text, &format!("let all = {};", all.join(" ^ ")));
        push(&mut text, "if (all == 0x9e3779b9u) { words[8] = all; }\n}");
    }
    let operations = KINDS.iter().map(|kind| (kind.name, kind.operations * RING * AROUND));
    (text, operations.collect())
}
