//! The switch in both builds, each seen from a process of its own: this test starts itself again
//! with the variable set.

#![expect(clippy::print_stdout, reason = "the child's answer to its parent")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

use defences::{Defence, WITHOUT, stands};

/// Runs [`the_child_says_what_stands`] in a process with the variable set to `names`.
fn child(names: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_says_what_stands", "--nocapture"])
        .env(WITHOUT, names)
        .output()
        .unwrap()
}

/// The defences that do not stand in a process with the variable set to `names`.
fn fallen(names: &str) -> Vec<String> {
    let output = child(names);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("asked for ")).unwrap();
    assert_eq!(count, Defence::ALL.len().to_string());
    text.lines().filter_map(|line| line.strip_prefix("fallen ")).map(str::to_owned).collect()
}

#[test]
fn the_child_says_what_stands() {
    println!();
    for defence in Defence::ALL {
        if !stands(*defence) {
            println!("fallen {defence}");
        }
    }
    println!("asked for {}", Defence::ALL.len());
}

/// In the build that is shipped there is no switch: the answer is known before it runs.
#[cfg(not(feature = "switchable"))]
#[test]
fn without_the_feature_nothing_falls() {
    const _: () = assert!(stands(Defence::ShareTarget));
    assert_eq!(fallen("share-target,line-length"), [""; 0]);
    assert_eq!(fallen("no such defence"), [""; 0]);
}

#[cfg(feature = "switchable")]
#[test]
fn with_the_feature_what_is_named_falls_and_nothing_else() {
    assert_eq!(fallen(""), [""; 0]);
    assert_eq!(fallen("share-target"), ["share-target"]);
    assert_eq!(fallen(" line-length, share-target,"), ["share-target", "line-length"]);
    let output = child("share-targets");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("there is no defence named \"share-targets\""), "{said}");
}
