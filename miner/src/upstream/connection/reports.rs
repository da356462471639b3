//! Energy reports over one connection: when one is due, and what became of it.
//!
//! What a report says is [`crate::instruments`]'s.

use std::time::Duration;

use stratum::v1::client::PoolError;

use super::{Conversation, Stage};

/// Reports are sent at least this far apart, whatever a pool asks for.
const SPACING_MIN: Duration = Duration::from_secs(1);

impl Conversation<'_> {
    pub(super) async fn energy_accepted(&mut self, interval: Duration) {
        let interval = interval.max(SPACING_MIN);
        tracing::info!("{}: takes energy reports, each {} s", self.pool.url, interval.as_secs());
        self.report_every = Some(interval);
        if self.stage >= Stage::Authorized {
            self.report().await;
        }
    }

    /// Sends a report of this very instant.
    pub(super) async fn report(&mut self) {
        let now = self.now();
        self.report_at = self.report_every.map(|interval| now.mono + interval);
        let Some(desk) = &self.upstream.energy else { return };
        let pool = self.upstream.settings.pools[self.index].url.to_string();
        let reports = desk.reports(&self.pool.user, &pool).await;
        if reports.is_empty() {
            tracing::warn!("energy report held back: the meter gives no reading");
        }
        for report in reports {
            self.session.report_energy(report, now);
            self.reports_unanswered += 1;
        }
    }

    pub(super) fn energy_judged(&mut self, result: Result<(), PoolError>) {
        self.reports_unanswered = self.reports_unanswered.saturating_sub(1);
        match result {
            Ok(()) => self.upstream.status.send_modify(|status| status.energy_reports += 1),
            Err(error) => {
                tracing::warn!("{}: energy report refused: {}", self.pool.url, error.message);
            }
        }
    }
}
