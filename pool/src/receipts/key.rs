//! The key that receipts are signed with: made at the first start, beside the ledger, in a file that
//! only its owner can read (64 hexadecimal digits and a line end). It is written whole before it has
//! its name. Whoever has an old receipt has the public key in it, so the file is to be kept like the
//! ledger.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use defences::{Defence, stands};
use ed25519_dalek::SigningKey;

/// A key's file is a line; of anything longer no more is read than shows that it is none.
const FILE_BYTES_MAX: u64 = 256;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read or made.
    #[error("key file {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("key file {0}: not a key: expected 64 hexadecimal digits in a plain file")]
    NotAKey(PathBuf),
    /// Others could sign in the pool's name.
    #[error("key file {0}: others may read it; chmod 600 it")]
    Open(PathBuf),
    /// The system gave no randomness.
    #[error("key file {0}: no randomness for a new key")]
    NoRandomness(PathBuf),
}

/// Reads the key at `path`, or makes one there.
///
/// # Errors
/// When it can't be read or made, is not a key, or can be read by others.
pub fn load_or_create(path: &Path) -> Result<SigningKey, KeyError> {
    let of_io = |error| KeyError::Io { path: path.to_owned(), error };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
        Err(error) => return Err(of_io(error)),
        // Before it is opened: a pipe would be waited at for ever.
        Ok(metadata) if !metadata.is_file() => return Err(KeyError::NotAKey(path.to_owned())),
        Ok(metadata) => {
            if is_open(&metadata) {
                return Err(KeyError::Open(path.to_owned()));
            }
        }
    }
    let mut text = String::new();
    let file = File::open(path).map_err(of_io)?;
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    let key = read.ok().and_then(|_| hex::decode(text.trim_end()).ok());
    let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
    Ok(SigningKey::from_bytes(&key.ok_or_else(|| KeyError::NotAKey(path.to_owned()))?))
}

/// Whether others than its owner may do something with a file that is to be secret.
pub(crate) fn is_open(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o077 != 0 && stands(Defence::PoolKeyFile)
}

/// Writes a new key and gives it its name unless another has that by then.
fn create(path: &Path) -> Result<(), KeyError> {
    let of_io = |error| KeyError::Io { path: path.to_owned(), error };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|_| KeyError::NoRandomness(path.to_owned()))?;
    let draft = path.with_extension(format!("key-new-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&draft).map_err(of_io)?;
    let written = writeln!(file, "{}", hex::encode(secret)).and_then(|()| file.sync_all());
    let named = written.and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match named {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(of_io(error)),
        Ok(()) | Err(_) => removed.map_err(of_io),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().to_bytes(), made.to_bytes());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = load_or_create(&path).unwrap_err().to_string();
        assert!(refused.contains("pool.key: others may read it; chmod 600"), "{refused}");
    }

    #[test]
    fn what_is_no_key_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.key");
        for text in ["", "00", &"g".repeat(64), &"0".repeat(66), &"0".repeat(100_000)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let refused = load_or_create(&path).unwrap_err().to_string();
            assert!(refused.contains("pool.key: not a key"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert!(matches!(load_or_create(folder.path()), Err(KeyError::NotAKey(_))));
    }
}
