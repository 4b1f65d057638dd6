//! The fingerprint of the secret key that this database is used with. Never the key, nor anything it can be had from.

use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::Batch;
use rusqlite::{OptionalExtension, params};

statements! {
    FINGERPRINT = "SELECT value FROM meta WHERE name = 'secret_fingerprint'";
    SET_FINGERPRINT = "
        INSERT INTO meta (name, value) VALUES ('secret_fingerprint', ?1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
}

impl Batch<'_> {
    /// The fingerprint of the newest key that the database was served with.
    pub fn secret_fingerprint(&self) -> Result<Option<u64>, StoreError> {
        let found: Option<i64> =
            self.connection.prepare_cached(FINGERPRINT)?.query_row([], |row| row.get(0)).optional()?;
        Ok(found.map(|number| number as u64))
    }

    /// Remembers the fingerprint of the newest key.
    pub fn set_secret_fingerprint(&mut self, fingerprint: u64) -> Result<(), StoreError> {
        self.connection.prepare_cached(SET_FINGERPRINT)?.execute(params![fingerprint as i64])?;
        Ok(())
    }
}
