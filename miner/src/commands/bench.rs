//! `bench`: the path that mines, measured: a job's header in, hits out, every hit hashed again.
//!
//! The workers, their claims and slices are those of mining; only the pool is missing, and the
//! threads run anywhere and no nicer than the process itself: both are the measurer's to choose, by
//! `taskset` and `nice`. The target is easy enough for a hit in about a million hashes, so that the
//! hits found say whether the hashes were done: a count that is off by five standard errors is a
//! failure, not a result.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use energy::meter::Kind;
use gpu::adapters::{self, Wanted};
use kernels::Tile;
use serde_json::json;
use stratum::v1::client::ClientJob;
use units::{Difficulty, Hashes, MicroJoules, Moment, Target, Work as ProvenWork};

use super::{fastest, runtime};
use crate::cli::BenchArgs;
use crate::clock::Clock;
use crate::cpus::plan::Plan;
use crate::cpus::system;
use crate::device::{Device, Kernel};
use crate::error::Failure;
use crate::hands::{Crew, Ends, Orders};
use crate::instruments::meter::Meter;
use crate::instruments::sensors::Processor;
use crate::progress;
use crate::rig::{self, Ready};
use crate::settings;
use crate::space::Layout;
use crate::tuning::Limit;
use crate::work::Book;
use crate::workers;

/// A hit in about this many hashes.
const HASHES_PER_HIT: f64 = 1_048_576.0;
/// The lowest of the version bits that BIP 320 leaves to miners.
const FIRST_VERSION_BIT: u32 = 13;
/// How many standard errors the hits may be off.
const ERRORS_MAX: f64 = 5.0;

/// What is measured.
enum Subject {
    Cpu { tile: Tile, plan: Plan },
    Gpu(Box<Ready>),
}

struct Measured {
    device: String,
    kernel: Kernel,
    threads: usize,
    limit: Option<f64>,
    elapsed: Duration,
    hashes: Hashes,
    hits: u64,
    proven: ProvenWork,
    joules: Option<MicroJoules>,
}

/// Measures, and gives the text to print.
///
/// # Errors
/// When the device or backend is not here, or the answers were wrong.
pub fn bench(args: &BenchArgs) -> Result<String, Failure> {
    let clock = Clock::start();
    let subject = subject(args, clock)?;
    let measured = measure(args, subject, clock)?;
    check(&measured)?;
    Ok(if args.json { as_json(args, &measured) } else { as_text(args, &measured) })
}

fn subject(args: &BenchArgs, clock: Clock) -> Result<Subject, Failure> {
    let device = args.device.as_str();
    if device == "cpu" {
        let named = args.backend.as_deref().map(settings::backend).transpose();
        let named = named.map_err(|e| Failure::usage(format!("--backend: {e}")))?;
        let plan = Plan::free(usize::from(args.threads));
        return Ok(Subject::Cpu { tile: fastest(named, false, clock), plan });
    }
    let number = match device.strip_prefix("gpu") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse::<usize>().ok()),
        None => None,
    };
    let Some(number) = number else {
        return Err(Failure::usage(format!("--device {device}: cpu, gpu or gpu:N")));
    };
    if let Some(backend) = args.backend.as_deref().filter(|backend| *backend != "wgpu") {
        return Err(Failure::usage(format!("--backend {backend}: a GPU's is wgpu")));
    }
    let wanted = Wanted::Named(vec![number.to_string()]);
    let chosen = adapters::choose(rig::all_adapters(), &wanted)
        .map_err(|error| Failure::usage(format!("--device {device}: {error}")))?;
    let adapter = chosen.adapters.into_iter().next();
    let adapter = adapter.ok_or_else(|| Failure::usage(format!("--device {device}: not here")))?;
    let ready = rig::ready(adapter, false, clock)
        .map_err(|error| Failure::failed(format!("--device {device}: {error}")))?;
    Ok(Subject::Gpu(Box::new(ready)))
}

/// Starts the device's workers; gives the device and how it deals its claims.
fn start(subject: Subject, crew: &Crew, clock: Clock) -> Result<(Arc<Device>, Layout), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
    match subject {
        Subject::Cpu { tile, plan } => {
            let device = Arc::new(Device::new("cpu", tile, plan.threads()));
            if let Some(limit) = Limit::measure(tile, &plan, &system::of_this_machine(), clock) {
                device.set_limit(limit);
            }
            workers::start(crew, &device, 0, tile, &plan).map_err(|error| failed(&error))?;
            Ok((device, Layout::of_cpu(tile.backend)))
        }
        Subject::Gpu(ready) => {
            let layout = ready.layout();
            let device = ready.start(crew, 0, false).map_err(|error| failed(&error))?;
            Ok((device, layout))
        }
    }
}

fn measure(args: &BenchArgs, subject: Subject, clock: Clock) -> Result<Measured, Failure> {
    let runtime = runtime(1)?;
    let (crew, Ends { orders, mut found }) = Crew::new(clock, runtime.handle());
    let (device, layout) = start(subject, &crew, clock)?;
    drop(crew);
    let mut book = Book::new(vec![layout]);
    let job = Arc::new(job(args.versions, clock.now()));
    let target = job.target;
    let work = Arc::new(book.work(job, 0));
    let mut meter = counters(clock.now());
    let begin = clock.elapsed();
    orders.send_replace(Orders::Mine(work));
    let hits = runtime.block_on(async {
        let end = tokio::time::sleep(Duration::from_secs_f64(args.seconds));
        tokio::pin!(end);
        let mut hits = 0_u64;
        let mut running = true;
        loop {
            tokio::select! {
                hit = found.recv() => match hit {
                    Some(_) => hits += 1,
                    None => break hits,
                },
                () = &mut end, if running => {
                    running = false;
                    orders.send_replace(Orders::Stop);
                }
            }
        }
    });
    let elapsed = clock.elapsed().saturating_sub(begin);
    let joules = meter.as_mut().map(|meter| {
        meter.sample(clock.now(), Duration::ZERO);
        meter.total()
    });
    let kernel = device.kernel();
    if device.hardware_errors() > 0 {
        let errors = device.hardware_errors();
        return Err(Failure::failed(format!("{kernel}: {errors} hits did not hash again")));
    }
    if let Some(lost) = device.lost() {
        return Err(Failure::failed(format!("{}: {lost}", device.name())));
    }
    let proven = ProvenWork::new(target.work().get().saturating_mul(hits.into()));
    Ok(Measured {
        device: device.name().to_owned(),
        kernel,
        threads: device.threads(),
        limit: device.limit(),
        elapsed,
        hashes: device.hashes(),
        hits,
        proven,
        joules,
    })
}

/// Real joules or none: a model would only give back its own figure.
fn counters(now: Moment) -> Option<Meter> {
    let settings = settings::Energy {
        chip: None,
        sysfs: PathBuf::from("/sys"),
        watts: None,
        uncertainty: settings::LEAST_UNCERTAINTY,
        key: None,
    };
    let (meter, _) = Meter::open(&settings, &Processor::of_this_machine(), 1, now);
    (meter.spec().kind == Kind::Rapl).then_some(meter)
}

/// The hits must be as many as the hashes promise, within the noise of a Poisson count.
fn check(measured: &Measured) -> Result<(), Failure> {
    let expected = measured.hashes.as_f64() / HASHES_PER_HIT;
    let off = (measured.proven.as_f64() / HASHES_PER_HIT - expected).abs();
    if off <= ERRORS_MAX * expected.max(1.0).sqrt() {
        return Ok(());
    }
    let (kernel, hits) = (measured.kernel, measured.hits);
    Err(Failure::failed(format!(
        "{kernel}: {hits} hits where about {expected:.0} were to be found"
    )))
}

/// Work like a pool's, with fixed contents: the same hashes on every machine.
fn job(versions: u32, now: Moment) -> ClientJob {
    let difficulty = Difficulty::new(HASHES_PER_HIT / 4_295_032_833.0);
    let target = Target::from_difficulty(difficulty.expect("a positive constant"));
    ClientJob {
        id: "bench".to_owned(),
        prev_hash: [0x5a; 32],
        coinbase1: vec![0x01; 60],
        coinbase2: vec![0x02; 120],
        branch: vec![[0x03; 32]; 12],
        version: 0x2000_0000,
        nbits: 0x1d00_ffff,
        ntime: 1_700_000_000,
        clean: true,
        target,
        network_target: Target::difficulty_one(),
        version_mask: (versions - 1) << FIRST_VERSION_BIT,
        xn1: vec![0; 4],
        xn2_size: 8,
        received: now,
        generation: 1,
        continues: false,
    }
}

fn as_json(args: &BenchArgs, measured: &Measured) -> String {
    let hashes = u64::try_from(measured.hashes.get()).unwrap_or(u64::MAX);
    let object = json!({
        "schema": 1,
        "algorithm": "sha256d",
        "device": measured.device,
        "backend": measured.kernel.backend().name(),
        "kernel": measured.kernel.to_string(),
        "versions": args.versions,
        "threads": measured.threads,
        "seconds": measured.elapsed.as_secs_f64(),
        "hashes": hashes,
        "hashes_per_second": per_second(measured),
        "hits": measured.hits,
        "limit_hashes_per_second": measured.limit,
        "percent_of_limit": percent_of_limit(measured),
        "joules": measured.joules.map(MicroJoules::joules_f64),
        "energy_source": if measured.joules.is_some() { "rapl" } else { "none" },
    });
    format!("{object}\n")
}

fn as_text(args: &BenchArgs, measured: &Measured) -> String {
    let joules = match measured.joules {
        Some(joules) => format!("{} J (rapl)", joules.joules()),
        None => "no energy counter here".to_owned(),
    };
    let of_limit = percent_of_limit(measured)
        .map_or_else(String::new, |percent| format!(", {percent:.0} % of the limit"));
    format!(
        "{}  {}  {} threads  {} versions  {}{of_limit} in {:.2} s ({} hits, all verified)  {joules}\n",
        measured.device,
        measured.kernel,
        measured.threads,
        args.versions,
        progress::rate(per_second(measured)),
        measured.elapsed.as_secs_f64(),
        measured.hits,
    )
}

fn percent_of_limit(measured: &Measured) -> Option<f64> {
    measured.limit.map(|limit| 100.0 * per_second(measured) / limit)
}

fn per_second(measured: &Measured) -> f64 {
    measured.hashes.as_f64() / measured.elapsed.as_secs_f64()
}
