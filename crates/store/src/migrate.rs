//! Brings the schema up to what this program knows; never down, and never past a schema it does not know.
//!
//! Migrations are one numbered set of texts, rendered per database by `dialect.rs`, and applied by refinery, which keeps
//! the checksum of each. A released migration never changes; a test compares the rendered text with a committed one.

use crate::dialect::Dialect;
use crate::error::StoreError;
use refinery::{Migration, Runner};
use rusqlite::{Connection, OptionalExtension};
use std::error::Error;

/// Number, name and text of each migration.
const MIGRATIONS: [(u32, &str, &str); 2] = [
    (1, "ledger", include_str!("../migrations/0001_ledger.sql")),
    (2, "append_only", include_str!("../migrations/0002_append_only.sqlite.sql")),
];

const SCHEMA_FOUND: &str = "SELECT MAX(version) FROM refinery_schema_history";
const TABLE_COUNT: &str = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table'";
const HISTORY_TABLE: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'refinery_schema_history'";

/// The newest schema this program knows.
pub(crate) fn schema_known() -> u32 {
    MIGRATIONS.iter().map(|(number, ..)| *number).max().unwrap_or(0)
}

/// The schema of the database; none when it is empty.
pub(crate) fn schema_found(connection: &Connection) -> Result<Option<u32>, StoreError> {
    let ours = connection.query_row(HISTORY_TABLE, [], |_| Ok(())).optional()?.is_some();
    if ours {
        return Ok(connection.query_row(SCHEMA_FOUND, [], |row| row.get(0))?);
    }
    let tables: i64 = connection.query_row(TABLE_COUNT, [], |row| row.get(0))?;
    if tables > 0 {
        return Err(StoreError::Corrupt { what: "it is the database of another program".into() });
    }
    Ok(None)
}

/// Refuses a schema from the future.
pub(crate) fn refuse_newer(found: Option<u32>) -> Result<(), StoreError> {
    let known = schema_known();
    match found {
        Some(found) if found > known => Err(StoreError::Newer { found, known }),
        Some(_) | None => Ok(()),
    }
}

/// Applies what is missing.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    refuse_newer(schema_found(connection)?)?;
    let migrations: Vec<Migration> = rendered(Dialect::Sqlite)
        .into_iter()
        .map(|(number, name, text)| {
            Migration::unapplied(&format!("V{number}__{name}"), &text)
                .expect("the names of migrations are well-formed")
        })
        .collect();
    Runner::new(&migrations).run(connection).map(|_| ()).map_err(|error| {
        let driver = error.source().and_then(|source| source.downcast_ref::<rusqlite::Error>());
        driver.map_or_else(|| StoreError::Other(format!("migration: {error}")), StoreError::from)
    })
}

/// All migrations as this database gets them.
pub(crate) fn rendered(dialect: Dialect) -> Vec<(u32, &'static str, String)> {
    MIGRATIONS.iter().map(|(number, name, text)| (*number, *name, dialect.render(text))).collect()
}

/// The schema as this program writes it into an empty database: what an operator may read, and a test compares.
pub fn rendered_schema() -> String {
    let texts = rendered(Dialect::Sqlite)
        .into_iter()
        .map(|(number, name, text)| format!("-- {number:04} {name}\n{text}"));
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_the_crate_prepares_against_the_current_schema() {
        let mut connection = Connection::open_in_memory().expect("memory");
        migrate(&mut connection).expect("the migrations apply");
        let hot = [
            crate::hot::APPEND,
            crate::hot::SAVE,
            crate::hot::WRITER,
            crate::hot::load::STATEMENTS,
            crate::recover::STATEMENTS,
            crate::answers::STATEMENTS,
            crate::folder::STATEMENTS,
        ];
        let lists = hot.into_iter().chain(crate::table::ALL).chain(crate::query::ALL);
        let mut prepared = 0;
        for (name, sql) in lists.flatten() {
            connection.prepare(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
            prepared += 1;
        }
        assert!(prepared > 70, "only {prepared} statements are listed");
    }

    #[test]
    fn no_token_of_a_migration_is_left_unrendered() {
        assert!(!rendered_schema().contains('{'), "an unknown token");
    }
}
