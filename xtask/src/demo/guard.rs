//! Ends a child in this program's place, where this program is killed so that it can end nothing
//! itself: `kill -9`, or a machine short of memory.
//!
//! A guard is a shell that reads from a pipe which this program holds. A word means that the child
//! has ended and all is well; the pipe's end without one means that nobody is there any more, and
//! the guard sends the child SIGINT. It deliberately does not wait for the child, nor kill it:
//! programs that miss SIGINT are asked for by this program's own limits while it lives.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// What a guard does with the number of its child as the first argument.
const SCRIPT: &str = r#"read -r word || kill -s INT "$1""#;

/// A guard over one child. Dropping it sends it home: do so when the child has ended.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Begins to watch.
    ///
    /// # Errors
    /// Fails where no shell can be started.
    pub(crate) fn over(child: &Child) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let word = self.pipe.take().map(|mut pipe| pipe.write_all(b"ended\n"));
        let waited = self.shell.wait();
        if let (Some(Err(e)), _) | (_, Err(e)) = (word, waited) {
            eprintln!("a guard did not go home: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A child that lives until it gets SIGINT, and has its handler in place when this returns.
    fn child(folder: &Path) -> Child {
        let script = "trap 'exit 7' INT; touch ready; while :; do sleep 0.05; done";
        let child = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder)
            .process_group(0)
            .spawn()
            .unwrap();
        while fs::metadata(folder.join("ready")).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        child
    }

    #[test]
    fn a_child_whose_keeper_is_gone_gets_sigint() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = child(folder.path());
        let mut guard = Guard::over(&child).unwrap();
        // What the system does with the pipe when the program that holds it is killed.
        drop(guard.pipe.take());
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn a_guard_that_is_sent_home_leaves_the_child_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = child(folder.path());
        drop(Guard::over(&child).unwrap());
        thread::sleep(Duration::from_millis(200));
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
