//! What a server database must be before it may keep a ledger, and what stands between a hand and history.
//!
//! [`refuse_unfit`] is what a start insists on, [`warn_of_rights`] what it says aloud, [`inspect`] all of it and more for
//! `doctor`. Nothing here changes anything.

mod durability;
mod report;

pub use report::{Check, Inspection, Verdict, inspect, inspect_file};

use crate::dialect::Dialect;
use crate::driver::postgres::PREPARED_OFF;
use crate::driver::{Pooling, Session, Target, pooling};
use crate::error::StoreError;
use crate::hot::rows::text;
use crate::rights::Held;
use durability::Durability;

/// The oldest servers that are good enough, by major and minor version.
const POSTGRES_MIN: (u32, u32) = (14, 0);
const MARIADB_MIN: (u32, u32) = (10, 6);
const MYSQL_MIN: (u32, u32) = (8, 0);

/// Refuses a URL that leads through a pooler with statements that it would lose. Asked before anything is prepared.
pub(crate) fn refuse_lost_statements(target: &Target) -> Result<(), StoreError> {
    // Without prepared statements there is nothing to lose.
    if target.keep_prepared && pooling(target)? == Pooling::StatementsLost {
        return Err(StoreError::Unfit { what: PREPARED_OFF.to_owned() });
    }
    Ok(())
}

/// Refuses a server that is too old, or acknowledges commits that it has not put on disk (law 5).
pub(crate) fn refuse_unfit(session: Session<'_>) -> Result<(), StoreError> {
    let version = version(session)?;
    if let Some(what) = version.too_old() {
        return Err(StoreError::Unfit { what });
    }
    match Durability::read(session)?.what_is_unsafe() {
        None => Ok(()),
        Some(what) => Err(StoreError::Unfit { what }),
    }
}

/// Says in the log what the user that serves could do to history. Small deployments have one user for everything, so it is
/// not refused.
pub(crate) fn warn_of_rights(session: Session<'_>) -> Result<(), StoreError> {
    let held = Held::read(session)?;
    let dangers = held.dangers();
    if !dangers.is_empty() {
        tracing::warn!(
            role = held.role,
            "the database would let this role change history: it {}. Give the service a role of its own, which \
             `purser migrate --print-roles` makes",
            dangers.join(", ")
        );
    }
    Ok(())
}

/// Which server it is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Version {
    product: &'static str,
    number: (u32, u32),
    /// In the server's own words.
    said: String,
}

impl Version {
    /// Reads `15.7 (Debian 15.7-0)` or `10.11.6-MariaDB-log`.
    fn read(dialect: Dialect, said: String) -> Version {
        let numbers = said.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        let mut numbers = numbers.map(|digits| digits.parse::<u32>().unwrap_or(0));
        let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let product = match dialect {
            Dialect::Mysql if said.contains("MariaDB") => "MariaDB",
            Dialect::Mysql => "MySQL",
            Dialect::Postgres | Dialect::Sqlite => "PostgreSQL",
        };
        Version { product, number, said }
    }

    fn too_old(&self) -> Option<String> {
        let least = match self.product {
            "MariaDB" => MARIADB_MIN,
            "MySQL" => MYSQL_MIN,
            _ => POSTGRES_MIN,
        };
        let (major, minor) = least;
        (self.number < least)
            .then(|| format!("{} {} is too old: {major}.{minor} or later is needed", self.product, self.said))
    }
}

fn version(session: Session<'_>) -> Result<Version, StoreError> {
    let sql = match session.dialect() {
        Dialect::Mysql => "SELECT VERSION()",
        Dialect::Postgres | Dialect::Sqlite => "SELECT current_setting('server_version')",
    };
    Ok(Version::read(session.dialect(), session.one(sql, &[], |row| text(row, 0))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart_and_old_ones_refused() {
        let read = |dialect, said: &str| Version::read(dialect, said.to_owned());
        let debian = read(Dialect::Postgres, "15.20 (Debian 15.20-0+deb12u1)");
        assert_eq!((debian.product, debian.number, debian.too_old()), ("PostgreSQL", (15, 20), None));
        assert!(
            read(Dialect::Postgres, "13.14").too_old().is_some_and(|what| what.contains("14.0 or later"))
        );
        assert_eq!(read(Dialect::Postgres, "19devel").too_old(), None);
        let mariadb = read(Dialect::Mysql, "10.11.19-MariaDB-0+deb12u1-log");
        assert_eq!((mariadb.product, mariadb.number, mariadb.too_old()), ("MariaDB", (10, 11), None));
        assert!(read(Dialect::Mysql, "10.5.28-MariaDB").too_old().is_some());
        assert_eq!(read(Dialect::Mysql, "8.4.3").too_old(), None);
        assert!(read(Dialect::Mysql, "5.7.44-log").too_old().is_some_and(|what| what.contains("MySQL")));
    }
}
