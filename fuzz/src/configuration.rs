//! The pool's configuration, as an operator writes it.

use config::Source;
use pool::config::Config;

/// Any text reads to a configuration or to a list of mistakes, and to the same one again. The
/// first line may set an environment variable over it: `#NAME=value`.
///
/// # Panics
/// Where that does not hold.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let first = text.lines().next().and_then(|line| line.strip_prefix('#')?.split_once('='));
    let variable = first
        .map(|(name, value)| (format!("WATTPROOF_POOL_{}", name.trim()), value.trim().to_owned()));
    let read = || {
        let read = Config::read_with(Source::new("pool.toml", text), variable.clone());
        // What an operator is shown is made as well.
        read.map(|(_, effective)| effective.to_string()).map_err(|errors| errors.to_string())
    };
    let shown = read();
    assert!(shown.as_ref().err().is_none_or(|errors| !errors.is_empty()), "refused for nothing");
    assert_eq!(shown, read(), "read twice");
}
