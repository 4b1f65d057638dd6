//! A `purser serve` of our own: on a free port of the loopback interface, with a database in a
//! temporary folder, gone with its guard.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::guard::{Process, TempFolder};
use crate::{http, services};

/// How long it may take until `/readyz` says yes.
const START_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    // Stopped before its folder goes: fields drop in this order.
    process: Process,
    pub(crate) address: SocketAddr,
    program: PathBuf,
    folder: Rc<TempFolder>,
}

impl Server {
    /// Starts `program serve` on an empty SQLite database and waits until it is ready.
    pub(crate) fn start(program: &Path) -> Result<Self, String> {
        Self::start_in(Rc::new(TempFolder::new("server")?), program)
    }

    /// The same on whatever database lies in `folder`, which may outlive the server.
    pub(crate) fn start_in(folder: Rc<TempFolder>, program: &Path) -> Result<Self, String> {
        Self::launch(folder, program, &["serve"], "/readyz")
    }

    /// Starts `program` with `arguments`; it is ready when a GET of `ready` answers at all (200 where it
    /// is a readiness path).
    pub(crate) fn start_as(program: &Path, arguments: &[&str], ready: &str) -> Result<Self, String> {
        Self::launch(Rc::new(TempFolder::new("server")?), program, arguments, ready)
    }

    fn launch(
        folder: Rc<TempFolder>,
        program: &Path,
        arguments: &[&str],
        ready: &str,
    ) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], services::free_port()?));
        let log = File::create(folder.path().join("log")).map_err(|error| format!("log: {error}"))?;
        let errors = log.try_clone().map_err(|error| format!("log: {error}"))?;
        let mut command = purser(program, folder.path(), address);
        command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = Process::start(command, "TERM")?;
        let mut server = Server { process, address, program: program.to_path_buf(), folder };
        server.wait_until_ready(ready)?;
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Another command of the same program on the same database, its standard output as the answer.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String, String> {
        run(&mut purser(&self.program, self.folder.path(), self.address), arguments)
    }

    /// A new API key.
    pub(crate) fn key(&self, name: &str) -> Result<String, String> {
        let key = self.command(&["key", "create", "--name", name])?.trim().to_string();
        if key.starts_with("psk_") && !key.contains(char::is_whitespace) {
            return Ok(key);
        }
        Err(format!(
            "`purser key create` should print the key alone, and printed {} bytes of something else",
            key.len()
        ))
    }

    /// Stops it and then runs a command on the database that it leaves.
    pub(crate) fn stop_and_run(self, arguments: &[&str]) -> Result<String, String> {
        let Server { process, address, program, folder } = self;
        process.stop().map_err(|error| format!("purser serve: {error}:\n{}", log_tail(folder.path())))?;
        run(&mut purser(&program, folder.path(), address), arguments)
    }

    pub(crate) fn stop(self) -> Result<(), String> {
        self.process.stop().map_err(|error| format!("purser: {error}:\n{}", log_tail(self.folder.path())))
    }

    /// The last lines that it wrote.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(self.folder.path())
    }

    fn wait_until_ready(&mut self, ready: &str) -> Result<(), String> {
        let give_up = Instant::now() + START_MAX;
        loop {
            let last = match http::ask(self.address, "GET", ready, &[], "") {
                Ok(answer) if answer.status == 200 || ready != "/readyz" => return Ok(()),
                Ok(answer) => format!("{ready} answers {}", answer.status),
                Err(error) => error,
            };
            let ended = self.process.ended();
            if ended.is_some() || Instant::now() > give_up {
                let how = ended.map_or(last, |status| format!("it ended with {status}"));
                return Err(format!("purser does not start ({how}):\n{}", self.log_tail()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One command of `program` on a database in `folder`, its standard output as the answer.
pub(crate) fn run_alone(program: &Path, folder: &Path, arguments: &[&str]) -> Result<String, String> {
    // Nobody listens there, and a command that needs no server does not ask.
    let address = SocketAddr::from(([127, 0, 0, 1], services::free_port()?));
    run(&mut purser(program, folder, address), arguments)
}

/// `program` with its settings, and without those of the desk it runs on.
fn purser(program: &Path, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PURSER_") {
            command.env_remove(name);
        }
    }
    let database = format!("sqlite:{}", folder.join("purser.db").display());
    command
        .env("PURSER_DATABASE_URL", database)
        .env("PURSER_LISTEN", address.to_string())
        .current_dir(folder);
    command
}

fn run(command: &mut Command, arguments: &[&str]) -> Result<String, String> {
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("purser {}: {error}", arguments.join(" ")))?;
    if !output.status.success() {
        let (errors, said) =
            (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        return Err(format!("purser {} ended with {}:\n{said}{errors}", arguments.join(" "), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn log_tail(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
