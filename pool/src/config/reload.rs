//! What may change while the pool runs, and what needs a restart.
//!
//! Read [`Config::reload`]. Every key is on one side or the other: both configurations are taken
//! apart member by member, so that a key that is new cannot be forgotten here. It deliberately
//! changes nothing by itself.

use ledger::Retention;

use super::{
    Config, EnergyConfig, JobsConfig, LedgerConfig, PayoutConfig, PayoutsConfig, StratumConfig,
};
use crate::{limits::Limits, node::NodeSettings, tls::TlsFiles};

/// A configuration that may take the place of the one in force.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// What is in force from now on.
    pub config: Config,
    /// The keys that are other than before; none where nothing changed.
    pub changed: Vec<String>,
}

/// Keys that differ, by what that means.
#[derive(Debug, Default)]
struct Differences {
    changed: Vec<String>,
    fixed: Vec<String>,
}

impl Config {
    /// Whether `new` may take this one's place without a restart, and what it changes.
    ///
    /// What may change: all of `[limits]`, the files of `[tls]`, and of `[stratum]` and its ports
    /// `difficulty`, `proxy_protocol`, `version_mask` and `reconnect`. Difficulties and the mask
    /// hold for sessions that begin afterwards, limits for connections that do; nobody is dropped.
    ///
    /// # Errors
    /// A line for each key that differs and cannot change while the pool runs. Nothing of `new` is
    /// then to be used, since half a configuration is one that nobody wrote.
    pub fn reload(&self, new: Self) -> Result<Reloaded, Vec<String>> {
        let mut differences = Differences::default();
        differences.top(self, &new);
        if differences.fixed.is_empty() {
            return Ok(Reloaded { config: new, changed: differences.changed });
        }
        let line = |key| format!("{key}: it cannot change while the pool runs; restart the pool");
        Err(differences.fixed.into_iter().map(line).collect())
    }
}

impl Differences {
    fn top(&mut self, old: &Config, new: &Config) {
        let Config {
            node,
            backups,
            template_max_age,
            network,
            stratum,
            jobs,
            payout,
            payouts,
            ledger,
            http,
            http_token,
            energy,
            limits,
            watch,
            tls,
        } = old;
        self.node(node, &new.node);
        self.fixed("node.backup", *backups == new.backups);
        self.fixed("node.template_max_age_seconds", *template_max_age == new.template_max_age);
        self.fixed("node.network", *network == new.network);
        self.stratum(stratum, &new.stratum);
        self.jobs(jobs, &new.jobs);
        self.payout(payout, &new.payout);
        self.payouts(payouts, &new.payouts);
        self.ledger(ledger, &new.ledger);
        self.fixed("http.listen", *http == new.http);
        self.fixed("http.token", *http_token == new.http_token);
        self.energy(energy, &new.energy);
        self.limits(limits, &new.limits);
        self.fixed("watch.withholding_below", *watch == new.watch);
        self.tls(tls.as_ref(), new.tls.as_ref());
    }

    fn node(&mut self, old: &NodeSettings, new: &NodeSettings) {
        // The network is one for all nodes, and has its own line.
        let NodeSettings { url, auth, network: _, timeout } = old;
        self.fixed("node.url", *url == new.url);
        self.fixed("node.auth or node.cookie", *auth == new.auth);
        self.fixed("node.timeout_seconds", *timeout == new.timeout);
    }

    fn stratum(&mut self, old: &StratumConfig, new: &StratumConfig) {
        let StratumConfig { listen, difficulty, proxy_protocol, version_mask, reconnect, ports } =
            old;
        self.fixed("stratum.listen", *listen == new.listen);
        self.free("stratum.difficulty", *difficulty == new.difficulty);
        self.free("stratum.proxy_protocol", *proxy_protocol == new.proxy_protocol);
        self.free("stratum.version_mask", *version_mask == new.version_mask);
        self.free("stratum.reconnect", *reconnect == new.reconnect);
        let doors = |ports: &[super::PortConfig]| -> Vec<_> {
            ports.iter().map(|port| (port.listen, port.tls)).collect()
        };
        let same_doors = doors(ports) == doors(&new.ports);
        self.fixed("stratum.port (listen, tls)", same_doors);
        if same_doors {
            for (old, new) in ports.iter().zip(&new.ports) {
                let port = new.key.trim_end_matches(".listen");
                self.free(&format!("{port}.difficulty"), old.difficulty == new.difficulty);
                let same = old.proxy_protocol == new.proxy_protocol;
                self.free(&format!("{port}.proxy_protocol"), same);
            }
        }
    }

    fn jobs(&mut self, old: &JobsConfig, new: &JobsConfig) {
        let JobsConfig { refresh, fee_growth, poll } = old;
        self.fixed("jobs.refresh_seconds", *refresh == new.refresh);
        self.fixed("jobs.fee_growth_percent", *fee_growth == new.fee_growth);
        self.fixed("jobs.poll_seconds", *poll == new.poll);
    }

    fn payout(&mut self, old: &PayoutConfig, new: &PayoutConfig) {
        let PayoutConfig { scheme, direct, reserve, account, payee, fee } = old;
        self.fixed("payout.scheme or its window", *scheme == new.scheme);
        self.fixed("payout.direct or its limits", *direct == new.direct);
        self.fixed("payout.reserve", *reserve == new.reserve);
        self.fixed("payout.address", *account == new.account);
        self.fixed("payout.coinbase_tag", payee.tag == new.payee.tag);
        self.fixed("payout.fee_percent", *fee == new.fee);
    }

    fn payouts(&mut self, old: &PayoutsConfig, new: &PayoutsConfig) {
        let PayoutsConfig {
            descriptor,
            descriptor_file,
            threshold,
            max_outputs,
            fee_rate,
            max_fee_rate,
            interval,
            confirmations,
            pause,
        } = old;
        self.fixed("payout.descriptor", *descriptor == new.descriptor);
        self.fixed("payout.descriptor_file", *descriptor_file == new.descriptor_file);
        self.fixed("payout.threshold_satoshis", *threshold == new.threshold);
        self.fixed("payout.max_outputs", *max_outputs == new.max_outputs);
        self.fixed("payout.fee_rate", *fee_rate == new.fee_rate);
        self.fixed("payout.max_fee_rate", *max_fee_rate == new.max_fee_rate);
        self.fixed("payout.interval_seconds", *interval == new.interval);
        self.fixed("payout.confirmations", *confirmations == new.confirmations);
        self.fixed("payout.pause", *pause == new.pause);
    }

    fn ledger(&mut self, old: &LedgerConfig, new: &LedgerConfig) {
        let LedgerConfig { path, ack, slice, best_headers, retention } = old;
        let Retention { all, at_least } = retention;
        self.fixed("ledger.path", *path == new.path);
        self.fixed("ledger.ack", *ack == new.ack);
        self.fixed("ledger.slice_seconds", *slice == new.slice);
        self.fixed("ledger.best_headers", *best_headers == new.best_headers);
        self.fixed("ledger.keep_days", *at_least == new.retention.at_least);
        self.fixed("ledger.keep_all", *all == new.retention.all);
    }

    fn energy(&mut self, old: &EnergyConfig, new: &EnergyConfig) {
        let EnergyConfig { factor, interval, profiles } = old;
        self.fixed("energy.factor", *factor == new.factor);
        self.fixed("energy.interval_seconds", *interval == new.interval);
        self.fixed("energy.profiles", *profiles == new.profiles);
    }

    fn limits(&mut self, old: &Limits, new: &Limits) {
        let Limits {
            per_address,
            per_subnet,
            total,
            accepts_per_second,
            subnet_accepts_per_second: by_subnet,
            exempt,
        } = old;
        self.free("limits.per_address", *per_address == new.per_address);
        self.free("limits.per_subnet", *per_subnet == new.per_subnet);
        self.free("limits.total", *total == new.total);
        self.free("limits.accepts_per_second", *accepts_per_second == new.accepts_per_second);
        let same = *by_subnet == new.subnet_accepts_per_second;
        self.free("limits.subnet_accepts_per_second", same);
        self.free("limits.exempt", *exempt == new.exempt);
    }

    fn tls(&mut self, old: Option<&TlsFiles>, new: Option<&TlsFiles>) {
        let certificate = |files: &TlsFiles| files.certificate.clone();
        let key = |files: &TlsFiles| files.key.clone();
        self.free("tls.certificate", old.map(certificate) == new.map(certificate));
        self.free("tls.key", old.map(key) == new.map(key));
    }

    /// A key that only a restart changes.
    fn fixed(&mut self, key: &str, same: bool) {
        self.fixed.extend((!same).then(|| key.to_owned()));
    }

    /// A key that may change at any time.
    fn free(&mut self, key: &str, same: bool) {
        self.changed.extend((!same).then(|| key.to_owned()));
    }
}
