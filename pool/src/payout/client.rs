//! Orders from the command line: carried out on the ledger itself where no pool runs on it, and
//! handed to the pool that does otherwise, over its HTTP API with the token of the configuration
//! that both read. The file's lock decides which it is, so that there is always one writer.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use ledger::{Ledger, LedgerError, Retention};
use serde_json::Value;

use super::cashier::Cashier;
use super::order::Order;
use crate::{
    clock::Clock, config::Config, energy_desk::EnergyDesk, ledger_task, ledger_task::LedgerHandle,
    metrics::Metrics, node::Nodes, run::ledger_settings,
};

/// A pool on the main chain looks for its coins for a minute or two.
const PATIENCE: Duration = Duration::from_secs(900);
/// Looks at payouts that are out before an order is carried out: more than a chain has blocks for.
const LOOKS_MAX: u32 = 100_000;
/// Longest answer taken.
const ANSWER_MAX: u64 = 16 << 20;
/// Where orders are taken.
const PATH: &str = "/api/v1/payouts/orders";

/// Carries out an order, wherever it must be. `pool` is where a running pool's HTTP is, if it is
/// not where the configuration says.
///
/// # Errors
/// A line that says what went wrong.
pub fn carry_out(config: &Config, order: Order, pool: Option<SocketAddr>) -> Result<Value, String> {
    let path = &config.ledger.path;
    match Ledger::open(path, ledger_settings(config)) {
        Ok(ledger) => alone(config, ledger, order),
        Err(LedgerError::Locked { .. }) => {
            let address = pool.unwrap_or(config.http);
            over_http(config, &order, address)
        }
        Err(error) => Err(format!("ledger {}: {error}", path.display())),
    }
}

/// Without a pool: the same task on the same ledger, for one order.
fn alone(config: &Config, ledger: Ledger, order: Order) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let clock = Clock::start();
    let desk = EnergyDesk::restore(&ledger, config.energy.interval).map_err(|e| e.to_string())?;
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let nodes = Nodes::new(config.node.clone(), config.backups.clone());
    let nodes = Arc::new(nodes.map_err(|error| error.to_string())?);
    let (handle, queue) = LedgerHandle::new(clock);
    // Pruning is left to the pool.
    let kept = Retention { all: true, ..Retention::default() };
    let mut cashier =
        Cashier::new(config, handle, Arc::clone(&nodes)).map_err(|error| error.to_string())?;
    runtime.block_on(async move {
        let thread = tokio::task::spawn_blocking(move || {
            ledger_task::run((ledger, kept), desk, queue, clock, metrics.ledger)
        });
        let done = async {
            if order.wants_node() {
                nodes.active().check_network().await.map_err(|error| error.to_string())?;
                catch_up(&mut cashier).await?;
            }
            cashier.execute(order).await.map_err(|error| error.to_string())
        };
        let answer = done.await;
        drop(cashier);
        thread.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        answer
    })
}

/// What was left half done comes first: followed up to the tip, however many looks that takes.
async fn catch_up(cashier: &mut Cashier) -> Result<(), String> {
    for _ in 0..LOOKS_MAX {
        if cashier.follow().await.map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
    Err(format!("payouts that are out: the tip was not reached in {LOOKS_MAX} looks"))
}

fn over_http(config: &Config, order: &Order, address: SocketAddr) -> Result<Value, String> {
    let Some(token) = &config.http_token else {
        return Err("a pool runs on this ledger, and takes no orders without http.token".to_owned());
    };
    let failed = |error: std::io::Error| format!("the pool at {address}: {error}");
    let body = serde_json::to_string(order).map_err(|error| error.to_string())?;
    let mut stream = TcpStream::connect(reachable(address)).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: pool\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        token.expose(),
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    stream.write_all(body.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let value: Value = serde_json::from_str(body)
        .map_err(|_| format!("the pool at {address} said {:?}", head.lines().next()))?;
    if head.starts_with("HTTP/1.1 200") {
        return Ok(value);
    }
    Err(value["error"].as_str().unwrap_or("the pool refused").to_owned())
}

/// An address that means all of this machine's is reached by the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}
