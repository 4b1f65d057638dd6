//! One connection of any database, as the cold SQL sees it: the one file with three arms.
//!
//! A statement is one text in the common subset with numbered placeholders (`?1`), carrying integers, bytes and text only.
//! [`Session`] runs it on SQLite, PostgreSQL or MySQL; `dialect.rs` says how the text differs. Everything here blocks: the
//! servers' drivers are asynchronous inside and are driven by the thread that asks, so that no wake-up of another thread
//! stands between a question and its answer. The funnel's hot statements do not come through here.

pub(crate) mod bulk;
pub(crate) mod mysql;
mod mysql_errors;
pub(crate) mod mysql_session;
mod pooling;
pub(crate) mod postgres;
mod target;
mod tls;

pub(crate) use pooling::{Pooling, pooling};
pub use target::{DatabaseUrl, Target};

use crate::dialect::Dialect;
use crate::error::StoreError;
use mysql::MysqlLink;
use postgres::PostgresLink;
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::time::Duration;

/// How long a connection may take to come about.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a statement may run, and how long it may wait for a lock. Beyond that the database gives it up.
pub(crate) const STATEMENT_MAX: Duration = Duration::from_secs(15);
pub(crate) const LOCK_MAX: Duration = Duration::from_secs(5);
/// How long anything may take before the connection counts as lost: longer than the database itself would wait.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What a placeholder stands for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    /// 64 bits; unsigned numbers by their bit pattern.
    Int(i64),
    /// Ids, digests, encodings.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
    /// Nothing, of any type.
    Null,
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $made:expr),* $(,)?) => {
        $(impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Value<'a> { $made }
        })*
    };
}

value_from! {
    i64 => |value| Value::Int(value),
    u64 => |value| Value::Int(value as i64),
    u32 => |value| Value::Int(i64::from(value)),
    i32 => |value| Value::Int(i64::from(value)),
    u16 => |value| Value::Int(i64::from(value)),
    u8 => |value| Value::Int(i64::from(value)),
    usize => |value| Value::Int(value as i64),
    bool => |value| Value::Int(i64::from(value)),
    &'a [u8] => |value| Value::Bytes(value),
    &'a Vec<u8> => |value| Value::Bytes(value),
    &'a str => |value| Value::Text(value),
    &'a String => |value| Value::Text(value),
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Value<'a> {
        Value::Bytes(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Value<'a> {
        value.map_or(Value::Null, Into::into)
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Bytes(value) => ValueRef::Blob(value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Null => ValueRef::Null,
        }))
    }
}

/// The values of a statement's placeholders, in their order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::driver::Value::from($value)),*] };
}
pub(crate) use values;

/// A row of an answer. Columns are counted from 0.
pub(crate) trait Columns {
    /// An integer, or nothing.
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError>;
    /// Bytes, or nothing.
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError>;
    /// Text, or nothing.
    fn text(&self, column: usize) -> Result<Option<&str>, StoreError>;
}

impl Columns for rusqlite::Row<'_> {
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.get_ref(column)?.as_i64_or_null().map_err(rusqlite::Error::from)?)
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)?)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        Ok(self.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?)
    }
}

/// What was found where something else, or nothing, was expected.
pub(crate) fn unreadable(column: usize, what: &str) -> StoreError {
    StoreError::Corrupt { what: format!("column {column} of an answer is {what}") }
}

/// A connection to a server, driven by the thread that uses it.
pub(crate) enum Link {
    Postgres(PostgresLink),
    Mysql(Box<MysqlLink>),
}

impl Link {
    /// Connects to the first of the target's hosts that takes the connection.
    pub(crate) fn connect(target: &Target) -> Result<Link, StoreError> {
        match target.dialect {
            Dialect::Postgres => Ok(Link::Postgres(PostgresLink::connect(target)?)),
            Dialect::Mysql => Ok(Link::Mysql(Box::new(MysqlLink::connect(target)?))),
            Dialect::Sqlite => {
                Err(StoreError::Other("an embedded database is opened, not connected to".into()))
            }
        }
    }

    /// Whether it can be used again.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Link::Postgres(link) => link.is_sound(),
            Link::Mysql(link) => link.is_sound(),
        }
    }

    pub(crate) fn session(&self) -> Session<'_> {
        match self {
            Link::Postgres(link) => Session::Postgres(link),
            Link::Mysql(link) => Session::Mysql(link),
        }
    }
}

/// A connection within its transaction.
#[derive(Clone, Copy)]
pub(crate) enum Session<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c PostgresLink),
    Mysql(&'c MysqlLink),
}

impl Session<'_> {
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Session::Sqlite(_) => Dialect::Sqlite,
            Session::Postgres(_) => Dialect::Postgres,
            Session::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Runs a statement that answers no rows; how many it changed. (MySQL does not count rows that were so already.)
    pub(crate) fn execute(self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        match self {
            Session::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                Ok(statement.execute(rusqlite::params_from_iter(values))? as u64)
            }
            Session::Postgres(link) => link.execute(sql, values),
            Session::Mysql(link) => link.execute(sql, values),
        }
    }

    /// All rows of a statement.
    pub(crate) fn all<T>(
        self,
        sql: &'static str,
        values: &[Value<'_>],
        mut read: impl FnMut(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Session::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(read(row)?);
                }
                Ok(found)
            }
            Session::Postgres(link) => link.query(sql, values)?.iter().map(|row| read(row)).collect(),
            Session::Mysql(link) => link.query(sql, values)?.iter().map(|row| read(row)).collect(),
        }
    }

    /// The first row of a statement, if there is one.
    pub(crate) fn first<T>(
        self,
        sql: &'static str,
        values: &[Value<'_>],
        mut read: impl FnMut(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self {
            Session::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                rows.next()?.map(|row| read(row)).transpose()
            }
            Session::Postgres(link) => link.query(sql, values)?.first().map(|row| read(row)).transpose(),
            Session::Mysql(link) => link.query(sql, values)?.first().map(|row| read(row)).transpose(),
        }
    }

    /// The one row of a statement that always has one.
    pub(crate) fn one<T>(
        self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnMut(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let missing =
            || StoreError::Other(format!("a row is missing that the schema was made with: {}", sql.trim()));
        self.first(sql, values, read)?.ok_or_else(missing)
    }

    /// Runs a script of statements without placeholders, such as a migration or the words around a transaction.
    pub(crate) fn script(self, sql: &str) -> Result<(), StoreError> {
        match self {
            Session::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Session::Postgres(link) => link.script(sql),
            Session::Mysql(link) => link.script(sql),
        }
    }

    /// Runs a migration, for as long as it takes.
    pub(crate) fn migrate(self, sql: &str) -> Result<(), StoreError> {
        match self {
            Session::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Session::Postgres(link) => link.script_patiently(sql),
            Session::Mysql(link) => link.migrate(sql),
        }
    }
}
