//! Has the process's memory lie on large pages and stay there, where the C library can do that.
//!
//! New work looks at every connection, a few times a minute and at no other time: thousands of
//! small pages that no cache and no table of translations holds any more, each with a wait of its
//! own, and under a hypervisor that takes back the translations of what nobody looks at, with a
//! wait of many microseconds. On pages of 2 MiB there are a few dozen instead of thousands. And
//! each template needs some megabytes for some milliseconds: given back and asked for anew, the
//! kernel clears them every time, while all miners wait.
//!
//! glibc asks the kernel for them if its settings say so, and reads its settings only when a
//! process begins; so the process begins again, once, as the same program with the same words. It
//! deliberately does nothing where somebody has set these settings already, in whatever way, nor
//! with another C library. Large pages need Linux to have them on request, which is its default
//! (`/sys/kernel/mm/transparent_hugepage/enabled` says `madvise` or `always`).
//!
//! Source: the GNU C Library's manual, "Memory Allocation Tunables" (`glibc.malloc.hugetlb`, since
//! 2.35; a heap that is not the first gets none, hence one for all threads where they are few
//! enough to share it).

/// That the process has begun again: where a program has more rights than who starts it, glibc takes
/// its settings out of the environment, and they would be missing for ever.
const BEGUN: &str = "WATTPROOF_LARGE_PAGES";
/// Where glibc reads its settings.
const SETTINGS: &str = "GLIBC_TUNABLES";
/// Large pages on request; and up to 64 MiB of what is free at the end stay, also where a single
/// piece is as large as a template (32 MiB is the most that glibc takes here).
const LARGE: [&str; 3] = [
    "glibc.malloc.hugetlb=1",
    "glibc.malloc.trim_threshold=67108864",
    "glibc.malloc.mmap_threshold=33554432",
];
/// One heap for all threads.
const ONE_HEAP: &str = "glibc.malloc.arena_max=1";
/// With more processors than this, threads would wait for each other at the one heap.
const SHARED_BY: usize = 4;

/// Begins the process again with large pages, unless it has them or cannot: then it returns.
///
/// Call it before anything is started or opened. Whatever hinders it costs speed alone, so nobody
/// is told.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn begin_again() {
    use std::{os::unix::process::CommandExt as _, process::Command, thread};

    if std::env::var_os(BEGUN).is_some() {
        return;
    }
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let Some(settings) = settings(std::env::var_os(SETTINGS).as_deref(), processors) else {
        return;
    };
    let Ok(program) = std::env::current_exe() else { return };
    let mut words = std::env::args_os();
    let Some(name) = words.next() else { return };
    let _failed = Command::new(program)
        .arg0(name)
        .args(words)
        .env(BEGUN, "asked")
        .env(SETTINGS, settings)
        .exec();
}

/// Elsewhere there is nothing to ask for.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn begin_again() {}

/// What the settings should be, if they are to be others.
#[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), expect(dead_code))]
fn settings(known: Option<&std::ffi::OsStr>, processors: usize) -> Option<String> {
    let known = known.map_or(Some(""), std::ffi::OsStr::to_str)?;
    if known.contains("glibc.malloc.") {
        return None;
    }
    let heaps = (processors <= SHARED_BY).then_some(ONE_HEAP);
    let known = Some(known).filter(|known| !known.is_empty());
    Some(known.into_iter().chain(LARGE).chain(heaps).collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn what_is_set_already_stays_and_the_process_begins_again_once() {
        let fresh = settings(None, 2).unwrap();
        assert!(fresh.starts_with("glibc.malloc.hugetlb=1:"), "{fresh}");
        assert!(fresh.ends_with(":glibc.malloc.arena_max=1"), "{fresh}");
        assert_eq!(settings(Some(OsStr::new(&fresh)), 2), None, "once only");
        assert_eq!(settings(Some(OsStr::new("")), 64), Some(LARGE.join(":")), "a heap each");
        let other = OsStr::new("glibc.rtld.nns=4");
        assert_eq!(settings(Some(other), 2), Some(format!("glibc.rtld.nns=4:{fresh}")));
        let own = OsStr::new("glibc.malloc.hugetlb=0");
        assert_eq!(settings(Some(own), 2), None, "the operator's word holds");
    }
}
