//! The key that signs energy reports: made once, kept in a file that only its owner can read.
//!
//! The pool pins the key at its first report, so losing it means asking the pool for a new pin.
//! The file holds the Ed25519 secret key as 64 hexadecimal digits and a line end. It is written
//! whole before it gets its name, so that a crash or a second miner started at the same moment
//! never leaves half a key or two different ones.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use defences::{Defence, stands};
use energy::SigningKey;

/// Where the key is below the state directory.
const FILE: &str = "wattproof/miner.key";
/// Hexadecimal digits of a key.
const DIGITS: usize = 64;
/// A key's file is a line; of anything longer no more is read than shows that it is none.
const FILE_BYTES_MAX: u64 = 256;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither a state directory nor a home directory is known.
    #[error("key file: no home directory is known; name a file in energy.key")]
    NoPlace,
    /// The file can't be read or made.
    #[error("key file {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is something else of that name.
    #[error("key file {path}: it is {what}; name a file in energy.key")]
    NotAFile {
        /// The name.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file holds something else.
    #[error("key file {0}: not a key: expected 64 hexadecimal digits")]
    NotAKey(PathBuf),
    /// Others could sign in this rig's name.
    #[error("key file {0}: others may read it; chmod 600 it")]
    Open(PathBuf),
    /// The system gave no randomness.
    #[error("key file {0}: no randomness for a new key")]
    NoRandomness(PathBuf),
}

/// The usual place: `$XDG_STATE_HOME/wattproof/miner.key`, or below `~/.local/state`.
/// `variable` looks up an environment variable.
///
/// # Errors
/// When the environment names neither.
pub fn usual_place(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, KeyError> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join(FILE))
        .ok_or(KeyError::NoPlace)
}

/// Reads the key at `path`, or makes one there.
///
/// # Errors
/// When it can't be read or made, is not a key, or can be read by others.
pub fn load_or_create(path: &Path) -> Result<SigningKey, KeyError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path)?;
            read(path)
        }
        Err(error) => Err(of_io(path, error)),
        Ok(metadata) => {
            // Before it is opened: a pipe would be waited at for ever.
            if let Some(what) = no_file(metadata.file_type()) {
                return Err(KeyError::NotAFile { path: path.to_owned(), what });
            }
            refuse_if_open(path)?;
            read(path)
        }
    }
}

fn read(path: &Path) -> Result<SigningKey, KeyError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| of_io(path, error))?;
    let text = str::from_utf8(&bytes).ok();
    text.and_then(parse).ok_or_else(|| KeyError::NotAKey(path.to_owned()))
}

/// What it is that has a file's name and is none.
fn no_file(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else {
        Some("no plain file, but a pipe, a socket or a device")
    }
}

/// Writes a new key beside `path` and gives it its name unless another has that by then.
fn create(path: &Path) -> Result<(), KeyError> {
    let mut secret = [0; DIGITS / 2];
    getrandom::fill(&mut secret).map_err(|_| KeyError::NoRandomness(path.to_owned()))?;
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| of_io(path, error))?;
    }
    let named = write_draft(&draft, &secret).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match named {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(of_io(path, error)),
        Ok(()) | Err(_) => removed.map_err(|error| of_io(path, error)),
    }
}

fn write_draft(draft: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = private_file().open(draft)?;
    writeln!(file, "{}", hex::encode(secret))?;
    file.sync_all()
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options
}

#[cfg(unix)]
fn refuse_if_open(path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_err(|error| of_io(path, error))?.permissions().mode();
    if mode & 0o077 == 0 || !stands(Defence::KeyFile) {
        Ok(())
    } else {
        Err(KeyError::Open(path.to_owned()))
    }
}

#[cfg(not(unix))]
fn refuse_if_open(_path: &Path) -> Result<(), KeyError> {
    Ok(())
}

fn parse(text: &str) -> Option<SigningKey> {
    let bytes = hex::decode(text.trim_end()).ok()?;
    Some(SigningKey::from_bytes(&bytes.try_into().ok()?))
}

fn of_io(path: &Path, error: io::Error) -> KeyError {
    KeyError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/down/miner.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().to_bytes(), made.to_bytes());
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside the key: {names:?}");
        let other = load_or_create(&folder.path().join("other.key")).unwrap();
        assert_ne!(other.to_bytes(), made.to_bytes());
    }

    #[test]
    #[cfg(unix)]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("miner.key");
        load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = load_or_create(&path).unwrap_err().to_string();
        assert!(refused.contains("miner.key") && refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn what_is_no_key_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("miner.key");
        for text in ["", "00", &"g".repeat(64), &"0".repeat(66), &"0".repeat(100_000)] {
            private_file().open(&path).unwrap().write_all(text.as_bytes()).unwrap();
            let refused = load_or_create(&path).unwrap_err().to_string();
            assert!(refused.contains("miner.key: not a key"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for (path, said) in [
            (pipe.as_path(), "pipe: it is no plain file"),
            (&link, "link: it is no plain file"),
            (folder.path(), "it is a directory"),
            (Path::new("/dev/zero"), "/dev/zero: it is no plain file"),
            (&folder.path().join("pipe/miner.key"), "pipe/miner.key: "),
        ] {
            let refused = load_or_create(path).unwrap_err().to_string();
            assert!(refused.contains(said) && !refused.contains('\n'), "{refused}");
        }
    }

    #[test]
    fn the_usual_place_follows_the_environment() {
        let with = |pairs: &'static [(&str, &str)]| {
            usual_place(|name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned())
            })
        };
        let place = with(&[("HOME", "/home/m"), ("XDG_STATE_HOME", "/state")]).unwrap();
        assert_eq!(place, Path::new("/state/wattproof/miner.key"));
        let place = with(&[("HOME", "/home/m"), ("XDG_STATE_HOME", "relative")]).unwrap();
        assert_eq!(place, Path::new("/home/m/.local/state/wattproof/miner.key"));
        assert!(matches!(with(&[]), Err(KeyError::NoPlace)));
    }
}
