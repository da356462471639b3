//! Files as operators have them: good, wrong, and renewed under way.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::tls::testing::Identity;

/// 2026-01-01.
const NOW: UnixMillis = UnixMillis::new(1_767_225_600_000);

#[test]
fn what_is_wrong_with_a_file_is_said_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let files = Identity::until(2040).write(folder.path());
    let key = fs::read_to_string(&files.key).unwrap();
    let certificate = fs::read_to_string(&files.certificate).unwrap();
    let other = Identity::until(2040).key_pem;
    let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let torn = &certificate[..certificate.len() - 40];
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let long = "#\n".repeat(600_000);
    for (certificate, key, parts) in [
        (&*key, &*key, ["tls.certificate", "chain.pem", "holds no certificate"]),
        (torn, &key, ["tls.certificate", "chain.pem", "no PEM"]),
        (not_der, &key, ["tls.certificate", "chain.pem", "cannot be used"]),
        (&long, &key, ["tls.certificate", "chain.pem", "megabyte"]),
        (&certificate, &certificate, ["tls.key", "key.pem", "holds no private key"]),
        (&certificate, &locked, ["tls.key", "key.pem", "encrypted"]),
        (&certificate, not_a_key, ["tls.key", "key.pem", "cannot be used"]),
        (&certificate, &other, ["tls.key", "key.pem", "is not the key of the first certificate"]),
    ] {
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        let error = files.load(NOW).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains('\n'), "one line: {error}");
    }
    fs::remove_file(&files.key).unwrap();
    let error = files.load(NOW).unwrap_err().to_string();
    assert!(error.contains("key.pem") && error.contains("cannot be read"), "{error}");
}

#[test]
fn the_operator_is_warned_of_an_end_that_is_near_and_of_an_open_key() {
    let folder = tempfile::tempdir().unwrap();
    let warnings = |until: i32, now: u64| {
        let files = Identity::until(until).write(folder.path());
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files.load(UnixMillis::new(now * 1000)).unwrap().warnings
    };
    let new_year = NOW.seconds();
    let day = 86_400;
    assert!(warnings(2026, new_year).is_empty());
    let soon = warnings(2026, new_year + 354 * day);
    assert!(soon.len() == 1 && soon[0].ends_with("expires in 10 days"), "{soon:?}");
    let over = warnings(2025, new_year + 9 * day);
    assert!(over[0].contains("chain.pem: the certificate expired 10 days ago"), "{over:?}");
    let early = warnings(2026, 946_684_800 - 3 * day);
    assert!(early[0].contains("begins in 3 days"), "{early:?}");

    let files = Identity::until(2040).write(folder.path());
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = files.load(NOW).unwrap().warnings;
    assert!(open.len() == 1 && open[0].contains("key.pem: everybody"), "{open:?}");
}

#[test]
fn renewed_files_are_put_in_force_and_wrong_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let original = Identity::until(2030);
    let files = original.write(folder.path());
    let mut keeper = TlsKeeper::open(files.clone()).unwrap();
    assert_eq!(keeper.look(), Look::Unchanged);
    let first = Arc::clone(keeper.config());

    // The certificate is written, and its key is not there yet.
    let renewed = Identity::until(2031);
    fs::write(&files.certificate, &renewed.certificate_pem).unwrap();
    let look = keeper.look();
    assert!(matches!(look, Look::Kept(TlsFilesError::Mismatch { .. })), "{look:?}");
    assert!(Arc::ptr_eq(keeper.config(), &first), "the old one stays");
    assert_eq!(keeper.look(), Look::Unchanged, "it is told once");
    original.write(folder.path());
    assert_eq!(keeper.look(), Look::Unchanged, "what is in force is there again");
    fs::write(&files.certificate, &renewed.certificate_pem).unwrap();
    assert!(matches!(keeper.look(), Look::Kept(TlsFilesError::Mismatch { .. })), "told anew");
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(keeper.look(), Look::Kept(TlsFilesError::File { .. })), "another mistake");
    assert!(Arc::ptr_eq(keeper.config(), &first));

    fs::write(&files.key, &renewed.key_pem).unwrap();
    assert_eq!(keeper.look(), Look::Replaced);
    assert!(!Arc::ptr_eq(keeper.config(), &first));
    assert_eq!(keeper.look(), Look::Unchanged);

    let elsewhere = tempfile::tempdir().unwrap();
    keeper.follow(Identity::until(2032).write(elsewhere.path()));
    assert_eq!(keeper.look(), Look::Replaced, "other names in the configuration");
}
