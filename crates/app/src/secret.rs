//! The secret key of a deployment: everything that is signed or encrypted derives from it.
//!
//! A server database is given its key (`PURSER_SECRET_KEY`, several for rotation, the newest first). An embedded database
//! gets one on first start, in a file beside it that only its owner can read. The database remembers a fingerprint, so
//! that a node with another key is refused before it makes links and tokens that nobody else accepts.

use crate::boot::BootError;
use crate::clock::Random;
use purser_store::{StoreError, Writer};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The shortest key, in bytes.
const BYTES_MIN: usize = 32;

/// All keys of a deployment, the newest first. Never printed.
#[derive(Clone)]
pub struct Secrets {
    keys: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} key(s), not shown", self.keys.len())
    }
}

impl Secrets {
    /// Reads the keys that are configured, in hexadecimal; where none is, the one beside the embedded database, which is
    /// made on first start: not for a database that was `served` with one before, which would be lost for good.
    pub(crate) fn load(
        configured: &[String],
        database: Option<&Path>,
        served: bool,
        random: &dyn Random,
    ) -> Result<Secrets, BootError> {
        let keys = match (configured, database) {
            ([], Some(database)) => vec![beside(database, served, random)?],
            ([], None) => {
                return Err(refused(
                    "a server database needs one, the same on every node: 64 or more hexadecimal digits, such as \
                     `openssl rand -hex 32` prints",
                ));
            }
            (configured, _) => {
                let read = |text: &String| {
                    parse(text).ok_or_else(|| refused("it is not 64 or more hexadecimal digits"))
                };
                configured.iter().map(read).collect::<Result<_, _>>()?
            }
        };
        Ok(Secrets { keys })
    }

    /// A key that is kept nowhere.
    pub(crate) fn passing(random: &dyn Random) -> Secrets {
        let mut key = vec![0; BYTES_MIN];
        random.fill(&mut key);
        Secrets { keys: vec![key] }
    }

    /// These keys with older ones behind them.
    #[cfg(test)]
    pub(crate) fn joined(mut self, older: Secrets) -> Secrets {
        self.keys.extend(older.keys);
        self
    }

    /// The keys for one purpose, the newest first: what is made uses the first, what is checked may use any.
    pub fn derive(&self, purpose: &str) -> impl Iterator<Item = [u8; 32]> {
        let context = format!("purser 2026-11 {purpose}");
        self.keys.iter().map(move |key| blake3::derive_key(&context, key))
    }

    fn fingerprints(&self) -> impl Iterator<Item = u64> {
        let head =
            |key: [u8; 32]| u64::from_be_bytes(key[..8].try_into().expect("eight of thirty-two bytes"));
        self.derive("fingerprint").map(head)
    }

    /// Whether one of these keys has this fingerprint.
    pub(crate) fn know(&self, fingerprint: u64) -> bool {
        self.fingerprints().any(|mine| mine == fingerprint)
    }

    /// Refuses keys that are not those of this database, and remembers the newest.
    pub(crate) fn check(&self, writer: &mut Writer) -> Result<(), BootError> {
        let fault = |error: StoreError| BootError::Database { what: error.to_string(), locked: false };
        let mut batch = writer.begin().map_err(fault)?;
        let newest = self.fingerprints().next().expect("there is at least one key");
        let known = batch.secret_fingerprint().map_err(fault)?;
        if known == Some(newest) {
            return Ok(());
        }
        if known.is_some_and(|known| self.fingerprints().all(|mine| mine != known)) {
            return Err(refused(
                "it is not the key this database was served with; to rotate, put the new one before the old one",
            ));
        }
        batch.set_secret_fingerprint(newest).map_err(fault)?;
        batch.commit().map_err(|error| BootError::Database { what: error.to_string(), locked: false })
    }
}

/// Where the key of an embedded database is kept.
pub fn path_beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".secret");
    PathBuf::from(name)
}

fn beside(database: &Path, served: bool, random: &dyn Random) -> Result<Vec<u8>, BootError> {
    let path = path_beside(database);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            parse(text.trim()).ok_or_else(|| refused(&format!("{} does not hold a key", path.display())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && served => Err(refused(&format!(
            "{} is gone, and the database was served with the key in it: restore the file, or set the key it held",
            path.display()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut key = vec![0; BYTES_MIN];
            random.fill(&mut key);
            let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            write_private(&path, &text).map_err(|error| refused(&format!("{}: {error}", path.display())))?;
            Ok(key)
        }
        Err(error) => Err(refused(&format!("{}: {error}", path.display()))),
    }
}

/// Writes a new file that only its owner can read, and makes it durable before anything depends on it.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn parse(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() < 2 * BYTES_MIN || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.iter().all(u8::is_ascii_hexdigit).then(|| digits.chunks(2).map(byte).collect())?
}

fn refused(why: &str) -> BootError {
    BootError::Setting { setting: "secret_key", why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRandom;
    use purser_store::{OpenOptions, Store};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_embedded_database_gets_a_key_of_its_own_that_only_its_owner_can_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("purser.db");
        let random = SeededRandom::new(1);
        let made = Secrets::load(&[], Some(&database), false, &random).expect("a key is made");
        let again = Secrets::load(&[], Some(&database), false, &random).expect("the key is read");
        assert_eq!(made.keys, again.keys);
        let mode = path_beside(&database).metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{made:?}"), "1 key(s), not shown");
        std::fs::remove_file(path_beside(&database)).expect("it was there");
        let lost = Secrets::load(&[], Some(&database), true, &random).expect_err("no other key fits");
        assert!(lost.to_string().contains("is gone"), "{lost}");
        assert!(!path_beside(&database).exists(), "none was made in its place");
    }

    #[test]
    fn a_database_refuses_a_key_it_was_not_served_with_and_follows_a_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("purser.db");
        let (_, mut writer) = Store::open(&database, &OpenOptions::default()).expect("a database");
        let (old, new) = ("0a".repeat(32), "0b".repeat(32));
        let secrets = |keys: &[&String]| {
            let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
            Secrets::load(&keys, Some(&database), false, &SeededRandom::new(1)).expect("well-formed keys")
        };
        assert!(secrets(&[&old]).check(&mut writer).is_ok());
        assert!(secrets(&[&new]).check(&mut writer).is_err(), "another key");
        assert!(secrets(&[&new, &old]).check(&mut writer).is_ok(), "rotation");
        assert!(secrets(&[&old]).check(&mut writer).is_err(), "the old key alone, after the rotation");
        assert!(secrets(&[&new]).check(&mut writer).is_ok());
    }

    #[test]
    fn keys_that_are_too_short_or_not_hexadecimal_are_refused() {
        for bad in ["", "c0ffee", &"0a".repeat(31), &"zz".repeat(32), &format!("{}0", "0a".repeat(32))] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
