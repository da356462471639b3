//! All guests of a soak: they come, send shares in turn at an even pace, go, and come back.
//!
//! Read [`House::turn`]. One thread and one poll, as in [`crate::load`].

use std::{
    io::{self, ErrorKind},
    mem,
    net::SocketAddr,
    time::Duration,
};

use mio::{Events, Poll, Token};

use super::{
    dice::Dice,
    guest::{Guest, Over},
    plan::Temper,
    tally::Tally,
};
use crate::load::{self, jobs::Jobs, miner::Miner, pace::Pace};

/// Workers that guests work for.
pub(super) const WORKERS: u32 = 300;
/// Between looks at what time brings.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for anything.
const WAIT: Duration = Duration::from_millis(2);
/// Guests let in at a time.
const AT_A_TIME: usize = 4;
/// A program that stood still for so long may have had its connections ended for their silence.
const LONG_PAUSE: Duration = Duration::from_secs(3);

/// Everybody.
pub(super) struct House {
    poll: Poll,
    events: Events,
    pool: SocketAddr,
    dice: Dice,
    /// By place; a place is taken again as soon as it is free.
    guests: Vec<Option<Guest>>,
    /// Who comes back, and when.
    away: Vec<(Duration, Miner, usize)>,
    jobs: Jobs,
    pace: Option<Pace>,
    /// Whose turn it is.
    next: usize,
    closed: bool,
    looked: Duration,
    turned: Option<Duration>,
    longest_pause: Duration,
    scratch: Vec<u8>,
    pub(super) tally: Tally,
}

impl House {
    pub(super) fn new(pool: SocketAddr, places: usize, dice: Dice) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            pool,
            dice,
            guests: (0..places).map(|_| None).collect(),
            away: Vec::new(),
            jobs: Jobs::default(),
            pace: None,
            next: 0,
            closed: false,
            looked: Duration::ZERO,
            turned: None,
            longest_pause: Duration::ZERO,
            scratch: vec![0; 64 * 1024],
            tally: Tally::new(usize::try_from(WORKERS).unwrap_or(0)),
        })
    }

    /// So many shares a second from now on.
    pub(super) fn start(&mut self, a_second: f64, now: Duration) {
        self.pace = Some(Pace::new(a_second, now));
    }

    /// Nobody comes any more; who is here waits for the last answers.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.tally.missed += self.pace.take().map_or(0, |pace| pace.given_up());
        self.guests.iter_mut().flatten().for_each(Guest::let_go);
    }

    /// Guests that have work.
    pub(super) fn at_work(&self) -> usize {
        self.guests.iter().flatten().filter(|guest| guest.is_at_work()).count()
    }

    /// Guests that are here, and shares and offences that they have no answer to.
    pub(super) fn left(&self) -> (usize, usize) {
        let here = self.guests.iter().flatten();
        (here.clone().count(), here.map(Guest::unanswered).sum())
    }

    /// The longest time between two turns.
    pub(super) const fn longest_pause(&self) -> Duration {
        self.longest_pause
    }

    /// Waits for whatever comes next and does it, once.
    pub(super) fn turn(&mut self, clock: &dyn Fn() -> Duration) -> io::Result<()> {
        let now = clock();
        let pause = self.turned.map_or(Duration::ZERO, |turned| now.saturating_sub(turned));
        self.longest_pause = self.longest_pause.max(pause);
        self.turned = Some(now);
        self.let_in(now)?;
        match self.poll.poll(&mut self.events, Some(WAIT)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let now = clock();
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(place) = event.token();
            self.with(place, now, |guest, house| {
                let Self { scratch, jobs, tally, .. } = house;
                guest.attend(scratch, now, (jobs, tally))
            });
        }
        self.events = events;
        self.send(now);
        if now.saturating_sub(self.looked) >= LOOK {
            self.looked = now;
            for place in 0..self.guests.len() {
                self.with(place, now, |guest, house| {
                    let Self { scratch, dice, jobs, tally, .. } = house;
                    guest.look(scratch, dice, now, (jobs, tally))
                });
            }
        }
        Ok(())
    }

    fn let_in(&mut self, now: Duration) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let free = (0..self.guests.len()).filter(|place| self.guests[*place].is_none());
        let free: Vec<usize> = free.take(AT_A_TIME).collect();
        for place in free {
            let back = self.away.iter().position(|(at, ..)| *at <= now);
            let who = if let Some(back) = back {
                let (_, miner, worker) = self.away.swap_remove(back);
                self.tally.returned += 1;
                (miner, worker, true)
            } else {
                let worker = self.dice.below(WORKERS);
                let name = format!("{}.{}", load::ADDRESS, worker_name(worker));
                (Miner::new(name), usize::try_from(worker).unwrap_or(0), false)
            };
            self.tally.guests += 1;
            let registered = (self.poll.registry(), Token(place));
            let guest = Guest::connect(self.pool, registered, who, &mut self.dice, now)?;
            self.guests[place] = Some(guest);
        }
        Ok(())
    }

    /// Sends what is due, each share by the next guest who can.
    fn send(&mut self, now: Duration) {
        let due = self.pace.as_mut().map_or(0, |pace| pace.take(now));
        for _ in 0..due {
            let mut sent = false;
            for _ in 0..self.guests.len() {
                let place = self.next;
                self.next = (self.next + 1) % self.guests.len();
                self.with(place, now, |guest, _| {
                    sent = guest.send_share(now)?;
                    Ok(())
                });
                if sent {
                    break;
                }
            }
            self.tally.missed += u64::from(!sent);
        }
    }

    /// Lets the guest of this place, if there is one, do something, and sees it out where it is
    /// over.
    fn with(
        &mut self,
        place: usize,
        now: Duration,
        act: impl FnOnce(&mut Guest, &mut Self) -> Result<(), Over>,
    ) {
        let Some(mut guest) = self.guests[place].take() else { return };
        match act(&mut guest, self) {
            Ok(()) => self.guests[place] = Some(guest),
            Err(over) => self.see_out(guest, over, now),
        }
    }

    fn see_out(&mut self, mut guest: Guest, over: Over, now: Duration) {
        let unheard = guest.miner.part();
        self.tally.unheard(guest.worker, unheard);
        match over {
            Over::Planned => {}
            Over::Lost(why) => {
                let expected = guest.plan.temper == Temper::Mute
                    || (!guest.was_ready() && self.longest_pause > LONG_PAUSE);
                if !expected {
                    self.tally.fault(format!("a connection was lost: {why}"));
                }
            }
            Over::Fault(what) => self.tally.fault(what),
        }
        if let Some(back) = guest.plan.back.filter(|_| !self.closed) {
            self.away.push((now + back, guest.miner, guest.worker));
        }
    }
}

/// What comes after the account and the point.
pub(super) fn worker_name(worker: u32) -> String {
    format!("s{worker}")
}
