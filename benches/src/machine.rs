//! What a figure was measured on. It deliberately says no more than a reader needs to tell two
//! machines apart.

use std::{fs, thread};

/// The processor's name and the number of threads that it gives this program.
pub(crate) fn describe() -> String {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    format!("{}, {threads} threads, {}", processor(&text), std::env::consts::OS)
}

/// From Linux's `/proc/cpuinfo`; elsewhere, or where it names none, the architecture.
fn processor(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().map(str::trim) == Some(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let name = field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_processor() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n\
                    model name\t: AMD EPYC\nstepping\t: 1\n";
        assert_eq!(processor(text), "AMD EPYC (family 25, model 17)");
        assert_eq!(processor(""), std::env::consts::ARCH);
    }
}
