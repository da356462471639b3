//! The pool's and the miner's defences by name, so that a test of each can be seen to fail without
//! it.
//!
//! Read [`Defence`], then [`stands`]. Each place in the code that keeps something out asks
//! `stands(Defence::…)` in its condition. In every build but one that is the constant `true`: the
//! compiler leaves the question out, and there is nothing to switch off. With the feature
//! `switchable`, which no package asks for and `cargo xtask threats` builds with, `stands` is false
//! for the defences that the environment variable [`WITHOUT`] names, and the command sees whether
//! the test of `docs/threats.md` then fails.
//!
//! It deliberately holds no defence itself, and no figure: what is kept out, and how, is where the
//! question is asked. That build's list of switches is the one piece of global state in the
//! project (`docs/adr/0007`): it is read once, at the first question, and never changes.

mod list;
mod switch;

pub use list::{Defence, UnknownDefence};
pub use switch::{WITHOUT, stands};
