//! What all private servers have in common: an account without rights, a folder with data and log, and
//! one process that is started, killed, started again and stopped.
//!
//! Knows no database. Read next: `redis`, the shortest server that is made of it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::guard::{self, Process, TempFolder};
use crate::packages;

/// How long a server may take until it answers.
pub(super) const START_MAX: Duration = Duration::from_secs(60);

/// How long one question to a server may take; a commit that waits for a lost standby waits for ever.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(300);

/// How much of a log an error shows.
const LOG_LINES: usize = 40;

/// Who a server is and how it is told to stop.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// For messages and folders.
    pub(super) name: &'static str,
    /// The user that Debian's package makes; root becomes this user, as servers refuse root.
    pub(super) account: &'static str,
    /// The signal on which it stops in good order and soon.
    pub(super) stop: &'static str,
    /// The code with which it ends then.
    pub(super) code: i32,
}

/// A server that runs, was killed, or was not started yet.
pub(super) struct Daemon {
    // Stopped before its folder goes: fields drop in this order.
    process: Option<Process>,
    kind: Kind,
    folder: TempFolder,
}

impl Daemon {
    /// Makes its folder and starts nothing.
    pub(super) fn new(kind: Kind) -> Result<Self, String> {
        let folder = TempFolder::new(&kind.name.to_lowercase())?;
        if packages::is_root() {
            let (user, group) = ids_of(kind.account)?;
            chown(folder.path(), Some(user), Some(group)).map_err(|error| format!("chown: {error}"))?;
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(|error| format!("{}: {error}", folder.path().display()))?;
        Ok(Daemon { process: None, kind, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `program` in the folder, with the rights of the account; the kernel stops it when xtask dies in
    /// whatever way.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", self.kind.stop]);
        if packages::is_root() {
            command.args(["--reuid", self.kind.account, "--regid", self.kind.account, "--init-groups"]);
        }
        command.arg(program).current_dir(self.folder());
        command
    }

    /// Runs a program of the server that ends by itself, such as the one that makes its data folder.
    pub(super) fn prepare(&self, command: Command) -> Result<String, String> {
        guard::output(command, ANSWER_MAX).map_err(|error| format!("{}: {error}", self.kind.name))
    }

    /// Starts the server; what it says goes to the end of its log.
    pub(super) fn launch(&mut self, mut command: Command) -> Result<(), String> {
        if self.is_running() {
            return Err(format!("{} runs already", self.kind.name));
        }
        let log = self.log()?;
        let errors = log.try_clone().map_err(|error| format!("log: {error}"))?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.process = Some(Process::start(command, self.kind.stop)?);
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_running)
    }

    /// Asks again until `probe` is content; `what` completes "the server does not …".
    pub(super) fn wait_until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut() -> Result<T, String>,
    ) -> Result<T, String> {
        let give_up = Instant::now() + limit;
        loop {
            let last = match probe() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !self.is_running() || Instant::now() > give_up {
                let how = if self.is_running() { "still runs" } else { "has ended" };
                return Err(self.with_log(&format!("does not {what}; it {how} ({last})")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9` by its own id; data and port stay for the next launch.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        let process = self.process.take().ok_or_else(|| format!("{} is not running", self.kind.name))?;
        process.kill().map_err(|error| self.with_log(&error))
    }

    /// Stops it and says whether that went well. One that was killed and not started again has stopped.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        let stopped = self.process.take().map_or(Ok(()), |process| process.stop_with(self.kind.code));
        stopped.map_err(|error| self.with_log(&error))
    }

    fn with_log(&self, what: &str) -> String {
        let log = fs::read(self.folder().join("log")).unwrap_or_default();
        let tail = tail(&String::from_utf8_lossy(&log));
        format!("{} {what}; the end of its log:\n{tail}", self.kind.name)
    }

    fn log(&self) -> Result<File, String> {
        let opened = OpenOptions::new().create(true).append(true).open(self.folder().join("log"));
        opened.map_err(|error| format!("log: {error}"))
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// User and group number, from the list of users.
fn ids_of(user: &str) -> Result<(u32, u32), String> {
    let list = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let line = list.lines().find(|line| line.split(':').next() == Some(user));
    let mut numbers = line.into_iter().flat_map(|line| line.split(':').skip(2)).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok((user, group)),
        _ => Err(format!("there is no user {user} to run a server as: its package makes one")),
    }
}

/// A name that every database takes without quotes, for a database or a node.
pub(super) fn plain_name(name: &str) -> Result<&str, String> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    // PostgreSQL cuts longer names without an error.
    if begins && plain && name.len() <= 63 {
        return Ok(name);
    }
    Err(format!("{name:?} is no name for a database: small letters, digits and _, at most 63"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon() -> Daemon {
        // An account that every machine has, and a server that every machine has.
        let kind = Kind { name: "Shell", account: "nobody", stop: "TERM", code: 0 };
        let mut daemon = Daemon::new(kind).expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "echo here I am; exec sleep 600"]);
        daemon.launch(command).expect("a shell");
        daemon
    }

    #[test]
    fn root_is_in_the_list_of_users_and_a_stranger_is_not() {
        assert_eq!(ids_of("root"), Ok((0, 0)));
        assert!(ids_of("nobody-of-this-name").is_err());
    }

    #[test]
    fn names_that_would_need_quotes_are_refused() {
        for name in ["purser", "test_17", &"a".repeat(63)] {
            assert_eq!(plain_name(name), Ok(name));
        }
        for name in ["", "7up", "_x", "Purser", "a-b", "a`b", "a\"; DROP", &"a".repeat(64)] {
            assert!(plain_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_wait_that_fails_shows_the_end_of_the_log() {
        let daemon = daemon();
        let log = || fs::read_to_string(daemon.folder().join("log")).unwrap_or_default();
        let said = || if log().is_empty() { Err("nothing yet".to_string()) } else { Ok(()) };
        assert_eq!(daemon.wait_until("speak", START_MAX, said), Ok(()));
        let never = || Err::<(), _>("no answer".to_string());
        let told = daemon.wait_until("sing", Duration::ZERO, never).expect_err("it never sings");
        assert!(told.contains("does not sing; it still runs (no answer)"), "{told}");
        assert!(told.ends_with("here I am"), "{told}");
    }

    #[test]
    fn a_wait_ends_with_its_server() {
        let mut daemon = daemon();
        daemon.kill().expect("it ran");
        let told = daemon.wait_until("sing", START_MAX, || Err::<(), _>(String::new()));
        assert!(told.is_err_and(|told| told.contains("has ended")));
        assert!(daemon.kill().is_err(), "it is gone already");
        assert_eq!(daemon.stop(), Ok(()));
    }

    #[test]
    fn a_running_server_is_not_started_twice() {
        let mut daemon = daemon();
        let told = daemon.launch(Command::new("sh")).expect_err("it runs");
        assert_eq!(told, "Shell runs already");
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
        assert!(tail(&log).starts_with("line 60\n") && tail(&log).ends_with("line 99"));
        assert_eq!(tail(""), "");
    }
}
