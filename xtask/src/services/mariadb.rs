//! A private MariaDB: Debian's, installed where it is absent, with a data folder of its own.
//!
//! Clients come over TCP as a user with the rights that a rented database gives its owner: everything in
//! all databases, and nothing that would change the server. `query` comes over the unix socket as root.
//! Read next: `galera`, three of these in step.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate;
use super::daemon::{ANSWER_MAX, Daemon, Kind, START_MAX, plain_name};
use super::ports::free_port;
use crate::{guard, packages};

const KIND: Kind = Kind { name: "MariaDB", account: "mysql", stop: "TERM", code: 0 };

/// The user and the first database of clients.
const USER: &str = "purser";

/// Its rights: no SUPER, so that what passes here passes on a server that somebody else runs.
const RIGHTS: &str = "
    CREATE USER purser@'127.0.0.1';
    GRANT ALL PRIVILEGES ON `%`.* TO purser@'127.0.0.1' WITH GRANT OPTION;
    GRANT CREATE USER, PROCESS, RELOAD ON *.* TO purser@'127.0.0.1';
    CREATE DATABASE purser;";

/// A running server; dropped, it is stopped and its folder removed.
pub(crate) struct MariaDb {
    daemon: Daemon,
    programs: Programs,
    port: u16,
    /// Settings beyond those of a server on its own.
    more: Vec<String>,
}

struct Programs {
    install: PathBuf,
    server: PathBuf,
    client: PathBuf,
}

impl MariaDb {
    /// Installs it where it is absent, makes a data folder and starts it.
    pub(crate) fn start() -> Result<Self, String> {
        let mut mariadb = Self::empty(Vec::new())?;
        mariadb.initialise()?;
        certificate::make(&mariadb.daemon)?;
        mariadb.restart()?;
        mariadb.admit_clients()?;
        Ok(mariadb)
    }

    /// Without a data folder.
    pub(super) fn empty(more: Vec<String>) -> Result<Self, String> {
        let programs = packages::find_or_install(find_programs, &["mariadb-server"], "mariadb-server")?;
        Ok(MariaDb { daemon: Daemon::new(KIND)?, programs, port: free_port()?, more })
    }

    pub(super) fn initialise(&self) -> Result<(), String> {
        let mut install = self.daemon.command(&self.programs.install);
        let data = self.daemon.folder().join("data");
        install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
        install.arg(format!("--datadir={}", data.display()));
        self.daemon.prepare(install).map(drop)
    }

    /// Empty, for a node that copies its data from another one.
    pub(super) fn make_data_folder(&self) -> Result<(), String> {
        let mut mkdir = self.daemon.command(Path::new("mkdir"));
        mkdir.arg("data");
        self.daemon.prepare(mkdir).map(drop)
    }

    pub(super) fn admit_clients(&self) -> Result<(), String> {
        self.query(RIGHTS).map(drop)
    }

    /// For clients over TCP.
    pub(crate) fn url(&self) -> String {
        self.url_of(USER)
    }

    /// The same for another database.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("mysql://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The file with the certificate of the authority that signed the server's.
    pub(crate) fn authority(&self) -> String {
        certificate::authority(self.daemon.folder()).display().to_string()
    }

    pub(crate) fn create_database(&self, name: &str) -> Result<(), String> {
        self.query(&format!("CREATE DATABASE {}", plain_name(name)?)).map(drop)
    }

    /// Runs SQL as root over the unix socket and answers what it prints: rows as lines, columns between
    /// tabs.
    pub(crate) fn query(&self, sql: &str) -> Result<String, String> {
        let mut client = self.client();
        client.arg(format!("--socket={}", self.daemon.folder().join("socket").display()));
        client.args(["--user=root", "-e", sql]);
        Ok(guard::output(client, ANSWER_MAX)?.trim_end().to_string())
    }

    /// The same as its clients do: over TCP, and with their rights.
    pub(crate) fn query_as_client(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut client = self.client();
        let port = format!("--port={}", self.port);
        client.args(["--protocol=tcp", "--host=127.0.0.1", &port, "--user", USER, "-e", sql, database]);
        Ok(guard::output(client, ANSWER_MAX)?.trim_end().to_string())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.daemon.kill()
    }

    /// Starts it again after `kill`, on the same data and port, and waits until it has recovered.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        self.launch(&[])?;
        self.wait_until_ready()
    }

    /// Stops it and says whether that went well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.daemon.stop()
    }

    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Starts it with `once` added to its settings.
    pub(super) fn launch(&mut self, once: &[&str]) -> Result<(), String> {
        let mut server = self.server();
        server.args(once);
        self.daemon.launch(server)
    }

    pub(super) fn wait_until_ready(&self) -> Result<(), String> {
        self.daemon.wait_until("answer", START_MAX, || self.query("SELECT 1").map(drop))
    }

    /// The server's program with its settings.
    pub(super) fn server(&self) -> Command {
        let mut server = self.daemon.command(&self.programs.server);
        let folder = self.daemon.folder().display();
        server.arg("--no-defaults");
        server.arg(format!("--datadir={folder}/data"));
        server.arg(format!("--socket={folder}/socket"));
        server.arg(format!("--pid-file={folder}/pid"));
        // A server that starts clears its folder of temporary tables, whoever's they are.
        server.arg(format!("--tmpdir={folder}"));
        server.arg(format!("--port={}", self.port));
        server.args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--max-connections=200",
            "--innodb-buffer-pool-size=512M",
            // As in production: a commit is on the disk before it is answered.
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-doublewrite=ON",
            "--sync-binlog=1",
            // What Debian's settings and MySQL 8 have, and MariaDB without settings has not.
            "--character-set-server=utf8mb4",
        ]);
        if certificate::authority(self.daemon.folder()).exists() {
            server
                .args([format!("--ssl-cert={folder}/server.pem"), format!("--ssl-key={folder}/server.key")]);
        }
        server.args(&self.more);
        server
    }

    fn client(&self) -> Command {
        let mut client = Command::new(&self.programs.client);
        for variable in ["MYSQL_PWD", "MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_UNIX_PORT"] {
            client.env_remove(variable);
        }
        client.args(["--no-defaults", "--batch", "--raw", "--skip-column-names", "--connect-timeout=5"]);
        client
    }
}

fn find_programs() -> Option<Programs> {
    Some(Programs {
        install: packages::find_program("mariadb-install-db")?,
        server: packages::find_program("mariadbd")?,
        client: packages::find_program("mariadb")?,
    })
}
