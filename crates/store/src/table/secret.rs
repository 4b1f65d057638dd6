//! The fingerprint of the secret key that this database is used with. Never the key, nor anything it can be had from.

use crate::dialect::statements;
use crate::driver::values;
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::number;

statements! {
    FINGERPRINT = "SELECT value FROM meta WHERE name = 'secret_fingerprint'";
    SET_FINGERPRINT = "
        INSERT INTO meta (name, value) VALUES ('secret_fingerprint', ?1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
}

impl Batch<'_> {
    /// The fingerprint of the newest key that the database was served with.
    pub fn secret_fingerprint(&self) -> Result<Option<u64>, StoreError> {
        self.session().first(FINGERPRINT, &[], |row| number(row, 0))
    }

    /// Remembers the fingerprint of the newest key.
    pub fn set_secret_fingerprint(&mut self, fingerprint: u64) -> Result<(), StoreError> {
        self.session().execute(SET_FINGERPRINT, values![fingerprint]).map(|_| ())
    }
}
