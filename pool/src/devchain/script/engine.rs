//! The stack machine (`EvalScript`), for scripts before and of witness version 0.

use bitcoin::hashes::{Hash as _, ripemd160, sha1, sha256, sha256d};
use bitcoin::script::{Instruction, Script, ScriptBuf};

use super::signature::{Checker, Era};
use super::{Failure, MAX_ELEMENT, code, hash160};

/// Values, the top last.
pub(super) type Stack = Vec<Vec<u8>>;

const MAX_SCRIPT: usize = 10_000;
const MAX_OPS: usize = 201;
const MAX_STACK: usize = 1_000;
const MAX_KEYS: i64 = 20;

const BAD_OPCODE: &str = "Opcode missing or not understood";
const TOO_SHORT: &str = "Operation not valid with the current stack size";
const BAD_NUMBER: &str = "Script number overflowed or is non-minimally encoded";
const UNBALANCED: &str = "Invalid OP_IF construction";

/// Runs `script` on `stack`.
pub(super) fn run(
    stack: &mut Stack,
    script: &Script,
    era: Era,
    checker: &mut Checker<'_, '_>,
) -> Result<(), Failure> {
    if script.len() > MAX_SCRIPT {
        return Err("Script is too big".into());
    }
    let own = std::mem::take(stack);
    let mut machine = Machine::new(own, script, era, checker);
    let outcome = machine.run();
    *stack = machine.stack;
    outcome
}

/// Anything but zero, of either sign.
pub(super) fn is_true(value: &[u8]) -> bool {
    match value {
        [] => false,
        [rest @ .., last] => *last & 0x7f != 0 || (rest.iter().any(|byte| *byte != 0)),
    }
}

struct Machine<'a, 't, 'c> {
    stack: Stack,
    alt: Stack,
    /// One per open `OP_IF`: whether its branch runs.
    branches: Vec<bool>,
    script: &'a Script,
    /// Where the code that signatures sign begins.
    code_start: usize,
    ops: usize,
    era: Era,
    checker: &'a mut Checker<'t, 'c>,
}

impl<'a, 't, 'c> Machine<'a, 't, 'c> {
    fn new(stack: Stack, script: &'a Script, era: Era, checker: &'a mut Checker<'t, 'c>) -> Self {
        let (alt, branches) = (Stack::new(), Vec::new());
        Self { stack, alt, branches, script, code_start: 0, ops: 0, era, checker }
    }

    fn run(&mut self) -> Result<(), Failure> {
        for instruction in self.script.instruction_indices() {
            let (at, instruction) = instruction.map_err(|_| BAD_OPCODE)?;
            let running = self.branches.iter().all(|branch| *branch);
            match instruction {
                Instruction::PushBytes(bytes) => {
                    if bytes.len() > MAX_ELEMENT {
                        return Err("Push value size limit exceeded".into());
                    }
                    if running {
                        self.push(bytes.as_bytes());
                    }
                }
                Instruction::Op(opcode) => self.opcode(opcode.to_u8(), at, running)?,
            }
            if self.stack.len() + self.alt.len() > MAX_STACK {
                return Err("Stack size limit exceeded".into());
            }
        }
        if self.branches.is_empty() { Ok(()) } else { Err(UNBALANCED.into()) }
    }

    fn opcode(&mut self, op: u8, at: usize, running: bool) -> Result<(), Failure> {
        if op > 0x60 {
            self.ops += 1;
            if self.ops > MAX_OPS {
                return Err("Operation limit exceeded".into());
            }
        }
        match op {
            0x7e..=0x81 | 0x83..=0x86 | 0x8d | 0x8e | 0x95..=0x99 => {
                Err("Attempted to use a disabled opcode".into())
            }
            0x63 | 0x64 => self.open_branch(op == 0x64, running),
            0x65 | 0x66 => Err(BAD_OPCODE.into()),
            0x67 => {
                let branch = self.branches.last_mut().ok_or(UNBALANCED)?;
                *branch = !*branch;
                Ok(())
            }
            0x68 => Ok(self.branches.pop().map(drop).ok_or(UNBALANCED)?),
            _ if !running => Ok(()),
            0x4f..=0x60 if op != 0x50 => {
                self.push_number(i64::from(op) - 0x50);
                Ok(())
            }
            0x61 | 0xb0 | 0xb3..=0xb9 => Ok(()),
            0x69 => self.verify("Script failed an OP_VERIFY operation"),
            0x6a => Err("OP_RETURN was encountered".into()),
            0x6b..=0x7d | 0x82 => self.stack_op(op),
            0x87 | 0x88 => self.equal(op == 0x88),
            0x8b..=0x92 => self.unary(op),
            0x93..=0xa5 => self.binary(op),
            0xa6..=0xaa => self.hash(op),
            0xab => {
                self.code_start = at + 1;
                Ok(())
            }
            0xac | 0xad => self.check_sig(op == 0xad),
            0xae | 0xaf => self.check_multi_sig(op == 0xaf),
            0xb1 | 0xb2 => self.check_lock(op == 0xb1),
            _ => Err(BAD_OPCODE.into()),
        }
    }

    fn push(&mut self, value: &[u8]) {
        self.stack.push(value.to_vec());
    }

    fn push_number(&mut self, value: i64) {
        self.stack.push(encode_number(value));
    }

    fn push_bool(&mut self, value: bool) {
        self.stack.push(if value { vec![1] } else { Vec::new() });
    }

    fn pop(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(self.stack.pop().ok_or(TOO_SHORT)?)
    }

    /// The value `depth` below the top (0 is the top).
    fn peek(&self, depth: usize) -> Result<&Vec<u8>, Failure> {
        Ok(self.stack.iter().rev().nth(depth).ok_or(TOO_SHORT)?)
    }

    fn need(&self, count: usize) -> Result<(), Failure> {
        if self.stack.len() < count { Err(TOO_SHORT.into()) } else { Ok(()) }
    }

    fn verify(&mut self, failure: &'static str) -> Result<(), Failure> {
        if !is_true(self.peek(0)?) {
            return Err(failure.into());
        }
        self.pop().map(drop)
    }

    fn open_branch(&mut self, inverted: bool, running: bool) -> Result<(), Failure> {
        let mut taken = false;
        if running {
            let value = self.stack.pop().ok_or(TOO_SHORT)?;
            taken = is_true(&value) != inverted;
        }
        self.branches.push(taken);
        Ok(())
    }

    fn stack_op(&mut self, op: u8) -> Result<(), Failure> {
        match op {
            0x6b => {
                let value = self.pop()?;
                self.alt.push(value);
            }
            0x6c => {
                let failure = "Operation not valid with the current altstack size";
                let value = self.alt.pop().ok_or(failure)?;
                self.stack.push(value);
            }
            0x6d => {
                self.need(2)?;
                self.stack.truncate(self.stack.len() - 2);
            }
            0x6e => self.copy(2, 2)?,
            0x6f => self.copy(3, 3)?,
            0x70 => self.copy(4, 2)?,
            0x71 => self.rotate(6, 2)?,
            0x72 => self.rotate(4, 2)?,
            0x73 => {
                if is_true(self.peek(0)?) {
                    self.copy(1, 1)?;
                }
            }
            0x74 => self.push_number(i64::try_from(self.stack.len()).unwrap_or(i64::MAX)),
            0x75 => drop(self.pop()?),
            0x76 => self.copy(1, 1)?,
            0x77 => {
                self.need(2)?;
                self.stack.swap_remove(self.stack.len() - 2);
            }
            0x78 => self.copy(2, 1)?,
            0x79 | 0x7a => self.pick(op == 0x7a)?,
            0x7b => self.rotate(3, 1)?,
            0x7c => self.rotate(2, 1)?,
            0x7d => {
                self.need(2)?;
                let top = self.peek(0)?.clone();
                self.stack.insert(self.stack.len() - 2, top);
            }
            _ => {
                let size = self.peek(0)?.len();
                self.push_number(i64::try_from(size).unwrap_or(i64::MAX));
            }
        }
        Ok(())
    }

    /// Copies `count` values, the lowest of which is the `from`-th from the top, to the top.
    fn copy(&mut self, from: usize, count: usize) -> Result<(), Failure> {
        self.need(from)?;
        let start = self.stack.len() - from;
        self.stack.extend_from_within(start..start + count);
        Ok(())
    }

    /// Moves the lowest `by` of the top `count` values to the top.
    fn rotate(&mut self, count: usize, by: usize) -> Result<(), Failure> {
        self.need(count)?;
        let start = self.stack.len() - count;
        if let Some(top) = self.stack.get_mut(start..) {
            top.rotate_left(by);
        }
        Ok(())
    }

    fn pick(&mut self, remove: bool) -> Result<(), Failure> {
        self.need(2)?;
        let depth = number(&self.pop()?, 4)?;
        let depth = usize::try_from(depth).ok().filter(|depth| *depth < self.stack.len());
        let at = self.stack.len() - 1 - depth.ok_or(TOO_SHORT)?;
        if remove {
            let value = self.stack.remove(at);
            self.stack.push(value);
        } else {
            self.stack.extend_from_within(at..=at);
        }
        Ok(())
    }

    fn equal(&mut self, verify: bool) -> Result<(), Failure> {
        self.need(2)?;
        let (a, b) = (self.pop()?, self.pop()?);
        self.push_bool(a == b);
        if verify {
            return self.verify("Script failed an OP_EQUALVERIFY operation");
        }
        Ok(())
    }

    fn unary(&mut self, op: u8) -> Result<(), Failure> {
        let value = number(self.peek(0)?, 4)?;
        let result = match op {
            0x8b => value + 1,
            0x8c => value - 1,
            0x8f => -value,
            0x90 => value.abs(),
            0x91 => i64::from(value == 0),
            0x92 => i64::from(value != 0),
            _ => return Err(BAD_OPCODE.into()),
        };
        self.pop()?;
        self.push_number(result);
        Ok(())
    }

    fn binary(&mut self, op: u8) -> Result<(), Failure> {
        if op == 0xa5 {
            return self.within();
        }
        self.need(2)?;
        let (a, b) = (number(self.peek(1)?, 4)?, number(self.peek(0)?, 4)?);
        let result = match op {
            0x93 => a + b,
            0x94 => a - b,
            0x9a => i64::from(a != 0 && b != 0),
            0x9b => i64::from(a != 0 || b != 0),
            0x9c | 0x9d => i64::from(a == b),
            0x9e => i64::from(a != b),
            0x9f => i64::from(a < b),
            0xa0 => i64::from(a > b),
            0xa1 => i64::from(a <= b),
            0xa2 => i64::from(a >= b),
            0xa3 => a.min(b),
            0xa4 => a.max(b),
            _ => return Err(BAD_OPCODE.into()),
        };
        self.stack.truncate(self.stack.len() - 2);
        self.push_number(result);
        if op == 0x9d {
            return self.verify("Script failed an OP_NUMEQUALVERIFY operation");
        }
        Ok(())
    }

    fn within(&mut self) -> Result<(), Failure> {
        self.need(3)?;
        let value = number(self.peek(2)?, 4)?;
        let (low, high) = (number(self.peek(1)?, 4)?, number(self.peek(0)?, 4)?);
        self.stack.truncate(self.stack.len() - 3);
        self.push_bool(low <= value && value < high);
        Ok(())
    }

    fn hash(&mut self, op: u8) -> Result<(), Failure> {
        let value = self.pop()?;
        self.stack.push(match op {
            0xa6 => ripemd160::Hash::hash(&value).to_byte_array().to_vec(),
            0xa7 => sha1::Hash::hash(&value).to_byte_array().to_vec(),
            0xa8 => sha256::Hash::hash(&value).to_byte_array().to_vec(),
            0xa9 => hash160(&value),
            _ => sha256d::Hash::hash(&value).to_byte_array().to_vec(),
        });
        Ok(())
    }

    fn check_sig(&mut self, verify: bool) -> Result<(), Failure> {
        self.need(2)?;
        let (key, signature) = (self.pop()?, self.pop()?);
        let code = self.code(std::slice::from_ref(&signature));
        let holds = self.checker.check_ecdsa(&signature, &key, &code, self.era)?;
        self.push_bool(holds);
        if verify {
            return self.verify("Script failed an OP_CHECKSIGVERIFY operation");
        }
        Ok(())
    }

    fn check_multi_sig(&mut self, verify: bool) -> Result<(), Failure> {
        let keys = self.take_counted(MAX_KEYS, "Pubkey count negative or limit exceeded")?;
        self.ops += keys.len();
        if self.ops > MAX_OPS {
            return Err("Operation limit exceeded".into());
        }
        let limit = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let failure = "Signature count negative or greater than pubkey count";
        let signatures = self.take_counted(limit, failure)?;
        let holds = self.signatures_hold(&signatures, &keys)?;
        if !self.pop()?.is_empty() {
            return Err("Dummy CHECKMULTISIG argument must be zero".into());
        }
        self.push_bool(holds);
        if verify {
            return self.verify("Script failed an OP_CHECKMULTISIGVERIFY operation");
        }
        Ok(())
    }

    /// Pops a count and so many values, the topmost first.
    fn take_counted(&mut self, limit: i64, failure: &'static str) -> Result<Stack, Failure> {
        let count = number(self.peek(0)?, 4)?;
        if !(0..=limit).contains(&count) {
            return Err(failure.into());
        }
        let count = usize::try_from(count).map_err(|_| failure)?;
        self.need(count + 1)?;
        self.pop()?;
        let mut values = self.stack.split_off(self.stack.len() - count);
        values.reverse();
        Ok(values)
    }

    /// Every signature must find its key, in order; both lists have the topmost value first.
    fn signatures_hold(&mut self, signatures: &Stack, keys: &Stack) -> Result<bool, Failure> {
        let code = self.code(signatures);
        let mut left = signatures.iter();
        let mut next = left.next();
        for (tried, key) in keys.iter().enumerate() {
            let Some(signature) = next else { return Ok(true) };
            if left.len() + 1 > keys.len() - tried {
                return Ok(false);
            }
            if self.checker.check_ecdsa(signature, key, &code, self.era)? {
                next = left.next();
            }
        }
        Ok(next.is_none())
    }

    /// What `signatures` sign of this script.
    fn code(&self, signatures: &[Vec<u8>]) -> ScriptBuf {
        let code = self.script.as_bytes().get(self.code_start..).unwrap_or_default();
        match self.era {
            Era::Base => code::signed(code, signatures),
            Era::SegwitV0 => ScriptBuf::from_bytes(code.to_vec()),
        }
    }

    fn check_lock(&self, absolute: bool) -> Result<(), Failure> {
        let wanted = number(self.peek(0)?, 5)?;
        if wanted < 0 {
            return Err("Negative locktime".into());
        }
        let passes = if absolute {
            self.checker.lock_time_passes(wanted)
        } else {
            wanted & (1 << 31) != 0 || self.checker.sequence_passes(wanted)
        };
        if passes { Ok(()) } else { Err("Locktime requirement not satisfied".into()) }
    }
}

/// A number of at most `limit` bytes: little-endian, the top bit of the last byte is the sign.
fn number(bytes: &[u8], limit: usize) -> Result<i64, Failure> {
    if bytes.len() > limit {
        return Err(BAD_NUMBER.into());
    }
    let Some((last, low)) = bytes.split_last() else { return Ok(0) };
    let start = i64::from(*last & 0x7f);
    let magnitude = low.iter().rev().fold(start, |sum, byte| (sum << 8) | i64::from(*byte));
    Ok(if *last & 0x80 == 0 { magnitude } else { -magnitude })
}

fn encode_number(value: i64) -> Vec<u8> {
    let mut bytes = value.unsigned_abs().to_le_bytes().to_vec();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.last().is_some_and(|last| last & 0x80 != 0) {
        bytes.push(0);
    }
    if let Some(last) = bytes.last_mut().filter(|_| value < 0) {
        *last |= 0x80;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        for value in [0, 1, -1, 127, 128, -128, 255, 256, -70_000, i64::from(i32::MAX)] {
            assert_eq!(number(&encode_number(value), 5), Ok(value));
        }
        assert!(number(&[0; 5], 4).is_err());
    }

    #[test]
    fn negative_zero_is_false() {
        assert!(!is_true(&[0x80]) && !is_true(&[0, 0x80]) && !is_true(&[]));
        assert!(is_true(&[0x81]) && is_true(&[1, 0]));
    }
}
