//! A database of a test's own on one of the servers that the harness started.

use std::sync::atomic::{AtomicU32, Ordering};

use purser_app::database::{Console, DatabaseUrl};

static MADE: AtomicU32 = AtomicU32::new(0);

/// A database that is dropped with this.
pub(crate) struct Database {
    pub(crate) name: String,
    /// Where the server's own administrator finds it.
    pub(crate) url: String,
    admin: String,
}

/// The URL of a server, as the harness hands it over.
pub(crate) fn server(system: &str) -> String {
    let variable = format!("PURSER_TEST_{system}_URL");
    std::env::var(&variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, or `cargo xtask services` and export what it prints")
    })
}

/// A connection for SQL of a test's own.
pub(crate) fn console(url: &str) -> Console {
    let database = DatabaseUrl::parse(url).expect("a URL");
    Console::connect(&database).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The same server and database as somebody else.
pub(crate) fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (_, place) = rest.split_once('@').expect("a user");
    format!("{scheme}://{user}@{place}")
}

/// Another database of the same server.
pub(crate) fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("a database");
    format!("{server}/{name}")
}

impl Database {
    /// On PostgreSQL.
    pub(crate) fn postgres() -> Database {
        Database::on("POSTGRES", "")
    }

    /// On MariaDB.
    pub(crate) fn mariadb() -> Database {
        Database::on("MYSQL", " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    }

    fn on(system: &str, words: &str) -> Database {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("purser_{}_{number}", std::process::id());
        let admin = server(system);
        console(&admin).run(&format!("CREATE DATABASE {name}{words}")).expect("a database is made");
        Database { url: with_database(&admin, &name), name, admin }
    }

    /// Runs SQL as the administrator.
    pub(crate) fn run(&self, sql: &str) {
        console(&self.url).run(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// A name for a role that no other test has: roles belong to the whole server.
    pub(crate) fn role(&self, what: &str) -> String {
        format!("{}_{what}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let force = if self.admin.starts_with("postgres") { " WITH (FORCE)" } else { "" };
        let dropped = console(&self.admin).run(&format!("DROP DATABASE IF EXISTS {}{force}", self.name));
        if let Err(error) = dropped {
            eprintln!("{} was left behind: {error}", self.name);
        }
    }
}
