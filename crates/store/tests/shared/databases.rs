//! The databases that everything is held against, and where the servers among them are.
//!
//! This is the one list: a server that is added to [`on_every_server`] is tested wherever that macro stands, and
//! `xtask/src/test.rs` repeats the suites that take their database from the environment. Shared by the tests of several crates.

/// A database system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The embedded one.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mysql,
}

/// Makes tests out of functions that take a [`Kind`], each under the name of its database.
macro_rules! tests_on {
    ($module:ident $kind:ident $($test:ident)*) => {
        mod $module {
            $(#[test] fn $test() { super::$test(crate::databases::Kind::$kind) })*
        }
    };
}

/// Runs functions on every server.
macro_rules! on_every_server {
    ($($test:ident),* $(,)?) => {
        tests_on!(postgres Postgres $($test)*);
        tests_on!(mysql Mysql $($test)*);
    };
}

/// Runs functions on every database.
#[allow(unused_macros, reason = "not every suite has tests of its own for each")]
macro_rules! on_every_database {
    ($($test:ident),* $(,)?) => {
        tests_on!(sqlite Sqlite $($test)*);
        on_every_server!($($test),*);
    };
}

#[allow(dead_code, reason = "not every suite needs all of it")]
impl Kind {
    /// The database that this variable of the environment names; the embedded one unless it says otherwise.
    pub(crate) fn from_environment(variable: &str) -> Kind {
        match std::env::var(variable).as_deref() {
            Err(_) | Ok("sqlite") => Kind::Sqlite,
            Ok("postgres") => Kind::Postgres,
            Ok("mysql") => Kind::Mysql,
            Ok(other) => panic!("{variable} is {other:?}, none of sqlite, postgres, mysql"),
        }
    }

    /// Whether nodes share it.
    pub(crate) fn is_server(self) -> bool {
        self != Kind::Sqlite
    }

    /// A server of this kind on which tests may make databases.
    pub(crate) fn server_url(self) -> String {
        let variable = match self {
            Kind::Sqlite => panic!("an embedded database has no server"),
            Kind::Postgres => "PURSER_TEST_POSTGRES_URL",
            Kind::Mysql => "PURSER_TEST_MYSQL_URL",
        };
        std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `cargo xtask test`, or `cargo xtask services` and export what it prints")
        })
    }
}
