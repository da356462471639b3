//! For tests: small shell scripts that stand for a program which behaves in a certain way. They
//! are written by another process, because a file that this one has open for writing while a
//! second thread starts a program cannot be run until that program has begun.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Writes the executable `name` into `folder` and returns its path.
pub(crate) fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat > "$1" && chmod +x "$1""#, "sh"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = writer.stdin.take().unwrap();
    writeln!(stdin, "#!/bin/sh\n{text}").unwrap();
    drop(stdin);
    assert!(writer.wait().unwrap().success());
    assert!(fs::metadata(&path).unwrap().is_file());
    path
}
