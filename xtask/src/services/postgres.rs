//! A private PostgreSQL: Debian's, installed where it is absent, with a cluster of its own.
//!
//! Read next: `postgres/standby.rs` for a second one that follows it, `pgbouncer` for what stands in front.

mod standby;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::certificate;
use super::daemon::{ANSWER_MAX, Daemon, Kind, START_MAX, plain_name};
use super::ports::free_port;
use crate::{guard, packages};

/// Its user in Debian and its first role. `INT` lets no client finish: it is the fast shutdown.
pub(super) const KIND: Kind = Kind { name: "PostgreSQL", account: "postgres", stop: "INT", code: 0 };

/// The role that owns everything.
pub(super) const ROLE: &str = "postgres";

/// A running server; dropped, it is stopped and its folder removed.
pub(crate) struct Postgres {
    daemon: Daemon,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// Installs it where it is absent, makes a cluster and starts it.
    pub(crate) fn start() -> Result<Self, String> {
        let postgres = Self::empty()?;
        let mut initdb = postgres.daemon.command(&postgres.programs.join("initdb"));
        // Not synced: a power cut may take it, as it is made anew every time. What is committed is synced.
        initdb.args(["--no-sync", "-U", ROLE, "--auth=trust", "--encoding=UTF8", "--locale=C", "-D", "data"]);
        postgres.daemon.prepare(initdb)?;
        certificate::make(&postgres.daemon)?;
        postgres.started()
    }

    /// Without a data folder.
    fn empty() -> Result<Self, String> {
        let programs = packages::find_or_install(
            find_programs,
            &["postgresql", "postgresql-client"],
            "PostgreSQL, below /usr/lib/postgresql,",
        )?;
        Ok(Postgres { daemon: Daemon::new(KIND)?, programs, port: free_port()? })
    }

    fn started(mut self) -> Result<Self, String> {
        self.launch()?;
        self.wait_until_ready()?;
        Ok(self)
    }

    /// Where `psql` and the others lie.
    pub(super) fn programs(&self) -> &Path {
        &self.programs
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// For clients over TCP.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The same for another database.
    pub(crate) fn url_of(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// For clients on this machine, over the unix socket.
    pub(crate) fn socket_url_of(&self, database: &str) -> String {
        format!("{}?host={}", self.url_of(database), self.daemon.folder().display())
    }

    /// The file with the certificate of the authority that signed the server's.
    pub(crate) fn authority(&self) -> String {
        certificate::authority(self.daemon.folder()).display().to_string()
    }

    pub(crate) fn create_database(&self, name: &str) -> Result<(), String> {
        self.query(&format!("CREATE DATABASE {}", plain_name(name)?)).map(drop)
    }

    /// Arguments that lead `psql` or `pgbench` to this server over its unix socket.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = client(&self.programs, program);
        let socket = self.daemon.folder().display().to_string();
        command.args(["-h", &socket, "-p", &self.port.to_string(), "-U", ROLE]);
        command
    }

    /// Runs SQL and answers what it prints, without decoration.
    pub(crate) fn query(&self, sql: &str) -> Result<String, String> {
        self.query_in("postgres", &[sql])
    }

    /// Runs transactions in another database.
    pub(crate) fn query_in(&self, database: &str, transactions: &[&str]) -> Result<String, String> {
        let mut psql = self.client("psql");
        psql.args(["-d", plain_name(database)?]);
        ask(psql, transactions)
    }

    /// `kill -9` of the postmaster.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.daemon.kill()
    }

    /// Starts it again after `kill`, on the same data and port, and waits until it has recovered.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        let give_up = Instant::now() + START_MAX;
        loop {
            self.launch()?;
            match self.wait_until_ready() {
                // The killed postmaster's own children have not all noticed yet that it is gone.
                Err(error) if error.contains("still in use") && Instant::now() < give_up => {}
                done => return done,
            }
        }
    }

    /// Stops it and says whether that went well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.daemon.stop()
    }

    fn launch(&mut self) -> Result<(), String> {
        let mut postgres = self.daemon.command(&self.programs.join("postgres"));
        postgres.args(["-D", "data"]);
        let settings = [
            "listen_addresses=127.0.0.1".to_string(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.daemon.folder().display()),
            // The sizes of a small server of its own, so that the comparison in `bench` is a fair one.
            "shared_buffers=1GB".to_string(),
            "max_wal_size=4GB".to_string(),
            "max_connections=200".to_string(),
            "jit=off".to_string(),
            // A standby that has just lost its primary sleeps for so long before it hears of its promotion.
            "wal_retrieve_retry_interval=200ms".to_string(),
            // As in production: a commit is on the disk before it is answered.
            "fsync=on".to_string(),
            "synchronous_commit=on".to_string(),
        ];
        for setting in settings {
            postgres.arg("-c").arg(setting);
        }
        let folder = self.daemon.folder().display();
        if certificate::authority(self.daemon.folder()).exists() {
            postgres.arg("-c").arg("ssl=on");
            postgres.arg("-c").arg(format!("ssl_cert_file={folder}/server.pem"));
            postgres.arg("-c").arg(format!("ssl_key_file={folder}/server.key"));
        }
        self.daemon.launch(postgres)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        self.daemon.wait_until("answer", START_MAX, || self.query("SELECT 1").map(drop))
    }
}

impl Drop for Postgres {
    /// The shared memory of a server that was killed outlives it, until the next start on the same data
    /// removes it; a machine that runs this often would be full of it.
    fn drop(&mut self) {
        let was_killed = || self.daemon.folder().join("data/postmaster.pid").exists();
        if !self.daemon.is_running() && was_killed() {
            drop(self.restart());
        }
    }
}

/// Where a role that needs no password finds a database.
pub(super) fn url(port: u16, database: &str) -> String {
    format!("postgres://{ROLE}@127.0.0.1:{port}/{database}")
}

/// A client program without the desk's own settings, which must not lead to other servers.
pub(super) fn client(programs: &Path, program: &str) -> Command {
    let mut command = Command::new(programs.join(program));
    for variable in ["PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGOPTIONS"] {
        command.env_remove(variable);
    }
    command.env("PGCONNECT_TIMEOUT", "5");
    command
}

/// Has `psql`, which knows where to go, run transactions one after the other in one session.
pub(super) fn ask(mut psql: Command, transactions: &[&str]) -> Result<String, String> {
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    for sql in transactions {
        psql.args(["-c", sql]);
    }
    Ok(guard::output(psql, ANSWER_MAX)?.trim().to_string())
}

fn find_programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|item| Some((item.file_name().to_str()?.parse().ok()?, item.path().join("bin"))))
        .collect();
    versions.sort();
    let needed = ["initdb", "postgres", "psql", "pgbench", "pg_ctl", "pg_basebackup"];
    let complete = |folder: &Path| needed.iter().all(|program| folder.join(program).is_file());
    versions.into_iter().rev().map(|(_, folder)| folder).find(|folder| complete(folder))
}
