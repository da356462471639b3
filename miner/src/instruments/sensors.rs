//! The operating system's side of measuring: the tree of sensor files, and what processor this
//! is.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use energy::rapl::Tree;

/// A sensor's file is a number or a name; anything longer is none.
const FILE_BYTES_MAX: u64 = 4096;

/// A folder of the machine, such as `/sys`, as a tree of small files.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The tree below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl Tree for Folder {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        use io::Read as _;
        let mut bytes = Vec::new();
        fs::File::open(self.root.join(path))?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.root.join(folder))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// What processor this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// The model's name as its maker gives it; empty where it is not known.
    pub name: String,
    /// Physical cores; at least 1.
    pub cores: u32,
}

impl Processor {
    /// Of this machine, as far as it can be known: from `/proc/cpuinfo`, else every hardware
    /// thread counts as a core.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self::of_cpuinfo(&text, threads)
    }

    /// Of the text of `/proc/cpuinfo`; `threads` where it doesn't say which core a thread is on.
    fn of_cpuinfo(text: &str, threads: u32) -> Self {
        let value = |line: &str, key: &str| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == key).then(|| value.trim().to_owned())
        };
        let name = text.lines().find_map(|line| value(line, "model name")).unwrap_or_default();
        let mut cores = BTreeSet::new();
        for block in text.split("\n\n") {
            let find = |key| block.lines().find_map(|line| value(line, key));
            if let (Some(package), Some(core)) = (find("physical id"), find("core id")) {
                cores.insert((package, core));
            }
        }
        let cores = match u32::try_from(cores.len()) {
            Ok(0) | Err(_) => threads.max(1),
            Ok(count) => count,
        };
        Self { name, cores }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_of_a_core_are_one_core() {
        let thread = |package: u32, core: u32| {
            format!(
                "model name\t: A Processor @ 3 GHz\nphysical id\t: {package}\ncore id\t\t: {core}\n"
            )
        };
        let text = [thread(0, 0), thread(0, 0), thread(0, 1), thread(1, 0)].join("\n");
        let processor = Processor::of_cpuinfo(&text, 4);
        assert_eq!(processor, Processor { name: "A Processor @ 3 GHz".to_owned(), cores: 3 });
    }

    #[test]
    fn an_unknown_processor_has_as_many_cores_as_threads() {
        let unknown = Processor::of_cpuinfo("processor : 0\n\nprocessor : 1\n", 2);
        assert_eq!(unknown, Processor { name: String::new(), cores: 2 });
        assert_eq!(Processor::of_cpuinfo("", 0).cores, 1);
    }

    #[test]
    fn a_folder_reads_small_files_and_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("zone")).unwrap();
        fs::write(folder.path().join("zone/energy_uj"), "12\n").unwrap();
        fs::write(folder.path().join("zone/long"), vec![b'1'; 10_000]).unwrap();
        let tree = Folder::new(folder.path());
        assert_eq!(tree.read("zone/energy_uj").unwrap(), b"12\n");
        assert_eq!(tree.read("zone/long").unwrap().len(), 4096);
        assert_eq!(tree.list("").unwrap(), ["zone"]);
        assert_eq!(tree.read("nowhere").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(tree.list("nowhere").is_err());
    }
}
