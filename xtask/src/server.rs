//! A `purser serve` of our own: on a free port of the loopback interface, with a database in a
//! temporary folder or on a private server, gone with its guard.

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

/// What a program is told by variables: where its database is, and all else that is not the default.
#[derive(Clone)]
pub(crate) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    /// A SQLite database in this folder.
    pub(crate) fn file(folder: &Path) -> Self {
        Settings(vec![("PURSER_DATABASE_URL", format!("sqlite:{}", folder.join("purser.db").display()))])
    }

    /// A database on a private server, whose schema is made on the first start.
    pub(crate) fn on(url: &str) -> Self {
        let secret = "5e".repeat(32);
        Settings(vec![
            ("PURSER_DATABASE_URL", url.to_string()),
            ("PURSER_DATABASE_OWNER_URL", url.to_string()),
            ("PURSER_SECRET_KEY", secret),
        ])
    }

    pub(crate) fn with(mut self, variable: &'static str, value: impl ToString) -> Self {
        self.0.push((variable, value.to_string()));
        self
    }
}

/// How long it may take until a node knows of a new key or action; it looks more often than every second.
const HEARD_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Server {
    // Stopped before its folder goes: fields drop in this order. Absent after it was killed.
    process: Option<Process>,
    pub(crate) address: SocketAddr,
    program: PathBuf,
    settings: Settings,
    folder: Rc<TempFolder>,
}

impl Server {
    /// Starts `program serve` on an empty SQLite database and waits until it is ready.
    pub(crate) fn start(program: &Path) -> Result<Self, String> {
        Self::start_in(Rc::new(TempFolder::new("server")?), program)
    }

    /// The same on whatever database lies in `folder`, which may outlive the server.
    pub(crate) fn start_in(folder: Rc<TempFolder>, program: &Path) -> Result<Self, String> {
        let settings = Settings::file(folder.path());
        Self::launch(folder, settings, program, &["serve"], "/readyz")
    }

    /// Starts `program serve` with these settings and waits until it is ready.
    pub(crate) fn start_with(settings: &Settings, program: &Path) -> Result<Self, String> {
        Self::launch(Rc::new(TempFolder::new("server")?), settings.clone(), program, &["serve"], "/readyz")
    }

    /// Starts `program` with `arguments`; it is ready when a GET of `ready` answers at all (200 where it
    /// is a readiness path).
    pub(crate) fn start_as(program: &Path, arguments: &[&str], ready: &str) -> Result<Self, String> {
        let folder = Rc::new(TempFolder::new("server")?);
        let settings = Settings::file(folder.path());
        Self::launch(folder, settings, program, arguments, ready)
    }

    fn launch(
        folder: Rc<TempFolder>,
        settings: Settings,
        program: &Path,
        arguments: &[&str],
        ready: &str,
    ) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], services::free_port()?));
        let mut server = Server { process: None, address, program: program.to_path_buf(), settings, folder };
        server.spawn(arguments)?;
        server.wait_until_ready(ready)?;
        Ok(server)
    }

    /// Starts the process; what it says goes to the end of the log.
    fn spawn(&mut self, arguments: &[&str]) -> Result<(), String> {
        let path = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(path);
        let log = log.map_err(|error| format!("log: {error}"))?;
        let errors = log.try_clone().map_err(|error| format!("log: {error}"))?;
        let mut command = purser(&self.program, &self.settings, self.folder.path(), self.address);
        command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.process = Some(Process::start(command, "TERM")?);
        Ok(())
    }

    /// `kill -9` of `serve`.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let process = self.process.take().ok_or("it was killed already")?;
        process.kill().map_err(|error| format!("purser serve: {error}:\n{}", self.log_tail()))
    }

    /// Starts `serve` again after `kill`, at the same address, and does not wait until it is ready.
    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        self.spawn(&["serve"])
    }

    /// None after it was killed.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Another command of the same program on the same database, its standard output as the answer.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String, String> {
        run(&mut purser(&self.program, &self.settings, self.folder.path(), self.address), arguments)
    }

    /// A new API key.
    pub(crate) fn key(&self, name: &str) -> Result<String, String> {
        let key = self.command(&["key", "create", "--name", name])?.trim().to_string();
        if key.starts_with("psk_") && !key.contains(char::is_whitespace) {
            return self.sees("/v1/actions", &key).map(|()| key);
        }
        Err(format!(
            "`purser key create` should print the key alone, and printed {} bytes of something else",
            key.len()
        ))
    }

    /// Waits until the node has heard of what another process made: with this key, a GET of `path` finds it.
    pub(crate) fn sees(&self, path: &str, key: &str) -> Result<(), String> {
        let give_up = Instant::now() + HEARD_MAX;
        let authorization = format!("Bearer {key}");
        loop {
            match http::ask(self.address, "GET", path, &[("Authorization", &authorization)], "")? {
                answer if answer.status == 200 => return Ok(()),
                answer if Instant::now() > give_up => {
                    return Err(format!("GET {path} still answers {}: {}", answer.status, answer.body));
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Stops it and then runs a command on the database that it leaves.
    pub(crate) fn stop_and_run(mut self, arguments: &[&str]) -> Result<String, String> {
        self.end()?;
        self.command(arguments)
    }

    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.stop().map_err(|error| format!("purser serve: {error}:\n{}", self.log_tail()))
    }

    /// The last lines that it wrote.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(self.folder.path())
    }

    /// Waits until `/readyz` says yes.
    pub(crate) fn wait(&mut self) -> Result<(), String> {
        self.wait_until_ready("/readyz")
    }

    fn wait_until_ready(&mut self, ready: &str) -> Result<(), String> {
        let give_up = Instant::now() + START_MAX;
        loop {
            let last = match http::ask(self.address, "GET", ready, &[], "") {
                Ok(answer) if answer.status == 200 || ready != "/readyz" => return Ok(()),
                Ok(answer) => format!("{ready} answers {}", answer.status),
                Err(error) => error,
            };
            let ended = self.process.as_mut().and_then(Process::ended);
            if ended.is_some() || Instant::now() > give_up {
                let how = ended.map_or(last, |status| format!("it ended with {status}"));
                return Err(format!("purser does not start ({how}):\n{}", self.log_tail()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One command of `program` with these settings, its standard output as the answer.
pub(crate) fn run_alone(program: &Path, settings: &Settings, arguments: &[&str]) -> Result<String, String> {
    // Nobody listens there, and a command that needs no server does not ask.
    let address = SocketAddr::from(([127, 0, 0, 1], services::free_port()?));
    let folder = TempFolder::new("command")?;
    run(&mut purser(program, settings, folder.path(), address), arguments)
}

/// `program` with its settings, and without those of the desk it runs on.
fn purser(program: &Path, settings: &Settings, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PURSER_") {
            command.env_remove(name);
        }
    }
    command.envs(settings.0.iter().map(|(name, value)| (name, value)));
    command.env("PURSER_LISTEN", address.to_string()).current_dir(folder);
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
