//! A JSON-RPC answer, read where it lies: a template has megabytes, and a tree of it as many more.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

/// The fields used of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct RpcAnswer<'a> {
    /// The result's JSON text, which may be `null`; `None` where there is none.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) result: Option<&'a RawValue>,
    /// What went wrong; absent or `null` where nothing did.
    #[serde(default)]
    pub(super) error: Option<Value>,
}

/// A small result, as a tree.
pub(super) fn tree(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Tells `null` from nothing at all.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_a_result_and_nothing_is_none() {
        let read = |text| serde_json::from_str::<RpcAnswer<'_>>(text).unwrap();
        let null = read(r#"{"id": 1, "result": null, "error": null}"#);
        assert_eq!(null.result.map(RawValue::get), Some("null"));
        assert!(null.error.is_none_or(|error| error.is_null()));
        assert!(read(r#"{"error": {"code": -8}}"#).result.is_none());
        assert_eq!(read(r#"{"error": {"code": -8}}"#).error.unwrap()["code"], -8);
        assert_eq!(tree("[1]"), Ok(serde_json::json!([1])));
    }
}
