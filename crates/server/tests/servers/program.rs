//! The real program with a database's URLs in its environment.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// How often a server that listens is asked whether it is ready.
const ASKED_MAX: usize = 2_000;

/// The numbers of all migrations, as their files are named.
pub(crate) fn migrations() -> Vec<u32> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/migrations");
    let files = std::fs::read_dir(folder).expect("the migrations");
    let number = |name: &str| name.split_once('_').and_then(|(number, _)| number.parse().ok());
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("text"));
    let numbers: std::collections::BTreeSet<u32> = names.filter_map(|name| number(&name)).collect();
    numbers.into_iter().collect()
}

/// How the program is to be run.
pub(crate) struct Program {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Program {
    /// On this database.
    pub(crate) fn on(url: &str) -> Program {
        let variables = vec![
            ("PURSER_DATABASE_URL", url.to_owned()),
            ("PURSER_SECRET_KEY", "0a".repeat(32)),
            ("PURSER_LOG", "warn".to_owned()),
        ];
        Program { folder: tempfile::tempdir().expect("a folder"), variables }
    }

    /// The same with the owner's URL.
    pub(crate) fn with_owner(self, url: &str) -> Program {
        self.with("PURSER_DATABASE_OWNER_URL", url)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Program {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PURSER_") {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs one command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("the program runs")
    }

    /// Runs one command that must succeed; what it prints.
    #[track_caller]
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}{}", out(&done), errors(&done));
        out(&done).trim().to_owned()
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.said(&[&["--json"], arguments].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Runs one command that must fail; what it complains of.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_ne!(done.status.code(), Some(0), "{arguments:?}: {}", out(&done));
        errors(&done)
    }

    /// `purser verify`, which must hold; the number of entries.
    #[track_caller]
    pub(crate) fn verify(&self) -> u64 {
        let verified = self.json(&["verify"]);
        assert_eq!(verified["holds"], true);
        verified["entries"].as_u64().expect("a number")
    }

    /// Runs SQL on the file `purser.db` of an embedded database.
    pub(crate) fn on_its_file(&self, sql: &str) {
        let path = self.folder.path().join("purser.db");
        crate::database::console(&format!("sqlite:{}", path.display())).run(sql).expect("it runs");
    }

    /// What `doctor` found under this name: `ok`, `warn` or `WRONG`, and the detail.
    pub(crate) fn doctor(&self, what: &str) -> (&'static str, String) {
        let said = out(&self.run(&["--json", "doctor"]));
        let report: Value =
            serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
        let findings = report["findings"].as_array().expect("findings");
        let finding = findings.iter().find(|finding| finding["what"] == what);
        let finding = finding.unwrap_or_else(|| panic!("nothing about {what}: {report}"));
        let verdict = match (finding["ok"].as_bool(), finding["warning"].as_bool()) {
            (Some(true), Some(true)) => "warn",
            (Some(true), _) => "ok",
            _ => "WRONG",
        };
        (verdict, finding["detail"].as_str().expect("text").to_owned())
    }

    /// A fresh key of the platform.
    pub(crate) fn key(&self) -> String {
        self.said(&["key", "create", "--name", "test"])
    }

    /// Starts `purser serve` and waits until it is ready.
    pub(crate) fn serve(&self) -> Serving {
        let log = self.folder.path().join("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).expect("a log");
        let mut command = self.command();
        command.args(["--json", "serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().expect("the program starts");
        let logged = || std::fs::read_to_string(&log).unwrap_or_default();
        // It says where it listens once it does: there is nothing to poll and no port to guess.
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("serve did not start; it said {line:?} and logged:\n{}", logged()));
        let address = said["url"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
        let address: SocketAddr = address.parse().expect("an address");
        let serving = Serving { child, address };
        let ready = (0..ASKED_MAX).any(|_| {
            let answer = Client::connect(address, "").and_then(|mut client| client.get("/readyz"));
            answer.is_ok_and(|answer| answer.status == 200)
        });
        assert!(ready, "the server is not ready:\n{}", logged());
        serving
    }

    /// What `serve` wrote to its log so far.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A running `purser serve`. Killed when dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Serving {
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::connect(self.address, key).expect("the server listens")
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("kill runs").success());
        assert!(self.child.wait().expect("it ended").success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already after `stop`, alive when a test fails.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
