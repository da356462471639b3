//! The pool's HTTP server: web page, metrics, health and the read-only API.
//!
//! Read [`serve`] and the routes below it. Every answer is made of one [`view::View`], read from
//! the ledger's own tables, so that page, metrics and API agree with each other and with the
//! ledger. Nothing is read from a request but its method and path, and nothing changes state, but
//! for orders about payouts (`orders.rs`), which must bear the operator's token.
//! Every list in an answer has a limit, and so has the time that a connection may take.

pub mod account;
mod api;
pub mod exact;
mod listen;
pub mod meters;
mod orders;
mod page;
mod ready;
pub mod view;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{
    listen::Limits,
    view::{View, ViewError, ViewSource},
};
use crate::payout::Counter;

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
        Method::GET | Method::HEAD => route(&source, request.uri().path()).await,
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
    let body = Full::new(Bytes::from(answer.body));
    Ok(response.body(body).unwrap_or_default())
}

async fn route(source: &ViewSource, path: &str) -> Answer {
    match path {
        "/healthz" => Answer::text("ok\n".to_owned()),
        "/readyz" => match source.not_ready().await {
            None => Answer::text("ready\n".to_owned()),
            Some(why) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, &why),
        },
        "/" => with_view(source, page::render).await,
        "/metrics" => scrape(source).await.unwrap_or_else(|error| Answer::unavailable(&error)),
        "/api/v1/pool" => with_view(source, |view| Answer::json(&api::pool(view))).await,
        "/api/v1/blocks" => with_view(source, |view| Answer::json(&api::blocks(view))).await,
        "/api/v1/payouts" => match source.payouts().await {
            Ok(payouts) => Answer::json(&api::payouts(&payouts)),
            Err(error) => Answer::unavailable(&error),
        },
        "/api/v1/energy" => with_view(source, |view| Answer::json(&api::energy(view))).await,
        "/api/v1/carbon" => with_view(source, |view| Answer::json(&api::carbon(view))).await,
        _ => match path.strip_prefix("/api/v1/accounts/") {
            Some(rest) => account(source, rest).await,
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

async fn account(source: &ViewSource, rest: &str) -> Answer {
    let (account, part) = rest.split_once('/').unwrap_or((rest, ""));
    let found = match source.account(account).await {
        Ok(found) => found,
        Err(error) => return Answer::unavailable(&error),
    };
    match (found, part) {
        (Some(account), "") => Answer::json(&api::account(&account)),
        (Some(account), "workers") => Answer::json(&api::account(&account).workers),
        (None, "" | "workers") => {
            Answer::error(StatusCode::NOT_FOUND, "this pool knows no such account")
        }
        _ => Answer::error(StatusCode::NOT_FOUND, "there is nothing at this path"),
    }
}

async fn with_view(source: &ViewSource, answer: impl FnOnce(&View) -> Answer) -> Answer {
    match source.view().await {
        Ok(view) => answer(&view),
        Err(error) => Answer::unavailable(&error),
    }
}

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

    fn unavailable(error: &ViewError) -> Self {
        tracing::error!("the ledger could not be read: {error}");
        Self::error(StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be read just now")
    }
}
