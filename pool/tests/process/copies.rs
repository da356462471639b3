//! A copy of a running pool's ledger, made and put back by the commands.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::{
    count,
    real::configure,
    support::{Miner, Pool},
    verify,
};

fn command(words: &[&str], config: &Path, file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"));
    command.args([words[0], "-c"]).arg(config).args(&words[1..]).arg(file).output().unwrap()
}

#[test]
fn a_running_pools_ledger_is_copied_and_put_back() {
    let data = tempfile::tempdir().unwrap();
    // Of the configuration only the ledger's place is used here.
    let config = configure(data.path(), "url = \"http://127.0.0.1:1\"\nauth = \"user:password\"\n");
    let pool = Pool::start(data.path());
    let mut miner = Miner::connect(pool.stratum);
    assert!(miner.mine(|miner| miner.accepted >= 100));
    let answered = miner.accepted;

    let copy = data.path().join("copy");
    let made = command(&["backup", "-o"], &config, &copy);
    assert!(made.status.success(), "{made:?}");
    assert!(miner.mine(|miner| miner.accepted >= answered + 50), "the pool goes on");
    let again = command(&["backup", "-o"], &config, &copy);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(1) && said.contains("there is a file"), "{again:?}");

    let refused = command(&["restore"], &config, &copy);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("in use by another pool"), "{refused:?}");
    assert!(pool.stop());
    let refused = command(&["restore"], &config, &copy);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("move it away"), "{refused:?}");

    std::fs::remove_file(data.path().join("pool.sqlite")).unwrap();
    let restored = command(&["restore"], &config, &copy);
    assert!(restored.status.success(), "{restored:?}");
    let report = verify(data.path());
    assert!(report["ok"] == true && count(&report["shares"]) >= answered, "{report}");
}
