//! Code that measures what a processor can do in a cycle: long runs of one instruction.
//!
//! Each function runs its instruction [`RUN`] times for every unit of its argument, over registers
//! enough that none waits for another; the chain of multiplications waits for itself on purpose
//! and so counts cycles.

use std::fmt::Write as _;

use super::steps::Unit;

/// Registers in use, so that an instruction finds its operand ready.
const REGISTERS: usize = 12;
/// How often each has its turn before the loop begins again.
const REPEATS: usize = 8;
/// Instructions in one turn of the loop.
const RUN: usize = REGISTERS * REPEATS;
/// Cycles that one multiplication of a chain takes, on every x86-64 of the last fifteen years.
const MULTIPLICATION: usize = 3;

/// Rust source of the probes of a vector unit: `ADD` and `ROTATE` (a shift where there are no
/// rotations), each a `Probe`.
#[must_use]
pub fn vectors(unit: Unit) -> String {
    let prefix = unit.prefix();
    let add = |at: usize| format!("vpaddd {prefix}{at}, {prefix}{at}, {prefix}15");
    let rotate = |at: usize| match unit {
        Unit::Avx512 => format!("vprord {prefix}{at}, {prefix}{at}, 7"),
        Unit::Avx2 => format!("vpsrld {prefix}{at}, {prefix}{at}, 7"),
    };
    probe("ADD", RUN, &run(add), "vzeroupper\n")
        + &probe("ROTATE", RUN, &run(rotate), "vzeroupper\n")
}

/// The probes that need no vectors or only the SHA instructions: `CYCLES`, whose instructions are
/// cycles, `SHA_ROUNDS`, `SHA_MESSAGE_1` and `SHA_MESSAGE_2`.
#[must_use]
pub fn scalars() -> String {
    let chain = format!(".rept {RUN}\nimul rax, rax\n.endr\n");
    let rounds = run(|at| format!("sha256rnds2 xmm{}, xmm15, xmm0", 1 + at));
    let message1 = run(|at| format!("sha256msg1 xmm{}, xmm15", 1 + at));
    let message2 = run(|at| format!("sha256msg2 xmm{}, xmm15", 1 + at));
    [
        probe("CYCLES", RUN * MULTIPLICATION, &chain, ""),
        probe("SHA_ROUNDS", RUN, &rounds, ""),
        probe("SHA_MESSAGE_1", RUN, &message1, ""),
        probe("SHA_MESSAGE_2", RUN, &message2, ""),
    ]
    .concat()
}

fn run(instruction: impl Fn(usize) -> String) -> String {
    let mut text = format!(".rept {REPEATS}\n");
    for register in 0..REGISTERS {
        writeln!(text, "{}", instruction(register)).expect("a string takes all");
    }
    text + ".endr\n"
}

fn probe(name: &str, count: usize, body: &str, end: &str) -> String {
    let lower = name.to_lowercase();
    format!(
        "#[unsafe(naked)]\nunsafe extern \"sysv64\" fn {lower}(turns: u64) {{\n\
         core::arch::naked_asm!(r\"2:\n{body}dec rdi\njnz 2b\n{end}ret\n\", options(raw))\n}}\n\
         pub(super) static {name}: Probe = Probe {{ function: {lower}, instructions: {count} }};\n"
    )
}
