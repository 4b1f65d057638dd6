//! A private Redis: Debian's, installed where it is absent, that keeps nothing on the disk. What Purser
//! puts there may be lost at any time, so a killed one comes back empty.

use std::path::PathBuf;
use std::process::Command;

use super::daemon::{ANSWER_MAX, Daemon, Kind, START_MAX};
use super::ports::free_port;
use crate::{guard, packages};

const KIND: Kind = Kind { name: "Redis", account: "redis", stop: "TERM", code: 0 };

/// A running server; dropped, it is stopped and its folder removed.
pub(crate) struct Redis {
    daemon: Daemon,
    programs: Programs,
    port: u16,
}

struct Programs {
    server: PathBuf,
    client: PathBuf,
}

impl Redis {
    /// Installs it where it is absent and starts it.
    pub(crate) fn start() -> Result<Self, String> {
        let programs = packages::find_or_install(find_programs, &["redis-server"], "redis-server")?;
        let mut redis = Redis { daemon: Daemon::new(KIND)?, programs, port: free_port()? };
        redis.restart()?;
        Ok(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Asks one command and answers what comes back, without decoration.
    pub(crate) fn query(&self, command: &[&str]) -> Result<String, String> {
        let mut client = Command::new(&self.programs.client);
        client.env_remove("REDISCLI_AUTH").args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-e"]);
        Ok(guard::output(with(client, command), ANSWER_MAX)?.trim().to_string())
    }

    /// Forgets everything.
    pub(crate) fn flush(&self) -> Result<(), String> {
        self.query(&["FLUSHALL"]).map(drop)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.daemon.kill()
    }

    /// Starts it again after `kill`, on the same port.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        let server = self.daemon.command(&self.programs.server);
        let port = self.port.to_string();
        let settings = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
        self.daemon.launch(with(server, &settings))?;
        self.daemon.wait_until("answer", START_MAX, || match self.query(&["PING"])?.as_str() {
            "PONG" => Ok(()),
            other => Err(other.to_string()),
        })
    }

    /// Stops it and says whether that went well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.daemon.stop()
    }
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

fn find_programs() -> Option<Programs> {
    let (server, client) = (packages::find_program("redis-server")?, packages::find_program("redis-cli")?);
    Some(Programs { server, client })
}
