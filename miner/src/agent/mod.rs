//! The agent: reads the meters of a farm (ASICs, plugs, power units, a site's meter) and reports for
//! the workers that its file names, without hashing.
//!
//! Read in the order of a joule's life: [`settings`] (which devices there are), [`ask`] (a question
//! over the network), [`energy::device`] (what the answer means), [`poller`] (each device is asked in
//! turn), [`farm`] (what it adds up to, and what is signed of it), [`store`] (kept over restarts),
//! [`link`] (to the pool). [`sites`] holds a site's meter against the sum of its rigs, [`show`] shows
//! everything, [`once`] prints one answer of each device, [`calibrate`] holds a device against a plug,
//! and [`discover`] looks for devices on a network.
//!
//! What it deliberately does not do: change anything on a device, follow one to another address, or
//! fill a gap. Units: microjoules, milliwatts; times on the agent's own axis ([`store::Axis`]), which
//! goes on over restarts.

pub mod ask;
pub mod calibrate;
pub mod discover;
pub mod farm;
pub mod link;
pub mod once;
pub mod poller;
pub mod run;
pub mod settings;
pub mod show;
pub mod sites;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;

pub use self::run::run;
