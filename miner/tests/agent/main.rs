//! The agent's binary against devices on this machine that replay what real ones were recorded to say.

#![expect(clippy::disallowed_methods, reason = "tests of processes run on the machine's clock")]

#[cfg(test)]
mod devices;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod support;
