//! A private PostgreSQL: Debian's, installed where it is absent, with a cluster of its own.
//!
//! PostgreSQL refuses to run as root, so root becomes the user `postgres` for it, by `setpriv`, which
//! also has the kernel stop the server when xtask dies in whatever way.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::guard::{Process, TempFolder};
use crate::packages;

/// How long it may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);

/// The user that Debian's package makes.
const USER: &str = "postgres";

/// A running server; dropped, it is stopped and its folder removed.
pub(crate) struct Postgres {
    // Stopped before its folder goes: fields drop in this order.
    process: Option<Process>,
    programs: PathBuf,
    port: u16,
    folder: TempFolder,
}

impl Postgres {
    pub(crate) fn start() -> Result<Self, String> {
        let programs = programs()?;
        let folder = TempFolder::new("postgres")?;
        if packages::is_root() {
            let (user, group) = ids_of(USER)?;
            chown(folder.path(), Some(user), Some(group)).map_err(|error| format!("chown: {error}"))?;
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(|error| format!("{}: {error}", folder.path().display()))?;
        initialise(&programs, folder.path())?;
        let port = super::free_port()?;
        let process = launch(&programs, folder.path(), port)?;
        let mut postgres = Postgres { process: Some(process), programs, port, folder };
        postgres.wait_until_ready()?;
        Ok(postgres)
    }

    /// For clients over TCP.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// Arguments that lead `psql` or `pgbench` to this server over its unix socket.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        let socket = self.folder.path().display().to_string();
        command.args(["-h", &socket, "-p", &self.port.to_string(), "-U", USER]);
        // A desk's own settings for other servers must not lead elsewhere.
        for variable in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGOPTIONS"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs SQL and answers what it prints, without decoration.
    pub(crate) fn query(&self, sql: &str) -> Result<String, String> {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql]);
        let output = psql.output().map_err(|error| format!("psql: {error}"))?;
        if !output.status.success() {
            return Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    }

    /// Stops it and says whether that went well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let process = self.process.take().expect("taken only here");
        process.stop().map_err(|error| format!("PostgreSQL: {error}"))
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let give_up = Instant::now() + START_MAX;
        loop {
            let last = match self.query("SELECT 1") {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let ended = self.process.as_mut().and_then(Process::ended);
            if ended.is_some() || Instant::now() > give_up {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("PostgreSQL does not start ({last}):\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The folder with `initdb`, `postgres`, `psql` and `pgbench`, after installing them if need be.
fn programs() -> Result<PathBuf, String> {
    let purpose = "PostgreSQL, below /usr/lib/postgresql,";
    packages::find_or_install(find_programs, &["postgresql", "postgresql-client"], purpose)
}

fn find_programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|item| Some((item.file_name().to_str()?.parse().ok()?, item.path().join("bin"))))
        .collect();
    versions.sort();
    let complete =
        |folder: &Path| ["initdb", "postgres", "psql", "pgbench"].iter().all(|p| folder.join(p).is_file());
    versions.into_iter().rev().map(|(_, folder)| folder).find(|folder| complete(folder))
}

/// User and group number, from the list of users.
fn ids_of(user: &str) -> Result<(u32, u32), String> {
    let list = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let line = list.lines().find(|line| line.split(':').next() == Some(user));
    let mut numbers = line.into_iter().flat_map(|line| line.split(':').skip(2)).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok((user, group)),
        _ => Err(format!("there is no user {user}: PostgreSQL cannot run as root")),
    }
}

/// `program` as the user that PostgreSQL accepts.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if packages::is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
    }
    command.arg(program);
    command
}

fn initialise(programs: &Path, folder: &Path) -> Result<(), String> {
    let mut initdb = as_postgres(&programs.join("initdb"));
    initdb.args(["-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]).arg(folder.join("data"));
    let output = initdb.current_dir(folder).output().map_err(|error| format!("initdb: {error}"))?;
    if !output.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(())
}

fn launch(programs: &Path, folder: &Path, port: u16) -> Result<Process, String> {
    let log = fs::File::create(folder.join("log")).map_err(|error| format!("log: {error}"))?;
    let mut postgres = as_postgres(&programs.join("postgres"));
    postgres.arg("-D").arg(folder.join("data"));
    let settings = [
        "listen_addresses=127.0.0.1".to_string(),
        format!("port={port}"),
        format!("unix_socket_directories={}", folder.display()),
        // The sizes of a small server of its own, so that the comparison in `bench` is a fair one.
        "shared_buffers=1GB".to_string(),
        "max_wal_size=4GB".to_string(),
        "max_connections=200".to_string(),
        "jit=off".to_string(),
        // As in production: a commit is on the disk before it is answered.
        "fsync=on".to_string(),
        "synchronous_commit=on".to_string(),
    ];
    for setting in settings {
        postgres.arg("-c").arg(setting);
    }
    let errors = log.try_clone().map_err(|error| format!("log: {error}"))?;
    postgres.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(folder);
    Process::start(postgres, "INT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_in_the_list_of_users_and_a_stranger_is_not() {
        assert_eq!(ids_of("root"), Ok((0, 0)));
        assert!(ids_of("nobody-of-this-name").is_err());
    }
}
