//! Whether somebody uses this machine, by when a terminal was last read from.
//!
//! Read [`idle`] and [`newest_input`]. Linux notes on a terminal's file when what was typed there
//! was last read, to about eight seconds; what a program writes there counts as nothing, so the
//! miner's own lines are no activity. That is all there is to see without a display server's help:
//! typing and mouse in a graphical session are not seen, unless in a terminal's window. Interrupt
//! counters of keyboards would need to be told from those of everything else on the bus, and are
//! deliberately not looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use units::UnixMillis;

/// An input may be so far ahead of the clock and count; further ahead, the clock was set back.
const AHEAD_MAX: u64 = 10_000;

/// How long nobody typed anything; `None` where no input is known.
#[must_use]
pub fn idle(newest: Option<UnixMillis>, now: UnixMillis) -> Option<Duration> {
    let newest = newest?.get();
    let ahead = newest.saturating_sub(now.get());
    (ahead <= AHEAD_MAX).then(|| Duration::from_millis(now.get().saturating_sub(newest)))
}

/// When a terminal below `dev` (`/dev` on a machine) was last read from: of the pseudo-terminals in
/// `pts`, and of the consoles `tty1` and on.
#[must_use]
pub fn newest_input(dev: &Path) -> Option<UnixMillis> {
    let terminals = names(&dev.join("pts"), "").chain(names(dev, "tty"));
    terminals.filter_map(|path| read_at(&path)).max()
}

/// Files that are called `prefix` and a number.
fn names(folder: &Path, prefix: &'static str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(move |path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix(prefix)).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn read_at(path: &Path) -> Option<UnixMillis> {
    let accessed = fs::metadata(path).ok()?.accessed().ok()?;
    let millis = accessed.duration_since(UNIX_EPOCH).ok()?.as_millis();
    u64::try_from(millis).ok().map(UnixMillis::new)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn idle_is_the_time_since_the_newest_input() {
        let at = |millis| UnixMillis::new(millis);
        assert_eq!(idle(Some(at(4_000)), at(10_000)), Some(Duration::from_secs(6)));
        assert_eq!(idle(Some(at(12_000)), at(10_000)), Some(Duration::ZERO));
        assert_eq!(idle(Some(at(99_000)), at(10_000)), None, "the clock was set back");
        assert_eq!(idle(None, at(10_000)), None);
    }

    #[test]
    fn terminals_are_found_by_their_names_and_the_newest_counts() {
        let dev = tempfile::tempdir().unwrap();
        fs::create_dir(dev.path().join("pts")).unwrap();
        let touch = |name: &str, second: u64| {
            let path = dev.path().join(name);
            fs::write(&path, "").unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            let time: SystemTime = UNIX_EPOCH + Duration::from_secs(second);
            file.set_times(fs::FileTimes::new().set_accessed(time)).unwrap();
        };
        assert_eq!(newest_input(dev.path()), None);
        touch("pts/ptmx", 900);
        touch("ttyS0", 900);
        touch("tty", 900);
        touch("null", 900);
        assert_eq!(newest_input(dev.path()), None);
        touch("tty1", 100);
        touch("pts/0", 300);
        touch("pts/12", 200);
        assert_eq!(newest_input(dev.path()), Some(UnixMillis::new(300_000)));
        assert_eq!(newest_input(Path::new("/nonexistent")), None);
    }
}
