//! Assembly of an allocated program, for AVX-512 and AVX2.
//!
//! Each text is the body of a function of the System V ABI, in Intel's syntax:
//! - `rdi`: the words that all lanes share: 4 bytes each for AVX-512, which repeats a word in all
//!   lanes as it reads it, a vector each for AVX2;
//! - `rsi`: the schedule's table, a vector each row;
//! - `edx`: the nonce's word of lane 0;
//! - `ecx`: the bits of the digest's last word that must be zero;
//! - `r8`: the digest that the first hash leaves for the second, and memory for what does not fit
//!   the registers;
//! - `r9`: the lanes' parts of the nonce's word, a vector, and then the constants, as in `rdi`;
//! - `eax`: the lanes that passed, one bit each, those of the first version lowest; nothing where
//!   there is no result.
//!
//! All vectors in memory are aligned to their size. Vector registers belong to the function.

use std::fmt::Write as _;

use super::registers::{Allocated, Instruction, Place};
use super::steps::{Code, Unit};

/// Vectors at the beginning of the memory at `r8`: the digests between the hashes.
pub(crate) const DIGESTS_MAX: usize = 16;

impl Unit {
    pub(crate) const fn registers(self) -> usize {
        match self {
            Self::Avx512 => 32,
            Self::Avx2 => 16,
        }
    }

    /// Lanes of a vector.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 => 8,
        }
    }

    /// How often a word stands in memory that all lanes share.
    pub(crate) const fn copies(self) -> usize {
        match self {
            Self::Avx512 => 1,
            Self::Avx2 => self.lanes(),
        }
    }

    const fn bytes(self) -> usize {
        4 * self.lanes()
    }

    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Avx512 => "zmm",
            Self::Avx2 => "ymm",
        }
    }
}

/// The whole body.
pub(crate) fn assembly(allocated: &Allocated, unit: Unit) -> String {
    let mut text = String::new();
    for instruction in &allocated.instructions {
        writeln!(text, "{}", line(instruction, unit)).expect("a string takes all");
    }
    for (number, result) in allocated.results.iter().enumerate() {
        text.push_str(&test(*result, &allocated.results, unit));
        if number > 0 {
            let lanes = unit.lanes() * number;
            writeln!(text, "shl eax, {lanes}\nor r10d, eax").expect("a string takes all");
        } else {
            text.push_str("mov r10d, eax\n");
        }
    }
    if !allocated.results.is_empty() {
        text.push_str("mov eax, r10d\n");
    }
    text.push_str("vzeroupper\nret\n");
    text
}

fn line(instruction: &Instruction, unit: Unit) -> String {
    let r = |number: &usize| format!("{}{number}", unit.prefix());
    match instruction {
        Instruction::Move { to, from } => {
            let mnemonic = match (unit, from) {
                (Unit::Avx512, Place::Shared(_) | Place::Constant(_)) => {
                    return format!("vpbroadcastd {}, dword ptr {}", r(to), address(*from, unit));
                }
                (Unit::Avx512, _) => "vmovdqa32",
                (Unit::Avx2, _) => "vmovdqa",
            };
            format!("{mnemonic} {}, {}", r(to), operand(from, unit))
        }
        Instruction::Store { to, from } => {
            let mnemonic = if unit == Unit::Avx512 { "vmovdqa32" } else { "vmovdqa" };
            format!("{mnemonic} {}, {}", operand(to, unit), r(from))
        }
        Instruction::Nonce { to } => nonce(*to, unit),
        Instruction::Two { code, to, first, second } => {
            let (to, first, second) = (r(to), r(first), operand(second, unit));
            format!("{} {to}, {first}, {second}", mnemonic(*code, unit))
        }
        Instruction::Bits { code, to, from } => {
            let (to, from) = (r(to), r(from));
            let (mnemonic, by) = bits(*code);
            format!("{mnemonic} {to}, {from}, {by}")
        }
        Instruction::Three { table, to, second, third } => {
            let (to, second, third) = (r(to), r(second), operand(third, unit));
            format!("vpternlogd {to}, {second}, {third}, {table}")
        }
    }
}

fn bits(code: Code) -> (&'static str, u32) {
    if let Code::RotateRight(by) = code {
        ("vprord", by)
    } else if let Code::ShiftRight(by) = code {
        ("vpsrld", by)
    } else if let Code::ShiftLeft(by) = code {
        ("vpslld", by)
    } else {
        unreachable!("{code:?} is no move of bits")
    }
}

fn mnemonic(code: Code, unit: Unit) -> &'static str {
    match (code, unit) {
        (Code::Add, _) => "vpaddd",
        (Code::Xor, Unit::Avx512) => "vpxord",
        (Code::And, Unit::Avx512) => "vpandd",
        (Code::Or, Unit::Avx512) => "vpord",
        (Code::Xor, Unit::Avx2) => "vpxor",
        (Code::And, Unit::Avx2) => "vpand",
        (Code::Or, Unit::Avx2) => "vpor",
        (other, _) => unreachable!("{other:?} has not two operands"),
    }
}

fn operand(place: &Place, unit: Unit) -> String {
    match place {
        Place::Register(number) => format!("{}{number}", unit.prefix()),
        Place::Shared(_) | Place::Constant(_) if unit == Unit::Avx512 => {
            format!("dword ptr {}{{1to16}}", address(*place, unit))
        }
        Place::Shared(_)
        | Place::Constant(_)
        | Place::Row(_)
        | Place::Slot(_)
        | Place::Digest(_) => {
            format!("{}word ptr {}", unit.prefix(), address(*place, unit))
        }
    }
}

fn address(place: Place, unit: Unit) -> String {
    let (vector, word) = (unit.bytes(), 4 * unit.copies());
    match place {
        Place::Shared(at) => format!("[rdi + {}]", word * at),
        Place::Constant(at) => format!("[r9 + {}]", vector + word * at),
        Place::Row(row) => format!("[rsi + {}]", vector * row),
        Place::Digest(at) => format!("[r8 + {}]", vector * at),
        Place::Slot(slot) => format!("[r8 + {}]", vector * (DIGESTS_MAX + slot)),
        Place::Register(number) => unreachable!("register {number} has no address"),
    }
}

fn nonce(to: usize, unit: Unit) -> String {
    match unit {
        Unit::Avx512 => {
            format!("vpbroadcastd zmm{to}, edx\nvpaddd zmm{to}, zmm{to}, zmmword ptr [r9]")
        }
        Unit::Avx2 => format!(
            "vmovd xmm{to}, edx\nvpbroadcastd ymm{to}, xmm{to}\nvpaddd ymm{to}, ymm{to}, ymmword ptr [r9]"
        ),
    }
}

/// The lanes whose bits under the mask are all zero.
fn test(result: usize, kept: &[usize], unit: Unit) -> String {
    let mut free = (0..16).filter(|register| !kept.contains(register));
    let mut free = || free.next().expect("there are few results");
    let (mask, zero) = (free(), free());
    match unit {
        Unit::Avx512 => format!(
            "vpbroadcastd zmm{mask}, ecx\nvptestnmd k1, zmm{result}, zmm{mask}\nkmovw eax, k1\n"
        ),
        Unit::Avx2 => format!(
            "vmovd xmm{mask}, ecx\nvpbroadcastd ymm{mask}, xmm{mask}\n\
             vpand ymm{mask}, ymm{result}, ymm{mask}\nvpxor xmm{zero}, xmm{zero}, xmm{zero}\n\
             vpcmpeqd ymm{mask}, ymm{mask}, ymm{zero}\nvmovmskps eax, ymm{mask}\n"
        ),
    }
}
