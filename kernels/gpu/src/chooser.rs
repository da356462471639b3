//! Which shader is the fastest on an adapter, and in which sizes, by measuring.
//!
//! Read [`measure`]. Tiles take turns and the median turn of each counts: what is the fastest in a
//! quiet moment need not be so beside the load that there is, least of all in software.

use core::time::Duration;

use kernels::Slice;
use units::{Hashes, Target};

use crate::device::{Lost, OpenError};
use crate::engine::{Engine, Finished, IN_FLIGHT, PATIENCE};
use crate::{Adapter, Tile};

/// Turns of each tile, and how long one takes.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(120);
/// Hashes of the first dispatch; those that follow aim at [`DISPATCH`].
const FIRST: u32 = 1 << 17;
const DISPATCH: Duration = Duration::from_millis(20);
/// Dispatches of a turn at most, so that a clock that stands still cannot hold it for ever.
const DISPATCHES_MAX: usize = 200;

/// A tile being measured.
struct Candidate {
    engine: Engine,
    versions: Vec<u32>,
    /// Nonces of a dispatch; zero before the first turn, which finds them out.
    nonces: u32,
    /// Hashes per second of each turn.
    turns: Vec<f64>,
}

/// Hashes per second of these tiles on this adapter, by this monotonic clock, each with as many
/// versions as it needs for its full speed; `None` for one that does not run there. It takes half a
/// second a tile, and as long as the driver takes to compile it.
///
/// # Errors
/// With the first tile's reason, where none of them runs.
pub fn measure(
    adapter: &Adapter,
    tiles: &[Tile],
    clock: &dyn Fn() -> Duration,
) -> Result<Vec<Option<f64>>, OpenError> {
    let mut candidates: Vec<Result<Candidate, OpenError>> =
        tiles.iter().map(|tile| Candidate::open(adapter, *tile, clock)).collect();
    for _ in 0..TURNS {
        for each in &mut candidates {
            if let Ok(candidate) = each
                && let Err(lost) = candidate.turn(clock)
            {
                *each = Err(lost.into());
            }
        }
    }
    if candidates.iter().all(Result::is_err)
        && let Some(Err(why)) = candidates.first()
    {
        return Err(why.clone());
    }
    Ok(candidates.into_iter().map(|each| each.ok().map(Candidate::median)).collect())
}

impl Candidate {
    fn open(
        adapter: &Adapter,
        tile: Tile,
        clock: &dyn Fn() -> Duration,
    ) -> Result<Self, OpenError> {
        let engine = Engine::open(adapter, tile)?;
        let versions = (0..1_u32 << tile.method.versions_log2()).collect();
        let mut candidate = Self { engine, versions, nonces: 0, turns: Vec::new() };
        candidate.find_size(clock)?;
        Ok(candidate)
    }

    /// Doubles the dispatch until it takes long enough.
    fn find_size(&mut self, clock: &dyn Fn() -> Duration) -> Result<(), Lost> {
        let tile = self.engine.tile();
        let per_version = FIRST >> tile.method.versions_log2();
        self.nonces = per_version.next_multiple_of(tile.nonces);
        while self.nonces <= self.engine.nonces_max() / 2 {
            let begin = clock();
            self.submit(0)?;
            self.finish()?;
            if clock().saturating_sub(begin) > DISPATCH / 2 {
                break;
            }
            self.nonces *= 2;
        }
        Ok(())
    }

    /// Searches until the turn is over.
    fn turn(&mut self, clock: &dyn Fn() -> Duration) -> Result<(), Lost> {
        let (begin, mut hashes) = (clock(), Hashes::ZERO);
        for dispatch in 0..DISPATCHES_MAX {
            // Beginning anywhere is as good: no nonce is a hit.
            while self.engine.under_way() < IN_FLIGHT {
                self.submit(if dispatch % 2 == 0 { 0 } else { 1 << 30 })?;
            }
            hashes = hashes.saturating_add(self.finish()?);
            if clock().saturating_sub(begin) > TURN {
                break;
            }
        }
        while self.engine.under_way() > 0 {
            hashes = hashes.saturating_add(self.finish()?);
        }
        let took = clock().saturating_sub(begin);
        let rate = if took.is_zero() { 0.0 } else { hashes.as_f64() / took.as_secs_f64() };
        self.turns.push(rate);
        Ok(())
    }

    fn median(mut self) -> f64 {
        self.turns.sort_by(f64::total_cmp);
        self.turns.get(self.turns.len() / 2).copied().unwrap_or(0.0)
    }

    fn submit(&mut self, first_nonce: u32) -> Result<(), Lost> {
        let target = &Target::from_be_bytes([0; 32]);
        let (header, versions, nonces) = (&[0; 80], self.versions.as_slice(), self.nonces);
        self.engine.submit(&Slice { header, target, versions, first_nonce, nonces })
    }

    fn finish(&mut self) -> Result<Hashes, Lost> {
        match self.engine.finish(&mut Vec::new(), PATIENCE)? {
            Finished::Done(done) => Ok(done.hashes),
            Finished::NotYet | Finished::Nothing => Err(Lost("it does not answer".to_owned())),
        }
    }
}
