//! What goes wrong: a GPU that is lost, an engine that is dropped at work, slices that nobody may
//! ask for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use gpu::{Engine, Finished, GpuKernel, IN_FLIGHT, Lost, Method, PATIENCE, Tile, VERSIONS_MAX};
use kernels::{Hit, Kernel as _, Slice};
use units::{Hashes, Target};

use crate::case::{Case, Random, adapters, small_engines};

/// Long enough to be under way while other things happen.
fn long(random: &mut Random) -> Case {
    random.case(0x0000_3fff, 32, 1, 10_000)
}

/// Finishes and submits until the loss is told, as whoever mines does; nothing that is told on the
/// way may be wrong.
fn until_lost(engine: &mut Engine, case: &Case) -> Lost {
    let mut hits = Vec::new();
    for _ in 0..1_000 {
        if engine.under_way() < IN_FLIGHT
            && let Err(lost) = engine.submit(&case.slice())
        {
            return lost;
        }
        hits.clear();
        match engine.finish(&mut hits, PATIENCE) {
            Ok(finished) => case.is_answered(engine.tile(), finished, &hits),
            Err(lost) => {
                let expected = case.expected();
                assert!(hits.iter().all(|hit| expected.contains(hit)), "{hits:?}");
                return lost;
            }
        }
    }
    panic!("{}: it was never found to be lost", engine.tile());
}

#[test]
fn a_loss_is_told_and_another_engine_goes_on() {
    for adapter in adapters() {
        for method in Method::ALL {
            let tile = Tile { method, workgroup: 32, nonces: 4 };
            let mut random = Random(9);
            let case = long(&mut random);
            for under_way in 0..=IN_FLIGHT {
                let mut engine = Engine::open(&adapter, tile).unwrap();
                for _ in 0..under_way {
                    engine.submit(&case.slice()).unwrap();
                }
                engine.breaker().lose();
                let lost = until_lost(&mut engine, &case);
                assert!(lost.to_string().starts_with("the GPU is lost: "), "{lost}");
                assert!(!lost.to_string().contains('\n'), "{lost}");
                // It stays lost, and says the same.
                let mut hits: Vec<Hit> = Vec::new();
                if engine.under_way() < IN_FLIGHT {
                    assert_eq!(engine.submit(&case.slice()), Err(lost.clone()));
                }
                for _ in 0..engine.under_way() {
                    let again = engine.finish(&mut hits, PATIENCE);
                    assert!(again == Err(lost.clone()) || again == Ok(Finished::Nothing));
                }
                assert_eq!(hits, []);
            }
            let found = adapter.found_again().expect("the adapter is still there");
            let mut engine = Engine::open(&found, tile).unwrap();
            random.case(0x0fff_ffff, 3, 5, 100).check(&mut engine);
        }
    }
}

#[test]
fn a_loss_in_the_middle_is_told() {
    for mut engine in small_engines() {
        let case = long(&mut Random(10));
        let breaker = engine.breaker();
        thread::scope(|scope| {
            let breaks = scope.spawn(move || breaker.lose());
            until_lost(&mut engine, &case);
            breaks.join().unwrap();
        });
    }
}

#[test]
fn a_kernel_whose_gpu_is_lost_counts_nothing_and_says_why() {
    for engine in small_engines() {
        let breaker = engine.breaker();
        let mut kernel = GpuKernel::new(engine);
        let case = Random(11).case(0x0fff_ffff, 3, 5, 100);
        let mut hits = Vec::new();
        assert_eq!(kernel.scan(&case.slice(), &mut hits), Hashes::new(300));
        assert!(!hits.is_empty() && kernel.lost().is_none());
        breaker.lose();
        hits.clear();
        // The call that notices may be the next but one.
        let scans: Vec<Hashes> = (0..2).map(|_| kernel.scan(&case.slice(), &mut hits)).collect();
        assert_eq!(scans[1], Hashes::ZERO);
        assert!(kernel.lost().is_some());
    }
}

#[test]
fn an_engine_may_be_dropped_at_work() {
    for mut engine in small_engines() {
        let case = long(&mut Random(12));
        for _ in 0..IN_FLIGHT {
            engine.submit(&case.slice()).unwrap();
        }
        drop(engine);
    }
    // The process and the driver are none the worse.
    for mut engine in small_engines() {
        Random(13).case(0x0fff_ffff, 3, 5, 100).check(&mut engine);
    }
}

/// What a call panics with.
fn panic_of(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it does not panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .expect("it panics with a text")
}

#[test]
fn slices_that_nobody_may_ask_for_panic() {
    for mut engine in small_engines() {
        let tile = engine.tile();
        let versions: Vec<u32> = (0..=4096).collect();
        assert_eq!(versions.len(), VERSIONS_MAX + 1);
        let one = Slice {
            header: &[7; 80],
            target: &Target::MAX,
            versions: &[1],
            first_nonce: 0,
            nonces: 1,
        };
        let nonces_max = engine.nonces_max();
        for (slice, says) in [
            (Slice { versions: &versions, ..one }, "no such size"),
            (Slice { versions: &[], ..one }, "no such size"),
            (Slice { nonces: 0, ..one }, "no such size"),
            (Slice { nonces: nonces_max + 1, ..one }, "no such size"),
            (Slice { first_nonce: u32::MAX, nonces: 2, ..one }, "nonces end at u32::MAX"),
        ] {
            let says_this = panic_of(|| drop(engine.submit(&slice)));
            assert!(says_this.contains(says), "{tile}: {says_this}");
            assert_eq!(engine.under_way(), 0, "{tile}");
        }
        for _ in 0..IN_FLIGHT {
            engine.submit(&one).unwrap();
        }
        let too_many = panic_of(|| drop(engine.submit(&one)));
        assert!(too_many.contains("2 dispatches are under way"), "{tile}: {too_many}");
        // It goes on none the worse.
        let mut hits = Vec::new();
        for _ in 0..IN_FLIGHT {
            assert!(matches!(engine.finish(&mut hits, PATIENCE), Ok(Finished::Done(_))), "{tile}");
        }
        assert_eq!(hits, [Hit { version: 1, nonce: 0 }; IN_FLIGHT]);
    }
}

#[test]
fn a_kernel_refuses_to_run_past_the_last_nonce() {
    for engine in small_engines() {
        let nonces_max = engine.nonces_max();
        let mut kernel = GpuKernel::new(engine);
        let (header, target) = (&[7; 80], &Target::from_be_bytes([0; 32]));
        // The first dispatch would end at the last nonce, and a second begin at nonce 0.
        let first_nonce = u32::MAX - (nonces_max - 1);
        let nonces = nonces_max + 1;
        let past = Slice { header, target, versions: &[1], first_nonce, nonces };
        let says = panic_of(|| {
            kernel.scan(&past, &mut Vec::new());
        });
        assert!(says.contains("nonces end at u32::MAX"), "{says}");
        let whole = Slice { first_nonce: u32::MAX - 99, nonces: 100, ..past };
        assert_eq!(kernel.scan(&whole, &mut Vec::new()), whole.hashes());
        let none = Slice { first_nonce: u32::MAX, nonces: 0, ..past };
        assert_eq!(kernel.scan(&none, &mut Vec::new()), Hashes::ZERO);
    }
}
