//! What the tests of this folder share: a tree of files in memory, and noise from a seed.

use std::collections::BTreeMap;
use std::io;

use energy::tree::Tree;

pub(super) struct Made(BTreeMap<String, String>);

/// A tree of these files.
pub(super) fn tree(files: &[(&str, &str)]) -> Made {
    Made(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

impl Tree for Made {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        let below = self.0.keys().filter_map(|path| path.strip_prefix(&prefix));
        let mut names: Vec<String> =
            below.filter_map(|rest| rest.split('/').next().map(str::to_owned)).collect();
        names.dedup();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }
}

/// Random numbers that are the same for the same seed: Marsaglia's 64-bit xorshift.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        let mut noise = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..16 {
            noise.uniform();
        }
        noise
    }

    /// Between 0 and 1.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Of variance 1, as good as normal: twelve uniform ones together.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A positive number to the nearest whole one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests give small positive numbers"
)]
pub(super) fn whole(number: f64) -> u64 {
    number.round() as u64
}
