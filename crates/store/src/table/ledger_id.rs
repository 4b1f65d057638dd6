//! Which database this is: a number that is made once for each, also for one that a ledger is copied into. A restored backup has
//! that of the database it was taken of.

use crate::dialect::statements;
use crate::driver::values;
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::number;

statements! {
    LEDGER_ID = "SELECT value FROM meta WHERE name = 'ledger_id'";
    SET_LEDGER_ID = "
        INSERT INTO meta (name, value) VALUES ('ledger_id', ?1) ON CONFLICT (name) DO NOTHING";
}

impl Batch<'_> {
    /// The number of this database; none before its first start.
    pub fn ledger_id(&self) -> Result<Option<u64>, StoreError> {
        self.session().first(LEDGER_ID, &[], |row| number(row, 0))
    }

    /// Gives this database a number, unless another node was first.
    pub fn set_ledger_id(&mut self, id: u64) -> Result<(), StoreError> {
        self.session().execute(SET_LEDGER_ID, values![id]).map(|_| ())
    }
}
