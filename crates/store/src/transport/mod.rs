//! Moves a ledger from one database to another: `purser copy`.
//!
//! [`CopySource`] keeps others from writing what is copied; [`CopyTarget`] takes it in chunks, each one transaction that also
//! says how far it came, so a copy that was killed goes on where it was. `table.rs` lists what is copied; tables are taken in the
//! order of their keys, and what is there says where to go on. The ledger is taken by ranges of positions (`ledger.rs`): a server
//! keeps them, an embedded database has one writer and gets them renumbered (`renumber.rs`). Indices behind the funnel are
//! made on the way. Nobody serves a database with a mark of a copy in it ([`refuse_unfinished`]). Nothing here decides
//! whether a copy is right: `usecase/copy.rs` of the application rebuilds and compares it.

mod home;
mod ledger;
mod renumber;
mod source;
mod table;
mod target;

pub use source::{CopySource, Rows};
pub use target::CopyTarget;

use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::rows::int;

statements! {
    /// What the source was when the copy began; there until the copy has ended.
    MARK = "SELECT value FROM meta WHERE name = 'copy_source'";
    SET_MARK = "INSERT INTO meta (name, value) VALUES ('copy_source', ?1)";
    REMOVE_MARK = "DELETE FROM meta WHERE name = 'copy_source'";
}

/// Every statement of these files that all databases understand.
#[cfg(test)]
pub(crate) const ALL: [&[(&str, &str)]; 5] =
    [STATEMENTS, ledger::STATEMENTS, renumber::STATEMENTS, source::STATEMENTS, target::STATEMENTS];

/// Refuses a database into which a copy was begun and has not ended.
pub(crate) fn refuse_unfinished(session: Session<'_>) -> Result<(), StoreError> {
    match mark(session)? {
        None => Ok(()),
        Some(_) => Err(StoreError::Unfinished),
    }
}

fn mark(session: Session<'_>) -> Result<Option<i64>, StoreError> {
    session.first(MARK, &[], |row| int(row, 0))
}

fn set_mark(session: Session<'_>, mark: i64) -> Result<(), StoreError> {
    session.execute(SET_MARK, values![mark]).map(|_| ())
}

fn remove_mark(session: Session<'_>) -> Result<(), StoreError> {
    session.execute(REMOVE_MARK, &[]).map(|_| ())
}

fn refused(what: impl Into<String>) -> StoreError {
    StoreError::NotCopied { what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::table::{ANSWER, COLD, ENTRY, HISTORY, OUTBOX, REFERENCE, STATE, TEXT};
    use crate::driver::Session;
    use crate::driver::bulk::Kind;
    use crate::migrate::migrate;
    use rusqlite::Connection;
    use std::collections::BTreeMap;

    /// Tables that are not copied row by row: what a database knows of itself, and runs of answers, which are made anew.
    const OWN: [&str; 7] =
        ["meta", "slot", "config_epoch", "fold", "answer_run", "answer_run_head", "refinery_schema_history"];

    #[test]
    fn every_table_and_column_of_the_schema_is_copied() {
        let connection = Connection::open_in_memory().expect("memory");
        migrate(Session::Sqlite(&connection)).expect("the migrations apply");
        let keyed = COLD.iter().chain(&STATE).map(|table| table.shape);
        let shapes = keyed.chain([ENTRY, TEXT, OUTBOX, ANSWER, HISTORY, REFERENCE]);
        let copied: BTreeMap<&str, Vec<(String, Kind)>> = shapes
            .map(|shape| {
                let columns = shape.columns.iter().map(|(name, kind)| ((*name).to_string(), *kind));
                (shape.table, columns.collect())
            })
            .collect();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut statement = connection.prepare(sql).expect("it prepares");
        let tables: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .expect("tables")
            .map(|name| name.expect("text"))
            .collect();
        for table in tables.iter().filter(|table| !OWN.contains(&table.as_str())) {
            assert_eq!(copied.get(table.as_str()), Some(&columns(&connection, table)), "{table}");
        }
        assert_eq!(tables.len(), copied.len() + OWN.len());
    }

    fn columns(connection: &Connection, table: &str) -> Vec<(String, Kind)> {
        let mut statement = connection.prepare(&format!("PRAGMA table_info({table})")).expect("it prepares");
        let read = |row: &rusqlite::Row<'_>| {
            let kind = match row.get::<_, String>(2)?.as_str() {
                "INTEGER" => Kind::Int,
                "BLOB" => Kind::Bytes,
                "TEXT" => Kind::Text,
                other => panic!("a column of {table} is {other}"),
            };
            Ok((row.get(1)?, kind))
        };
        statement.query_map([], read).expect("columns").map(|column| column.expect("a column")).collect()
    }
}
