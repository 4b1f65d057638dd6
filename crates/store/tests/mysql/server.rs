//! A database of its own for each test, on the server that the harness names.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row};
use std::hash::{BuildHasher, RandomState};
use tokio::runtime::Runtime;

/// An empty database; dropped with this.
pub(crate) struct Database {
    runtime: Runtime,
    conn: Option<Conn>,
    name: String,
    /// Without the database's name.
    server: String,
}

impl Database {
    pub(crate) fn new() -> Database {
        const VARIABLE: &str = "PURSER_TEST_MYSQL_URL";
        let url = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} is not set: run `cargo xtask services` and export what it prints")
        });
        let (server, _) = url.rsplit_once('/').expect("a URL with a database");
        let name = format!("purser_test_{:016x}", RandomState::new().hash_one(0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let opts = OptsBuilder::from_opts(Opts::from_url(&url).expect("a URL")).prefer_socket(false);
        let conn = runtime.block_on(Conn::new(opts)).expect("the server answers");
        let mut database = Database { runtime, conn: Some(conn), name, server: server.into() };
        database.run(&format!("CREATE DATABASE {}", database.name));
        database.run(&format!("USE {}", database.name));
        database
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// Runs statements by hand; the rows of the first, as text.
    pub(crate) fn run(&mut self, sql: &str) -> Vec<Vec<String>> {
        self.try_run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub(crate) fn try_run(&mut self, sql: &str) -> Result<Vec<Vec<String>>, mysql_async::Error> {
        let conn = self.conn.as_mut().expect("taken when dropped only");
        let rows: Vec<Row> = self.runtime.block_on(conn.query(sql))?;
        let text = |value: mysql_async::Value| value.as_sql(true).trim_matches('\'').to_string();
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
    }

    /// The one value of a statement.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        self.run(sql)[0][0].clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        let name = &self.name;
        let gone = self.runtime.block_on(async {
            conn.query_drop(format!("DROP DATABASE {name}")).await?;
            conn.disconnect().await
        });
        if let Err(error) = gone {
            eprintln!("database {name} was not dropped: {error}");
        }
    }
}
