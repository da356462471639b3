//! Everything a miner asks but `mining.submit`: who it is, what it can, what it would like.
//!
//! Each method is answered at once, but authorizations and energy reports, which the pool
//! answers. An unknown method is an error and never the end.

use std::fmt::Write as _;

use defences::{Defence, stands};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use units::{Difficulty, Moment, Target};

use super::news::Agent;
use super::pending::{Asked, Wish};
use super::resume::{Resumption, SubscriptionId};
use super::{Event, OTHER, Session, TOO_MANY_WORKERS};
use crate::device::DeviceClass;
use crate::judge::Reason;
use crate::v1::message::{
    Id, Message, Text, hex_u32, number, quoted, readable, text, unprefixed, user_name, write_error,
    write_result,
};

/// Longest list of extensions that is answered.
const MAX_EXTENSIONS: usize = 16;
/// Longest name of a miner's software that is kept, characters.
pub(super) const MAX_AGENT: usize = 128;

impl Session {
    /// Answers one request.
    pub(super) fn request(&mut self, id: &Id, method: &str, message: &Message<'_>, now: Moment) {
        let params = message.params();
        match method {
            "mining.authorize" => self.ask_to_authorize(id, &params),
            "mining.configure" => self.configure(id, &params),
            "mining.extranonce.subscribe" => {
                self.takes_xn1 = true;
                write_result(&mut self.outbox, id, "true");
            }
            "mining.get_transactions" => self.list_transactions(id, &params),
            "mining.ping" => write_result(&mut self.outbox, id, "\"pong\""),
            "mining.report_energy" => self.ask_for_energy(id, &params),
            "mining.subscribe" => self.subscribe(id, &params, now),
            "mining.suggest_difficulty" => {
                let wanted = params.first().copied().and_then(number);
                self.suggest(id, wanted.and_then(|value| Difficulty::new(value).ok()), now);
            }
            "mining.suggest_target" => {
                let wanted = params.first().copied().and_then(target);
                self.suggest(id, wanted.map(Target::difficulty), now);
            }
            // Said as a notification, it is a hint like the two above; see `suggest`.
            "mining.capabilities" if *id == Id::Null => {}
            _ => match written_into(method) {
                Some(wanted) => self.suggest(id, Difficulty::new(wanted).ok(), now),
                None => self.refuse(id, "unknown method"),
            },
        }
    }

    fn refuse(&mut self, id: &Id, why: &str) {
        write_error(&mut self.outbox, id, OTHER, why);
    }

    /// Answers at once, but where an earlier subscription is asked for: the pool knows of it.
    fn subscribe(&mut self, id: &Id, params: &[&RawValue], now: Moment) {
        if self.subscribed {
            return self.write_subscription(id);
        }
        if matches!(self.resumption, Resumption::Asked(_)) {
            return self.refuse(id, Reason::Busy.message());
        }
        let agent = params.first().copied().and_then(text).unwrap_or_default();
        let agent = readable(&agent, MAX_AGENT);
        self.agent = if agent.trim().is_empty() { Agent::Unnamed } else { Agent::Named };
        self.recognize(&agent, now);
        self.events.push_back(Event::Subscribed { agent, class: self.class.name });
        let earlier = params.get(1).copied().and_then(text);
        let earlier = earlier.and_then(|earlier| SubscriptionId::parse(&earlier));
        let room = self.waiting.len() < self.settings.limits.max_waiting;
        match (self.resumption.offered(), earlier) {
            (Some(own), Some(earlier)) if earlier != own && room => {
                let token = self.waiting.add(id.clone(), Asked::Subscribe);
                self.resumption = Resumption::Asked(own);
                self.events.push_back(Event::Resume { token, id: earlier });
            }
            _ => {
                self.subscribed = true;
                self.write_subscription(id);
            }
        }
    }

    pub(super) fn write_subscription(&mut self, id: &Id) {
        let xn1 = hex::encode(self.board.tell_xn1());
        let name = self.resumption.name().unwrap_or_else(|| xn1.clone());
        let size = self.settings.xn2_size;
        let result = format!(
            "[[[\"mining.set_difficulty\",\"{name}\"],[\"mining.notify\",\"{name}\"]],\"{xn1}\",{size}]"
        );
        write_result(&mut self.outbox, id, &result);
    }

    fn ask_to_authorize(&mut self, id: &Id, params: &[&RawValue]) {
        let limits = &self.settings.limits;
        let user = params.first().copied().and_then(text).unwrap_or_default();
        let user = user_name(&user);
        let password = params.get(1).copied().and_then(text).unwrap_or_default();
        let too_long = user.len() > limits.max_user && stands(Defence::UserLength);
        let full = self.workers.len() >= limits.max_workers && stands(Defence::WorkerBound);
        let refusal = if user.is_empty() || too_long {
            Some("the user name is missing or too long")
        } else if stands(Defence::WaitingBound) && self.waiting.len() >= limits.max_waiting {
            Some(Reason::Busy.message())
        } else if full && !self.workers.contains_key(user) {
            Some(TOO_MANY_WORKERS)
        } else {
            None
        };
        if let Some(why) = refusal {
            write_error(&mut self.outbox, id, Reason::Unauthorized.code(), why);
            return;
        }
        let asked = Asked::Authorize { user: user.into(), wish: Wish::parse(&password) };
        let token = self.waiting.add(id.clone(), asked);
        let (user, password) = (user.to_owned(), password.into_owned());
        self.events.push_back(Event::Authorize { token, user, password });
    }

    /// Goes by what is known of the miner's kind: how easy its shares may be, how long a coinbase it
    /// takes, and where its difficulty starts unless it has said so itself.
    pub(super) fn recognize(&mut self, agent: &str, now: Moment) {
        self.class = DeviceClass::of(agent);
        let settings = &self.settings.difficulty;
        let difficulty = |value: Option<f64>| value.and_then(|value| Difficulty::new(value).ok());
        let minimum = difficulty(self.class.minimum).filter(|_| stands(Defence::DeviceMinimum));
        if let Some(minimum) = minimum {
            self.vardiff.raise_floor(settings, minimum);
        }
        if let Some(start) = difficulty(self.class.start).filter(|_| !self.wished) {
            self.vardiff.start_at(settings, start, now.mono);
        }
        if self.settings.xn2_size < self.class.least_extranonce2 {
            self.show_message("the extranonce2 of this port is too short for this kind of miner");
        }
    }

    /// Does what a password asks of the difficulty, as far as this port allows, and says so where
    /// that is not what was asked for.
    pub(super) fn grant(&mut self, wish: Wish, now: Moment) {
        let settings = &self.settings.difficulty;
        self.wished = true;
        match wish {
            Wish::Fixed(difficulty) => {
                self.vardiff.fix(settings, difficulty, now.mono);
                let granted = self.vardiff.difficulty();
                if granted != difficulty {
                    self.show_message(&format!(
                        "difficulty {difficulty} is out of this port's range: it is {granted}"
                    ));
                }
            }
            Wish::Terahashes(rate) => self.vardiff.suggest_rate(settings, rate, now.mono),
        }
    }

    /// Without an identifier it is a notification, and nobody waits for an answer: `BFGMiner`, which
    /// says it first of all, would take one for the answer to its `mining.subscribe`.
    fn suggest(&mut self, id: &Id, wanted: Option<Difficulty>, now: Moment) {
        if let Some(difficulty) = wanted {
            self.wished = true;
            self.vardiff.suggest(&self.settings.difficulty, difficulty, now.mono);
        }
        match wanted {
            _ if *id == Id::Null => {}
            Some(_) => write_result(&mut self.outbox, id, "true"),
            None => self.refuse(id, "no difficulty can be read from that"),
        }
    }

    /// The worker must be one of this connection's; the pool checks the rest, which is signed.
    fn ask_for_energy(&mut self, id: &Id, params: &[&RawValue]) {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            worker: Text<'a>,
        }
        if self.settings.energy_interval.is_none() {
            return self.refuse(id, "energy reports are not taken here");
        }
        let Some(report) = params.first() else { return self.refuse(id, "a report is missing") };
        let Ok(Named { worker }) = serde_json::from_str(report.get()) else {
            return self.refuse(id, "the report names no worker");
        };
        let Some(worker) = self.worker(user_name(&worker.0)) else {
            let reason = Reason::Unauthorized;
            return write_error(&mut self.outbox, id, reason.code(), reason.message());
        };
        if self.waiting.len() >= self.settings.limits.max_waiting {
            return self.refuse(id, Reason::Busy.message());
        }
        let token = self.waiting.add(id.clone(), Asked::Energy);
        let report = (*report).to_owned();
        self.events.push_back(Event::Energy { token, worker, report });
    }

    /// BIP 310: answers each extension by name.
    fn configure(&mut self, id: &Id, params: &[&RawValue]) {
        let names: Option<Vec<Text<'_>>> =
            params.first().and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Some(names) = names else {
            return self.refuse(id, "configure takes a list of extensions and their parameters");
        };
        let options: Map<String, Value> =
            params.get(1).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let mut answers = String::new();
        for name in names.iter().take(MAX_EXTENSIONS) {
            let comma = if answers.is_empty() { "" } else { "," };
            let answer = self.extension(&name.0, &options);
            write!(answers, "{comma}{}:{answer}", quoted(&name.0)).expect("a String takes it");
        }
        write_result(&mut self.outbox, id, &format!("{{{answers}}}"));
    }

    /// The JSON value of one extension, and after it the members that belong to it.
    fn extension(&mut self, name: &str, options: &Map<String, Value>) -> String {
        match name {
            "version-rolling" => {
                let mask = match options.get("version-rolling.mask") {
                    None => Some(u32::MAX),
                    Some(mask) => mask.as_str().and_then(hex_u32),
                };
                let Some(mask) = mask else {
                    return quoted("the mask is not 8 hexadecimal digits");
                };
                self.mask = mask & self.settings.version_mask;
                self.board.tell_mask(self.mask);
                let on = self.mask != 0;
                format!("{on},\"version-rolling.mask\":\"{:08x}\"", self.mask)
            }
            "minimum-difficulty" => {
                let value = options.get("minimum-difficulty.value").and_then(|value| {
                    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
                });
                let floor = value.and_then(|value| Difficulty::new(value).ok());
                if let Some(floor) = floor {
                    self.wished = true;
                    self.vardiff.raise_floor(&self.settings.difficulty, floor);
                }
                floor.is_some().to_string()
            }
            "subscribe-extranonce" => {
                self.takes_xn1 = true;
                true.to_string()
            }
            "info" => true.to_string(),
            "energy-report" => match self.settings.energy_interval {
                Some(every) => {
                    format!("true,\"energy-report.interval\":{}", every.as_secs().max(1))
                }
                None => false.to_string(),
            },
            _ => false.to_string(),
        }
    }
}

/// The number in `mining.suggest_difficulty(1024)`: some put it into the method's name.
fn written_into(method: &str) -> Option<f64> {
    let number = method.strip_prefix("mining.suggest_difficulty(")?.strip_suffix(')')?;
    number.trim().trim_matches('"').parse().ok()
}

/// At most 64 hexadecimal digits, most significant first.
fn target(raw: &RawValue) -> Option<Target> {
    let mut bytes = [0; 32];
    let text = text(raw)?;
    let digits = Some(unprefixed(text.trim())).filter(|digits| !digits.is_empty())?;
    hex::decode_to_slice(format!("{digits:0>64}"), &mut bytes).ok()?;
    (bytes != [0; 32]).then(|| Target::from_be_bytes(bytes))
}
