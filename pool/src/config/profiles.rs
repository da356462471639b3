//! `energy.profiles`: which workers are which device, for estimates and bands (`docs/energy.md`).

use config::{Section, parse};
use energy::{
    efficiency,
    profile::{Figure, Profile, Profiles},
};

/// So many at the most: every one is looked at for every worker.
const MOST: usize = 256;

pub(super) fn read(section: &mut Section<'_>) -> Option<Profiles> {
    let profiles = section.each("profiles", profile)?;
    if profiles.len() > MOST {
        section.problem("profiles", &format!("at most {MOST} of them; a * names many workers"));
        return None;
    }
    Some(Profiles(profiles))
}

fn profile(section: &mut Section<'_>) -> Option<Profile> {
    let worker = section.required("worker", pattern());
    let model = section.optional("model", parse::string());
    let stated = section.optional("joules_per_terahash", parse::f64_in(1.0..=1e9));
    let figure = match (model?, stated?) {
        (Some(model), None) => match efficiency::device(&model) {
            Some(device) => Figure::Model(device),
            None => {
                let known = efficiency::models().join(", ");
                section.problem("model", &format!("a device of the table: {known}"));
                return None;
            }
        },
        (None, Some(figure)) => Figure::Stated(figure),
        (Some(_), Some(_)) | (None, None) => {
            section.problem("model", "either a model of the table or joules_per_terahash");
            return None;
        }
    };
    Some(Profile { worker: worker?, figure })
}

fn pattern() -> impl Fn(&config::Value) -> Result<String, String> {
    |value| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte);
        let text = value.as_str().filter(|text| (1..=200).contains(&text.len()));
        let text = text.filter(|text| text.bytes().all(plain));
        text.map(str::to_owned).ok_or_else(|| {
            "an account, or \"ACCOUNT.worker\", in which a * stands for any characters".to_owned()
        })
    }
}
