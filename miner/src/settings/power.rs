//! What holds the miner back, as `[power]` has it.
//!
//! Read [`power`]. Whether this machine has the meters and sensors for it is looked at when mining
//! begins ([`crate::restraint::Settings::refuse_what_cannot_be_kept`]), since a file may be checked
//! elsewhere.

use std::str::FromStr;
use std::time::Duration;

use config::{Section, Value, parse};

use crate::restraint::Settings;
use crate::restraint::schedule::{Days, Offset, Rule, Schedule, TimeOfDay, Window};

/// `[power]`; `is_metered` says whether energy is measured at all.
pub(super) fn power(section: &mut Section<'_>, is_metered: bool) -> Option<Settings> {
    let cap_watts = section.optional("cap_watts", watts);
    let duty = section.or("duty_percent", "100", duty);
    let words = [("off", false), ("efficiency", true)];
    let governor = section.or("governor", "\"off\"", parse::one_of(&words));
    let battery = section.or("pause_on_battery", "false", parse::boolean());
    let active = section.or("pause_when_active", "false", parse::boolean());
    let idle = section.or("idle_seconds", "120", parse::seconds(10.0..=86_400.0));
    let max_celsius = section.optional("max_celsius", parse::f64_in(30.0..=120.0));
    let hint = "an offset from UTC such as \"+08:00\"";
    let offset = section.or("utc_offset", "\"+00:00\"", parse::text_as(Offset::from_str, hint));
    let windows = section.each("schedule", window);
    let settings = Settings {
        cap_watts: cap_watts?,
        duty: duty?,
        governor: governor?,
        pause_on_battery: battery?,
        pause_when_active: active?.then_some(idle?).filter(|idle: &Duration| !idle.is_zero()),
        max_celsius: max_celsius?,
        schedule: Schedule { offset: offset?, windows: windows? },
    };
    let unmetered = "needs a meter, and energy.report is false";
    let mut all_metered = true;
    for (key, wanted) in [("cap_watts", settings.has_cap()), ("governor", settings.governor)] {
        if wanted && !is_metered {
            section.problem(key, unmetered);
            all_metered = false;
        }
    }
    all_metered.then_some(settings)
}

/// A `[[power.schedule]]`.
fn window(section: &mut Section<'_>) -> Option<Window> {
    let hint = "days such as \"mon-fri\" or \"sat,sun\"";
    let days = section.or("days", "\"all\"", parse::text_as(Days::from_str, hint));
    let time = |section: &mut Section<'_>, key| {
        section.required(key, parse::text_as(TimeOfDay::from_str, "a time such as \"22:00\""))
    };
    let (from, to) = (time(section, "from"), time(section, "to"));
    let pause = section.or("pause", "false", parse::boolean());
    let cap_watts = section.optional("cap_watts", watts);
    let duty = section.optional("duty_percent", duty);
    let rule = Rule { pause: pause?, cap_watts: cap_watts?, duty: duty? };
    if rule == Rule::default() {
        section.problem("pause", "a window needs pause = true, a cap_watts or a duty_percent");
        return None;
    }
    Some(Window { days: days?, from: from?, to: to?, rule })
}

fn watts(value: &Value) -> Result<f64, String> {
    parse::f64_in(1.0..=1e9)(value)
}

/// Percent, to thousandths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 1 to 100 percent it is from 10 to 1000 thousandths"
)]
fn duty(value: &Value) -> Result<u16, String> {
    parse::f64_in(1.0..=100.0)(value).map(|percent| (percent * 10.0).round() as u16)
}
