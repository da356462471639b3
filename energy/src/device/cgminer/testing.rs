//! What the tests of all makers' modules ask of them.

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};

use super::*;

/// What reads a device's answers.
pub(in crate::device) type Read = fn(&Answers<'_>) -> Result<Telemetry, Unreadable>;

/// What these answers say.
pub(in crate::device) fn read(read: Read, answers: &[&[u8]]) -> Telemetry {
    let answers: Vec<_> = answers.iter().copied().map(Some).collect();
    read(&answers).unwrap()
}

/// What these answers say, given as JSON.
pub(in crate::device) fn read_json(reader: Read, answers: &[Value]) -> Telemetry {
    let answers: Vec<_> = answers.iter().map(|answer| answer.to_string().into_bytes()).collect();
    read(reader, &answers.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Milliwatts, kind, scope and tier of each figure.
pub(in crate::device) fn figures(telemetry: &Telemetry) -> Vec<(u64, Kind, Scope, u8)> {
    let figures = telemetry.figures.iter();
    figures.map(|one| (milliwatts(one), one.kind, one.scope, one.tier.get())).collect()
}

/// The reasons why something was refused, in one text.
pub(in crate::device) fn reasons(telemetry: &Telemetry) -> String {
    let reasons: Vec<_> =
        telemetry.refused.iter().map(|one| format!("{}: {}", one.field, one.reason)).collect();
    reasons.join("\n")
}

fn milliwatts(figure: &Figure) -> u64 {
    match figure.quantity {
        Quantity::Power(power) => power.get(),
        Quantity::Energy { .. } => panic!("no such device counts energy"),
    }
}

/// Any bytes, and any change of the recorded answers, give no power of zero or beyond the largest
/// device's, no figure better than its kind can be, and no panic.
pub(in crate::device) fn nothing_impossible_is_read(read: Read, recorded: &[&[u8]]) {
    let numbers = ["-1", "0", "1e300", "1e-9", "null", "\"\"", "[]", "{}", "\"-1 W\"", "99999999"];
    let change = (any::<Index>(), any::<Index>(), any::<u8>(), 0..numbers.len() + 2);
    let strategy = (prop::collection::vec(change, 0..6), prop::collection::vec(any::<u8>(), 0..99));
    TestRunner::default()
        .run(&strategy, |(changes, bytes)| {
            let mut answers: Vec<Vec<u8>> = recorded.iter().map(|one| one.to_vec()).collect();
            for (which, place, byte, way) in changes {
                let answer = which.get_mut(&mut answers);
                match numbers.get(way) {
                    Some(number) => replace_number(answer, &place, number),
                    None if answer.is_empty() => {}
                    None if way == numbers.len() => *place.get_mut(answer) = byte,
                    None => answer.truncate(place.index(answer.len())),
                }
            }
            check(read, &answers.iter().map(|one| Some(one.as_slice())).collect::<Vec<_>>());
            check(read, &vec![Some(bytes.as_slice()); recorded.len()]);
            Ok(())
        })
        .unwrap();
}

/// Puts something else in the place of one of an answer's numbers.
fn replace_number(answer: &mut Vec<u8>, place: &Index, number: &str) {
    let text = String::from_utf8_lossy(answer).into_owned();
    let starts: Vec<_> =
        text.match_indices(|c: char| c.is_ascii_digit()).map(|one| one.0).collect();
    if starts.is_empty() {
        return;
    }
    let start = starts[place.index(starts.len())];
    let after = text[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - start);
    *answer = [&text[..start], number, &text[start + after..]].concat().into_bytes();
}

fn check(read: Read, answers: &Answers<'_>) {
    let Ok(telemetry) = read(answers) else { return };
    for figure in &telemetry.figures {
        assert!((1..=MOST.get()).contains(&milliwatts(figure)), "{figure:?}");
        assert!(figure.tier >= figure.kind.best_tier(), "{figure:?}");
        assert!(figure.uncertainty_ppm >= figure.kind.least_uncertainty_ppm(), "{figure:?}");
        assert!(!figure.meaning.is_empty() && !figure.field.is_empty(), "{figure:?}");
    }
    assert!(telemetry.refused.len() < 400, "a device chooses how much it sends, not what we keep");
    for refused in &telemetry.refused {
        assert!(refused.text.chars().count() <= 64 && refused.reason.len() < 300, "{refused:?}");
    }
}
