//! SQL that an operator or a test wrote, run as it is: databases for tests, roles, dumps. The service itself never does this.

use crate::driver::{DatabaseUrl, Link, Session, Target};
use crate::error::StoreError;
use crate::hot::rows::text_option;

/// A connection for SQL of somebody else's.
pub struct Console {
    connection: Connection,
}

enum Connection {
    File(rusqlite::Connection),
    Server(Link),
}

impl Console {
    /// Connects; makes the file of an embedded database where it is absent.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub fn connect(url: &DatabaseUrl) -> Result<Console, StoreError> {
        let connection = match url {
            DatabaseUrl::Sqlite(path) => Connection::File(rusqlite::Connection::open(path)?),
            DatabaseUrl::Server(target) => {
                // One statement after the other may meet other connections.
                let target = Target { keep_prepared: false, ..target.clone() };
                Connection::Server(Link::connect(&target)?)
            }
        };
        Ok(Console { connection })
    }

    /// Runs statements one after the other, each ending with its line.
    ///
    /// # Errors
    /// What the database says to the first that it refuses.
    pub fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.session().script(sql)
    }

    /// The first column of what one statement answers, as text; what is null is empty.
    ///
    /// # Errors
    /// What the database says, or the column is no text.
    pub fn texts(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        // Kept for the life of the process, as all statements are: a console asks for few.
        let sql: &'static str = sql.to_owned().leak();
        self.session().all(sql, &[], |row| Ok(text_option(row, 0)?.unwrap_or_default()))
    }

    fn session(&self) -> Session<'_> {
        match &self.connection {
            Connection::File(connection) => Session::Sqlite(connection),
            Connection::Server(link) => link.session(),
        }
    }
}
