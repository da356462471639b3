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

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use bytes::Bytes;
    use config::Secret;
    use http_body_util::Full;
    use hyper::Response;
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinSet,
        time::{sleep, timeout},
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::listen::{self, Limits};

    const PATIENCE: Duration = Duration::from_secs(30);
    /// A connection's time, and as much again.
    const TIME: Duration = Duration::from_millis(500);

    async fn start(counter: Counter) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { time: TIME, grace: TIME, ..Limits::default() };
        let service = move |request| {
            let counter = counter.clone();
            async move {
                let answer = take(&counter, request).await;
                let body = Full::new(Bytes::from(answer.body));
                Ok(Response::builder().status(answer.status).body(body).unwrap())
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(listen::serve(listener, limits, service, CancellationToken::new()));
        (address, tasks)
    }

    /// What comes back for an order of which so much is sent.
    async fn post(address: SocketAddr, token: &str, sent: usize) -> String {
        let order = r#"{"order":"run","dry_run":false}"#;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: pool\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n{}",
            order.len(),
            &order[..sent.min(order.len())]
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_connection_lives_until_its_order_is_carried_out_and_no_other_does() {
        let (counter, mut queue) = Counter::without_ledger(Some(Secret::new("hunter2")));
        let (address, _server) = start(counter).await;
        let cashier = async {
            let ticket = queue.recv().await.unwrap();
            sleep(4 * TIME).await;
            ticket.reply.send(Ok(json!({"payout": 1}))).unwrap();
        };
        let (answer, ()) = tokio::join!(post(address, "hunter2", usize::MAX), cashier);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"payout":1}"#),
            "{answer}"
        );

        assert_eq!(post(address, "hunter2", 9).await, "", "an order that does not come");
        let answer = post(address, "hunter3", usize::MAX).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(queue.try_recv().is_err());
    }
}
