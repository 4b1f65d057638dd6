//! The real program on a database in a temporary folder: started, killed, started again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::client::Client;

/// How often a server that listens is asked whether it is ready.
const ASKED_MAX: usize = 1_000;

/// A running `purser serve`. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it on whatever lies in `folder`, and waits until it is ready.
    pub(crate) fn start(folder: &Path) -> Server {
        Server::start_with(folder, &[])
    }

    /// The same with other settings.
    pub(crate) fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Server {
        let mut command = purser(folder);
        command.envs(variables.iter().copied());
        command.args(["--json", "serve", "--listen", "127.0.0.1:0"]);
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        // It says where it listens once it does: there is nothing to poll and no port to guess.
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("serve did not start; it said {line:?} and logged:\n{}", logged(folder))
        });
        let address = said["url"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
        let server = Server { child, address: address.parse().expect("an address") };
        let ready = (0..ASKED_MAX).any(|_| {
            let answer = Client::connect(server.address, "").and_then(|mut client| client.get("/readyz"));
            answer.is_ok_and(|answer| answer.status == 200)
        });
        assert!(ready, "the server is not ready:\n{}", logged(folder));
        server
    }

    /// SIGKILL: no destructor, no handler, no goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }
}

impl Server {
    /// SIGTERM, as an operator stops it; it ends in order.
    #[allow(dead_code, reason = "some tests only kill")]
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().expect("kill").success());
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Dead already after `kill`, alive when a test fails.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One command on the same database.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    purser(folder).args(arguments).output().expect("the program runs")
}

/// A fresh key of the platform.
pub(crate) fn key(folder: &Path) -> String {
    let made = run(folder, &["key", "create", "--name", "test"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("text").trim().to_string()
}

/// `purser verify`, which must hold; the number of entries.
#[allow(dead_code, reason = "some tests verify otherwise")]
pub(crate) fn verify(folder: &Path) -> u64 {
    let verified = run(folder, &["--json", "verify"]);
    let (said, errors) =
        (String::from_utf8_lossy(&verified.stdout), String::from_utf8_lossy(&verified.stderr));
    assert_eq!(verified.status.code(), Some(0), "{said}{errors}\n{}", logged(folder));
    let said: serde_json::Value = serde_json::from_str(said.trim()).expect("JSON");
    assert_eq!(said["holds"], true);
    said["entries"].as_u64().expect("a number")
}

/// The program on the database in `folder`.
pub(crate) fn purser(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PURSER_") {
            command.env_remove(name);
        }
    }
    let database = format!("sqlite:{}", folder.join("purser.db").display());
    command.env("PURSER_DATABASE_URL", database).env("PURSER_LOG", "warn").current_dir(folder);
    command.stdin(Stdio::null());
    command
}

fn logged(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}
