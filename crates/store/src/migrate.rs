//! Brings the schema up to what this program knows; never down, and never past a schema it does not know.
//!
//! Migrations are one numbered set of texts, rendered per database by `dialect.rs`, and applied by refinery, which keeps
//! the checksum of each. A released migration never changes; a test compares the rendered text with a committed one. On a
//! server one node migrates at a time: the others wait for the row that it locks.

use crate::dialect::{Dialect, statements};
use crate::driver::mysql_session::STAY_IDLE;
use crate::driver::{Columns, Link, Session, Target};
use crate::error::StoreError;
use crate::hot::rows::{int, small, text};
use crate::hot::server::begin_writing;
use refinery_core::traits::sync::{Migrate, Query, Transaction};
use refinery_core::{Migration, Runner};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

statements! {
    SCHEMA_FOUND = "SELECT CAST(MAX(version) AS CHAR(9)) FROM refinery_schema_history";
    APPLIED = "SELECT version, name, applied_on, checksum FROM refinery_schema_history ORDER BY version";
    LOCK = "SELECT one FROM migration_lock WHERE one = 1 FOR UPDATE";
}

/// How often somebody else's migration is waited for; each wait is as long as the database waits for a lock.
const WAITS_MAX: usize = 24;

/// Number, name and text of each migration of a database.
fn texts(dialect: Dialect) -> [(u32, &'static str, &'static str); 2] {
    let append_only = match dialect {
        Dialect::Sqlite => include_str!("../migrations/0002_append_only.sqlite.sql"),
        Dialect::Postgres => include_str!("../migrations/0002_append_only.postgres.sql"),
        Dialect::Mysql => include_str!("../migrations/0002_append_only.mysql.sql"),
    };
    [(1, "ledger", include_str!("../migrations/0001_ledger.sql")), (2, "append_only", append_only)]
}

/// The newest schema this program knows.
pub(crate) fn schema_known() -> u32 {
    texts(Dialect::Sqlite).iter().map(|(number, ..)| *number).max().unwrap_or(0)
}

/// The schema of the database; none when it is empty.
pub(crate) fn schema_found(session: Session<'_>) -> Result<Option<u32>, StoreError> {
    if exists(session, "refinery_schema_history")? {
        let newest = session
            .one(SCHEMA_FOUND, &[], |row| Ok(row.text(0)?.and_then(|text| text.trim().parse().ok())))?;
        return Ok(newest);
    }
    if session.dialect() == Dialect::Sqlite {
        let tables =
            session.one("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table'", &[], |row| int(row, 0))?;
        if tables > 0 {
            return Err(StoreError::Corrupt { what: "it is the database of another program".into() });
        }
    }
    Ok(None)
}

fn exists(session: Session<'_>, table: &str) -> Result<bool, StoreError> {
    let sql = match session.dialect() {
        Dialect::Sqlite => "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        Dialect::Postgres => "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass(?1)",
        Dialect::Mysql => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?1"
        }
    };
    Ok(session.one(sql, &[table.into()], |row| int(row, 0))? > 0)
}

/// Refuses a schema from the future.
pub(crate) fn refuse_newer(found: Option<u32>) -> Result<(), StoreError> {
    let known = schema_known();
    match found {
        Some(found) if found > known => Err(StoreError::Newer { found, known }),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a schema that is not the one this program knows.
pub(crate) fn refuse_other(found: Option<u32>) -> Result<(), StoreError> {
    refuse_newer(found)?;
    let known = schema_known();
    match found {
        Some(found) if found == known => Ok(()),
        Some(found) => Err(StoreError::Older { found: format!("schema {found}"), known }),
        None => Err(StoreError::Older { found: "no schema".into(), known }),
    }
}

/// Applies what is missing; the numbers of what was applied.
pub(crate) fn migrate(session: Session<'_>) -> Result<Vec<u32>, StoreError> {
    refuse_newer(schema_found(session)?)?;
    let migrations: Vec<Migration> = rendered(session.dialect())
        .into_iter()
        .map(|(number, name, text)| {
            Migration::unapplied(&format!("V{number}__{name}"), &text)
                .expect("the names of migrations are well-formed")
        })
        .collect();
    let mut migrating = Migrating { session, fault: None };
    let report = Runner::new(&migrations).set_grouped(true).run(&mut migrating).map_err(|error| {
        migrating.fault.take().unwrap_or_else(|| StoreError::Other(format!("migration: {error}")))
    })?;
    Ok(report.applied_migrations().iter().filter_map(|done| u32::try_from(done.version()).ok()).collect())
}

/// Migrates a server database, alone: whoever else wants to waits.
pub(crate) fn migrate_server(target: &Target) -> Result<Vec<u32>, StoreError> {
    let (guard, worker) = (Link::connect(target)?, Link::connect(target)?);
    let lock = guard.session();
    for waited in 0.. {
        match take_lock(lock) {
            Ok(()) => break,
            Err(error @ StoreError::Conflict { .. }) if waited < WAITS_MAX => {
                tracing::info!(%error, "another node migrates the database; waiting for it");
                lock.script("ROLLBACK")?;
            }
            Err(error) => return Err(error),
        }
    }
    let applied = migrate(worker.session())?;
    lock.script("COMMIT")?;
    Ok(applied)
}

fn take_lock(session: Session<'_>) -> Result<(), StoreError> {
    let made = session.script("CREATE TABLE IF NOT EXISTS migration_lock (one BIGINT NOT NULL PRIMARY KEY)");
    if made.is_err() && !exists(session, "migration_lock")? {
        // Of several who make it at once PostgreSQL refuses some, although it is there by then.
        return made;
    }
    session.execute(
        "INSERT INTO migration_lock (one) VALUES (?1) ON CONFLICT (one) DO NOTHING",
        &[1_i64.into()],
    )?;
    begin_writing(session)?;
    // The lock is held for as long as the migration takes, by a connection that says nothing meanwhile.
    match session.dialect() {
        Dialect::Postgres => session.script("SET LOCAL idle_in_transaction_session_timeout = 0")?,
        Dialect::Mysql => session.script(STAY_IDLE)?,
        Dialect::Sqlite => {}
    }
    session.one(LOCK, &[], |row| int(row, 0)).map(|_| ())
}

/// All migrations as this database gets them.
pub(crate) fn rendered(dialect: Dialect) -> Vec<(u32, &'static str, String)> {
    texts(dialect).iter().map(|(number, name, text)| (*number, *name, dialect.render(text))).collect()
}

/// The schema as this program writes it into an empty database, `sqlite`, `postgres` or `mysql`: what an operator may read,
/// and a test compares. None for other names.
pub fn rendered_schema(system: &str) -> Option<String> {
    let dialect = match system {
        "sqlite" => Dialect::Sqlite,
        "postgres" => Dialect::Postgres,
        "mysql" => Dialect::Mysql,
        _ => return None,
    };
    let texts =
        rendered(dialect).into_iter().map(|(number, name, text)| format!("-- {number:04} {name}\n{text}"));
    Some(texts.collect::<Vec<_>>().join("\n"))
}

/// What refinery asks of a database, on a session of ours.
struct Migrating<'s> {
    session: Session<'s>,
    /// What failed, in the store's own classes, which refinery does not hand on.
    fault: Option<StoreError>,
}

/// The fault is kept in [`Migrating`].
#[derive(Debug, thiserror::Error)]
#[error("the database failed")]
struct Kept;

impl Migrating<'_> {
    fn keep<T>(&mut self, outcome: Result<T, StoreError>) -> Result<T, Kept> {
        outcome.map_err(|error| {
            self.fault = Some(error);
            Kept
        })
    }

    fn all_or_nothing<'a>(&self, queries: impl Iterator<Item = &'a str>) -> Result<usize, StoreError> {
        let mut count = 0;
        self.session.script("BEGIN")?;
        for query in queries {
            if let Err(error) = self.session.migrate(query) {
                self.session.script("ROLLBACK")?;
                return Err(error);
            }
            count += 1;
        }
        self.session.script("COMMIT")?;
        Ok(count)
    }
}

impl Transaction for Migrating<'_> {
    type Error = Kept;

    fn execute<'a, T: Iterator<Item = &'a str>>(&mut self, queries: T) -> Result<usize, Kept> {
        let outcome = self.all_or_nothing(queries);
        self.keep(outcome)
    }
}

impl Query<Vec<Migration>> for Migrating<'_> {
    fn query(&mut self, _: &str) -> Result<Vec<Migration>, Kept> {
        let read = |row: &dyn Columns| -> Result<Migration, StoreError> {
            let damaged = || StoreError::Corrupt { what: "the history of migrations cannot be read".into() };
            let applied_on = OffsetDateTime::parse(&text(row, 2)?, &Rfc3339).map_err(|_| damaged())?;
            let checksum = text(row, 3)?.parse().map_err(|_| damaged())?;
            Ok(Migration::applied(small(row, 0)?, text(row, 1)?, applied_on, checksum))
        };
        let outcome = self.session.all(APPLIED, &[], read);
        self.keep(outcome)
    }
}

impl Migrate for Migrating<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn every_statement_of_the_crate_prepares_against_the_current_schema() {
        let connection = Connection::open_in_memory().expect("memory");
        migrate(Session::Sqlite(&connection)).expect("the migrations apply");
        let lists = [crate::hot::load::STATEMENTS].into_iter().chain(crate::hot::sqlite::ALL);
        let lists = lists.chain(crate::table::ALL).chain(crate::query::ALL).chain(crate::transport::ALL);
        let mut prepared = 0;
        for (name, sql) in lists.flatten() {
            connection.prepare(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
            prepared += 1;
        }
        assert!(prepared > 70, "only {prepared} statements are listed");
    }

    #[test]
    fn no_token_of_a_migration_is_left_unrendered() {
        for system in ["sqlite", "postgres", "mysql"] {
            let schema = rendered_schema(system).expect("a known system");
            assert!(!schema.contains('{'), "an unknown token for {system}");
        }
        assert_eq!(rendered_schema("oracle"), None);
    }
}
