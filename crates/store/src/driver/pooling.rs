//! Whether something between this program and PostgreSQL hands each transaction another connection, and whether prepared
//! statements survive that.
//!
//! Found out by trying, as no pooler says what it is: a statement is prepared in one transaction, a second connection takes
//! what a pooler has free and keeps it, and the statement is asked for again. Newer poolers follow statements around; with
//! those nothing is wrong.

use super::postgres::PostgresLink;
use super::target::Target;
use crate::dialect::Dialect;
use crate::error::StoreError;

/// How connections of this target come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pooling {
    /// A connection is the same from its first transaction to its last.
    Session,
    /// Each transaction may meet another one; what is asked of it works.
    Transaction,
    /// The same, but statements are lost that the URL wants kept prepared.
    StatementsLost,
}

const PID: &str = "SELECT CAST(pg_backend_pid() AS BIGINT)";
/// How often the statement is asked for while the other connection keeps a place.
const TRIES: usize = 4;

/// Tries it with two connections.
pub(crate) fn pooling(target: &Target) -> Result<Pooling, StoreError> {
    if target.dialect != Dialect::Postgres {
        return Ok(Pooling::Session);
    }
    let (asked, beside) = (PostgresLink::connect(target)?, PostgresLink::connect(target)?);
    match try_out(&asked, &beside, target.keep_prepared) {
        Ok(true) => Ok(Pooling::Transaction),
        Ok(false) => Ok(Pooling::Session),
        Err(StoreError::Unfit { .. }) => Ok(Pooling::StatementsLost),
        Err(error) => Err(error),
    }
}

/// Whether transactions of one connection met different ones of the server.
fn try_out(asked: &PostgresLink, beside: &PostgresLink, keep_prepared: bool) -> Result<bool, StoreError> {
    let met = [pid(asked)?, pid(asked)?];
    let mut moved = met[0] != met[1];
    let statement = match keep_prepared {
        true => Some(asked.drive(asked.client().prepare_typed(PID, &[]))?),
        false => None,
    };
    // A pooler gives it what the other one has just given back.
    beside.script("BEGIN")?;
    moved |= met.contains(&pid(beside)?);
    for _ in 0..TRIES {
        let found = match &statement {
            Some(statement) => asked.drive(asked.client().query_one(statement, &[]))?.get::<_, i64>(0),
            None => pid(asked)?,
        };
        moved |= !met.contains(&found);
    }
    beside.script("ROLLBACK")?;
    Ok(moved)
}

/// The server's process behind this transaction. Asked unnamed, so that nothing is left behind.
fn pid(link: &PostgresLink) -> Result<i64, StoreError> {
    let rows = link.drive(link.client().query_typed(PID, &[]))?;
    rows.first()
        .map(|row| row.get(0))
        .ok_or_else(|| StoreError::Other("PostgreSQL named no process".to_owned()))
}
