//! `cargo xtask check` and `cargo xtask test`: what a desk runs before a commit, and what CI runs.
//!
//! `test` goes through every step even after one has failed, so that one run says everything that is
//! wrong, and ends with `N passed, M failed`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::crash::{self, Stage};
use crate::repo::{self, cargo};
use crate::services::Servers;
use crate::step::{self, Tally};
use crate::{api_check, events_check, matrix, tidy};

/// Formatting, lints, tidy and the fast tests.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    step::announce("format");
    step::run(cargo(root).args(["fmt", "--all", "--check"]))?;
    step::announce("lints");
    step::run(cargo(root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    step::announce("tidy");
    tidy::run(root)?;
    step::announce("private servers");
    let servers = Servers::start()?;
    step::announce("tests");
    workspace_tests(root, Some(&servers)).1?;
    servers.stop()
}

/// Stages that are crashed on every change, and how often.
const CRASHED: [Stage; 3] = [Stage::Postgres, Stage::Mariadb, Stage::Redis];
const CRASH_ROUNDS: u64 = 3;

/// Everything that holds the laws, on this machine, with nothing prepared but Rust.
pub(crate) fn test(root: &Path) -> Result<(), String> {
    let started = Instant::now();
    let mut steps = Steps::default();
    let target = repo::target_folder(root)?;
    step::announce("tidy");
    steps.one("tidy", tidy::run(root));
    step::announce("private servers");
    let mut servers = steps.made("servers", Servers::start());
    for (name, result) in servers.iter_mut().flat_map(Servers::check) {
        steps.one(name, result.map(|holds| eprintln!("{name}: {holds}")));
    }
    step::announce("tests of all crates");
    let (tally, result) = workspace_tests(root, servers.as_ref());
    steps.many("tests", tally, result);
    for (name, mut command) in servers.iter().flat_map(|servers| matrix::suites(root, servers)) {
        step::announce(&name);
        let (tally, result) = some_tests(&mut command);
        steps.many(&name, tally, result);
    }
    step::announce("usage events, by the SDK of CloudEvents");
    match build_server(root, &target, "dev") {
        Ok(program) => {
            for (name, result) in events_check::on_every_database(&target, &program, servers.as_ref()) {
                steps.one(&name, result);
            }
        }
        Err(error) => steps.one("events by the SDK of CloudEvents", Err(error)),
    }
    if let Some(servers) = servers {
        steps.one("servers, when they were stopped", servers.stop());
    }
    step::announce("examples in the documentation");
    let (tally, result) = step::run_tests(cargo(root).args(["test", "--workspace", "--doc", "--quiet"]));
    steps.many("examples", tally, result.map(drop));
    step::announce("the API against its own description, by schemathesis");
    let checked = build_server(root, &target, "dev").and_then(|program| api_check::run(&target, &program));
    steps.one("API check", checked);
    if let Some(program) = steps.made("debug build", build_server(root, &target, "dev")) {
        steps.crash(&program, &CRASHED, CRASH_ROUNDS, crash::seed());
    }
    steps.close(started)
}

/// `cargo xtask events`: the SDK of CloudEvents alone, on every database.
pub(crate) fn events(root: &Path) -> Result<(), String> {
    let started = Instant::now();
    let mut steps = Steps::default();
    let target = repo::target_folder(root)?;
    let program = build_server(root, &target, "dev")?;
    let servers = Servers::start()?;
    for (name, result) in events_check::on_every_database(&target, &program, Some(&servers)) {
        steps.one(&name, result);
    }
    servers.stop()?;
    steps.close(started)
}

/// `cargo xtask crash`: the same rounds alone, or other ones.
pub(crate) fn crash(root: &Path, profile: &str, on: &[Stage], rounds: u64, seed: u64) -> Result<(), String> {
    let started = Instant::now();
    let mut steps = Steps::default();
    let program = build_server(root, &repo::target_folder(root)?, profile)?;
    steps.crash(&program, if on.is_empty() { &CRASHED } else { on }, rounds, seed);
    steps.close(started)
}

/// Builds the binary and answers where it lies.
pub(crate) fn build_server(root: &Path, target: &Path, profile: &str) -> Result<PathBuf, String> {
    step::run(cargo(root).args(["build", "--quiet", "--package", "purser-server", "--profile", profile]))?;
    Ok(target.join(if profile == "dev" { "debug" } else { profile }).join("purser"))
}

pub(crate) fn has_nextest(root: &Path) -> bool {
    let asked =
        cargo(root).args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Without servers, the tests that need one fail, as they should.
fn workspace_tests(root: &Path, servers: Option<&Servers>) -> (Tally, Result<(), String>) {
    let mut command = cargo(root);
    if let Some(servers) = servers {
        servers.hand_to(&mut command);
    }
    if has_nextest(root) {
        command.args(["nextest", "run", "--workspace"]);
    } else {
        command.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
    }
    some_tests(&mut command)
}

/// Runs tests, of which there must be some.
fn some_tests(command: &mut Command) -> (Tally, Result<(), String>) {
    let (tally, result) = step::run_tests(command);
    if result.is_ok() && tally.passed == 0 {
        return (Tally { passed: 0, failed: 1 }, Err("no test was run".to_string()));
    }
    (tally, result.map(drop))
}

/// The steps of `test` and what came of them.
#[derive(Default)]
struct Steps {
    tally: Tally,
    failures: Vec<String>,
}

impl Steps {
    fn one(&mut self, name: &str, result: Result<(), String>) {
        let tally = Tally::of(&result);
        self.many(name, tally, result);
    }

    /// Something that later steps need: a proof only where it fails, as those steps count what it is for.
    fn made<T>(&mut self, name: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(made) => Some(made),
            Err(error) => {
                self.one(name, Err(error));
                None
            }
        }
    }

    /// Crash rounds, each of which is a test.
    fn crash(&mut self, program: &Path, stages: &[Stage], rounds: u64, seed: u64) {
        for stage in stages {
            step::announce(&format!("kill -9 under load: {stage:?}"));
            let outcome = crash::rounds(program, *stage, rounds, seed);
            self.many("crash", outcome.tally, outcome.result);
        }
    }

    fn many(&mut self, name: &str, tally: Tally, result: Result<(), String>) {
        self.tally.add(tally);
        if let Err(error) = result {
            eprintln!("{name}: {error}");
            self.failures.push(format!("{name}: {}", error.lines().next().unwrap_or_default()));
        }
    }

    /// The closing line, on standard output and last.
    fn close(self, started: Instant) -> Result<(), String> {
        eprintln!("\n=== {} s", started.elapsed().as_secs());
        for failure in &self.failures {
            eprintln!("failed: {failure}");
        }
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
        if self.tally.failed == 0 && self.failures.is_empty() { Ok(()) } else { Err(String::new()) }
    }
}
