//! Orders about payouts over HTTP: the one thing that can be changed here. Without the
//! configuration's token there is no such thing, and whoever does not bear it is told no more.
//! Whoever bears it keeps the connection until the order is carried out, which may take minutes.

use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, StatusCode, body::Incoming, header::AUTHORIZATION};

use super::{Answer, listen::Leave};
use crate::payout::{Counter, Order};

/// Where orders are taken.
pub(super) const PATH: &str = "/api/v1/payouts/orders";
/// Longest order, in bytes: a PSBT of a few hundred coins with their transactions, in base64.
const ORDER_MAX: usize = 8 << 20;

pub(super) async fn take(counter: &Counter, request: Request<Incoming>) -> Answer {
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !counter.admits(bearer) {
        return Answer::error(StatusCode::UNAUTHORIZED, "orders must bear the pool's token");
    }
    let leave = request.extensions().get::<Leave>().cloned();
    let Ok(body) = Limited::new(request.into_body(), ORDER_MAX).collect().await else {
        return Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the order is too long, or was cut");
    };
    let order: Order = match serde_json::from_slice(&body.to_bytes()) {
        Ok(order) => order,
        Err(error) => {
            return Answer::error(StatusCode::BAD_REQUEST, &format!("no order: {error}"));
        }
    };
    // Only now: nobody without the token, or with no order, has a connection live longer.
    let _stay = leave.as_ref().map(Leave::take);
    match counter.ask(order).await {
        Ok(done) => Answer::json(&done),
        Err(error) if error.is_refusal() => Answer::error(StatusCode::CONFLICT, &error.to_string()),
        Err(error) => Answer::error(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}
