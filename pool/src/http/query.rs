//! What a request asks for after its path: `?state=mature&limit=50`.
//!
//! Read [`Query::parse`]. A key that the path does not have is an error and not passed over: who
//! asks for `form=` would otherwise get another window than they meant. Every value is read into a
//! type here, with its limits; errors name the key. It deliberately knows no path and no ledger.

use defences::{Defence, stands};
use ledger::{BlockFilter, BlockId, BlockState, MAX_ACCOUNT_NAME, PayoutFilter};
use units::UnixMillis;

use super::view::BLOCKS_SHOWN;
use crate::when;

/// Bytes of all of it at most.
const BYTES_MAX: usize = 1024;
/// Slices that an account's work is shown of: usually, and at most.
const SLICES: u32 = 24;
const SLICES_MAX: u32 = 100;
/// Keys of all of it at most.
const KEYS_MAX: usize = 16;

/// Key and value, each once.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// A statement's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Json,
}

impl Query {
    /// Reads what stands after the `?`, if anything does; only `keys` may stand there.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub(super) fn parse(text: Option<&str>, keys: &[&str]) -> Result<Self, String> {
        let text = text.unwrap_or_default();
        if text.len() > BYTES_MAX {
            return Err(format!("what stands after the ? is longer than {BYTES_MAX} bytes"));
        }
        let mut found = Self::default();
        for part in text.split('&').filter(|part| !part.is_empty()).take(KEYS_MAX) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if !keys.contains(&key) {
                let known = keys.join(", ");
                return Err(format!("there is no {:?} here; there is {known}", shortened(key)));
            }
            if found.text(key).is_some() {
                return Err(format!("{key} stands there twice"));
            }
            let value = decoded(value).ok_or_else(|| format!("{key} is not percent-encoded"))?;
            found.0.push((key.to_owned(), value));
        }
        Ok(found)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        self.text(key)
            .map(|text| read(text).ok_or_else(|| format!("{key}: expected {expected}")))
            .transpose()
    }

    /// How many rows are asked for; a page where nothing is said.
    pub(super) fn limit(&self) -> Result<u32, String> {
        self.count("limit", BLOCKS_SHOWN, BLOCKS_SHOWN)
    }

    /// How many slices are looked into; 24 where nothing is said.
    pub(super) fn slices(&self) -> Result<u32, String> {
        self.count("slices", SLICES, SLICES_MAX)
    }

    /// How many of something: `usual` where nothing is said.
    fn count(&self, key: &str, usual: u32, shown: u32) -> Result<u32, String> {
        let most = if stands(Defence::PageLength) { shown } else { u32::MAX };
        let expected = format!("a whole number from 1 to {shown}");
        let count = self.read(key, &expected, |text| {
            text.parse().ok().filter(|count| (1..=most).contains(count))
        })?;
        Ok(count.unwrap_or(usual))
    }

    /// The block after which the page goes on.
    pub(super) fn before(&self) -> Result<Option<BlockId>, String> {
        self.read("before", "a block's hash, 64 hexadecimal digits", |text| {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash).ok()?;
            hash.reverse();
            Some(hash)
        })
    }

    /// An instant.
    pub(super) fn instant(&self, key: &str) -> Result<Option<UnixMillis>, String> {
        self.read(key, when::EXPECTED, when::parse)
    }

    /// A statement's text; JSON where nothing is said.
    pub(super) fn format(&self) -> Result<Format, String> {
        let format = self.read("format", "json or csv", |text| match text {
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv),
            _ => None,
        })?;
        Ok(format.unwrap_or(Format::Json))
    }

    fn account(&self) -> Result<Option<String>, String> {
        let expected = format!("an account of 1 to {MAX_ACCOUNT_NAME} bytes");
        self.read("account", &expected, |text| {
            (1..=MAX_ACCOUNT_NAME).contains(&text.len()).then(|| text.to_owned())
        })
    }
}

/// Which blocks `/api/v1/blocks` is asked for.
pub(super) fn blocks(text: Option<&str>) -> Result<BlockFilter, String> {
    let keys = ["state", "account", "from", "to", "before", "limit"];
    let query = Query::parse(text, &keys)?;
    let states = BlockState::ALL.map(BlockState::as_str).join(", ");
    Ok(BlockFilter {
        state: query.read("state", &format!("one of {states}"), BlockState::parse)?,
        account: query.account()?,
        from: query.instant("from")?,
        to: query.instant("to")?,
        before: query.before()?,
        limit: query.limit()?,
    })
}

/// Which payouts `/api/v1/payouts` is asked for.
pub(super) fn payouts(text: Option<&str>) -> Result<PayoutFilter, String> {
    let query = Query::parse(text, &["state", "account", "from", "to", "limit"])?;
    Ok(PayoutFilter {
        state: query.read("state", "a state", |text| Some(text.to_owned()))?,
        account: query.account()?,
        from: query.instant("from")?,
        to: query.instant("to")?,
        limit: query.limit()?,
    })
}

/// A text with its `%XX` and `+` decoded; `None` where that is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(32)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_asked_for_is_read_into_types() {
        let hash = format!("{}ab", "00".repeat(31));
        let text = format!("state=mature&limit=5&before={hash}&from=2009-01-03T18%3A15%3A05Z&to=9");
        let filter = blocks(Some(&text)).unwrap();
        assert_eq!((filter.state, filter.limit), (Some(BlockState::Mature), 5));
        assert_eq!(filter.before.map(|hash| hash[0]), Some(0xab), "internal order");
        assert_eq!(filter.from.map(UnixMillis::get), Some(1_231_006_505_000));
        assert_eq!(filter.to.map(UnixMillis::get), Some(9));
        let all = blocks(None).unwrap();
        assert_eq!((all.state, all.account, all.limit), (None, None, BLOCKS_SHOWN));
        let filter = payouts(Some("account=a%20b+c&state=planned")).unwrap();
        assert_eq!(filter.account.as_deref(), Some("a b c"));
        let query = Query::parse(Some("format=csv"), &["format"]).unwrap();
        assert_eq!(query.format(), Ok(Format::Csv));
    }

    #[test]
    fn mistakes_are_named() {
        let long = "x".repeat(BYTES_MAX + 1);
        for (text, part) in [
            ("form=1", "there is no \"form\" here; there is state, account"),
            ("limit=1&limit=2", "limit stands there twice"),
            ("limit=0", "limit: expected a whole number from 1 to 200"),
            ("limit=x", "limit: expected"),
            ("state=lost", "state: expected one of candidate, submitted, immature"),
            ("before=00", "before: expected a block's hash"),
            ("from=yesterday", "from: expected a day such as"),
            ("account=", "account: expected"),
            ("account=%f", "account is not percent-encoded"),
            ("account=%ff", "account is not percent-encoded"),
            (&long, "longer than 1024 bytes"),
        ] {
            let error = blocks(Some(text)).unwrap_err();
            assert!(error.contains(part), "{part:?} in {error:?}");
        }
        let query = Query::parse(Some("format=xml"), &["format"]).unwrap();
        assert_eq!(query.format().unwrap_err(), "format: expected json or csv");
    }

    #[test]
    fn a_page_has_so_many_rows_at_most() {
        assert_eq!(blocks(Some("limit=200")).unwrap().limit, 200);
        let error = blocks(Some("limit=201")).unwrap_err();
        assert_eq!(error, "limit: expected a whole number from 1 to 200");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z%0-9=&+]{0,60}|\\PC{0,40}") {
            let _ = blocks(Some(&text));
            let _ = payouts(Some(&text));
        }
    }
}
