//! What an adapter could do at the most, and what it does.

use std::time::Instant;

use gpu::{Method, Tile, chooser, limit::Rates};

use crate::case::adapters;

#[test]
#[expect(clippy::disallowed_methods, reason = "the clock that a measurement is handed")]
#[expect(clippy::print_stdout, reason = "figures to read, which no test may rest on")]
fn an_adapter_is_measured() {
    let start = Instant::now();
    let clock = || start.elapsed();
    for adapter in adapters() {
        let rates = Rates::measure(&adapter, &clock).unwrap();
        for rate in [rates.add, rates.logic, rates.rotate, rates.mixed] {
            assert!(rate.is_finite() && rate > 0.0, "{}: {rates:?}", adapter.info);
        }
        for method in Method::ALL {
            let versions = 1 << method.versions_log2();
            let limit = rates.limit(method, versions);
            let reached =
                chooser::measure(&adapter, &[Tile::usual(method)], &clock).unwrap()[0].unwrap();
            assert!(limit.is_finite() && limit > 0.0, "{}: {limit}", adapter.info);
            assert!(reached.is_finite() && reached > 0.0, "{}: {reached}", adapter.info);
            let percent = 100.0 * reached / limit;
            println!("{} {}: {reached:.3e}/s, {percent:.0} %", adapter.info, method.name());
        }
    }
}
