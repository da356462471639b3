//! What a pool answers to what the miner asked, and what follows when it doesn't.

use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use units::Moment;

use super::requests::{ANSWER_WITHIN, Asked, SubmitToken};
use super::{ClientEvent, ClientSession, PoolError, extranonce};
use crate::v1::message::{Message, hex_u32, readable};

/// Longest words of a pool that are kept, characters.
const MAX_WORDS: usize = 256;
/// Energy reports are sent no less often than this.
const MAX_INTERVAL: u64 = 86_400;

impl ClientSession {
    /// Takes one answer; one to a question that was given up is ignored.
    pub(super) fn answered(&mut self, message: &Message<'_>, now: Moment) {
        let Some((id, (asked, latency))) = message
            .id
            .and_then(number)
            .and_then(|id| Some((id, self.requests.answered(id, now.mono)?)))
        else {
            return;
        };
        let result = outcome(message);
        match asked {
            Asked::Authorize => self.authorize_answered(result),
            Asked::Configure => self.configure_answered(result),
            Asked::Energy => {
                let result = result.and_then(agreed);
                let token = SubmitToken::new(id);
                self.events.push_back(ClientEvent::EnergyVerdict { token, result });
            }
            Asked::Submit => {
                let (token, result) = (SubmitToken::new(id), result.and_then(agreed));
                self.events.push_back(ClientEvent::Verdict { token, result, latency });
            }
            Asked::Subscribe => self.subscribe_answered(result, now),
            Asked::Suggest => {
                if let Err(error) = result {
                    self.notice(format!("the pool takes no suggested difficulty: {error}"));
                }
            }
            Asked::Worker => {
                let (token, result) = (SubmitToken::new(id), result.and_then(agreed));
                self.events.push_back(ClientEvent::WorkerVerdict { token, result });
            }
        }
    }

    /// Deals with a request that was given up.
    pub(super) fn unanswered(&mut self, (id, asked): (u64, Asked), latency: Duration) {
        let seconds = ANSWER_WITHIN.as_secs();
        let error = || PoolError { code: -1, message: format!("no answer within {seconds} s") };
        match asked {
            Asked::Authorize => {
                self.end(format!("the pool did not answer mining.authorize within {seconds} s"));
            }
            Asked::Configure => self.configure_answered(Err(error())),
            Asked::Energy => {
                let (token, result) = (SubmitToken::new(id), Err(error()));
                self.events.push_back(ClientEvent::EnergyVerdict { token, result });
            }
            Asked::Submit => {
                let (token, result) = (SubmitToken::new(id), Err(error()));
                self.events.push_back(ClientEvent::Verdict { token, result, latency });
            }
            Asked::Subscribe => {
                self.end(format!("the pool did not answer mining.subscribe within {seconds} s"));
            }
            Asked::Suggest => {}
            Asked::Worker => {
                let (token, result) = (SubmitToken::new(id), Err(error()));
                self.events.push_back(ClientEvent::WorkerVerdict { token, result });
            }
        }
    }

    fn authorize_answered(&mut self, result: Result<Value, PoolError>) {
        self.events.push_back(match result.and_then(agreed) {
            Ok(()) => ClientEvent::Authorized,
            Err(error) => ClientEvent::AuthorizationFailed { message: error.to_string() },
        });
    }

    fn configure_answered(&mut self, result: Result<Value, PoolError>) {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                self.notice(format!("no extensions, so no version rolling: {error}"));
                return;
            }
        };
        if self.settings.version_mask != 0 {
            let granted = answer.get("version-rolling") == Some(&Value::Bool(true));
            let mask = answer.get("version-rolling.mask").and_then(Value::as_str).and_then(hex_u32);
            self.mask = if granted { mask.unwrap_or(0) & self.settings.version_mask } else { 0 };
            if self.mask == 0 {
                self.notice("the pool allows no version rolling".to_owned());
            }
        }
        if self.settings.energy && answer.get("energy-report") == Some(&Value::Bool(true)) {
            let seconds = answer.get("energy-report.interval").and_then(Value::as_u64);
            let interval = Duration::from_secs(seconds.unwrap_or(60).clamp(1, MAX_INTERVAL));
            self.energy_accepted = true;
            self.events.push_back(ClientEvent::EnergyAccepted { interval });
        }
    }

    fn subscribe_answered(&mut self, result: Result<Value, PoolError>, now: Moment) {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                return self.end(format!("the pool refused mining.subscribe: {error}"));
            }
        };
        // What the first member lists is of no use to anybody.
        let (xn1, size) = (answer.get(1).and_then(Value::as_str), answer.get(2));
        match extranonce(xn1, size.and_then(Value::as_u64)) {
            Some(extranonce) => {
                self.extranonce = Some(extranonce);
                self.hand_out(now);
            }
            None => self.end("the pool's answer to mining.subscribe has no extranonce".to_owned()),
        }
    }
}

fn number(raw: &RawValue) -> Option<u64> {
    let text = raw.get();
    text.trim_matches('"').parse().ok()
}

/// An answer's result, or its error in any of the shapes that pools use.
fn outcome(message: &Message<'_>) -> Result<Value, PoolError> {
    let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or(Value::Null);
    match message.error.map(value) {
        None | Some(Value::Null) => Ok(message.result.map_or(Value::Null, value)),
        Some(error) => Err(refusal(&error)),
    }
}

fn refusal(error: &Value) -> PoolError {
    let (code, words) = match error {
        Value::Array(list) => (list.first(), list.get(1)),
        Value::Object(members) => (members.get("code"), members.get("message")),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => (None, Some(error)),
    };
    let words = match words {
        Some(Value::String(words)) => words.clone(),
        Some(other) => other.to_string(),
        None => error.to_string(),
    };
    let code = code.and_then(Value::as_i64).unwrap_or(20);
    PoolError { code, message: readable(&words, MAX_WORDS) }
}

/// Whether a result means yes: anything but false and null does.
fn agreed(result: Value) -> Result<(), PoolError> {
    match result {
        Value::Bool(false) | Value::Null => {
            Err(PoolError { code: 20, message: "refused without a reason".to_owned() })
        }
        Value::Array(_)
        | Value::Bool(true)
        | Value::Number(_)
        | Value::Object(_)
        | Value::String(_) => Ok(()),
    }
}
