//! A private PgBouncer in transaction mode: Debian's, installed where it is absent, in front of a private
//! PostgreSQL.
//!
//! It is there to show what breaks behind it: prepared statements that a client names, settings of a
//! session, LISTEN, advisory locks of a session. So no transaction meets the connection of the one before
//! it, which in production only happens when others are busy.

use std::fs;
use std::path::PathBuf;

use super::Postgres;
use super::daemon::{Daemon, Kind, START_MAX};
use super::ports::free_port;
use super::postgres;
use crate::packages;

/// It refuses root as PostgreSQL does, and Debian runs both as the same user. `TERM` waits for
/// nobody, which it counts as a failure.
const KIND: Kind = Kind { name: "PgBouncer", account: postgres::KIND.account, stop: "TERM", code: 1 };

/// The database by which PgBouncer itself is asked.
const CONSOLE: &str = "pgbouncer";

/// A running pooler; dropped, it is stopped and its folder removed.
pub(crate) struct PgBouncer {
    daemon: Daemon,
    clients: PathBuf,
    port: u16,
}

impl PgBouncer {
    /// Installs it where it is absent and starts it in front of all databases of `postgres`, which must
    /// outlive it.
    pub(crate) fn start(postgres: &Postgres) -> Result<Self, String> {
        let find = || packages::find_program("pgbouncer");
        let program = packages::find_or_install(find, &["pgbouncer"], "pgbouncer")?;
        let daemon = Daemon::new(KIND)?;
        let mut bouncer =
            PgBouncer { daemon, clients: postgres.programs().to_path_buf(), port: free_port()? };
        bouncer.write("users", &format!("\"{}\" \"\"\n", postgres::ROLE))?;
        bouncer.write("settings", &settings(bouncer.port, postgres.port()))?;
        let mut command = bouncer.daemon.command(&program);
        command.arg("settings");
        bouncer.daemon.launch(command)?;
        bouncer.daemon.wait_until("answer", START_MAX, || bouncer.query("postgres", "SELECT 1"))?;
        Ok(bouncer)
    }

    /// For clients of one database of the server behind it.
    pub(crate) fn url_of(&self, database: &str) -> String {
        postgres::url(self.port, database)
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Runs SQL through it and answers what that prints, without decoration.
    pub(crate) fn query(&self, database: &str, sql: &str) -> Result<String, String> {
        self.session(database, &[sql])
    }

    /// The same with several transactions of one client.
    pub(crate) fn session(&self, database: &str, transactions: &[&str]) -> Result<String, String> {
        let mut psql = postgres::client(&self.clients, "psql");
        psql.args(["-d", &self.url_of(database)]);
        postgres::ask(psql, transactions)
    }

    /// What it says of itself: `SHOW VERSION`, `SHOW CONFIG` and so on.
    pub(crate) fn console(&self, command: &str) -> Result<String, String> {
        self.query(CONSOLE, command)
    }

    /// Stops it and says whether that went well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.daemon.stop()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.daemon.folder().join(name), text)
            .map_err(|error| format!("PgBouncer: {name}: {error}"))
    }
}

fn settings(port: u16, postgres: u16) -> String {
    let role = postgres::ROLE;
    format!(
        "[databases]\n\
         * = host=127.0.0.1 port={postgres}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         ; No passwords here; roles that are not in the file are looked for in PostgreSQL.\n\
         auth_type = trust\n\
         auth_file = users\n\
         auth_user = {role}\n\
         admin_users = {role}\n\
         pool_mode = transaction\n\
         max_client_conn = 500\n\
         default_pool_size = 20\n\
         ; Every transaction on a new connection, so that nobody relies on a session.\n\
         server_lifetime = 0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pools_transactions_on_loopback() {
        let settings = settings(6_000, 5_000);
        for line in ["* = host=127.0.0.1 port=5000", "listen_port = 6000", "pool_mode = transaction"] {
            assert!(settings.lines().any(|found| found == line), "{line}: {settings}");
        }
    }
}
