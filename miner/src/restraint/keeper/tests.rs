//! Snapshots and files in, allowances out.

use std::fs;

use super::*;
use crate::restraint::Settings;
use crate::restraint::governor::Range;
use crate::telemetry::sample;

fn write(root: &std::path::Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn it_follows_the_snapshots_and_reads_what_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let adapter = "class/power_supply/AC/online";
    write(root.path(), &[("class/power_supply/AC/type", "Mains\n"), (adapter, "0\n")]);
    write(root.path(), &[("class/power_supply/BAT0/type", "Battery\n")]);
    let settings = Settings { pause_on_battery: true, ..Settings::none() };
    let range = Range { threads: 2, gpus: false, interactive: false };
    let throttle = Throttle::new();
    let (snapshots, listener) = watch::channel(Arc::new(sample()));
    let (state, mut shown) = watch::channel(Arc::new(State::free()));
    let restraint = Restraint::new(settings, range);
    let keeper =
        Keeper::new(restraint, throttle.clone(), Folder::new(root.path()), listener, state);
    assert!(throttle.get().is_pause(), "from the first snapshot on, before anything is hashed");
    assert_eq!(shown.borrow_and_update().reasons[0].kind, Kind::Battery);

    let cancel = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(keeper.run(cancel.clone()));
    write(root.path(), &[(adapter, "1\n")]);
    let after = |millis: u64| {
        let mut snapshot = sample();
        snapshot.at.mono += Duration::from_millis(millis);
        Arc::new(snapshot)
    };
    // Too soon after the last, so it is passed over.
    snapshots.send_replace(after(100));
    snapshots.send_replace(after(12_000));
    shown.changed().await.unwrap();
    assert!(!throttle.get().is_pause());
    assert_eq!(**shown.borrow(), State::free());
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[test]
fn joules_count_while_every_meter_that_counts_is_read() {
    let (_snapshots, listener) = watch::channel(Arc::new(sample()));
    let (state, _shown) = watch::channel(Arc::new(State::free()));
    let range = Range { threads: 2, gpus: false, interactive: false };
    let restraint = Restraint::new(Settings::none(), range);
    let nowhere = Folder::new(std::path::Path::new("/nonexistent"));
    let keeper = Keeper::new(restraint, Throttle::new(), nowhere, listener, state);
    let mut snapshot = sample();
    let readings = keeper.readings(&snapshot);
    assert_eq!((readings.joules, readings.modelled), (Some(6_123.456_789), true));
    assert!(!readings.gpus, "a CPU alone");
    snapshot.devices[0].kernel = gpu::Tile::ALL[0].into();
    assert!(keeper.readings(&snapshot).gpus);
    snapshot.devices[0].lost = Some("lost".to_owned());
    assert!(!keeper.readings(&snapshot).gpus);
    snapshot.meters[0].watts = None;
    assert_eq!(keeper.readings(&snapshot).joules, None);
    snapshot.meters[0].spec.kind = MeterKind::Rapl;
    assert!(!keeper.readings(&snapshot).modelled);
}
