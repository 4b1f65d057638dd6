//! `cargo xtask soak`: the counts that are too long for every change, and the page that says when they
//! last held, `docs/soak.md`.
//!
//! The tests are the same as in `test`, in the release profile and with larger counts from the
//! environment. A line that begins with `figure:` in what they print goes onto the page.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::crash::{self, Stage};
use crate::matrix;
use crate::repo::{self, cargo};
use crate::services::Servers;
use crate::step;
use crate::test::build_server;

const PAGE: &str = "docs/soak.md";

/// What a soak proves: a change to one of these makes its page out of date.
const PROVEN: [&str; 3] = ["crates/core/src", "crates/store/src", "crates/app/src"];

/// One long run.
struct Run {
    title: String,
    package: &'static str,
    test: &'static str,
    variable: &'static str,
    count: u32,
    counted: &'static str,
    /// On which server, where it is not the embedded database.
    database: Option<&'static str>,
}

/// What is crashed on server databases, and how often at the most.
const CRASHED: [(Stage, Option<u64>); 5] = [
    (Stage::Postgres, None),
    (Stage::Mariadb, None),
    (Stage::Redis, Some(20)),
    (Stage::Standby, Some(10)),
    (Stage::Galera, Some(10)),
];

/// What came of it.
struct Done {
    title: String,
    count: String,
    tests: u64,
    seconds: u64,
    figures: Vec<String>,
}

/// Seeds of the simulation on each server, which is slower.
const SEEDS_ON_SERVERS: u32 = 200;

/// Entries of every kind that are copied.
const COPIED: u32 = 100_000;

fn runs(seeds: u32, rounds: u32) -> Vec<Run> {
    let simulation = |database: Option<&'static str>, count: u32| Run {
        title: format!(
            "Simulation of engine and store with crashes, repeats and clock jumps{}",
            database.map(|database| format!(", on {database}")).unwrap_or_default()
        ),
        package: "purser-app",
        test: "simulation",
        variable: "PURSER_SIM_SEEDS",
        count,
        counted: "seeds",
        database,
    };
    let mut runs = vec![simulation(None, seeds)];
    runs.extend(matrix::SERVERS.map(|database| simulation(Some(database), SEEDS_ON_SERVERS)));
    runs.push(Run {
        title: "`kill -9` under load, then `verify`".into(),
        package: "purser-server",
        test: "crash",
        variable: "PURSER_KILL_ROUNDS",
        count: rounds,
        counted: "rounds",
        database: None,
    });
    runs.push(Run {
        title: "Copies from a file to both servers and back".into(),
        package: "purser-app",
        test: "copy",
        variable: "PURSER_COPY_ENTRIES",
        count: COPIED,
        counted: "entries",
        database: None,
    });
    runs
}

/// Runs everything and, where all of it holds, writes the page.
pub(crate) fn command(root: &Path, seeds: u32, rounds: u32, server_rounds: u64) -> Result<(), String> {
    let runs = runs(seeds, rounds);
    // Read before the runs, so that a commit made meanwhile is not taken for the one that was proven.
    let commit = repo::commit(root);
    let mut done = Vec::new();
    let servers = Servers::start()?;
    for run in &runs {
        step::announce(&run.title);
        done.push(perform(root, &servers, run)?);
    }
    servers.stop()?;
    let program = build_server(root, &repo::target_folder(root)?, "release")?;
    for (stage, count) in CRASHED {
        done.push(crash_rounds(
            &program,
            stage,
            count.map_or(server_rounds, |most| most.min(server_rounds)),
        )?);
    }
    let page = page(&commit, &today(), &done);
    fs::write(root.join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))?;
    println!("{PAGE} is written");
    Ok(())
}

fn perform(root: &Path, servers: &Servers, run: &Run) -> Result<Done, String> {
    let started = Instant::now();
    let mut command = cargo(root);
    command.args(["test", "--release", "--package", run.package, "--test", run.test, "--", "--nocapture"]);
    command.env(run.variable, run.count.to_string());
    command.envs(run.database.map(|database| ("PURSER_SIM_DATABASE", database)));
    servers.hand_to(&mut command);
    let (tally, result) = step::run_tests(&mut command);
    let output = result?;
    if tally.passed == 0 {
        return Err(format!("{}: no test was run", run.title));
    }
    Ok(Done {
        title: run.title.clone(),
        count: format!("{} {}", run.count, run.counted),
        tests: tally.passed,
        seconds: started.elapsed().as_secs(),
        figures: figures(&output),
    })
}

/// Crash rounds on a server database.
fn crash_rounds(program: &Path, stage: Stage, count: u64) -> Result<Done, String> {
    let title = format!("`kill -9` under load on {}, then `verify`", stage.title());
    step::announce(&title);
    let started = Instant::now();
    let outcome = crash::rounds(program, stage, count, crash::seed());
    outcome.result?;
    Ok(Done {
        title,
        count: format!("{count} rounds"),
        tests: outcome.tally.passed,
        seconds: started.elapsed().as_secs(),
        figures: outcome.figures,
    })
}

/// Whether the page is younger than everything that it vouches for.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let text = fs::read_to_string(root.join(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
    let commit = commit_of(&text).ok_or_else(|| format!("{PAGE} names no commit"))?;
    let mut git = Command::new("git");
    git.args(["log", "--oneline", &format!("{commit}..HEAD"), "--"]).args(PROVEN).current_dir(root);
    let output = git.output().map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let since = String::from_utf8_lossy(&output.stdout);
    if since.trim().is_empty() {
        return Ok(());
    }
    Err(format!("{PAGE} is of {commit}; since then the ledger has changed:\n{since}run `cargo xtask soak`"))
}

fn figures(output: &str) -> Vec<String> {
    let told = |line: &str| line.trim().split_once("figure:").map(|(_, figure)| figure.trim().to_string());
    output.lines().filter_map(told).collect()
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map_or_else(
        |_| "unknown".to_string(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_string(),
    )
}

fn page(commit: &str, date: &str, done: &[Done]) -> String {
    let mut text = format!(
        "# Soak\n\nWritten by `cargo xtask soak` when everything in it held; `cargo xtask soak --check` says whether it still\n\
         speaks of this code. A failing run writes nothing.\n\n- commit: {commit}\n- date: {date}\n\n\
         | run | count | tests | time |\n| --- | --- | --- | --- |\n"
    );
    for run in done {
        let (minutes, seconds) = (run.seconds / 60, run.seconds % 60);
        text.push_str(&format!(
            "| {} | {} | {} | {minutes} min {seconds} s |\n",
            run.title, run.count, run.tests
        ));
    }
    for run in done.iter().filter(|run| !run.figures.is_empty()) {
        text.push_str(&format!("\n## {}\n\n", run.title));
        for figure in &run.figures {
            text.push_str(&format!("- {figure}\n"));
        }
    }
    text
}

fn commit_of(page: &str) -> Option<&str> {
    page.lines().find_map(|line| line.strip_prefix("- commit: "))?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_commit_counts_and_figures() {
        let figures = figures("test a ... figure: 12 crashes\nnoise\nfigure: seeds 0..2000\n");
        assert_eq!(figures, ["12 crashes", "seeds 0..2000"]);
        let done = Done {
            title: "Simulation".to_string(),
            count: "2000 seeds".to_string(),
            tests: 3,
            seconds: 75,
            figures,
        };
        let page = page("0123456789ab", "2026-11-22", &[done]);
        assert_eq!(commit_of(&page), Some("0123456789ab"));
        assert!(page.contains("| Simulation | 2000 seeds | 3 | 1 min 15 s |"), "{page}");
        assert!(page.ends_with("- 12 crashes\n- seeds 0..2000\n"), "{page}");
    }
}
