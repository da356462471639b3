//! What the pool says unasked, beside work: messages for people, another extranonce 1, where to
//! connect next; and the one question that it has, what the miner's software is called.
//!
//! Read [`Session::show_message`], [`Session::set_extranonce`] and [`Session::reconnect`]. Nothing
//! here follows from what a peer says: it never names a host that a miner is sent to, and whatever
//! it answers without having been asked is dropped.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use units::Moment;

use super::handshake::MAX_AGENT;
use super::{Event, OTHER, Session};
use crate::v1::message::{
    Id, Message, quoted, readable, text, write_error, write_request, write_result,
};

/// What is known of the miner's software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Agent {
    /// It said, or will do with its subscription.
    Named,
    /// It subscribed without a name.
    Unnamed,
    /// It was asked.
    Asked,
}

/// The pool's only request with an identifier.
const VERSION_REQUEST: Id = Id::Number(1);

impl Agent {
    /// Asks once, where there is something to ask.
    pub(super) fn ask(&mut self, out: &mut Vec<u8>) {
        if *self == Self::Unnamed {
            *self = Self::Asked;
            write_request(out, &VERSION_REQUEST, "client.get_version", "[]");
        }
    }
}

impl Session {
    /// Shows a line of text on the miner's screen, where it has one.
    pub fn show_message(&mut self, text: &str) {
        let params = format!("[{}]", quoted(text));
        write_request(&mut self.outbox, &Id::Null, "client.show_message", &params);
    }

    /// Gives the miner another extranonce 1, told with its next job, which is given out at once
    /// and asks to drop earlier work; answers [`Event::Extranonce`]. Shares on jobs issued before
    /// keep theirs. As in [`Session::new`] it must be this connection's own for ever; a miner that
    /// has not asked for such changes gets none, and the pool gets it back.
    pub fn set_extranonce(&mut self, xn1: [u8; 4]) -> Option<[u8; 4]> {
        self.wants_xn1 = false;
        if !self.takes_xn1 || !self.subscribed {
            return Some(xn1);
        }
        self.board.set_xn1(xn1);
        None
    }

    /// Asks the miner to connect to another host of the same operator after `wait`, in whole
    /// seconds. Says nothing to who has not subscribed.
    pub fn reconnect(&mut self, host: &str, port: u16, wait: Duration) {
        if self.subscribed {
            let params = format!("[{},{port},{}]", quoted(host), wait.as_secs());
            write_request(&mut self.outbox, &Id::Null, "client.reconnect", &params);
        }
    }

    /// Takes an answer of the miner's: only the question that was asked has one.
    pub(super) fn answered(&mut self, message: &Message<'_>, now: Moment) {
        if self.agent != Agent::Asked || Id::parse(message.id) != Some(VERSION_REQUEST) {
            return;
        }
        self.agent = Agent::Named;
        let agent = message.result.and_then(text).map(|agent| readable(&agent, MAX_AGENT));
        if let Some(agent) = agent.filter(|agent| !agent.is_empty()) {
            self.recognize(&agent, now);
            self.events.push_back(Event::Agent { agent, class: self.class.name });
        }
    }

    /// `mining.get_transactions`: what a miner's job consists of, once for each job. A list is no
    /// larger than what a connection may leave unread in all.
    pub(super) fn list_transactions(&mut self, id: &Id, params: &[&RawValue]) {
        let name = params.first().copied().and_then(text).unwrap_or_default();
        let room = self.settings.limits.max_outbox.saturating_sub(self.outbox.len() + MARGIN);
        match self.board.list(&name, room) {
            Ok(list) => write_result(&mut self.outbox, id, &list),
            Err(why) => write_error(&mut self.outbox, id, OTHER, &why),
        }
    }
}

/// Bytes of an answer beside its result, and of those that come after it in the same read.
const MARGIN: usize = 16_384;
