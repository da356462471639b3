//! What strangers and operators write, thrown at what reads it: lines, whole conversations,
//! configurations and PROXY headers.
//!
//! Each function takes any bytes and panics where something does not hold. `targets/` hands them
//! to libFuzzer, which looks for bytes that reach new code; `tests/smoke.rs` runs the same
//! functions on changed seeds, on every machine. `seeds/` has a few inputs to begin with.
//!
//! Read [`session()`] for the one with the most to say. What it deliberately does not do: no socket,
//! no file and no clock, and no way into a package that others do not have; what is private is
//! reached through what a peer can send.

mod bytes;
mod configuration;
mod lines;
mod proxy;
mod session;

pub use self::{configuration::configuration, lines::lines, proxy::proxy, session::session};
