//! What a pool sends on its own: work, difficulty, and what people or other methods are for.

use std::time::Duration;

use defences::{Defence, stands};
use serde_json::value::RawValue;
use units::{Difficulty, Moment};

use super::job::Notify;
use super::{ClientEvent, ClientSession, Fatal, extranonce};
use crate::v1::message::{
    Id, Message, hex_u32, number, quoted, readable, text, write_error, write_result,
};

/// Longest message shown, characters.
const MAX_MESSAGE: usize = 512;
/// Longest host name, characters.
const MAX_HOST: usize = 253;
/// Longest wait before reconnecting.
const MAX_WAIT: Duration = Duration::from_secs(3600);

impl ClientSession {
    /// Takes one request or notification of the pool.
    pub(super) fn notified(
        &mut self,
        method: &str,
        message: &Message<'_>,
        now: Moment,
    ) -> Result<(), Fatal> {
        let params = message.params();
        let first = params.first().copied();
        match method {
            "mining.notify" => return self.work(&params, now),
            "mining.set_difficulty" => return self.new_difficulty(first, now),
            "mining.set_extranonce" => return self.new_extranonce(&params),
            "mining.set_version_mask" => match first.and_then(text).as_deref().and_then(hex_u32) {
                Some(mask) => self.mask = mask & self.settings.version_mask,
                None => return self.odd("mining.set_version_mask makes no sense".to_owned()),
            },
            "client.reconnect" => self.reconnect(&params),
            "client.show_message" => {
                let words = first.and_then(text).unwrap_or_default();
                self.events.push_back(ClientEvent::Message(readable(&words, MAX_MESSAGE)));
            }
            _ => self.asked(method, message),
        }
        Ok(())
    }

    fn work(&mut self, params: &[&RawValue], now: Moment) -> Result<(), Fatal> {
        match Notify::parse(params) {
            Ok(notify) => {
                self.notify = Some(notify);
                self.hand_out(now);
                Ok(())
            }
            Err(why) => self.odd(format!("the pool sent a job that is none: {why}")),
        }
    }

    /// Takes effect with the next job; at once where none was announced before the first one.
    fn new_difficulty(&mut self, value: Option<&RawValue>, now: Moment) -> Result<(), Fatal> {
        let announced = value.and_then(number).and_then(|value| Difficulty::new(value).ok());
        let easiest = || (!stands(Defence::PoolDifficulty)).then_some(Difficulty::ONE);
        let Some(difficulty) = announced.or_else(easiest) else {
            return self.odd("the pool announced a difficulty that is none".to_owned());
        };
        let first = self.difficulty.is_none();
        self.difficulty = Some(difficulty);
        if first {
            self.hand_out(now);
        }
        Ok(())
    }

    /// Takes effect with the next job.
    fn new_extranonce(&mut self, params: &[&RawValue]) -> Result<(), Fatal> {
        let xn1 = params.first().copied().and_then(text);
        let size = params.get(1).and_then(|raw| raw.get().parse().ok());
        match extranonce(xn1.as_deref(), size) {
            Some(extranonce) => self.extranonce = Some(extranonce),
            None => return self.odd("mining.set_extranonce makes no sense".to_owned()),
        }
        Ok(())
    }

    fn reconnect(&mut self, params: &[&RawValue]) {
        let host = params.first().and_then(|raw| text(raw)).filter(|host| !host.is_empty());
        let whole = |at: usize| {
            let raw = params.get(at)?;
            raw.get().trim_matches('"').parse::<u64>().ok()
        };
        self.events.push_back(ClientEvent::Reconnect {
            host: host.map(|host| readable(&host, MAX_HOST)),
            port: whole(1).and_then(|port| port.try_into().ok()).filter(|port| *port != 0),
            wait: Duration::from_secs(whole(2).unwrap_or(0)).min(MAX_WAIT),
        });
    }

    /// A question for this side; notifications that mean nothing here are passed over.
    fn asked(&mut self, method: &str, message: &Message<'_>) {
        let Some(id) = Id::parse(message.id).filter(|id| *id != Id::Null) else { return };
        match method {
            "client.get_version" => {
                write_result(&mut self.outbox, &id, &quoted(&self.settings.agent));
            }
            "mining.ping" => write_result(&mut self.outbox, &id, "\"pong\""),
            _ => write_error(&mut self.outbox, &id, 20, "unknown method"),
        }
    }
}
