//! Fields of an event's JSON, by name.

use core::fmt::Display;
use core::str::FromStr;

use serde_json::Value;

/// The body of one event.
#[derive(Debug)]
pub(super) struct Body(Value);

impl Body {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map(Self).map_err(|error| format!("its body: {error}"))
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, String> {
        self.0[key].as_str().ok_or_else(|| format!("its {key} is no text"))
    }

    /// A text that may be absent.
    pub(super) fn optional_text(&self, key: &str) -> Result<Option<&str>, String> {
        self.0.get(key).map(|_| self.text(key)).transpose()
    }

    /// A list that may be absent.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, String> {
        match self.0.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items.iter().cloned().map(Self).collect()),
            Some(_) => Err(format!("its {key} is no list")),
        }
    }

    /// A JSON number, of whatever width the caller needs.
    pub(super) fn number<T: TryFrom<u64>>(&self, key: &str) -> Result<T, String> {
        let number = self.0[key].as_u64().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("its {key} is no number in range"))
    }

    /// A JSON number, where there is one.
    pub(super) fn optional_number<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>, String> {
        if self.0[key].is_null() { Ok(None) } else { self.number(key).map(Some) }
    }

    /// A decimal string.
    pub(super) fn decimal<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, String> {
        self.text(key)?.parse().map_err(|error| format!("its {key}: {error}"))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        self.0[key].as_bool().ok_or_else(|| format!("its {key} is neither true nor false"))
    }

    pub(super) fn bytes(&self, key: &str) -> Result<[u8; 32], String> {
        hex::decode(self.text(key)?)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| format!("its {key} is not 32 bytes in hex"))
    }

    /// A block's hash: written in display order, wanted in internal order.
    pub(super) fn block_hash(&self, key: &str) -> Result<[u8; 32], String> {
        let mut bytes = self.bytes(key)?;
        bytes.reverse();
        Ok(bytes)
    }
}
