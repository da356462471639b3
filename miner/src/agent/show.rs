//! What the agent shows over HTTP: metrics, its figures as JSON, and a page to look at.
//!
//! Read [`Show::answer`]. All three are of one snapshot of the farm. What devices say of themselves is
//! text of strangers: it is escaped wherever it is shown. Read-only and public, as the miner's own.

mod exact;
mod page;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::farm::{Entry, Snapshot, State};
use super::link::Standing;
use super::once::telemetry;
use super::sites::Comparison;
use crate::http::{Answers, HTML, JSON, PROMETHEUS, TEXT, reply};

/// What the server shows.
#[derive(Debug)]
pub struct Show {
    farm: watch::Receiver<Arc<Snapshot>>,
    standings: Vec<watch::Receiver<Standing>>,
    pool: Option<String>,
}

/// Everything of one moment.
struct View {
    farm: Arc<Snapshot>,
    standing: Standing,
    pool: Option<String>,
}

impl Show {
    /// Shows the newest of `farm`, and how the links to `pool` stand.
    #[must_use]
    pub const fn new(
        pool: Option<String>,
        farm: watch::Receiver<Arc<Snapshot>>,
        standings: Vec<watch::Receiver<Standing>>,
    ) -> Self {
        Self { farm, standings, pool }
    }

    fn view(&self) -> View {
        let farm = Arc::clone(&self.farm.borrow());
        View { farm, standing: self.standing(), pool: self.pool.clone() }
    }

    /// Of all links together.
    fn standing(&self) -> Standing {
        let mut all = Standing::default();
        for one in &self.standings {
            let one = one.borrow();
            all.workers += one.workers;
            all.reports += one.reports;
            all.last_failure = one.last_failure.clone().or(all.last_failure);
        }
        all
    }
}

impl Answers for Show {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is served\n".to_owned());
        }
        match path {
            "/metrics" => reply(StatusCode::OK, PROMETHEUS, exact::render(&self.view())),
            "/api/v1/agent" => reply(StatusCode::OK, JSON, summary(&self.view()).to_string()),
            "/healthz" => reply(StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/" => reply(StatusCode::OK, HTML, page::page(&self.view())),
            _ => {
                let index = "/\n/metrics\n/api/v1/agent\n/healthz\n";
                reply(StatusCode::NOT_FOUND, TEXT, format!("nothing at {path}\n{index}"))
            }
        }
    }
}

fn summary(view: &View) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pool": view.pool,
        "workers_admitted": view.standing.workers,
        "reports": view.standing.reports,
        "last_failure": view.standing.last_failure,
        "devices": view.farm.entries.iter().map(device).collect::<Vec<_>>(),
        "sites": view.farm.sites.iter().map(site).collect::<Vec<_>>(),
    })
}

fn device(entry: &Entry) -> Value {
    let spec = entry.meter.spec();
    let gaps = entry.meter.lost().into_iter();
    let gaps: serde_json::Map<String, Value> =
        gaps.map(|(why, length)| (why.as_str().to_owned(), length.as_secs_f64().into())).collect();
    json!({
        "name": entry.meter.id().as_str(),
        "driver": entry.device.interface.as_str(),
        "worker": entry.device.worker,
        "counts": entry.device.counts,
        "state": state(entry.state),
        "error": entry.error,
        "sampled_at": entry.sampled_at.map(|at| at.get()),
        "joules_total": entry.meter.total().joules(),
        "watts": entry.meter.power().map(|power| power.watts_f64()),
        "coverage": f64::from(entry.coverage_ppm) / 1e6,
        "gap_seconds": gaps,
        "kind": spec.map(|spec| spec.kind.as_str()),
        "scope": spec.map(|spec| spec.scope.as_str()),
        "tier": spec.map(|spec| spec.tier.get()),
        "uncertainty": spec.map(|spec| f64::from(spec.uncertainty_ppm) / 1e6),
        "source": spec.map(|spec| spec.source.clone()),
        "claimed_hashes_total": entry.meter.claimed().get().to_string(),
        "answer": entry.telemetry.as_ref().map(telemetry),
    })
}

fn site(comparison: &Comparison) -> Value {
    json!({
        "name": comparison.site,
        "seconds": comparison.length.as_secs(),
        "joules": comparison.seen.joules(),
        "joules_behind": comparison.sum.joules(),
        "residual_microjoules": comparison.residual.to_string(),
        "residual_ratio": comparison.ratio(),
        "uncertainty_microjoules": comparison.uncertainty.to_string(),
        "verdict": comparison.verdict.as_str(),
    })
}

/// The word for a state.
const fn state(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Good => "good",
        State::Held => "held",
        State::Lost => "lost",
    }
}

#[cfg(test)]
mod tests;
