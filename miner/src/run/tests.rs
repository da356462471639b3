//! The whole miner against a small pool on a real socket.

mod odd;
mod pool;
mod strangers;

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::pool::{Manners, Pool};
use kernels::Backend;

use super::*;
use crate::upstream::status::Verdict;

/// A miner of two threads at these pools, with a key of its own.
fn config(urls: &[String], folder: &tempfile::TempDir) -> Config {
    let args = RunArgs {
        urls: urls.to_vec(),
        users: vec!["someone.rig1".to_owned()],
        threads: Some("2".to_owned()),
        cpu: Some("portable".to_owned()),
        gpu: Some("off".to_owned()),
        api: Some("127.0.0.1:0".to_owned()),
        ..RunArgs::default()
    };
    let (mut config, _) = settings::load(&args, []).unwrap();
    config.timing = upstream::Timing {
        connect: Duration::from_secs(2),
        first_job: Duration::from_secs(3),
        probe_every: Duration::from_millis(300),
    };
    config.energy = Some(settings::Energy {
        sysfs: folder.path().to_owned(),
        watts: Some(units::MilliWatts::from_watts(50)),
        chip: None,
        uncertainty: 0.3,
        key: Some(folder.path().join("miner.key")),
    });
    config
}

/// Mines at `urls` until `until` is done, which gets the API's address; gives the last reading.
async fn mine_until<F: Future<Output = ()>>(
    urls: &[String],
    until: impl FnOnce(SocketAddr) -> F,
) -> Arc<Snapshot> {
    let folder = tempfile::tempdir().unwrap();
    mine_config_until(config(urls, &folder), until).await
}

/// The same with this configuration.
async fn mine_config_until<F: Future<Output = ()>>(
    config: Config,
    until: impl FnOnce(SocketAddr) -> F,
) -> Arc<Snapshot> {
    let (tell, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let mining = mine(
        config,
        Rig::of_cpu(Backend::Portable.into()),
        Clock::start(),
        async move { stopped.await.unwrap_or(()) },
        move |address| tell.send(address).map_err(|_| Failure::failed("nobody listens")),
    );
    let watching = async move {
        until(told.await.unwrap()).await;
        stop.send(()).unwrap();
    };
    let both = async { tokio::join!(mining, watching).0 };
    timeout(Duration::from_secs(120), both).await.expect("the miner ends").unwrap()
}

/// Waits until the pool's diary shows `enough`.
async fn diary_shows(pool: &Pool, enough: impl Fn(&pool::Diary) -> bool) {
    while !enough(&pool.diary.lock().unwrap()) {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: miner\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mines_reports_and_agrees_with_the_pool_to_the_last_share() {
    let pool = Pool::open(Manners::default()).await;
    let last = mine_until(&[pool.url()], async |api| {
        diary_shows(&pool, |diary| diary.shares >= 300 && diary.reports.len() >= 4).await;
        let summary: Value = serde_json::from_str(&get(api, "/api/v1/summary").await).unwrap();
        assert_eq!(summary["pool"]["state"], "mining");
        assert!(get(api, "/metrics").await.contains("wattproof_miner_shares_total"));
        let xmrig: Value = serde_json::from_str(&get(api, "/2/summary").await).unwrap();
        assert_eq!(xmrig["worker_id"], "rig1");
        assert_eq!(get(api, "/healthz").await, "ok mining\n");
    })
    .await;
    let diary = pool.diary.lock().unwrap();
    let status = &last.upstream;

    // Every share is accounted for on both sides, and the work is the same to the last hash.
    assert_eq!(status.shares.of(Verdict::Accepted), diary.shares);
    assert_eq!(status.proven, diary.work);
    assert_eq!(status.shares.rejected(), u64::try_from(diary.rejected.len()).unwrap());
    assert!(diary.rejected.iter().all(|reason| *reason == "stale"), "{:?}", diary.rejected);
    assert_eq!(status.shares.of(Verdict::Unanswered), 0);
    assert_eq!(last.hardware_errors(), 0);

    // Hashes claimed and hashes proven agree within the noise of so many shares, and the little
    // that was hashed for a job that had just ended.
    let lost = status.shares.of(Verdict::Unsent) + status.shares.rejected();
    let found = f64::from(u32::try_from(diary.shares + lost).unwrap());
    let per_share = diary.work.as_f64() / f64::from(u32::try_from(diary.shares).unwrap());
    let expected = last.hashes().as_f64() / per_share;
    assert!((found - expected).abs() < 5.0 * expected.sqrt(), "{found} found, {expected} expected");

    // Energy: a baseline before the first share, and the last report is after the last hash.
    let (shares_before, baseline) = &diary.reports[0];
    assert_eq!(*shares_before, 0);
    assert_eq!(baseline.hashes.unwrap().total, units::Hashes::ZERO);
    assert_eq!(baseline.meters[0].total, units::MicroJoules::ZERO);
    let (_, report) = diary.reports.last().unwrap();
    assert_eq!(report.hashes.unwrap().total, last.hashes());
    assert_eq!(Some(report.meters[0].total), last.energy());
    assert_eq!(report.worker, "someone.rig1");
    assert_eq!(status.energy_reports, u64::try_from(diary.reports.len()).unwrap());
    assert!(diary.users.contains("someone.rig1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_of_a_job_that_has_ended_is_sent_all_the_same() {
    let block_every = Duration::from_millis(100);
    // The network's target is a trifle easier than the pool's: each share is a block.
    let manners = Manners { nbits: 0x1f01_8800, block_every, ..Manners::default() };
    let blocks = Pool::open(manners).await;
    let last = mine_until(&[blocks.url()], async |_| {
        diary_shows(&blocks, |diary| diary.stale_blocks >= 3).await;
    })
    .await;
    let stale = blocks.diary.lock().unwrap().stale_blocks;
    assert_eq!(last.upstream.shares.of(Verdict::Unsent), 0);
    assert_eq!(last.upstream.shares.of(Verdict::Stale), u64::try_from(stale).unwrap());

    // A share that is no block is of no use to anyone by then.
    let shares = Pool::open(Manners { block_every, ..Manners::default() }).await;
    let last = mine_until(&[shares.url()], async |api| {
        let unsent = async || {
            let summary: Value = serde_json::from_str(&get(api, "/api/v1/summary").await).unwrap();
            summary["shares"]["by_verdict"]["unsent"].as_u64().unwrap()
        };
        while unsent().await < 3 {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(last.upstream.shares.of(Verdict::Unsent) >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_pool_is_passed_over_and_a_lost_one_is_tried_again() {
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("stratum+tcp://{}", listener.local_addr().unwrap())
    };
    let pool = Pool::open(Manners { shares_per_connection: 20, ..Manners::default() }).await;
    let last = mine_until(&[dead.clone(), pool.url()], async |_| {
        diary_shows(&pool, |diary| diary.connections >= 3 && diary.shares >= 50).await;
    })
    .await;
    let status = &last.upstream;
    assert!(status.failures >= 4, "two rounds with two failures each: {}", status.failures);
    let reason = status.last_failure.as_deref().unwrap();
    assert!(
        reason.contains("nothing listens there") || reason.contains("the pool closed"),
        "{reason}"
    );
    // Totals go on over connections: no report starts again at zero.
    let diary = pool.diary.lock().unwrap();
    let totals: Vec<_> = diary.reports.iter().map(|(_, r)| r.hashes.unwrap().total).collect();
    assert!(totals.is_sorted(), "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_pool_is_returned_to_once_it_gives_work_again() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = away.local_addr().unwrap();
    drop(away);
    let second = Pool::open(Manners::default()).await;
    let urls = [format!("stratum+tcp://{first}"), second.url()];
    let returned = std::sync::OnceLock::new(); // outlives the miner
    let last = mine_until(&urls, async |_| {
        diary_shows(&second, |diary| diary.shares >= 10).await;
        assert!(returned.set(Pool::open_at(first, Manners::default()).await).is_ok());
        diary_shows(returned.get().unwrap(), |diary| diary.shares >= 10).await;
    })
    .await;
    assert_eq!(last.upstream.failures, 1, "leaving in good order is no failure");
    assert_eq!(last.upstream.shares.of(Verdict::Unanswered), 0);
    assert_eq!(last.upstream.pool, urls[0]);
    let diary = second.diary.lock().unwrap();
    let (_, report) = diary.reports.last().unwrap();
    assert!(report.hashes.unwrap().total.get() > 0, "a last report goes to the pool that is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_refuses_the_user_is_left_for_the_next() {
    let strict = Pool::open(Manners { refuses_users: true, ..Manners::default() }).await;
    let pool = Pool::open(Manners::default()).await;
    let last = mine_until(&[strict.url(), pool.url()], async |_| {
        diary_shows(&pool, |diary| diary.shares >= 5).await;
    })
    .await;
    let reason = last.upstream.last_failure.as_deref().unwrap();
    assert!(reason.contains("someone.rig1") && reason.contains("nobody is known"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_of_the_first_days_is_spoken_to_plainly() {
    let pool = Pool::open(Manners { hates_configure: true, ..Manners::default() }).await;
    let last = mine_until(&[pool.url()], async |_| {
        diary_shows(&pool, |diary| diary.shares >= 5).await;
    })
    .await;
    assert!(last.upstream.shares.of(Verdict::Accepted) >= 5);
    assert_eq!(last.upstream.energy_reports, 0);
    assert_eq!(pool.diary.lock().unwrap().connections, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirection_within_the_pools_own_host_is_followed() {
    let pool = Pool::open(Manners::default()).await;
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = [format!("stratum+tcp://{}", door.local_addr().unwrap())];
    let port = pool.address.port();
    let porter = async {
        for target in ["evil.example", "127.0.0.1"] {
            let (mut stream, _) = door.accept().await.unwrap();
            let line = format!(
                "{{\"id\":null,\"method\":\"client.reconnect\",\"params\":[\"{target}\",{port},0]}}\n"
            );
            stream.write_all(line.as_bytes()).await.unwrap();
            let _asked = stream.read(&mut [0; 512]).await.unwrap();
        }
    };
    let mining = mine_until(&urls, async |_| {
        diary_shows(&pool, |diary| diary.shares >= 5).await;
    });
    let (last, ()) = tokio::join!(mining, porter);
    assert_eq!(last.upstream.pool, pool.url());
    let reason = last.upstream.last_failure.as_deref().unwrap();
    assert!(reason.contains("the pool closed the connection"), "the stranger's door: {reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_takes_no_longer_than_the_last_answers() {
    let quiet = Manners { block_every: Duration::from_secs(3600), ..Manners::default() };
    let pool = Pool::open(quiet).await;
    let clock = Clock::start();
    let told = std::cell::Cell::new(Duration::ZERO);
    let last = mine_until(&[pool.url()], async |_| {
        diary_shows(&pool, |diary| diary.shares >= 3).await;
        told.set(clock.elapsed());
    })
    .await;
    let took = clock.elapsed() - told.get();
    assert!(took < Duration::from_secs(2), "answers come at once, yet it took {took:?}");
    assert_eq!(last.upstream.shares.of(Verdict::Unanswered), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_does_not_wait_for_ever_for_verdicts() {
    let manners = Manners { leaves_shares_unanswered: true, ..Manners::default() };
    let pool = Pool::open(manners).await;
    let clock = Clock::start();
    let told = std::cell::Cell::new(Duration::ZERO);
    let last = mine_until(&[pool.url()], async |_| {
        diary_shows(&pool, |diary| diary.shares >= 3).await;
        told.set(clock.elapsed());
    })
    .await;
    let took = clock.elapsed() - told.get();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(8), "{took:?}");
    assert!(last.upstream.shares.of(Verdict::Unanswered) >= 3);
    let diary = pool.diary.lock().unwrap();
    let (_, report) = diary.reports.last().unwrap();
    assert_eq!(report.hashes.unwrap().total, last.hashes(), "the last report still goes out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_pool_it_waits_and_stops_when_told() {
    let last = mine_until(&["stratum+tcp://127.0.0.1:1".to_owned()], async |api| {
        sleep(Duration::from_millis(300)).await;
        assert_eq!(get(api, "/healthz").await.lines().count(), 1);
    })
    .await;
    assert_eq!(last.hashes(), units::Hashes::ZERO);
    assert!(last.upstream.failures >= 1);
}

/// A laptop's adapter, on or off, and its battery.
fn supplies(folder: &tempfile::TempDir, online: &str) {
    let file = |path: &str, text: &str| {
        let path = folder.path().join("class/power_supply").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    file("BAT0/type", "Battery\n");
    file("AC/type", "Mains\n");
    file("AC/online", online);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_battery_it_stays_at_the_pool_and_hashes_and_claims_nothing() {
    let pool = Pool::open(Manners::default()).await;
    let folder = tempfile::tempdir().unwrap();
    supplies(&folder, "0\n");
    let mut config = config(&[pool.url()], &folder);
    config.power.pause_on_battery = true;
    config.sysfs = folder.path().to_owned();
    let last = mine_config_until(config, async |api| {
        diary_shows(&pool, |diary| diary.reports.len() >= 2).await;
        let summary: Value = serde_json::from_str(&get(api, "/api/v1/summary").await).unwrap();
        assert_eq!(summary["pool"]["state"], "mining");
        assert_eq!(
            (&summary["hashes"], &summary["energy"]["joules"]),
            (&"0".into(), &"0.000000".into())
        );
        let restraint = &summary["restraint"];
        assert_eq!((&restraint["paused"], &restraint["threads"]), (&true.into(), &0.into()));
        assert_eq!(restraint["reasons"][0]["detail"], "running on battery BAT0");
        let paused = "wattproof_miner_paused{reason=\"battery\"} 1\n";
        assert!(get(api, "/metrics").await.contains(paused));
        supplies(&folder, "1\n");
        diary_shows(&pool, |diary| diary.shares > 0).await;
    })
    .await;
    assert!(last.restraint.reasons.is_empty() && last.hashes() > units::Hashes::ZERO);
    assert!(last.energy().unwrap() > units::MicroJoules::ZERO);
}

#[tokio::test]
async fn what_cannot_be_kept_here_is_refused_before_anything_is_hashed() {
    for (change, named) in [
        ((|power| power.governor = true) as fn(&mut crate::restraint::Settings), "power.governor"),
        (|power| power.max_celsius = Some(80.0), "power.max_celsius"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&["stratum+tcp://127.0.0.1:1".to_owned()], &folder);
        config.sysfs = folder.path().to_owned();
        change(&mut config.power);
        let rig = Rig::of_cpu(Backend::Portable.into());
        let ended = mine(config, rig, Clock::start(), std::future::pending(), |_| Ok(())).await;
        let failure = ended.unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)), "{failure}");
        assert!(failure.to_string().starts_with(named), "{failure}");
    }
}
