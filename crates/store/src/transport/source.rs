//! Where a copy comes from: nobody writes to it meanwhile, and it can be told whether somebody did in between.

use super::home::Guard;
use super::table::{COLD, STATE};
use super::{refuse_unfinished, refused};
use crate::dialect::statements;
use crate::driver::{Columns, DatabaseUrl, Session, values};
use crate::error::StoreError;
use crate::hot::rows::{int, number};
use crate::query::Reader;
use crate::store::{OpenOptions, Store};
use std::path::Path;

statements! {
    SLOTS = "SELECT slot, epoch, seq, closed_until FROM slot ORDER BY slot";
    CONFIG_EPOCH = "SELECT epoch FROM config_epoch WHERE one = 1";
    FINGERPRINT = "SELECT value FROM meta WHERE name = 'secret_fingerprint'";
    BEHIND = "
        SELECT COUNT(*) FROM entry
         WHERE position = (SELECT MAX(position) FROM entry)
           AND position > (SELECT position FROM fold WHERE name = 'wallet_rows' AND slot = 1)";
    ENTRIES = "SELECT COUNT(*) FROM entry WHERE position > ?1 AND position <= ?2";
    TEXTS = "SELECT COUNT(*) FROM entry_text WHERE position > ?1 AND position <= ?2";
    OUTBOX = "SELECT COUNT(*) FROM outbox WHERE position > ?1 AND position <= ?2";
    ANSWERS = "SELECT COUNT(*) FROM answer WHERE position > ?1 AND position <= ?2";
}

/// Positions counted in one question, so that it is answered before the database gives it up.
const COUNTED: u64 = 1_000_000;

/// How many rows there are of a table.
pub type Rows = (&'static str, u64);

/// A database that is copied from.
pub struct CopySource {
    url: DatabaseUrl,
    store: Store,
    guard: Guard,
    mark: i64,
}

impl CopySource {
    /// Takes it for a copy. Rows of an embedded database that are behind its ledger, or a schema that is behind this program,
    /// are brought up first, as a start would; otherwise nothing is written.
    ///
    /// # Errors
    /// Somebody serves it, or a copy into it has not ended.
    pub fn claim(url: &DatabaseUrl) -> Result<CopySource, StoreError> {
        let guard = match url {
            DatabaseUrl::Sqlite(path) => {
                let guard = guard_file(path)?;
                if is_behind(url)? {
                    drop(guard);
                    bring_up(path)?;
                    guard_file(path)?
                } else {
                    guard
                }
            }
            DatabaseUrl::Server(target) => {
                Store::open_reader(url)?;
                Guard::of_slots(target)?
            }
        };
        let store = Store::open_reader(url)?;
        let mark = store.read(|reader| {
            refuse_unfinished(reader.session)?;
            state_of(reader.session)
        })?;
        Ok(CopySource { url: url.clone(), store, guard, mark })
    }

    /// Names the state it is in: a further batch, change or start of a node makes it another one.
    pub fn mark(&self) -> i64 {
        self.mark
    }

    /// Asks it, in one snapshot.
    pub fn read<T>(&self, ask: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.store.read(ask)
    }

    /// Makes sure that nobody wrote to it since it was taken.
    ///
    /// # Errors
    /// Somebody did, or could have.
    pub fn is_unchanged(&self) -> Result<(), StoreError> {
        self.guard.holds()?;
        if self.store.read(|reader| state_of(reader.session))? == self.mark {
            return Ok(());
        }
        Err(refused(format!(
            "{} was written to while it was copied; drop the target and begin again",
            self.url
        )))
    }
}

fn guard_file(path: &Path) -> Result<Guard, StoreError> {
    // Looked at first, so that nothing is left beside a file that is not there.
    crate::sqlite::check_readable(path)?;
    Guard::of_file(path).map_err(|error| match error {
        StoreError::Locked { .. } => {
            refused(format!("sqlite:{} is being served; stop the server first", path.display()))
        }
        error => error,
    })
}

/// Whether a start would write to it before it served.
fn is_behind(url: &DatabaseUrl) -> Result<bool, StoreError> {
    match Store::open_reader(url) {
        Ok(store) => store.read(|reader| reader.session.one(BEHIND, &[], |row| Ok(int(row, 0)? > 0))),
        Err(StoreError::Older { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

fn bring_up(path: &Path) -> Result<(), StoreError> {
    let (_, mut writer) = Store::open(path, &OpenOptions::default())?;
    writer.recover()?;
    writer.close()
}

/// A digest of what every batch, change of configuration and start of a writer changes.
fn state_of(session: Session<'_>) -> Result<i64, StoreError> {
    let mut hasher = blake3::Hasher::new();
    let slot = |row: &dyn Columns| Ok([int(row, 0)?, int(row, 1)?, int(row, 2)?, int(row, 3)?]);
    for number in session.all(SLOTS, &[], slot)?.into_iter().flatten() {
        hasher.update(&number.to_be_bytes());
    }
    let epoch = session.one(CONFIG_EPOCH, &[], |row| int(row, 0))?;
    let secret = session.first(FINGERPRINT, &[], |row| int(row, 0))?;
    hasher.update(&epoch.to_be_bytes()).update(&secret.unwrap_or_default().to_be_bytes());
    let digest = hasher.finalize();
    let (head, _) = digest.as_bytes().split_first_chunk().expect("a digest is longer than a number");
    Ok(i64::from_be_bytes(*head))
}

impl Reader<'_> {
    /// How many rows there are of every table that a copy takes, in one order for all databases.
    pub fn rows(&self) -> Result<Vec<Rows>, StoreError> {
        let mut rows = Vec::new();
        for table in COLD.iter().chain(&STATE) {
            // As many texts as there are tables, for the life of the process.
            let sql: &'static str = format!("SELECT COUNT(*) FROM {}", table.shape.table).leak();
            rows.push((table.shape.table, self.session.one(sql, &[], |row| number(row, 0))?));
        }
        let ledger = [("entry", ENTRIES), ("entry_text", TEXTS), ("outbox", OUTBOX), ("answer", ANSWERS)];
        let heads = self.heads()?;
        for (table, sql) in ledger {
            let mut count = 0;
            for head in heads.written() {
                for after in (0..head.seq()).step_by(COUNTED as usize) {
                    let upto = head.seq().min(after + COUNTED);
                    let range = values![head.at(after).to_sql(), head.at(upto).to_sql()];
                    count += self.session.one(sql, range, |row| number(row, 0))?;
                }
            }
            rows.push((table, count));
        }
        Ok(rows)
    }
}
