//! Pools that are none, and what stands between us and one: each is told by its reason and passed
//! over for the next, and nothing is believed that anybody could have written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::pool::{Manners, Pool};
use super::{config, diary_shows, mine_config_until, mine_until};
use crate::telemetry::Snapshot;
use crate::testing::doors::{self, Door, Identity, Socks};
use crate::upstream::status::Verdict;

/// Answers to the opening, with the difficulty and a job that nobody will solve.
const WELCOME: &str = concat!(
    r#"{"id":1,"result":[[],"aabb",4],"error":null}"#,
    "\n",
    r#"{"id":2,"result":[[],"aabb",4],"error":null}"#,
    "\n",
    r#"{"id":3,"result":true,"error":null}"#,
    "\n",
    r#"{"id":null,"method":"mining.set_difficulty","params":[1e12]}"#,
    "\n",
);

fn job() -> String {
    let zeros = "0".repeat(64);
    format!(
        "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"j\",\"{zeros}\",\"01\",\"02\",[],\
         \"20000000\",\"1d00ffff\",\"6553f100\",true]}}\n"
    )
}

/// Says this to whoever comes and begins as a miner of ours does, counts them, and then closes or
/// holds the connection.
async fn stranger(says: String, holds: bool) -> (Door, Arc<AtomicUsize>) {
    let miners = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&miners);
    let door = doors::open(move |mut stream| {
        let (says, counted) = (says.clone(), Arc::clone(&counted));
        async move {
            let mut heard = [0; 2048];
            let length = stream.read(&mut heard).await.ok()?;
            // Only a miner offers this; one that merely looks whether the pool works does not.
            if String::from_utf8_lossy(&heard[..length]).contains("energy-report") {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            stream.write_all(says.as_bytes()).await.ok()?;
            while holds && stream.read(&mut heard).await.ok()? > 0 {}
            None
        }
    })
    .await;
    (door, miners)
}

fn url(address: SocketAddr) -> String {
    format!("stratum+tcp://{address}")
}

fn last_failure(last: &Snapshot) -> &str {
    last.upstream.last_failure.as_deref().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_pool_is_passed_over_with_the_reason() {
    let long = "x".repeat(70_000);
    let nothing = String::new();
    for (says, holds, why) in [
        (nothing.clone(), false, "before it said anything"),
        (nothing, true, "the pool gave no work within 3 s"),
        (WELCOME.to_owned(), true, "the pool gave no work within 3 s"),
        (format!("{WELCOME}{}", job()), false, "the pool closed the connection"),
        ("HTTP/1.1 400 Bad Request\n".repeat(12), true, "JSON"),
        (long, true, "65536"),
        ("\u{15}\u{3}\u{1}".to_owned(), true, "this port speaks TLS: write stratum+ssl"),
    ] {
        let (door, _) = stranger(says, holds).await;
        let pool = Pool::open(Manners::default()).await;
        let last = mine_until(&[url(door.address), pool.url()], async |_| {
            diary_shows(&pool, |diary| diary.shares >= 3).await;
        })
        .await;
        assert!(last_failure(&last).contains(why), "{why} is not in: {}", last_failure(&last));
        assert_eq!(last.upstream.pool, pool.url(), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_answers_no_share_is_left_for_the_next() {
    let mute = Manners { leaves_shares_unanswered: true, ..Manners::default() };
    let (mute, pool) = (Pool::open(mute).await, Pool::open(Manners::default()).await);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&[mute.url(), pool.url()], &folder);
    config.timing.probe_every = Duration::from_secs(3600);
    let last = mine_config_until(config, async |_| {
        diary_shows(&pool, |diary| diary.shares >= 3).await;
    })
    .await;
    assert!(last_failure(&last).contains("answered no share for 30 s"), "{}", last_failure(&last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirections_without_end_are_followed_three_times() {
    let line = "{\"id\":null,\"method\":\"client.reconnect\",\"params\":[\"\",0,0]}\n";
    let (door, miners) = stranger(line.to_owned(), true).await;
    let pool = Pool::open(Manners::default()).await;
    let last = mine_until(&[url(door.address), pool.url()], async |_| {
        diary_shows(&pool, |diary| diary.shares >= 3).await;
    })
    .await;
    assert_eq!(miners.load(Ordering::Relaxed), 4, "the first time, and three more");
    assert!(last_failure(&last).contains("gave no work"), "{}", last_failure(&last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_only_floods_the_log_is_no_reason_to_stop() {
    let chatter = "{\"id\":null,\"method\":\"client.show_message\",\"params\":[\"hi\"]}\n";
    let (door, _) = stranger(format!("{WELCOME}{}{}", job(), chatter.repeat(5000)), true).await;
    let last = mine_until(&[url(door.address)], async |api| {
        while !super::get(api, "/healthz").await.contains("mining") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    })
    .await;
    assert!(last.hashes() > units::Hashes::ZERO);
    assert_eq!(last.upstream.failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_pool_over_tls_is_mined_on_to_the_last_report() {
    let pool = Pool::open(Manners::default()).await;
    let identity = Identity::of_its_own(&["pool.example"]);
    let door = doors::tls(&identity, pool.address).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("stratum+ssl://{}", door.address);
    let mut config = config(std::slice::from_ref(&url), &folder);
    config.pools[0].fingerprint = Some(identity.fingerprint().parse().unwrap());
    let last = mine_config_until(config, async |_| {
        diary_shows(&pool, |diary| diary.shares >= 50 && diary.reports.len() >= 2).await;
    })
    .await;
    let diary = pool.diary.lock().unwrap();
    assert_eq!(last.upstream.pool, url);
    assert_eq!(last.upstream.shares.of(Verdict::Accepted), diary.shares);
    assert_eq!(last.upstream.failures, 0);
    let (_, report) = diary.reports.last().unwrap();
    assert_eq!(report.hashes.unwrap().total, last.hashes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_pin_a_certificate_of_no_authority_gets_no_password() {
    let (strict, pool) =
        (Pool::open(Manners::default()).await, Pool::open(Manners::default()).await);
    let identity = Identity::of_its_own(&["localhost"]);
    let door = doors::tls(&identity, strict.address).await;
    let urls = [format!("stratum+ssl://localhost:{}", door.address.port()), pool.url()];
    let last = mine_until(&urls, async |_| {
        diary_shows(&pool, |diary| diary.shares >= 3).await;
    })
    .await;
    let reason = last_failure(&last);
    assert!(reason.contains("no known authority signed it"), "{reason}");
    assert!(reason.contains(&identity.fingerprint()), "{reason}");
    assert!(strict.diary.lock().unwrap().users.is_empty(), "nothing was said to it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_behind_a_proxy_is_mined_on_and_probed_through_it() {
    let first = Pool::open(Manners::default()).await;
    let second = Pool::open(Manners::default()).await;
    let manner = Socks { login: None, answer: 0, asked: Arc::default() };
    let asked = Arc::clone(&manner.asked);
    let door = doors::socks(manner, first.address).await;
    let refusing = Socks { login: None, answer: 4, asked: Arc::default() };
    let closed = doors::socks(refusing, first.address).await;
    let folder = tempfile::tempdir().unwrap();
    let urls =
        ["stratum+tcp://gone.invalid:1".to_owned(), "stratum+tcp://pool.invalid:3333".to_owned()];
    let mut config = config(&[urls.as_slice(), &[second.url()]].concat(), &folder);
    config.pools[0].proxy = Some(format!("socks5://{}", closed.address).parse().unwrap());
    config.pools[1].proxy = Some(format!("socks5://{}", door.address).parse().unwrap());
    let last = mine_config_until(config, async |_| {
        diary_shows(&first, |diary| diary.shares >= 10).await;
    })
    .await;
    assert_eq!(last.upstream.pool, urls[1]);
    assert!(asked.lock().unwrap().iter().all(|asked| *asked == ("pool.invalid".to_owned(), 3333)));
    assert!(last_failure(&last).contains("Host unreachable"), "{}", last_failure(&last));
    assert_eq!(second.diary.lock().unwrap().connections, 0);
}
