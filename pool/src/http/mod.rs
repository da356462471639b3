//! The pool's HTTP server: web page, metrics, health and the read-only API.
//!
//! Read [`serve`] and the routes below it. Every answer is made of one [`view::View`], read from
//! the ledger's own tables, so that page, metrics and API agree with each other and with the
//! ledger. Nothing is read from a request but its method, its path and the few keys after it that
//! `query.rs` knows, and nothing changes state, but for orders about payouts (`orders.rs`), which
//! must bear the operator's token.
//! Every list in an answer has a limit, and so has the time that a connection may take.

pub mod account;
mod api;
pub mod estimates;
pub mod exact;
mod listen;
pub mod luck;
pub mod meters;
mod orders;
mod page;
mod query;
mod ready;
pub mod standing;
pub mod view;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use ledger::LedgerError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use units::UnixMillis;

use self::{
    listen::Limits,
    query::{Format, Query},
    view::{View, ViewError, ViewSource},
};
use crate::payout::Counter;
use crate::statement;

/// A body and what it is.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

/// Serves until cancelled.
pub async fn serve(
    listener: TcpListener,
    source: Arc<ViewSource>,
    counter: Counter,
    cancel: CancellationToken,
) {
    let service = move |request| respond(Arc::clone(&source), counter.clone(), request);
    listen::serve(listener, Limits::default(), service, cancel).await;
}

async fn respond(
    source: Arc<ViewSource>,
    counter: Counter,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_order = request.method() == Method::POST && request.uri().path() == orders::PATH;
    let answer = match *request.method() {
        _ if is_order => orders::take(&counter, request).await,
        Method::GET | Method::HEAD => {
            route(&source, request.uri().path(), request.uri().query()).await
        }
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "this server only answers GET and HEAD"),
    };
    let mut response = Response::builder()
        .status(answer.status)
        .header(CONTENT_TYPE, answer.kind)
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        response = response.header(ALLOW, "GET, HEAD");
    }
    if answer.kind == CSV {
        response = response.header(CONTENT_DISPOSITION, "attachment; filename=\"statement.csv\"");
    }
    let body = Full::new(Bytes::from(answer.body));
    Ok(response.body(body).unwrap_or_default())
}

async fn route(source: &ViewSource, path: &str, query: Option<&str>) -> Answer {
    match path {
        "/healthz" => Answer::text("ok\n".to_owned()),
        "/readyz" => match source.not_ready().await {
            None => Answer::text("ready\n".to_owned()),
            Some(why) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, &why),
        },
        "/" => with_view(source, page::render).await,
        "/metrics" => scrape(source).await.unwrap_or_else(|error| Answer::unavailable(&error)),
        "/api/v1/pool" => with_view(source, |view| Answer::json(&api::pool(view))).await,
        "/api/v1/blocks" => blocks(source, query).await.unwrap_or_else(|answer| answer),
        "/api/v1/payouts" => payouts(source, query).await.unwrap_or_else(|answer| answer),
        "/api/v1/energy" => with_view(source, |view| Answer::json(&api::energy(view))).await,
        "/api/v1/carbon" => with_view(source, |view| Answer::json(&api::carbon(view))).await,
        "/api/v1/head" => match source.head().await {
            Ok(head) => Answer::json(&head),
            Err(error) => Answer::unavailable(&error),
        },
        _ => match path.strip_prefix("/api/v1/accounts/") {
            Some(rest) => account(source, rest, query).await.unwrap_or_else(|answer| answer),
            None => Answer::error(StatusCode::NOT_FOUND, "there is nothing at this path"),
        },
    }
}

async fn scrape(source: &ViewSource) -> Result<Answer, ViewError> {
    let view = source.view().await?;
    let claims = source.claims(&view).await?;
    let body = format!("{}{}", source.counted(), exact::render(&view, &claims));
    Ok(Answer::of(PROMETHEUS, body))
}

async fn blocks(source: &ViewSource, query: Option<&str>) -> Result<Answer, Answer> {
    let blocks = source.blocks(query::blocks(query).map_err(Answer::mistake)?).await?;
    Ok(Answer::json(&api::blocks(&blocks)))
}

async fn payouts(source: &ViewSource, query: Option<&str>) -> Result<Answer, Answer> {
    let payouts = source.payouts(query::payouts(query).map_err(Answer::mistake)?).await?;
    Ok(Answer::json(&api::payouts(&payouts)))
}

/// An account, or a part of it.
async fn account(source: &ViewSource, rest: &str, query: Option<&str>) -> Result<Answer, Answer> {
    let (account, part) = rest.split_once('/').unwrap_or((rest, ""));
    let unknown = || Answer::error(StatusCode::NOT_FOUND, "this pool knows no such account");
    Ok(match part {
        "" | "workers" => {
            let found = api::account(&source.account(account).await?.ok_or_else(unknown)?);
            if part.is_empty() { Answer::json(&found) } else { Answer::json(&found.workers) }
        }
        "receipt" => {
            let none = || Answer::error(StatusCode::NOT_FOUND, "no shares to sign for");
            Answer::json(&source.receipt(account).await?.ok_or_else(none)?)
        }
        "work" => {
            let query = Query::parse(query, &["slices"]).map_err(Answer::mistake)?;
            let slices = query.slices().map_err(Answer::mistake)?;
            let shown = source.work_shown(account, slices).await?.ok_or_else(unknown)?;
            Answer::json(&api::work(account, &shown))
        }
        "credits" => {
            let query = Query::parse(query, &["before", "limit"]).map_err(Answer::mistake)?;
            let before = query.before().map_err(Answer::mistake)?;
            let limit = query.limit().map_err(Answer::mistake)?;
            let credits = source.credits(account, before, limit).await?.ok_or_else(unknown)?;
            Answer::json(&api::credits(&credits))
        }
        "statement" => {
            let query = Query::parse(query, &["from", "to", "format"]).map_err(Answer::mistake)?;
            let instant = |key| query.instant(key).map_err(Answer::mistake);
            let from = instant("from")?.unwrap_or_default();
            let to = instant("to")?.unwrap_or(UnixMillis::new(u64::MAX));
            let format = query.format().map_err(Answer::mistake)?;
            let statement = source.statement(account, from, to).await?.ok_or_else(unknown)?;
            match format {
                Format::Json => Answer::json(&statement::json(&statement)),
                Format::Csv => Answer::of(CSV, statement::csv(&statement)),
            }
        }
        _ => Answer::error(StatusCode::NOT_FOUND, "there is nothing at this path"),
    })
}

async fn with_view(source: &ViewSource, answer: impl FnOnce(&View) -> Answer) -> Answer {
    match source.view().await {
        Ok(view) => answer(&view),
        Err(error) => Answer::unavailable(&error),
    }
}

const CSV: &str = "text/csv; charset=utf-8; header=present";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Answer {
    fn of(kind: &'static str, body: String) -> Self {
        Self { status: StatusCode::OK, kind, body }
    }

    fn text(body: String) -> Self {
        Self::of("text/plain; charset=utf-8", body)
    }

    fn html(body: String) -> Self {
        Self::of("text/html; charset=utf-8", body)
    }

    fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(body) => Self::of("application/json", body),
            Err(error) => {
                Self::error(StatusCode::INTERNAL_SERVER_ERROR, &format!("no JSON: {error}"))
            }
        }
    }

    fn error(status: StatusCode, why: &str) -> Self {
        let body = serde_json::json!({ "error": why }).to_string();
        Self { status, kind: "application/json", body }
    }

    /// What was asked for is not what there is.
    fn mistake(why: impl AsRef<str>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, why.as_ref())
    }

    fn unavailable(error: &ViewError) -> Self {
        if let ViewError::Ledger(LedgerError::Refused(refusal)) = error {
            return Self::mistake(refusal.to_string());
        }
        tracing::error!("the ledger could not be read: {error}");
        Self::error(StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be read just now")
    }
}

impl From<ViewError> for Answer {
    fn from(error: ViewError) -> Self {
        Self::unavailable(&error)
    }
}
