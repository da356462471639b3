//! What holds the miner back: a duty, a power cap, a schedule, a battery, somebody at the machine,
//! heat, and the search for the least energy per hash.
//!
//! Read [`Restraint::step`], which is pure: readings of one instant in, a [`State`] out. Everything
//! that restrains says how much of the time may be hashed and why, and the least of it holds.
//! [`keeper`] is the task around it, which reads sensors once a second and hands the result to the
//! workers ([`duty`]); [`telemetry`](crate::telemetry) carries the state to those who show it.
//! [`cap`], [`heat`], [`governor`], [`schedule`], [`battery`] and [`activity`] each know one thing.
//!
//! It deliberately leaves the pool alone: a paused miner stays connected and finds nothing. It never
//! touches clocks, fans or limits of the system, and counts no energy: what a paused rig draws is in
//! its meters, and a model, which counts hashing time, counts nothing. Thousandths of the time,
//! watts, degrees Celsius.

pub mod activity;
pub mod battery;
pub mod cap;
pub mod duty;
pub mod governor;
pub mod heat;
pub mod keeper;
pub mod schedule;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::time::Duration;

use energy::meter::{Kind as MeterKind, MeterSpec};
use units::{Moment, UnixMillis};

use self::cap::{Cap, Standing};
use self::duty::{Allowance, LEAST, WHOLE};
use self::governor::{Governor, Range, Reading, Setting};
use self::heat::{Heat, Temperature};
use self::schedule::{Now, Rule, Schedule, Window};

/// Readings that are further apart say nothing about the time between: the machine was asleep.
const APART_MAX: Duration = Duration::from_secs(30);
/// So long the mains have to be back before it counts.
const MAINS_STAY: Duration = Duration::from_secs(10);
/// Tiers up to this are measured; what is above is reckoned.
const MEASURED_TIER_MAX: u8 = 3;

/// What the owner asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The rig may draw so much, in watts.
    pub cap_watts: Option<f64>,
    /// So much of the time is hashed, in thousandths; at least [`LEAST`].
    pub duty: u16,
    /// Whether the least energy per hash is searched for.
    pub governor: bool,
    /// Whether it pauses on battery.
    pub pause_on_battery: bool,
    /// Whether it pauses while somebody types, and for how long after.
    pub pause_when_active: Option<Duration>,
    /// No sensor is to get hotter, in degrees Celsius.
    pub max_celsius: Option<f64>,
    /// When what applies.
    pub schedule: Schedule,
}

impl Settings {
    /// No restraint.
    #[must_use]
    pub fn none() -> Self {
        Self {
            cap_watts: None,
            duty: WHOLE,
            governor: false,
            pause_on_battery: false,
            pause_when_active: None,
            max_celsius: None,
            schedule: Schedule::default(),
        }
    }

    /// Whether there is ever a power cap.
    #[must_use]
    pub fn has_cap(&self) -> bool {
        let of_window = |window: &Window| window.rule.cap_watts.is_some();
        self.cap_watts.is_some() || self.schedule.windows.iter().any(of_window)
    }

    /// Whether what is asked for can be done with the meters that count and with the sensors there
    /// are. A restraint that cannot be kept is refused rather than forgotten.
    ///
    /// # Errors
    /// The key, and what is missing.
    pub fn refuse_what_cannot_be_kept<'a>(
        &self,
        meters: impl IntoIterator<Item = &'a MeterSpec>,
        hottest: Option<&Temperature>,
    ) -> Result<(), String> {
        let meters: Vec<&MeterSpec> = meters.into_iter().collect();
        if meters.is_empty() && self.has_cap() {
            return Err(
                "power.cap_watts: nothing says what this rig draws; set energy.watts to what \
                        it draws while it mines"
                    .to_owned(),
            );
        }
        let reckoned = meters.iter().find(|meter| !is_measured(meter));
        match (self.governor, meters.is_empty(), reckoned) {
            (true, true, _) => {
                return Err(
                    "power.governor: nothing measures this rig's energy, so no setting can \
                            be told from another"
                        .to_owned(),
                );
            }
            (true, false, Some(model)) => {
                let id = &model.id;
                return Err(format!(
                    "power.governor: {id} is reckoned and not measured: hashing time times a power \
                     that never changes finds every setting equal; it takes a meter, such as the \
                     processor's counters (readable by root alone on many machines)"
                ));
            }
            (true, false, None) | (false, ..) => {}
        }
        if self.max_celsius.is_some() && hottest.is_none() {
            return Err(
                "power.max_celsius: no temperature can be read below energy.sysfs: no sensor \
                        of a processor or graphics board in class/hwmon, and none in class/thermal"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

fn is_measured(meter: &MeterSpec) -> bool {
    meter.kind != MeterKind::Model && meter.tier.get() <= MEASURED_TIER_MAX
}

/// Why the miner is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The owner wants a part of the time hashed.
    Duty,
    /// A window of the schedule.
    Schedule,
    /// The machine runs on a battery.
    Battery,
    /// Somebody uses the machine.
    Activity,
    /// Something is hot.
    Heat,
    /// The rig would draw more than it may.
    Cap,
    /// Another setting takes less energy per hash, or is being measured.
    Governor,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Duty,
        Self::Schedule,
        Self::Battery,
        Self::Activity,
        Self::Heat,
        Self::Cap,
        Self::Governor,
    ];

    /// Its name in the API and in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Duty => "duty",
            Self::Schedule => "schedule",
            Self::Battery => "battery",
            Self::Activity => "activity",
            Self::Heat => "heat",
            Self::Cap => "cap",
            Self::Governor => "governor",
        }
    }
}

/// One reason, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Which.
    pub kind: Kind,
    /// What it leaves of the time, in thousandths.
    pub duty: u16,
    /// In plain words.
    pub detail: String,
    /// Since when it holds the miner back.
    pub since: UnixMillis,
}

/// A change that the schedule foresees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: UnixMillis,
    /// What applies then.
    pub detail: String,
}

/// How the miner is held back at the moment.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What the workers may do.
    pub allowance: Allowance,
    /// Why it is less than everything, in the order of [`Kind::ALL`].
    pub reasons: Vec<Reason>,
    /// The lowest of the power caps in force.
    pub cap_watts: Option<f64>,
    /// What the rig draws, where a cap asks for it and it is known.
    pub watts: Option<f64>,
    /// The hottest sensor, where a ceiling asks for it.
    pub hottest: Option<Temperature>,
    /// What the governor does, where there is one.
    pub governor: Option<governor::View>,
    /// What the schedule does next.
    pub next: Option<Change>,
}

impl State {
    /// Nothing holds the miner back.
    #[must_use]
    pub const fn free() -> Self {
        Self {
            allowance: Allowance::FULL,
            reasons: Vec::new(),
            cap_watts: None,
            watts: None,
            hottest: None,
            governor: None,
            next: None,
        }
    }

    /// The reasons that leave nothing of the time.
    pub fn pauses(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(|reason| reason.duty == 0)
    }

    /// What people are told, in a few words; `None` where nothing holds the miner back.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let words = |reasons: Vec<&Reason>| {
            reasons.iter().map(|reason| reason.detail.as_str()).collect::<Vec<_>>().join("; ")
        };
        if self.allowance.is_pause() {
            return Some(format!("paused: {}", words(self.pauses().collect())));
        }
        let duty = self.allowance.duty;
        let holding = |reason: &&Reason| reason.duty == duty || reason.kind == Kind::Governor;
        let holding: Vec<&Reason> = self.reasons.iter().filter(holding).collect();
        match (holding.is_empty(), duty) {
            (true, _) => None,
            (false, WHOLE) => Some(words(holding)),
            (false, _) => {
                Some(format!("{} % of the time: {}", f64::from(duty) / 10.0, words(holding)))
            }
        }
    }
}

/// What is known of the rig and the machine at one instant. What nobody asked for need not be read.
#[derive(Debug, Clone)]
pub struct Readings {
    /// When.
    pub at: Moment,
    /// Whether there is work from a pool.
    pub mining: bool,
    /// Energy of the meters that count, in joules; `None` while one of them gives none.
    pub joules: Option<f64>,
    /// Whether every one of those meters is a model.
    pub modelled: bool,
    /// Time that the busiest device was busy, on average over its threads.
    pub busy: Duration,
    /// Hashes of all devices.
    pub hashes: f64,
    /// Where the machine's power comes from.
    pub source: battery::Source,
    /// Whether there is a GPU that is not lost.
    pub gpus: bool,
    /// When somebody last typed.
    pub input: Option<UnixMillis>,
    /// The hottest sensor.
    pub hottest: Option<Temperature>,
}

/// The pure core.
#[derive(Debug)]
pub struct Restraint {
    settings: Settings,
    range: Range,
    cap: Cap,
    heat: Heat,
    governor: Option<Governor>,
    /// What a model's rig draws at full duty, once it has hashed.
    full_watts: Option<f64>,
    on_battery_at: Option<(Duration, String)>,
    since: BTreeMap<Kind, UnixMillis>,
    before: Option<Before>,
}

/// What the step before left.
#[derive(Debug, Clone, Copy)]
struct Before {
    at: Duration,
    joules: Option<f64>,
    busy: Duration,
    mining: bool,
    allowance: Allowance,
}

/// A reason, before it is known since when.
#[derive(Debug)]
struct Limit {
    kind: Kind,
    duty: u16,
    detail: String,
}

impl Limit {
    const fn new(kind: Kind, duty: u16, detail: String) -> Self {
        Self { kind, duty, detail }
    }
}

impl Restraint {
    /// For a rig that has this to set.
    #[must_use]
    pub fn new(settings: Settings, range: Range) -> Self {
        let governor = settings.governor.then(|| Governor::new(range));
        Self {
            settings,
            range,
            cap: Cap::new(),
            heat: Heat::new(),
            governor,
            full_watts: None,
            on_battery_at: None,
            since: BTreeMap::new(),
            before: None,
        }
    }

    /// What is asked for.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What holds from now on.
    pub fn step(&mut self, readings: &Readings) -> State {
        let at = readings.at;
        let before = self.before.filter(|b| at.mono.saturating_sub(b.at) <= APART_MAX);
        let dt = before.map_or(Duration::ZERO, |before| at.mono.saturating_sub(before.at));
        let watts = self.watts(readings, before, dt);
        let schedule = self.settings.schedule.clone();
        let now = schedule.at(at.unix);

        let mut limits = self.of_settings(&now);
        limits.extend(self.of_battery(readings));
        limits.extend(self.of_activity(readings));
        limits.extend(self.of_heat(readings, dt));
        let cap_watts = self.cap_watts(&now);
        let free = before.is_some_and(|before| {
            before.mining && readings.mining && before.allowance.duty >= self.cap.duty()
        });
        limits.extend(cap_watts.and_then(|cap| self.of_cap(readings, watts, cap, free, dt)));

        let least = limits.iter().map(|limit| limit.duty).min().unwrap_or(WHOLE);
        let duty = if least < LEAST { 0 } else { least };
        let steady = before.is_some_and(|before| {
            before.mining && readings.mining && duty > 0 && before.allowance.duty == duty
        });
        let may_hash = before
            .is_some_and(|before| before.mining && readings.mining && !before.allowance.is_pause());
        let Readings { joules, hashes, gpus, .. } = *readings;
        let reading = Reading { at: at.mono, joules, hashes, steady, may_hash, gpus };
        let setting = self.governed(reading, &mut limits);
        let allowance = self.allowance(duty, setting);
        let (joules, busy, mining) = (readings.joules, readings.busy, readings.mining);
        self.before = Some(Before { at: at.mono, joules, busy, mining, allowance });
        State {
            allowance,
            reasons: self.dated(limits, at.unix),
            cap_watts,
            watts: watts.filter(|_| cap_watts.is_some()),
            hottest: readings.hottest.clone().filter(|_| self.settings.max_celsius.is_some()),
            governor: self.governor.as_ref().map(Governor::view),
            next: now.next.map(|(at, windows)| Change { at, detail: foreseen(&windows) }),
        }
    }

    /// Power since the step before. Of a model also what it would be at full duty: that is its
    /// energy over the time that was hashed.
    fn watts(&mut self, readings: &Readings, before: Option<Before>, dt: Duration) -> Option<f64> {
        let before = before?;
        let joules = readings.joules? - before.joules?;
        let busy = readings.busy.saturating_sub(before.busy).as_secs_f64();
        if readings.modelled && busy > 0.0 && joules > 0.0 {
            self.full_watts = Some(joules / busy);
        }
        (!dt.is_zero()).then(|| joules / dt.as_secs_f64())
    }

    /// What the owner wants at any time, and in this part of the week.
    fn of_settings(&self, now: &Now<'_>) -> Vec<Limit> {
        let always = self.settings.duty;
        let mut limits = Vec::new();
        if always < WHOLE {
            let detail = format!("duty of {} %", f64::from(always) / 10.0);
            limits.push(Limit::new(Kind::Duty, always, detail));
        }
        let of_window = |window: &&Window| match window.rule {
            Rule { pause: true, .. } => {
                Some(Limit::new(Kind::Schedule, 0, format!("scheduled ({window})")))
            }
            Rule { duty: Some(duty), .. } if duty < WHOLE => {
                let percent = f64::from(duty) / 10.0;
                let detail = format!("duty of {percent} % scheduled ({window})");
                Some(Limit::new(Kind::Schedule, duty, detail))
            }
            Rule { .. } => None,
        };
        let strictest = now.windows.iter().filter_map(of_window).min_by_key(|limit| limit.duty);
        limits.extend(strictest);
        limits
    }

    fn of_battery(&mut self, readings: &Readings) -> Option<Limit> {
        if !self.settings.pause_on_battery {
            return None;
        }
        let now = readings.at.mono;
        if let battery::Source::Battery(name) = &readings.source {
            self.on_battery_at = Some((now, name.clone()));
            return Some(Limit::new(Kind::Battery, 0, format!("running on battery {name}")));
        }
        let (then, name) = self.on_battery_at.as_ref()?;
        let recent = now.saturating_sub(*then) < MAINS_STAY;
        recent.then(|| Limit::new(Kind::Battery, 0, format!("was on battery {name} just now")))
    }

    fn of_activity(&self, readings: &Readings) -> Option<Limit> {
        let wanted = self.settings.pause_when_active?;
        let idle = activity::idle(readings.input, readings.at.unix)?;
        let left = wanted.checked_sub(idle).filter(|left| !left.is_zero())?.as_secs() + 1;
        let detail = format!("somebody types; going on after {left} s without");
        Some(Limit::new(Kind::Activity, 0, detail))
    }

    fn of_heat(&mut self, readings: &Readings, dt: Duration) -> Option<Limit> {
        let ceiling = self.settings.max_celsius?;
        let celsius = readings.hottest.as_ref().map(|hottest| hottest.celsius);
        let duty = self.heat.step(celsius, ceiling, dt);
        let detail = match &readings.hottest {
            Some(Temperature { celsius, sensor }) => {
                format!("{sensor} at {celsius:.0} C, ceiling {ceiling} C")
            }
            None => "no temperature can be read any more".to_owned(),
        };
        (duty < WHOLE).then(|| Limit::new(Kind::Heat, duty, detail))
    }

    fn cap_watts(&self, now: &Now<'_>) -> Option<f64> {
        let scheduled = now.windows.iter().filter_map(|window| window.rule.cap_watts);
        self.settings.cap_watts.into_iter().chain(scheduled).reduce(f64::min)
    }

    fn of_cap(
        &mut self,
        readings: &Readings,
        watts: Option<f64>,
        cap: f64,
        free: bool,
        dt: Duration,
    ) -> Option<Limit> {
        let (duty, detail) = match (readings.modelled, self.full_watts) {
            (true, Some(full)) => {
                let detail = format!("power cap of {cap} W; reckoned {full:.0} W when hashing");
                (cap::of_model(cap, full), detail)
            }
            (true, None) => (self.cap.duty(), format!("power cap of {cap} W")),
            (false, _) => {
                let duty = self.cap.step(watts, cap, free, dt);
                (
                    duty,
                    format!("power cap of {cap} W{}", why_paused(self.cap.standing(), watts, cap)),
                )
            }
        };
        (duty < WHOLE).then(|| Limit::new(Kind::Cap, duty, detail))
    }

    fn governed(&mut self, reading: Reading, limits: &mut Vec<Limit>) -> Option<Setting> {
        let governor = self.governor.as_mut()?;
        let setting = governor.step(reading);
        let Setting { threads, batch } = setting;
        let all = Setting { threads: self.range.threads, batch: 100 };
        let of = format!("{threads} of {} threads", self.range.threads);
        let batches = match batch {
            100 => String::new(),
            _ => format!(", dispatches at {batch} %"),
        };
        let view = governor.view();
        if view.measuring {
            let detail = format!("measuring energy per hash with {of}{batches}");
            limits.push(Limit::new(Kind::Governor, WHOLE, detail));
        } else if setting != all {
            let detail = format!("least energy per hash with {of}{batches}");
            limits.push(Limit::new(Kind::Governor, WHOLE, detail));
        }
        Some(setting)
    }

    fn allowance(&self, duty: u16, setting: Option<Setting>) -> Allowance {
        let Some(Setting { threads, batch }) = setting else {
            return Allowance { duty, ..Allowance::FULL };
        };
        let threads = if threads >= self.range.threads { u16::MAX } else { threads };
        Allowance { duty, threads, batch }
    }

    /// With when each began; what is over is forgotten.
    fn dated(&mut self, limits: Vec<Limit>, now: UnixMillis) -> Vec<Reason> {
        self.since.retain(|kind, _| limits.iter().any(|limit| limit.kind == *kind));
        let mut reasons: Vec<Reason> = limits
            .into_iter()
            .map(|Limit { kind, duty, detail }| {
                let since = *self.since.entry(kind).or_insert(now);
                Reason { kind, duty, detail, since }
            })
            .collect();
        reasons.sort_by_key(|reason| reason.kind);
        reasons
    }
}

/// Why a power cap leaves nothing of the time, if it does.
fn why_paused(standing: Standing, watts: Option<f64>, cap: f64) -> String {
    let wait = match standing {
        Standing::Holds => return String::new(),
        Standing::Blind => return "; no meter tells any more what the rig draws".to_owned(),
        Standing::Hopeless { wait } => wait,
    };
    let why = match watts {
        Some(watts) if watts > cap => format!("the rig draws more even at rest, {watts:.0} W"),
        Some(watts) => format!(
            "it cannot be met: the rig draws {watts:.0} W at rest, and more than the cap at the least \
             duty"
        ),
        None => "it cannot be met: the rig draws more at the least duty".to_owned(),
    };
    match wait.is_zero() {
        true => format!("; {why}; tried again when it draws less"),
        false => format!("; {why}; tried again in {} s at the soonest", wait.as_secs()),
    }
}

/// What a change of the schedule brings.
fn foreseen(windows: &[&Window]) -> String {
    if windows.is_empty() {
        return "no window applies".to_owned();
    }
    let each = windows.iter().map(|window| format!("{} ({window})", window.rule));
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
